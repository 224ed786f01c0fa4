package record

import (
	"io"
	"io/fs"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// mustFile is a file, or a directory, whose changes Pebble can not see fail. Its methods return no error.
type mustFile struct {
	vfs.File
	d *disk
}

func (f *mustFile) Write(p []byte) (int, error) {
	done := 0
	f.d.must(func() error {
		n, err := f.File.Write(p[done:])
		done += n // what is written stays written when the disk turns out to be full
		return err
	})
	return len(p), nil
}

func (f *mustFile) Sync() error     { f.d.mustSync(f.File.Sync); return nil }
func (f *mustFile) SyncData() error { f.d.mustSync(f.File.SyncData); return nil }

func (f *mustFile) SyncTo(length int64) (full bool, _ error) {
	f.d.mustSync(func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, nil
}

func (f *mustFile) Preallocate(offset, length int64) error {
	if f.d.dead() {
		return nil
	}
	return f.File.Preallocate(offset, length) // Pebble goes on without
}

func (f *mustFile) Stat() (vfs.FileInfo, error) {
	info, err := f.File.Stat()
	if err != nil {
		f.d.fail(err)
		f.d.dead()
		return nullFile{}.Stat()
	}
	return info, nil
}

func (f *mustFile) Close() error {
	if err := f.File.Close(); err != nil {
		f.d.fail(err)
		f.d.dead()
	}
	return nil
}

// tableFile is a file that Pebble gives up, and writes again under another name, when an error comes.
type tableFile struct {
	vfs.File
	d *disk
}

func (f *tableFile) Write(p []byte) (int, error) {
	if f.d.dead() {
		return 0, f.d.failure()
	}
	n, err := f.File.Write(p)
	return n, f.d.noteTable(err)
}

func (f *tableFile) Sync() error     { return f.sync(f.File.Sync) }
func (f *tableFile) SyncData() error { return f.sync(f.File.SyncData) }

func (f *tableFile) SyncTo(length int64) (full bool, err error) {
	err = f.sync(func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

func (f *tableFile) sync(sync func() error) error {
	if f.d.dead() {
		return f.d.failure()
	}
	err := f.d.noteTable(sync())
	if err == nil {
		f.d.tableWritten()
	}
	return err
}

// nullFile takes everything and keeps nothing.
type nullFile struct{}

func (nullFile) Close() error                           { return nil }
func (nullFile) Read([]byte) (int, error)               { return 0, io.EOF }
func (nullFile) ReadAt([]byte, int64) (int, error)      { return 0, io.EOF }
func (nullFile) Prefetch(int64, int64) error            { return nil }
func (nullFile) Write(p []byte) (int, error)            { return len(p), nil }
func (nullFile) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (nullFile) Preallocate(int64, int64) error         { return nil }
func (nullFile) Sync() error                            { return nil }
func (nullFile) SyncData() error                        { return nil }
func (nullFile) SyncTo(int64) (bool, error)             { return true, nil }
func (nullFile) Fd() uintptr                            { return vfs.InvalidFd }
func (nullFile) Stat() (vfs.FileInfo, error)            { return nullInfo{}, nil }

type nullInfo struct{}

func (nullInfo) Name() string           { return "" }
func (nullInfo) Size() int64            { return 0 }
func (nullInfo) Mode() fs.FileMode      { return 0 }
func (nullInfo) ModTime() time.Time     { return time.Time{} }
func (nullInfo) IsDir() bool            { return false }
func (nullInfo) Sys() any               { return nil }
func (nullInfo) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
