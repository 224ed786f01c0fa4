package fs

import (
	"fmt"
	"slices"

	"salliefs/blockstore"
)

// Rename gives an inode another name in place of one, in the same namespace. What had the new name before loses it;
// RenameNoReplace refuses that, RenameExchange exchanges the two.
func (f *FS) Rename(oldParent Ino, oldName string, newParent Ino, newName string, flags uint32) error {
	if flags&^(RenameNoReplace|RenameExchange) != 0 || flags == RenameNoReplace|RenameExchange {
		return ErrInvalid
	}
	if err := checkName(newName); err != nil {
		return err
	}
	if err := checkName(oldName); err != nil {
		return err
	}
	if err := f.beginFreeing(); err != nil { // people rename on a full disk to make room
		return err
	}
	if oldParent.Namespace() != newParent.Namespace() {
		return f.renameAcross(oldParent, oldName)
	}
	if oldParent != newParent { // so that the tree above the directories stays as it is
		f.renames.Lock()
		defer f.renames.Unlock()
	}
	from, to, aboveFrom, aboveTo, err := f.lockDirs(oldParent, newParent)
	if err != nil {
		return err
	}
	defer func() {
		if to != from {
			f.unlock(to)
		}
		f.unlock(from)
	}()
	if from.key == RootIno && to.key == RootIno {
		if special, err := f.renameInRoot(from, oldName, newName, flags); special {
			return err
		}
	}
	r := rename{f: f, from: from, to: to, aboveFrom: aboveFrom, aboveTo: aboveTo, exchange: flags&RenameExchange != 0}
	if err := r.find(oldName, newName); err != nil {
		return err
	}
	if flags&RenameNoReplace != 0 && r.target.ok() {
		return ErrExist
	}
	return r.run()
}

// renameAcross says why a name can not go to another namespace: that it is not there, if so.
func (f *FS) renameAcross(parent Ino, name string) error {
	if _, err := f.Lookup(parent, name); err != nil {
		return err
	}
	return ErrXDev
}

// lockDirs locks two directories, which may be the same: one that is above the other first, else by number. It returns
// what is above each, itself included; of no interest if they are the same.
func (f *FS) lockDirs(a, b Ino) (x, y *inode, aboveX, aboveY []Ino, err error) {
	if a == b {
		x, err = f.lockDir(a)
		return x, x, nil, nil, err
	}
	if aboveX, err = f.ancestors(a); err != nil {
		return nil, nil, nil, nil, err
	}
	if aboveY, err = f.ancestors(b); err != nil {
		return nil, nil, nil, nil, err
	}
	first, second := a, b
	if slices.Contains(aboveX, b) || b < a && !slices.Contains(aboveY, a) {
		first, second = b, a
	}
	if x, err = f.lockDir(first); err != nil {
		return nil, nil, nil, nil, err
	}
	if y, err = f.lockDir(second); err != nil {
		f.unlock(x)
		return nil, nil, nil, nil, err
	}
	if first != a {
		x, y = y, x
	}
	return x, y, aboveX, aboveY, nil
}

// ancestors lists a directory and those above it. f.renames is held, so that it stays true.
func (f *FS) ancestors(dir Ino) (list []Ino, err error) {
	for range maxDepth {
		list = append(list, dir)
		if dir.Number() == 1 {
			return list, nil
		}
		in, err := f.rlockDir(dir)
		if err != nil {
			return nil, err
		}
		dir = f.parentOf(in)
		f.runlock(in)
	}
	return nil, f.inodeError("rename", dir, fmt.Errorf("%w: it is below itself", ErrCorrupt))
}

// rename is a rename in progress: the two directories are locked.
type rename struct {
	f        *FS
	from, to *inode // directories; may be the same

	aboveFrom, aboveTo []Ino // the directories with those above them; nil if they are the same

	source, target found
	a, b           *inode // the inodes of source and target; b is nil if there is no target
	exchange       bool
}

func (r *rename) find(oldName, newName string) (err error) {
	if r.source, err = r.f.mustFind(r.from, oldName); err != nil {
		return err
	}
	if r.target, err = r.f.find(r.to, newName); err != nil {
		return err
	}
	r.target.name = newName
	if r.exchange && !r.target.ok() {
		return ErrNotExist
	}
	return nil
}

func (r *rename) run() error {
	if r.target.ok() && r.target.n == r.source.n {
		return nil // two names of the same inode
	}
	if err := r.checkLoops(); err != nil {
		return err
	}
	if err := r.lock(); err != nil {
		return err
	}
	lost, err := r.move()
	r.f.unlock(r.a)
	switch {
	case r.b == nil:
	case lost && err == nil:
		r.f.letGo(r.b)
	default:
		r.f.unlock(r.b)
	}
	return err
}

