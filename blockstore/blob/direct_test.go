package blob

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// needDirect skips a test where files can not be written around the system's cache.
func needDirect(t *testing.T, dir string) {
	t.Helper()
	fd, err := unix.Open(filepath.Join(dir, "probe"), unix.O_CREAT|unix.O_WRONLY|unix.O_DIRECT, 0o600)
	if err != nil {
		t.Skipf("%s skipped: no direct writes in %s: %v", t.Name(), dir, err)
	}
	defer unix.Close(fd)
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil || fs.Type == unix.TMPFS_MAGIC {
		t.Skipf("%s skipped: %s is in memory", t.Name(), dir)
	}
}

// cached counts the pages of a file that are in the system's cache.
func cached(t *testing.T, path string) (in, all int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	m, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(m)
	pages := make([]byte, (len(m)+os.Getpagesize()-1)/os.Getpagesize())
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), uintptr(unsafe.Pointer(&pages[0]))); errno != 0 {
		t.Fatal(errno)
	}
	for _, p := range pages {
		in += int(p & 1)
	}
	return in, len(pages)
}

// TestDirect: large pieces leave nothing in the system's cache, and what is read through it is right, before and after.
func TestDirect(t *testing.T) {
	dir := t.TempDir()
	needDirect(t, dir)
	l, err := CreateLocal(vfs.Default, filepath.Join(dir, "objects"), LocalOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := l.Create(context.Background(), "obj")
	if err != nil {
		t.Fatal(err)
	}
	data, at := noise(8*pieceSize), 0
	const pages = pieceSize / 4096
	for _, step := range []struct{ n, cached int }{
		{3 * pieceSize, 0}, {100, 1}, {2 * pieceSize, pages + 1}, {3*pieceSize - 100, 2 * pages}, // what a sync cuts goes through the cache
	} {
		n := step.n
		if _, err := w.Write(data[at : at+n]); err != nil {
			t.Fatal(err)
		}
		if err := w.Sync(); err != nil {
			t.Fatal(err)
		}
		at += n
		in, all := cached(t, filepath.Join(dir, "objects", "obj"))
		if in < step.cached || in > step.cached+6 { // those that were read
			t.Errorf("%d bytes written: %d of %d pages in the cache, want about %d", at, in, all, step.cached)
		}
		// Reading the end puts its page into the cache, beside which the next piece is written.
		got := make([]byte, 5000)
		if _, err := w.ReadAt(got, int64(at-len(got))); err != nil || !bytes.Equal(got, data[at-len(got):at]) {
			t.Fatalf("the last bytes of %d: error %v", at, err)
		}
	}
	got := make([]byte, at)
	if _, err := w.ReadAt(got, 0); err != nil || !bytes.Equal(got, data[:at]) {
		t.Errorf("wrong bytes, or error %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// refusing takes only some of a direct write, and then none.
type refusing struct {
	vfs.File
	d      *directFile
	takes  int
	direct int
}

func (f *refusing) Write(p []byte) (int, error) {
	if !f.d.is {
		return f.File.Write(p)
	}
	f.direct++
	n, err := f.File.Write(p[:f.takes])
	return n, errors.Join(err, unix.EINVAL)
}

// TestDirectRefused: where a filesystem can not write around the cache after all, it does not.
func TestDirectRefused(t *testing.T) {
	for _, takes := range []int{0, directUnit} {
		path := filepath.Join(t.TempDir(), "file")
		f, err := vfs.Default.Create(path, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		d := newDirectFile(f)
		d.able = true
		r := &refusing{File: f, d: &d, takes: takes}
		d.f = r
		data := noise(2 * pieceSize)
		for at := 0; at < len(data); at += pieceSize {
			n, around, err := d.append(data[at:at+pieceSize], int64(at))
			if n != pieceSize || around || err != nil {
				t.Errorf("took %d, around the cache: %v, error %v", n, around, err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, data) || r.direct > 1 {
			t.Errorf("takes %d: %d bytes, error %v; %d tries", takes, len(got), err, r.direct)
		}
	}
}
