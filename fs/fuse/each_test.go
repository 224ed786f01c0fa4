package fuse

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"salliefs/blockstore"
	"salliefs/blockstore/storetest"
	"salliefs/fs"
)

// backing is a filesystem below a mount, as tests look at it.
type backing interface {
	filesystem
	// content is what has arrived of a file, by its path below mounted.dir; nil if it
	// is not there.
	content(path string) []byte
	// exists says whether there is such an inode.
	exists(ino fs.Ino) bool
}

// mounted is a mount of a test. dir is a directory in it for the test's files, a
// namespace if the filesystem has any.
type mounted struct {
	*Server
	fs  backing
	dir string
}

const spaceName = "space"

// onEach runs a test on the filesystem in memory and on a real store.
func onEach(t *testing.T, o Options, test func(t *testing.T, m *mounted)) {
	t.Run("memory", func(t *testing.T) { test(t, newMounted(t, newFakeFS(), o)) })
	t.Run("store", func(t *testing.T) { test(t, newMounted(t, newStoreFS(t, o), o)) })
}

func newMounted(t *testing.T, f backing, o Options) *mounted {
	t.Helper()
	s := mountFor(t, f, o)
	m := &mounted{Server: s, fs: f, dir: s.Mountpoint() + "/" + spaceName}
	must(t, os.Mkdir(m.dir, 0o777))
	must(t, os.Chmod(m.dir, 0o777))
	return m
}

// mountFor mounts f until the test ends. The writeback rounds are far apart, so that
// they do not hide what a test wants to see, and what is logged fails the test.
func mountFor(t *testing.T, f filesystem, o Options) *Server {
	t.Helper()
	needFUSE(t)
	if o.Mountpoint == "" {
		o.Mountpoint = mountDir(t)
	}
	if o.WritebackInterval == 0 {
		o.WritebackInterval = time.Hour
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(&testLog{t: t}, nil))
	}
	s, err := mount(f, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unmountNow(t, s) })
	return s
}

// storeFS is the real thing, on a store in memory.
type storeFS struct {
	*fs.FS
}

// newStoreFS opens a new store, and closes it when the test ends, after the unmount.
func newStoreFS(t *testing.T, o Options) *storeFS {
	t.Helper()
	st := storetest.New(t).Open(t, blockstore.Options{})
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	f, err := fs.Open(st, fs.Options{Relatime: !o.NoAtime, ACL: o.ACL, Log: slog.New(slog.NewTextHandler(&testLog{t: t}, nil))})
	must(t, err)
	t.Cleanup(func() {
		read := func(ns fs.NamespaceID, id blockstore.BlockID, off, n int) error {
			return st.ReadBlock(ns, id, off, make([]byte, n))
		}
		if err := f.Check(context.Background(), fs.CheckOptions{Block: read}, func(p fs.Problem) { t.Errorf("check: %+v", p) }); err != nil {
			t.Errorf("check: %v", err)
		}
		if err := f.Close(); err != nil {
			t.Errorf("closing the filesystem: %v", err)
		}
	})
	return &storeFS{f}
}

func (f *storeFS) content(path string) []byte {
	a, err := f.StatKey(spaceName, path)
	if err != nil {
		return nil
	}
	data := make([]byte, a.Size)
	n, err := f.ReadAt(a.Ino, data, 0)
	if err != nil {
		return nil
	}
	return data[:n]
}

func (f *storeFS) exists(ino fs.Ino) bool {
	_, err := f.GetAttr(ino)
	return err == nil
}
