package fs

import (
	"salliefs/blockstore"
)

// GetAttr reads the attributes of an inode.
func (f *FS) GetAttr(ino Ino) (Attr, error) { return f.attrOf(ino) }

// SetAttr changes attributes, and returns them all.
func (f *FS) SetAttr(ino Ino, s SetAttr) (Attr, error) {
	if err := f.beginFreeing(); err != nil {
		return Attr{}, err
	}
	in, err := f.lock(ino)
	if err != nil {
		return Attr{}, err
	}
	defer f.unlock(in)
	if s.Valid&SetSize != 0 {
		if err := f.setSize(in, &s); err != nil {
			return Attr{}, err
		}
		return in.attr(), nil
	}
	chmod, err := f.chmodACL(in, &s)
	if err != nil {
		return Attr{}, err
	}
	if err = f.change(in, func(rec *inodeRec) { f.applyAttr(rec, &s) }, chmod); err != nil {
		return Attr{}, err
	}
	return in.attr(), nil
}

// change puts a changed inode record, with what also puts. in is locked.
func (f *FS) change(in *inode, how func(rec *inodeRec), also func(tx *blockstore.Tx)) error {
	rec := in.rec
	how(&rec)
	var caps capsRemoval
	if in.rec.flags&^rec.flags&hasCaps != 0 {
		var err error
		if caps, err = f.removeCaps(in, &rec); err != nil {
			return err
		}
	}
	value := encodeInode(&rec, in.ext)
	err := f.update(in.ns, func(tx *blockstore.Tx) error {
		tx.Put(in.record(), value)
		caps.apply(tx)
		if also != nil {
			also(tx)
		}
		return nil
	})
	if err == nil {
		in.rec = rec
	}
	return err
}

// applyAttr makes the changes to a record that s names, other than of the size.
func (f *FS) applyAttr(rec *inodeRec, s *SetAttr) {
	v := s.Valid
	var now int64
	if v&(SetAtimeNow|SetMtimeNow) != 0 || v&SetCtime == 0 {
		now = f.now()
	}
	if v&KillPriv != 0 || v&(SetUID|SetGID) != 0 && !rec.isDir() {
		rec.killPriv()
	}
	if v&SetMode != 0 {
		rec.mode = rec.mode&^modePerm | s.Mode&modePerm
	}
	if v&SetUID != 0 {
		rec.uid = s.UID
	}
	if v&SetGID != 0 {
		rec.gid = s.GID
	}
	switch {
	case v&SetAtimeNow != 0:
		rec.atime = now
	case v&SetAtime != 0:
		rec.atime = s.Atime
	}
	switch {
	case v&SetMtimeNow != 0:
		rec.mtime = now
	case v&SetMtime != 0:
		rec.mtime = s.Mtime
	}
	if v&SetCtime != 0 {
		rec.ctime = s.Ctime
	} else {
		rec.ctime = now
	}
}

// killPriv takes away the privileges that executing the file would give.
func (r *inodeRec) killPriv() {
	r.mode &^= ModeSetUID
	if r.mode&0o010 != 0 {
		r.mode &^= ModeSetGID
	}
	r.flags &^= hasCaps
}

// relatimeAge is how old an access time may be before reading moves it anyway, in ns.
const relatimeAge = 24 * 3600 * 1e9

// wantsAtime reports whether reading in now moves its access time; in is locked at least for reading.
func (f *FS) wantsAtime(in *inode) bool {
	if !f.relatime || f.readOnly || !in.live() || in.ns == nil {
		return false
	}
	r := &in.rec
	if r.atime <= r.mtime || r.atime <= r.ctime {
		return true
	}
	return f.now()-r.atime >= relatimeAge
}

// touch moves an inode's access time to now, if it still should be. It never waits for memory; where it can not be
// done, reading goes on without.
func (f *FS) touch(ino Ino) {
	in, err := f.lock(ino)
	if err != nil {
		return
	}
	defer f.unlock(in)
	if !f.wantsAtime(in) {
		return
	}
	now := f.now()
	if err := f.change(in, func(rec *inodeRec) { rec.atime = now }, nil); err != nil {
		f.log.Debug("access time not moved", "inode", ino, "err", err)
	}
}
