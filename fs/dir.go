package fs

import (
	"sync/atomic"

	"salliefs/blockstore"
)

// dirState is what is remembered of a directory. Entries change with the directory's inode locked, so what was read
// under its lock stays true until then.
type dirState struct {
	names   nameSet                 // all names, if known; changes with the inode locked
	misses  [8]atomic.Uint64        // suffix+1 of records that do not exist, by suffix mod 8
	listing atomic.Pointer[listing] // a part of the directory in order
}

func (d *dirState) missed(suffix uint64) bool {
	return d.names.lacks(suffix) || d.misses[suffix%8].Load() == suffix+1
}

func (d *dirState) miss(suffix uint64) { d.misses[suffix%8].Store(suffix + 1) }

// added notes that a name was added to a directory, which is locked and has its new record already. only tells that
// the entry has a record of its own.
func (f *FS) added(dir *inode, suffix uint64, e *dirent, only bool) {
	d := dir.dir
	if dir.rec.size == 1 {
		f.nameUnits.Add(int64(8 - len(d.names.places)))
		d.names.start()
	}
	if grew := d.names.add(suffix); grew != 0 && f.nameUnits.Add(int64(grew)) > nameBudget {
		f.nameUnits.Add(-int64(len(d.names.places)))
		d.names.places = nil
	}
	if d.misses[suffix%8].Load() == suffix+1 {
		d.misses[suffix%8].Store(0)
	}
	d.listing.Store(nil)
	if only {
		f.names.put(suffix, e)
	} else {
		f.names.drop(suffix)
	}
}

// removed notes that a name was removed from a directory.
func (f *FS) removed(dir *inode, suffix uint64) {
	dir.dir.listing.Store(nil)
	f.names.drop(suffix)
}

// nameBudget bounds the sets of names of all directories, in places of 4 bytes.
const nameBudget = 4 << 20

// lockDir locks a directory that names can be made in.
func (f *FS) lockDir(ino Ino) (*inode, error) {
	in, err := f.lock(ino)
	if err != nil {
		return nil, err
	}
	if err := in.isOpenDir(); err != nil {
		f.unlock(in)
		return nil, err
	}
	return in, nil
}

func (f *FS) rlockDir(ino Ino) (*inode, error) {
	in, err := f.rlock(ino)
	if err != nil {
		return nil, err
	}
	if !in.rec.isDir() {
		f.runlock(in)
		return nil, ErrNotDir
	}
	return in, nil
}

// isOpenDir fails for what is no directory, and for one that was removed.
func (in *inode) isOpenDir() error {
	if !in.rec.isDir() {
		return ErrNotDir
	}
	if in.rec.nlink == 0 {
		return ErrNotExist
	}
	return nil
}

// find looks for a name in a directory, which is locked at least for reading.
func (f *FS) find(dir *inode, name string) (found, error) {
	suffix := dir.ns.suffix(dir.key, name)
	if dir.rec.size == 0 || dir.dir.missed(suffix) {
		return found{suffix: suffix}, nil
	}
	if dir.live() {
		if e, ok := f.names.get(suffix, name); ok {
			return found{suffix: suffix, only: true, dirent: e}, nil
		}
	}
	value, err := f.read(dir, kindDirent, suffix)
	if err != nil {
		return found{}, err
	}
	if value == nil {
		dir.dir.miss(suffix)
	}
	d, err := findDirent(suffix, value, name)
	if err != nil {
		return d, f.inodeError("lookup", dir.key, err)
	}
	if d.only && dir.live() {
		f.names.put(suffix, &d.dirent)
	}
	return d, nil
}

// mustFind is find for names that have to be there.
func (f *FS) mustFind(dir *inode, name string) (found, error) {
	d, err := f.find(dir, name)
	if err == nil && !d.ok() {
		err = ErrNotExist
	}
	return d, err
}

// setDirent puts a dirent record, or deletes it if value is nil.
func setDirent(tx *blockstore.Tx, dir Ino, suffix uint64, value []byte) {
	k := blockstore.Key{Ino: dir, Kind: kindDirent, Suffix: suffix}
	if value == nil {
		tx.Delete(k)
	} else {
		tx.Put(k, value)
	}
}

// child is the inode number that a directory's entry means to the callers.
func (f *FS) child(dir *inode, key Ino) Ino {
	if dir.live() || dir.ns == nil {
		return key
	}
	return f.virtual.ino(dir.epoch, key)
}

// Lookup finds a name in a directory.
func (f *FS) Lookup(parent Ino, name string) (Attr, error) {
	if len(name) > MaxName {
		return Attr{}, ErrNameTooLong
	}
	dir, err := f.rlockDir(parent)
	if err != nil {
		return Attr{}, err
	}
	if name == "." || name == ".." {
		ino := dir.ino
		if name == ".." {
			ino = f.parentOf(dir)
		}
		f.runlock(dir)
		return f.attrOf(ino)
	}
	defer f.runlock(dir)
	ino, err := f.lookup(dir, name)
	if err != nil {
		return Attr{}, err
	}
	return f.attrOf(ino)
}

func (f *FS) lookup(dir *inode, name string) (Ino, error) {
	if dir.ns == nil {
		return f.lookupSnapshot(name)
	}
	if dir.key == RootIno {
		if ino, err := f.lookupRoot(dir, name); ino != 0 || err != nil {
			return ino, err
		}
	}
	d, err := f.mustFind(dir, name)
	if err != nil {
		return 0, err
	}
	return f.child(dir, blockstore.MakeIno(dir.key.Namespace(), d.n)), nil
}

// lookupRoot finds what the root directory has beside its own entries; 0 if it is none of that.
func (f *FS) lookupRoot(root *inode, name string) (Ino, error) {
	if root.live() {
		if d, ok := f.findSpace(name); ok {
			return blockstore.MakeIno(d.ID, 1), nil
		}
		if name == SnapshotDir {
			return snapshotsIno, nil
		}
		return 0, nil
	}
	list, err := f.rootListing(root)
	if err != nil {
		return 0, err
	}
	for i := range list {
		if list[i].name == name {
			return f.child(root, list[i].ino), nil
		}
	}
	return 0, nil
}

// parentOf is the directory that ".." of a directory means.
func (f *FS) parentOf(dir *inode) Ino {
	switch {
	case dir.ino == snapshotsIno:
		return RootIno
	case dir.key == RootIno && !dir.live():
		return snapshotsIno
	case dir.key.Number() == 1:
		return f.child(dir, RootIno)
	}
	return f.child(dir, blockstore.MakeIno(dir.key.Namespace(), dir.rec.parent))
}

// attrOf reads the attributes of an inode.
func (f *FS) attrOf(ino Ino) (Attr, error) {
	in, err := f.rlock(ino)
	if err != nil {
		return Attr{}, err
	}
	a := in.attr()
	f.runlock(in)
	return a, nil
}
