package fs

import (
	"salliefs/blockstore"
)

// Link gives an inode one more name, in the same namespace.
func (f *FS) Link(ino, newParent Ino, name string) (Attr, error) {
	if err := checkName(name); err != nil {
		return Attr{}, err
	}
	if ino.Namespace() != newParent.Namespace() {
		return Attr{}, ErrXDev
	}
	// A directory is refused before any lock is held: it may be above newParent, and parents are locked first.
	a, err := f.attrOf(ino)
	if err != nil {
		return Attr{}, err
	}
	if a.IsDir() {
		return Attr{}, ErrPerm
	}
	if err := f.begin(); err != nil {
		return Attr{}, err
	}
	dir, err := f.lockDir(newParent)
	if err != nil {
		return Attr{}, err
	}
	defer f.unlock(dir)
	in, err := f.lock(ino)
	if err != nil {
		return Attr{}, err
	}
	defer f.unlock(in)
	if in.rec.nlink >= MaxLinks {
		return Attr{}, ErrTooManyLinks
	}
	d, err := f.mustNotFind(dir, name)
	if err != nil {
		return Attr{}, err
	}
	value, err := d.with(name, in.key.Number(), uint8(in.rec.mode>>typeShift))
	if err != nil {
		return Attr{}, err
	}
	now := f.now()
	dirRec, rec := dir.rec, in.rec
	dirRec.size++
	dirRec.mtime, dirRec.ctime = now, now
	rec.nlink++
	rec.ctime = now
	rec.parent = dir.key.Number()
	dirValue, inValue := encodeInode(&dirRec, nil), encodeInode(&rec, in.ext)
	err = f.update(dir.ns, func(tx *blockstore.Tx) error {
		tx.Put(in.record(), inValue)
		setDirent(tx, dir.key, d.suffix, value)
		tx.Put(dir.record(), dirValue)
		if in.rec.nlink == 0 {
			f.dropOrphan(tx, in)
		}
		return nil
	})
	if err != nil {
		return Attr{}, err
	}
	if in.rec.nlink == 0 {
		f.adopted(in)
	}
	dir.rec, in.rec = dirRec, rec
	f.added(dir, d.suffix, &dirent{name: name, n: in.key.Number(), typ: uint8(in.rec.mode >> typeShift)}, d.value == nil)
	return in.attr(), nil
}
