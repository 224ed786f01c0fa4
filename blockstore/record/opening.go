package record

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// opening passes on how a call of Pebble went. While Pebble is being opened, an error closes the disk, and then opening does
// not return: see disk. A missing file or the end of one is no error.
func (d *disk) opening(err error) error {
	if err == nil || d.running.Load() || errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	d.mu.Lock()
	opened := d.running.Load()
	first := !opened && d.closeLocked(err)
	d.mu.Unlock()
	if first && d.report != nil {
		d.report(err)
	}
	if !opened {
		select {}
	}
	return err
}

// opened ends the time in which errors end opening. It returns the one that has.
func (d *disk) opened() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running.Store(true)
	return d.err
}

func (d *disk) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.Open(name, opts...)
	if d.opening(err) != nil {
		return nil, err
	}
	return &readFile{f, d}, nil
}

func (d *disk) List(dir string) ([]string, error) {
	names, err := d.FS.List(dir)
	return names, d.opening(err)
}

func (d *disk) Stat(name string) (vfs.FileInfo, error) {
	info, err := d.FS.Stat(name)
	return info, d.opening(err)
}

func (d *disk) MkdirAll(dir string, perm os.FileMode) error {
	return d.opening(d.FS.MkdirAll(dir, perm))
}

// readFile is a file that is read.
type readFile struct {
	vfs.File
	d *disk
}

func (f *readFile) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	return n, f.d.opening(err)
}

func (f *readFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	return n, f.d.opening(err)
}

func (f *readFile) Stat() (vfs.FileInfo, error) {
	info, err := f.File.Stat()
	return info, f.d.opening(err)
}
