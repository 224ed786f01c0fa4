package fs

import (
	"cmp"
	"runtime"
)

// ReadAt reads a file from an offset on. It returns fewer bytes than asked for only at the file's end, without an error.
func (f *FS) ReadAt(ino Ino, dst []byte, off int64) (int, error) {
	in, err := f.rlock(ino)
	if err != nil {
		return 0, err
	}
	n, err := f.readAt(in, dst, off)
	old := n > 0 && f.wantsAtime(in)
	f.runlock(in)
	if old {
		f.touch(ino)
	}
	return n, err
}

// isFile fails for what has no data to read and write.
func (in *inode) isFile() error {
	switch {
	case in.rec.isRegular():
		return nil
	case in.rec.isDir():
		return ErrIsDir
	}
	return ErrInvalid
}

// readAt is ReadAt for an inode that is locked at least for reading.
func (f *FS) readAt(in *inode, dst []byte, off int64) (int, error) {
	if err := in.isFile(); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, ErrInvalid
	}
	if off >= in.rec.size {
		return 0, nil
	}
	dst = dst[:min(int64(len(dst)), in.rec.size-off)]
	if len(dst) < parallelRead || runtime.GOMAXPROCS(0) == 1 {
		if err := f.readRegions(in, dst, off); err != nil {
			return 0, err
		}
		return len(dst), nil
	}
	// The second half is opened on another CPU.
	half := len(dst) / 2 / RegionSize * RegionSize
	second := make(chan error, 1)
	go func() { second <- f.readRegions(in, dst[half:], off+int64(half)) }()
	first := f.readRegions(in, dst[:half], off)
	if err := cmp.Or(first, <-second); err != nil {
		return 0, err
	}
	return len(dst), nil
}

// parallelRead is the number of bytes from which a read is worth waking another CPU.
const parallelRead = 512 << 10

// readRegions fills dst from an offset on. in stays locked while it runs, and dst lies before the file's end.
func (f *FS) readRegions(in *inode, dst []byte, off int64) error {
	for done := 0; done < len(dst); {
		at := off + int64(done)
		n, from := uint64(at)>>regionBits, uint32(at%RegionSize)
		part := dst[done:min(len(dst), done+RegionSize-int(from))]
		list, err := f.extents(in, n)
		if err == nil {
			err = f.readExtents(in, list, part, from)
		}
		if err != nil {
			return err
		}
		done += len(part)
	}
	return nil
}

// readExtents fills dst with the bytes of a region from an offset in it on.
func (f *FS) readExtents(in *inode, list []extent, dst []byte, from uint32) error {
	to := from + uint32(len(dst))
	at := from
	for i := range list {
		e := &list[i]
		a, b := max(e.off, at), min(e.end(), to)
		if a >= b {
			continue
		}
		clear(dst[at-from : a-from])
		at = b
		if e.id == 0 {
			clear(dst[a-from : b-from])
			continue
		}
		if err := f.st.ReadBlock(in.ns.id, e.id, int(e.boff+a-e.off), dst[a-from:b-from]); err != nil {
			return f.inodeError("read", in.key, err)
		}
	}
	clear(dst[at-from:])
	return nil
}
