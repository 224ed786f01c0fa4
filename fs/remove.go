package fs

import (
	"salliefs/blockstore"
)

// Unlink removes a name of what is no directory. The inode goes with its last name and reference.
func (f *FS) Unlink(parent Ino, name string) error { return f.remove(parent, name, false) }

// Rmdir removes an empty directory; in the root directory, an empty namespace.
func (f *FS) Rmdir(parent Ino, name string) error { return f.remove(parent, name, true) }

func (f *FS) remove(parent Ino, name string, directory bool) error {
	if len(name) > MaxName {
		return ErrNameTooLong
	}
	if err := f.beginFreeing(); err != nil {
		return err
	}
	dir, err := f.lockDir(parent)
	if err != nil {
		return err
	}
	if dir.key == RootIno {
		if special, err := f.removeFromRoot(dir, name, directory); special {
			f.unlock(dir)
			return err
		}
	}
	in, err := f.removeName(dir, name, directory)
	f.unlock(dir)
	if err != nil {
		return err
	}
	f.letGo(in)
	return nil
}

// removeName takes a name out of a directory, which is locked. It returns the inode, locked.
func (f *FS) removeName(dir *inode, name string, directory bool) (*inode, error) {
	d, err := f.mustFind(dir, name)
	if err != nil {
		return nil, err
	}
	switch isDir := d.typ == ModeDir>>typeShift; {
	case isDir && !directory:
		return nil, ErrIsDir
	case !isDir && directory:
		return nil, ErrNotDir
	}
	in, err := f.lock(blockstore.MakeIno(dir.key.Namespace(), d.n))
	if err != nil {
		return nil, err
	}
	if directory && in.rec.size > 0 {
		f.unlock(in)
		return nil, ErrNotEmpty
	}
	now := f.now()
	dirRec := dir.rec
	dirRec.size--
	dirRec.mtime, dirRec.ctime = now, now
	if directory {
		dirRec.nlink--
	}
	lost := f.unlinked(in, now)
	dirValue := encodeInode(&dirRec, nil)
	err = f.update(dir.ns, func(tx *blockstore.Tx) error {
		setDirent(tx, dir.key, d.suffix, d.without())
		tx.Put(dir.record(), dirValue)
		lost.put(f, tx)
		return nil
	})
	if err != nil {
		f.unlock(in)
		return nil, err
	}
	dir.rec = dirRec
	f.removed(dir, d.suffix)
	lost.done()
	return in, nil
}

// unlinking is an inode that is about to lose a name.
type unlinking struct {
	in    *inode
	rec   inodeRec
	value []byte
}

// unlinked prepares what losing a name does to an inode, which is locked. A directory loses its only one.
func (f *FS) unlinked(in *inode, now int64) unlinking {
	u := unlinking{in: in, rec: in.rec}
	if u.rec.nlink--; in.rec.isDir() {
		u.rec.nlink = 0
	}
	u.rec.ctime = now
	u.value = encodeInode(&u.rec, in.ext)
	return u
}

func (u *unlinking) put(f *FS, tx *blockstore.Tx) {
	tx.Put(u.in.record(), u.value)
	if u.rec.nlink == 0 {
		f.putOrphan(tx, u.in.key, orphanDelete)
	}
}

func (u *unlinking) done() {
	u.in.rec = u.rec
	if u.rec.nlink == 0 {
		u.in.ns.orphans.Add(1)
	}
}

// letGo unlocks an inode that lost a name, and deletes it if that was the last and nobody refers to it.
func (f *FS) letGo(in *inode) {
	reap := in.rec.nlink == 0 && !f.refs.orphaned(in.ino, false)
	f.unlock(in)
	if reap {
		f.reap(in.ino)
	}
}
