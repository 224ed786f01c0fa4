package disktest

import (
	"errors"
	"io"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrShort, from the hook of a Read, has it give fewer bytes than were asked for: Read without an error, as read(2) may,
// ReadAt with io.ErrUnexpectedEOF, as of a file that has lost its end.
var ErrShort = errors.New("short read")

// file is an open file or directory of a Disk.
type file struct {
	n      *node
	d      *Disk
	path   string
	room   *inode
	at     int64 // of Read and Write
	closed bool
}

func (f *file) Write(p []byte) (int, error) {
	n, err := f.WriteAt(p, f.at)
	f.at += int64(n)
	return n, err
}

// WriteAt writes as much of p as a fault and the size of the disk let it, and no part of a sector: systems keep files in pages.
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	err := f.d.begin(Write, f.path, len(p))
	if err != nil {
		p = wholeSectors(p, off, len(p)/2)
	}
	if fits := f.d.grow(f.room, off, len(p)); fits < len(p) {
		p = wholeSectors(p, off, fits)
		if err == nil {
			err = syscall.ENOSPC
		}
	}
	f.lock()
	defer f.unlock()
	f.n.writeAt(p, int(off))
	return len(p), err
}

// wholeSectors is the part of p, which is about to be written at off, that ends with the last sector within n bytes.
func wholeSectors(p []byte, off int64, n int) []byte {
	return p[:max(0, (off+int64(n))/sectorSize*sectorSize-off)]
}

func (f *file) Sync() error {
	kind := Sync
	if f.n.entries != nil {
		kind = SyncDir
	}
	err := f.d.begin(kind, f.path, 0)
	if err == nil {
		err = f.d.take(f.room)
	}
	if err != nil {
		return err
	}
	f.lock()
	defer f.unlock()
	if kind == SyncDir {
		f.d.mem.syncDir(f.n)
	} else {
		f.n.sync()
	}
	return nil
}

func (f *file) SyncData() error { return f.Sync() }

// SyncTo promises nothing, and does nothing.
func (f *file) SyncTo(int64) (bool, error) { return false, nil }

func (f *file) Read(p []byte) (int, error) {
	n, err := f.ReadAt(p, f.at)
	f.at += int64(n)
	if n > 0 && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
		err = nil
	}
	return n, err
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	err := f.d.begin(Read, f.path, len(p))
	short := errors.Is(err, ErrShort)
	if err != nil && !short {
		return 0, err
	}
	f.lock()
	defer f.unlock()
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	if short = short && len(p) > 1; short {
		p = p[:(len(p)+1)/2]
	}
	switch n := copy(p, f.n.data[off:]); {
	case n < len(p):
		return n, io.EOF
	case short:
		return n, io.ErrUnexpectedEOF
	default:
		return n, nil
	}
}

func (f *file) Stat() (vfs.FileInfo, error) {
	f.lock()
	defer f.unlock()
	return f.n.info(f.d.PathBase(f.path)), nil
}

func (f *file) Close() error {
	if f.closed {
		panic("disktest: " + f.path + " is closed twice")
	}
	f.closed = true
	return nil
}

func (f *file) Preallocate(int64, int64) error { return nil }
func (f *file) Prefetch(int64, int64) error    { return nil }
func (f *file) Fd() uintptr                    { return vfs.InvalidFd }

// lock is what the file's bytes are used under.
func (f *file) lock() {
	if f.closed {
		panic("disktest: " + f.path + " is used after it was closed")
	}
	f.d.mem.mu.Lock()
}

func (f *file) unlock() { f.d.mem.mu.Unlock() }
