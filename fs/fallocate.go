package fs

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Fallocate allocates, punches or zeroes a range, as fallocate(2). Modes that move data are not supported.
func (f *FS) Fallocate(ino Ino, mode uint32, off, length int64) error {
	do, ok := fallocModes[mode]
	switch {
	case !ok:
		return ErrNotSupported
	case off < 0 || length <= 0:
		return ErrInvalid
	case off > MaxFileSize || length > MaxFileSize-off:
		return ErrTooBig
	}
	begin := f.begin
	if mode&FallocPunchHole != 0 {
		begin = f.beginFreeing
	}
	if err := begin(); err != nil {
		return err
	}
	in, err := f.lock(ino)
	if err != nil {
		return err
	}
	defer f.unlock(in)
	if err := in.isFile(); err != nil {
		return err
	}
	if err := f.finishTruncate(in); err != nil {
		return err
	}
	if mode&FallocPunchHole != 0 {
		return f.punch(in, off, off+length)
	}
	if err := f.hasSpace(length - in.rec.alloc); err != nil {
		return err
	}
	return f.allocate(in, off, off+length, mode&FallocKeepSize != 0, do)
}

// fallocModes are the modes that are supported, with what each does to the list of a region.
var fallocModes = map[uint32]func(list []extent, from, to uint32) []extent{
	0:              fillGaps,
	FallocKeepSize: fillGaps,
	FallocPunchHole | FallocKeepSize: func(list []extent, from, to uint32) []extent {
		return cut(nil, list, from, to)
	},
	FallocZeroRange:                  zeroRange,
	FallocZeroRange | FallocKeepSize: zeroRange,
}

// fillGaps allocates zeros where there is nothing.
func fillGaps(list []extent, from, to uint32) []extent {
	next := list
	at := from
	for _, e := range append(append([]extent(nil), list...), extent{off: to, len: 1}) {
		if a := min(e.off, to); a > at {
			next = place(nil, next, extent{off: at, len: a - at})
		}
		at = max(at, e.end())
	}
	return next
}

func zeroRange(list []extent, from, to uint32) []extent {
	return place(nil, list, extent{off: from, len: to - from})
}

// hasSpace fails when the disk has no room for more bytes.
func (f *FS) hasSpace(more int64) error {
	_, free, reserve, err := f.st.DiskFree()
	if errors.Is(err, vfs.ErrUnsupported) {
		return nil
	}
	if err == nil && more > free-reserve {
		err = fmt.Errorf("%w: %d bytes asked for, %d free", ErrNoSpace, more, max(free-reserve, 0))
	}
	return err
}

// allocate changes the regions of a range, some at a time.
func (f *FS) allocate(in *inode, off, end int64, keepSize bool, do func(list []extent, from, to uint32) []extent) error {
	for off < end {
		e := f.newEdit(in)
		for range stepRegions {
			if off == end {
				break
			}
			n, from := uint64(off)>>regionBits, uint32(off%RegionSize)
			to := uint32(min(RegionSize, end-int64(n)<<regionBits))
			list, err := e.list(n)
			if err != nil {
				return err
			}
			if _, err := e.set(n, do(list, from, to)); err != nil {
				return err
			}
			off += int64(to - from)
		}
		if !keepSize {
			e.rec.size = max(e.rec.size, off)
		}
		if err := f.changeData(e); err != nil {
			return err
		}
		if off < end {
			if err := f.st.Throttle(); err != nil {
				return err
			}
		}
	}
	return nil
}

// changeData ends an edit as a write: times move, capabilities go. Whether set-user-ID goes too depends on who
// asks, which the caller knows and says by KillPriv.
func (f *FS) changeData(e *edit) error {
	e.rec.mtime = f.now()
	e.rec.ctime = e.rec.mtime
	caps, err := f.removeCaps(e.in, &e.rec)
	if err != nil {
		return err
	}
	return e.run(caps.apply)
}

// punch makes a hole, some regions at a time; it looks only at those that there are.
func (f *FS) punch(in *inode, off, end int64) error {
	first, last := uint64(off)>>regionBits, uint64(end-1)>>regionBits
	for next, done := first, false; !done; {
		e := f.newEdit(in)
		var list []stored
		if next == 0 {
			list = append(list, stored{0, in.ext})
		}
		tail, more, err := f.scanRegions(in, next, stepRegions)
		if err != nil {
			return err
		}
		done = !more
		for _, r := range append(list, tail...) {
			if r.n > last {
				done = true
				break
			}
			next = r.n + 1
			start := int64(r.n) << regionBits
			from, to := uint32(max(off-start, 0)), uint32(min(end-start, RegionSize))
			if covered(r.ext, from, to) == 0 {
				continue
			}
			if _, err := e.set(r.n, cut(nil, r.ext, from, to)); err != nil {
				return err
			}
		}
		if err := f.changeData(e); err != nil {
			return err
		}
		if !done {
			if err := f.st.ThrottleMeta(); err != nil {
				return err
			}
		}
	}
	return nil
}
