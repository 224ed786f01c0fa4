package integration_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"salliefs/integration/mounttest"
)

// TestBigDirectory makes a directory of 200,000 files, lists it while every second one is
// removed under the listing, and removes the rest.
func TestBigDirectory(t *testing.T) {
	s := mounttest.New(t, mounttest.Options{})
	dir := filepath.Join(s.Namespace(t, "big"), "dir")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	const n = 200_000
	start := time.Now()
	for i := range n {
		fd, err := unix.Open(fileName(dir, i), unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o644)
		if err != nil {
			t.Fatalf("file %d: %v", i, err)
		}
		unix.Close(fd)
	}
	t.Logf("creating: %v", time.Since(start).Round(time.Millisecond))
	s.Remount(t)

	start = time.Now()
	first := listAll(t, dir, nil)
	t.Logf("listing: %v", time.Since(start).Round(time.Millisecond))
	if len(first) != n {
		t.Fatalf("%d names listed, want %d", len(first), n)
	}
	for name, times := range first {
		if times != 1 {
			t.Fatalf("%s was listed %d times", name, times)
		}
	}

	// POSIX leaves open whether a name that goes during the listing is seen. One that
	// stays must be seen once, however many others go.
	start = time.Now()
	removed := 0
	during := listAll(t, dir, func(seen int) {
		for ; removed < seen && removed < n; removed += 2 { // keeps pace with the listing
			if err := unix.Unlink(fileName(dir, removed)); err != nil {
				t.Fatalf("removing file %d: %v", removed, err)
			}
		}
	})
	for ; removed < n; removed += 2 {
		if err := unix.Unlink(fileName(dir, removed)); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("listing while removing every second: %v", time.Since(start).Round(time.Millisecond))
	for i := 1; i < n; i += 2 {
		if times := during[filepath.Base(fileName(dir, i))]; times != 1 {
			t.Fatalf("file %d, which stayed, was listed %d times while others were removed", i, times)
		}
	}
	s.Remount(t)
	if rest := listAll(t, dir, nil); len(rest) != n/2 {
		t.Fatalf("%d names are left, want %d", len(rest), n/2)
	}
	start = time.Now()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	t.Logf("removing the rest: %v", time.Since(start).Round(time.Millisecond))
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Errorf("the directory is still there: %v", err)
	}
}

func fileName(dir string, i int) string {
	return fmt.Sprintf("%s/file-%06d", dir, i)
}

// listAll counts how often each name is listed. It asks for little at a time and starts
// anew from the last cookie at each step, as a server for NFS would. between is
// called after each step with the number of names so far.
func listAll(t *testing.T, dir string, between func(seen int)) map[string]int {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { unix.Close(fd) }() // which is another one by then
	names := map[string]int{}
	buf := make([]byte, 16<<10)
	for step := 0; ; step++ {
		if step%16 == 15 { // throw away what the kernel remembers of the listing
			at, err := unix.Seek(fd, 0, unix.SEEK_CUR)
			if err != nil {
				t.Fatal(err)
			}
			again, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
			if err != nil {
				t.Fatal(err)
			}
			unix.Close(fd)
			fd = again
			if _, err := unix.Seek(fd, at, unix.SEEK_SET); err != nil {
				t.Fatal(err)
			}
		}
		n, err := unix.ReadDirent(fd, buf)
		if err != nil {
			t.Fatalf("listing %s: %v", dir, err)
		}
		if n == 0 {
			return names
		}
		var batch []string
		for rest := buf[:n]; len(rest) > 0; {
			used, _, got := unix.ParseDirent(rest, -1, batch[:len(batch):len(batch)])
			batch, rest = got, rest[used:]
		}
		for _, name := range batch {
			names[name]++
		}
		if between != nil {
			between(len(names))
		}
	}
}
