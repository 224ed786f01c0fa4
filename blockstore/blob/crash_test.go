package blob_test

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore/blob"
	"salliefs/blockstore/blob/blobtest"
)

func openCrashing(fs vfs.FS) (blob.Store, error) {
	return blob.CreateLocal(fs, blobtest.CrashDir+"/objects", blob.LocalOptions{})
}

func TestCrash(t *testing.T) {
	blobtest.RunCrash(t, openCrashing)
}

// TestCrashSuiteCanFail has filesystems that lie about one kind of sync, and
// expects the crash suite to notice each.
func TestCrashSuiteCanFail(t *testing.T) {
	for name, lie := range map[string]lyingFS{
		"directory": {dir: true},
		"data":      {data: true},
		"file":      {file: true},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			for seed := uint64(0); err == nil && seed < 40; seed++ {
				_, err = blobtest.Crash(func(fs vfs.FS) (blob.Store, error) {
					lie.FS = fs
					return openCrashing(lie)
				}, seed)
			}
			if err == nil {
				t.Fatal("not noticed")
			}
			t.Log(err)
		})
	}
}

// lyingFS does not do some kinds of sync.
type lyingFS struct {
	vfs.FS
	dir, data, file bool
}

func (fs lyingFS) OpenDir(name string) (vfs.File, error) {
	f, err := fs.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return lyingFile{f, false, fs.dir}, nil
}

func (fs lyingFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	if err != nil {
		return nil, err
	}
	return lyingFile{f, fs.data, fs.file}, nil
}

type lyingFile struct {
	vfs.File
	data, sync bool
}

func (f lyingFile) SyncData() error {
	if f.data {
		return nil
	}
	return f.File.SyncData()
}

func (f lyingFile) Sync() error {
	if f.sync {
		return nil
	}
	return f.File.Sync()
}

func TestOpenLocal(t *testing.T) {
	fs := vfs.NewMem()
	if _, err := blob.OpenLocal(fs, "objects", blob.LocalOptions{}); !errors.Is(err, blob.ErrNotExist) {
		t.Fatalf("missing directory: error %v", err)
	}
	if _, err := blob.CreateLocal(fs, "no/objects", blob.LocalOptions{}); !errors.Is(err, blob.ErrNotExist) {
		t.Fatalf("missing parent: error %v", err)
	}
	f, err := fs.Create("file", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := blob.OpenLocal(fs, "file", blob.LocalOptions{}); err == nil {
		t.Fatal("a file was opened as a directory")
	}
	for range 2 {
		if _, err := blob.CreateLocal(fs, "objects", blob.LocalOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := blob.OpenLocal(fs, "objects", blob.LocalOptions{}); err != nil {
		t.Fatal(err)
	}
}
