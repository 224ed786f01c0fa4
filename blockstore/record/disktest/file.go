package disktest

import (
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// file is an open file of a Disk.
type file struct {
	vfs.File
	d    *Disk
	path string
	node *inode
	pos  int64 // of Write
}

func (f *file) Write(p []byte) (int, error) {
	n, err := f.write(p, f.pos, f.File.Write)
	f.pos += int64(n)
	return n, err
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	return f.write(p, off, func(p []byte) (int, error) { return f.File.WriteAt(p, off) })
}

// write writes as much of p as a fault and the size of the disk let it.
func (f *file) write(p []byte, off int64, write func(p []byte) (int, error)) (int, error) {
	err := f.d.begin(Write, f.path, len(p))
	if err != nil {
		p = p[:len(p)/2]
	}
	if fits := f.d.grow(f.node, off, len(p)); fits < len(p) {
		p = p[:fits]
		if err == nil {
			err = syscall.ENOSPC
		}
	}
	if len(p) == 0 {
		return 0, err
	}
	n, werr := write(p)
	if werr != nil {
		err = werr
	}
	return n, err
}

func (f *file) Sync() error {
	err := f.d.begin(Sync, f.path, 0)
	if err == nil {
		err = f.d.take(f.node)
	}
	if err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *file) SyncData() error { return f.Sync() }

func (f *file) Read(p []byte) (int, error) {
	if err := f.d.begin(Read, f.path, len(p)); err != nil {
		return 0, err
	}
	return f.File.Read(p)
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if err := f.d.begin(Read, f.path, len(p)); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

// dir is an open directory of a Disk.
type dir struct {
	vfs.File
	d    *Disk
	path string
}

func (f *dir) Sync() error {
	if err := f.d.begin(SyncDir, f.path, 0); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *dir) SyncData() error { return f.Sync() }
