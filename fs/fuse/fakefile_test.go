package fuse

import (
	"bytes"
	"time"

	"salliefs/fs"
)

func (f *fakeFS) ReadAt(ino fs.Ino, dst []byte, off int64) (int, error) {
	if err := f.hook("read", ino); err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.getLocked(ino)
	if err != nil || off >= int64(len(n.data)) {
		return 0, err
	}
	return copy(dst, n.data[off:]), nil
}

func (f *fakeFS) WriteAt(ino fs.Ino, data []byte, off int64, killPriv bool) (int, error) {
	n, err := f.WriteBack(ino, data, off)
	if err != nil {
		return n, err
	}
	s := fs.SetAttr{Valid: fs.SetMtime, Mtime: time.Now().UnixNano()}
	if killPriv {
		s.Valid |= fs.KillPriv
	}
	_, err = f.SetAttr(ino, s)
	return n, err
}

func (f *fakeFS) WriteBack(ino fs.Ino, data []byte, off int64) (int, error) {
	if err := f.hook("write", ino); err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.getLocked(ino)
	if err != nil {
		return 0, err
	}
	if end := off + int64(len(data)); end > int64(len(n.data)) {
		n.resize(end)
	}
	return copy(n.data[off:], data), nil
}

func (f *fakeFS) Fallocate(ino fs.Ino, mode uint32, off, length int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.getLocked(ino)
	if err != nil {
		return err
	}
	if mode&(fs.FallocPunchHole|fs.FallocZeroRange) != 0 {
		end := min(off+length, int64(len(n.data)))
		if off < end {
			clear(n.data[off:end])
		}
	}
	if mode&fs.FallocKeepSize == 0 && off+length > int64(len(n.data)) {
		n.resize(off + length)
	}
	return nil
}

// Seek takes 4 KiB pages of zeros for holes.
func (f *fakeFS) Seek(ino fs.Ino, off int64, whence int) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.getLocked(ino)
	if err != nil {
		return 0, err
	}
	size := int64(len(n.data))
	if off >= size {
		return 0, fs.ErrNoData
	}
	for at := off; at < size; at = at&^4095 + 4096 {
		page := n.data[at:min(at&^4095+4096, size)]
		hole := len(bytes.Trim(page, "\x00")) == 0
		if hole == (whence == fs.SeekHole) {
			return at, nil
		}
	}
	if whence == fs.SeekHole {
		return size, nil
	}
	return 0, fs.ErrNoData
}

func (f *fakeFS) CopyRange(src fs.Ino, srcOff int64, dst fs.Ino, dstOff int64, n int64) (int64, error) {
	buf := make([]byte, n)
	got, err := f.ReadAt(src, buf, srcOff)
	if err != nil {
		return 0, err
	}
	written, err := f.WriteAt(dst, buf[:got], dstOff, false)
	return int64(written), err
}

func (f *fakeFS) Fsync(ino fs.Ino) error { return f.hook("fsync", ino) }
func (f *fakeFS) Sync() error            { return f.hook("sync", 0) }
func (f *fakeFS) SyncAhead() error       { return f.hook("syncahead", 0) }
func (f *fakeFS) Settle()                {}

func (f *fakeFS) GetXattr(ino fs.Ino, name string, dst []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.getLocked(ino)
	if err != nil {
		return 0, err
	}
	v, ok := n.xattrs[name]
	if !ok {
		return 0, fs.ErrNoAttr
	}
	return fit(dst, v)
}

// fit copies v as GetXattr and ListXattr do.
func fit(dst, v []byte) (int, error) {
	if len(dst) > 0 && len(v) > len(dst) {
		return len(v), fs.ErrRange
	}
	copy(dst, v)
	return len(v), nil
}

func (f *fakeFS) SetXattr(ino fs.Ino, name string, value []byte, flags uint32) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.getLocked(ino)
	if err != nil {
		return err
	}
	_, ok := n.xattrs[name]
	if ok && flags&fs.XattrCreate != 0 {
		return fs.ErrExist
	}
	if !ok && flags&fs.XattrReplace != 0 {
		return fs.ErrNoAttr
	}
	n.xattrs[name] = value
	return nil
}

func (f *fakeFS) ListXattr(ino fs.Ino, dst []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.getLocked(ino)
	if err != nil {
		return 0, err
	}
	var list []byte
	for name := range n.xattrs {
		list = append(append(list, name...), 0)
	}
	return fit(dst, list)
}

func (f *fakeFS) RemoveXattr(ino fs.Ino, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.getLocked(ino)
	if err != nil {
		return err
	}
	if _, ok := n.xattrs[name]; !ok {
		return fs.ErrNoAttr
	}
	delete(n.xattrs, name)
	return nil
}
