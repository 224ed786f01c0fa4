package fs

// Seek finds the next data or the next hole of a file from an offset on. What was allocated without being written is a
// hole, and so is the file's end.
func (f *FS) Seek(ino Ino, off int64, whence int) (int64, error) {
	in, err := f.rlock(ino)
	if err != nil {
		return 0, err
	}
	defer f.runlock(in)
	if err := in.isFile(); err != nil {
		return 0, err
	}
	if off < 0 || off >= in.rec.size {
		return 0, ErrNoData
	}
	switch whence {
	case SeekData:
		return f.seekData(in, off)
	case SeekHole:
		return f.seekHole(in, off)
	}
	return 0, ErrInvalid
}

func (f *FS) seekData(in *inode, off int64) (int64, error) {
	at := int64(-1)
	err := f.eachRegion(in, uint64(off)>>regionBits, func(n uint64, list []extent) bool {
		start := int64(n) << regionBits
		for i := range list {
			if e := &list[i]; e.id != 0 && start+int64(e.end()) > off {
				at = max(off, start+int64(e.off))
				return false
			}
		}
		return true
	})
	if err == nil && (at < 0 || at >= in.rec.size) {
		err = ErrNoData
	}
	return at, err
}

func (f *FS) seekHole(in *inode, off int64) (int64, error) {
	at := off
	err := f.eachRegion(in, uint64(off)>>regionBits, func(n uint64, list []extent) bool {
		start := int64(n) << regionBits
		for i := range list {
			if e := &list[i]; e.id != 0 && start+int64(e.off) <= at && start+int64(e.end()) > at {
				at = start + int64(e.end())
			}
		}
		return at == start+RegionSize && at < in.rec.size
	})
	return min(at, in.rec.size), err
}

// eachRegion calls fn for the regions of a file that have extents, from one on, until fn returns false.
func (f *FS) eachRegion(in *inode, from uint64, fn func(n uint64, list []extent) bool) error {
	if from == 0 && len(in.ext) > 0 && !fn(0, in.ext) {
		return nil
	}
	if in.rec.flags&hasRegions == 0 {
		return nil
	}
	var bad error
	err := f.st.Scan(in.epoch, in.key, kindRegion, max(from, 1), func(n uint64, value []byte) bool {
		var list []extent
		list, bad = decodeRegion(value)
		return bad == nil && fn(n, list)
	})
	if err == nil {
		err = bad
	}
	if err != nil {
		return f.inodeError("seek", in.key, err)
	}
	return nil
}