// checkLoops refuses to move a directory below itself, and to replace a directory that the source is in.
func (r *rename) checkLoops() error {
	ns := r.from.key.Namespace()
	if slices.Contains(r.aboveTo, blockstore.MakeIno(ns, r.source.n)) {
		return ErrInvalid
	}
	switch {
	case !r.target.ok() || !slices.Contains(r.aboveFrom, blockstore.MakeIno(ns, r.target.n)):
		return nil
	case r.exchange:
		return ErrInvalid
	}
	return ErrNotEmpty
}

// lock locks the inodes of the source and the target, and checks that one may take the other's place. A directory comes
// first, as the other may have another name in it.
func (r *rename) lock() (err error) {
	ns := r.from.key.Namespace()
	first, second := &r.a, &r.b
	ino, other := blockstore.MakeIno(ns, r.source.n), blockstore.MakeIno(ns, r.target.n)
	if !r.target.ok() {
		r.a, err = r.f.lock(ino)
		return err
	}
	const dir = ModeDir >> typeShift
	if swap := other < ino; r.target.typ == dir && r.source.typ != dir || swap && (r.target.typ == dir) == (r.source.typ == dir) {
		first, second, ino, other = second, first, other, ino
	}
	if *first, err = r.f.lock(ino); err != nil {
		return err
	}
	if *second, err = r.f.lock(other); err != nil {
		r.f.unlock(*first)
		return err
	}
	if err = r.fits(); err != nil {
		r.f.unlock(r.a)
		r.f.unlock(r.b)
	}
	return err
}

func (r *rename) fits() error {
	a, b := r.a.rec.isDir(), r.b.rec.isDir()
	switch {
	case r.exchange:
		return nil
	case a && !b:
		return ErrNotDir
	case !a && b:
		return ErrIsDir
	case b && r.b.rec.size > 0:
		return ErrNotEmpty
	}
	return nil
}

// move puts all that changes in one Update. lost tells that the target's inode lost its name.
func (r *rename) move() (lost bool, err error) {
	now := r.f.now()
	from, to := r.from.rec, r.to.rec
	if r.to == r.from {
		to = inodeRec{} // only from counts
	}
	dst := &to
	if r.to == r.from {
		dst = &from
	}
	a := r.a.rec
	a.ctime, a.parent = now, r.to.key.Number()
	if a.isDir() {
		from.nlink--
		dst.nlink++
	}
	var b inodeRec
	var gone unlinking
	switch {
	case r.exchange:
		b = r.b.rec
		b.ctime, b.parent = now, r.from.key.Number()
		if b.isDir() {
			dst.nlink--
			from.nlink++
		}
	case r.b != nil:
		from.size--
		if r.b.rec.isDir() {
			dst.nlink--
		}
		gone = r.f.unlinked(r.b, now)
	default:
		from.size--
		dst.size++
	}
	from.mtime, from.ctime = now, now
	dst.mtime, dst.ctime = now, now
	changed, err := r.dirents()
	if err != nil {
		return false, err
	}
	err = r.f.update(r.from.ns, func(tx *blockstore.Tx) error {
		for _, c := range changed {
			setDirent(tx, c.dir, c.suffix, c.value)
		}
		tx.Put(r.a.record(), encodeInode(&a, r.a.ext))
		tx.Put(r.from.record(), encodeInode(&from, nil))
		if r.to != r.from {
			tx.Put(r.to.record(), encodeInode(&to, nil))
		}
		if r.exchange {
			tx.Put(r.b.record(), encodeInode(&b, r.b.ext))
		} else if r.b != nil {
			gone.put(r.f, tx)
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	r.from.rec, r.a.rec = from, a
	if r.to != r.from {
		r.to.rec = to
	}
	if r.exchange {
		r.b.rec = b
	} else if r.b != nil {
		gone.done()
	}
	r.f.removed(r.from, r.source.suffix)
	r.f.added(r.to, r.target.suffix, nil, false)
	return !r.exchange && r.b != nil, nil
}

// changedDirent is a dirent record to be put, or deleted if value is nil.
type changedDirent struct {
	dir    Ino
	suffix uint64
	value  []byte
}

// dirents are the dirent records as they will be: in the order in which they have to be put, as both names may be in one
// record.
func (r *rename) dirents() (list []changedDirent, err error) {
	typ := func(in *inode) uint8 { return uint8(in.rec.mode >> typeShift) }
	var next []byte
	if r.target.ok() {
		next = r.target.replaced(r.source.n, typ(r.a))
	} else if next, err = r.target.with(r.target.name, r.source.n, typ(r.a)); err != nil {
		return nil, err
	}
	list = append(list, changedDirent{r.to.key, r.target.suffix, next})
	source := r.source
	if r.from == r.to && source.suffix == r.target.suffix { // found again in what it has become
		if source, err = findDirent(source.suffix, next, source.name); err != nil {
			return nil, err
		}
	}
	if r.exchange {
		return append(list, changedDirent{r.from.key, source.suffix, source.replaced(r.target.n, typ(r.b))}), nil
	}
	return append(list, changedDirent{r.from.key, source.suffix, source.without()}), nil
}
