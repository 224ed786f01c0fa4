package fs

import (
	"errors"

	"salliefs/blockstore"
)

// setSize changes a file's size, and the other attributes that s names. in is locked.
func (f *FS) setSize(in *inode, s *SetAttr) error {
	switch {
	case s.Size < 0:
		return ErrInvalid
	case s.Size > MaxFileSize:
		return ErrTooBig
	}
	if err := in.isFile(); err != nil {
		return err
	}
	if err := f.finishTruncate(in); err != nil {
		return err
	}
	e := f.newEdit(in)
	if s.Valid&(SetMtime|SetMtimeNow) == 0 {
		s.Valid |= SetMtimeNow
	}
	f.applyAttr(&e.rec, s)
	more := false
	if s.Size < e.rec.size {
		var err error
		if more, err = f.cutTail(e, s.Size); err != nil {
			return err
		}
	}
	e.rec.size = s.Size
	caps, err := f.removeCaps(in, &e.rec)
	if err != nil {
		return err
	}
	chmod, err := f.chmodACL(in, s)
	if err != nil {
		return err
	}
	err = e.run(func(tx *blockstore.Tx) {
		caps.apply(tx)
		if chmod != nil {
			chmod(tx)
		}
		if more && in.rec.nlink > 0 {
			f.putOrphan(tx, in.key, orphanTruncate)
		}
	})
	if err != nil || !more {
		return err
	}
	if err := f.finishTruncate(in); !errors.Is(err, errClosing) {
		return err
	}
	return nil // the next start goes on
}

// cutTail has an edit take away what is past a size: all of it, or a first step; more tells.
func (f *FS) cutTail(e *edit, size int64) (more bool, err error) {
	n, off := uint64(size)>>regionBits, uint32(size%RegionSize)
	list, err := e.list(n)
	if err != nil {
		return false, err
	}
	if len(list) > 0 && list[len(list)-1].end() > off {
		if _, err := e.set(n, cut(nil, list, off, RegionSize)); err != nil {
			return false, err
		}
	}
	return f.cutRegions(e, n+1)
}

// cutRegions has an edit take away the regions from one on, or some of them; more tells. The inode's flags say what is
// left.
func (f *FS) cutRegions(e *edit, from uint64) (more bool, err error) {
	tail, more, err := f.scanRegions(e.in, from, stepRegions)
	if err != nil {
		return false, err
	}
	for i := range tail {
		e.regions = append(e.regions, editedRegion{n: tail[i].n, old: tail[i].ext})
		e.rec.alloc -= sum(tail[i].ext)
	}
	e.rec.flags &^= isTruncating
	if more {
		e.rec.flags |= isTruncating
	} else if from <= 1 {
		e.rec.flags &^= hasRegions
	}
	return more, nil
}

// finishTruncate frees the regions that a truncation has left over. in is locked.
func (f *FS) finishTruncate(in *inode) error {
	for in.rec.flags&isTruncating != 0 {
		if f.closed() {
			return errClosing
		}
		if err := f.st.ThrottleMeta(); err != nil {
			return err
		}
		e := f.newEdit(in)
		more, err := f.cutRegions(e, uint64(in.rec.size+RegionSize-1)>>regionBits)
		if err != nil {
			return err
		}
		err = e.run(func(tx *blockstore.Tx) {
			if !more && in.rec.nlink > 0 {
				tx.Delete(orphanKey(in.key))
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// freeRegions frees all regions past the first, in steps. in is locked and has no name.
func (f *FS) freeRegions(in *inode) error {
	for more := true; more; {
		if f.closed() && in.rec.alloc > bigFile {
			return errClosing
		}
		if err := f.st.ThrottleMeta(); err != nil {
			return err
		}
		e := f.newEdit(in)
		var err error
		if more, err = f.cutRegions(e, 1); err != nil {
			return err
		}
		if err := e.run(nil); err != nil {
			return err
		}
	}
	return nil
}
