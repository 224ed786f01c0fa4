package fs

import (
	"salliefs/blockstore"
)

// Mknod makes a file of any type but a directory or a symbolic link.
func (f *FS) Mknod(parent Ino, name string, mode, rdev uint32, c Cred) (Attr, error) {
	if mode&ModeType == 0 {
		mode |= ModeRegular
	}
	rec := inodeRec{mode: mode & (ModeType | modePerm), nlink: 1}
	switch mode & ModeType {
	case ModeRegular, ModeFIFO, ModeSocket:
	case ModeChar, ModeBlock:
		rec.rdev = rdev
	default:
		return Attr{}, ErrInvalid
	}
	return f.create(parent, name, rec, c)
}

// Mkdir makes a directory; in the root directory, a namespace with default settings.
func (f *FS) Mkdir(parent Ino, name string, mode uint32, c Cred) (Attr, error) {
	if parent == RootIno {
		if err := checkName(name); err != nil {
			return Attr{}, err
		}
		return f.makeSpace(name, NamespaceSettings{}, mode, c)
	}
	return f.create(parent, name, inodeRec{mode: ModeDir | mode&modePerm, nlink: 2}, c)
}

// Symlink makes a symbolic link.
func (f *FS) Symlink(parent Ino, name, target string, c Cred) (Attr, error) {
	switch {
	case target == "":
		return Attr{}, ErrNotExist
	case len(target) > MaxTarget:
		return Attr{}, ErrNameTooLong
	}
	c.Umask = 0
	return f.create(parent, name, inodeRec{mode: ModeSymlink | 0o777, nlink: 1, size: int64(len(target)), target: target}, c)
}

// Readlink reads the target of a symbolic link.
func (f *FS) Readlink(ino Ino) (string, error) {
	in, err := f.rlock(ino)
	if err != nil {
		return "", err
	}
	target, err := f.target(in)
	old := err == nil && f.wantsAtime(in)
	f.runlock(in)
	if old {
		f.touch(ino)
	}
	return target, err
}

func (f *FS) target(in *inode) (string, error) {
	switch {
	case !in.rec.isSymlink():
		return "", ErrInvalid
	case in.rec.flags&hasTarget == 0:
		return in.rec.target, nil
	}
	value, err := f.read(in, kindTarget, 0)
	if err != nil {
		return "", err
	}
	target, err := decodeTarget(value)
	if err != nil {
		return "", f.inodeError("readlink", in.key, err)
	}
	return target, nil
}

// Tmpfile makes a regular file without a name in the namespace of a directory. It lives for as long as it is referred
// to, unless Link gives it a name.
func (f *FS) Tmpfile(parent Ino, mode uint32, c Cred) (Attr, error) {
	if err := f.begin(); err != nil {
		return Attr{}, err
	}
	dir, err := f.rlockDir(parent)
	if err != nil {
		return Attr{}, err
	}
	defer f.runlock(dir)
	if !dir.live() || dir.ns == nil {
		return Attr{}, ErrReadOnly
	}
	if err := dir.isOpenDir(); err != nil {
		return Attr{}, err
	}
	n, err := f.newNode(dir, inodeRec{mode: ModeRegular | mode&modePerm}, c)
	if err != nil {
		return Attr{}, err
	}
	err = f.update(dir.ns, func(tx *blockstore.Tx) error {
		n.put(tx)
		f.putOrphan(tx, n.in.key, orphanDelete)
		return nil
	})
	if err != nil {
		return Attr{}, err
	}
	dir.ns.orphans.Add(1)
	f.refs.orphaned(n.in.ino, true)
	f.addInode(n.in)
	return n.in.attr(), nil
}

// create makes an inode with a name.
func (f *FS) create(parent Ino, name string, rec inodeRec, c Cred) (Attr, error) {
	if err := checkName(name); err != nil {
		return Attr{}, err
	}
	if err := f.begin(); err != nil {
		return Attr{}, err
	}
	dir, err := f.lockDir(parent)
	if err != nil {
		return Attr{}, err
	}
	defer f.unlock(dir)
	d, err := f.mustNotFind(dir, name)
	if err != nil {
		return Attr{}, err
	}
	n, err := f.newNode(dir, rec, c)
	if err != nil {
		return Attr{}, err
	}
	typ := uint8(rec.mode >> typeShift)
	dirRec := dir.rec
	dirRec.size++
	if rec.isDir() {
		dirRec.nlink++
	}
	dirRec.mtime, dirRec.ctime = n.in.rec.btime, n.in.rec.btime
	dirValue := encodeInode(&dirRec, nil)
	err = f.update(dir.ns, func(tx *blockstore.Tx) error {
		n.put(tx)
		value, err := d.with(name, n.in.key.Number(), typ)
		if err != nil {
			return err
		}
		setDirent(tx, dir.key, d.suffix, value)
		tx.Put(dir.record(), dirValue)
		return nil
	})
	if err != nil {
		return Attr{}, err
	}
	dir.rec = dirRec
	f.added(dir, d.suffix, &dirent{name: name, n: n.in.key.Number(), typ: typ}, d.value == nil)
	f.addInode(n.in)
	return n.in.attr(), nil
}

// mustNotFind is find for names that must be free.
func (f *FS) mustNotFind(dir *inode, name string) (found, error) {
	if dir.key == RootIno {
		if err := f.freeInRoot(name); err != nil {
			return found{}, err
		}
	}
	d, err := f.find(dir, name)
	if err == nil && d.ok() {
		err = ErrExist
	}
	return d, err
}

// freeInRoot fails for names that the root directory has beside its own entries, and for those that nothing there may
// have.
func (f *FS) freeInRoot(name string) error {
	if hidden(name) {
		return ErrInvalid
	}
	if name == SnapshotDir {
		return ErrExist
	}
	if _, ok := f.findSpace(name); ok {
		return ErrExist
	}
	return nil
}

// node is an inode that is about to be made.
type node struct {
	in     *inode
	acl    inherited
	target string // of a symbolic link, if it needs a record of its own
}

// newNode completes the record of a new inode in a directory: owner, times, what is inherited.
func (f *FS) newNode(dir *inode, rec inodeRec, c Cred) (node, error) {
	now := f.now()
	rec.uid, rec.gid = c.UID, c.GID
	if dir.rec.mode&ModeSetGID != 0 {
		rec.gid = dir.rec.gid
		if rec.isDir() {
			rec.mode |= ModeSetGID
		}
	}
	rec.atime, rec.mtime, rec.ctime, rec.btime = now, now, now, now
	rec.parent = dir.key.Number()
	var n node
	if len(rec.target) > maxInlineTarget {
		n.target, rec.target = rec.target, ""
		rec.flags |= hasTarget
	}
	var err error
	if n.acl, err = f.inherit(dir, &rec, c.Umask); err != nil {
		return node{}, err
	}
	n.in = &inode{epoch: blockstore.Live, ns: dir.ns, rec: rec}
	if rec.isDir() {
		n.in.dir = new(dirState)
	}
	return n, nil
}

// put enters a new inode into an Update, and gives it its number.
func (n *node) put(tx *blockstore.Tx) {
	in := n.in
	in.key = tx.NewIno(in.ns.id)
	in.ino = in.key
	tx.Put(in.record(), encodeInode(&in.rec, nil))
	if n.target != "" {
		tx.Put(blockstore.Key{Ino: in.key, Kind: kindTarget}, encodeTarget(n.target))
	}
	n.acl.put(tx, in.key, in.ns.hasher)
	tx.Account(in.ns.id, 1, 0)
}
