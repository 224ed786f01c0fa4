package integration_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"salliefs/integration/mounttest"
)

const tebibyte = int64(1) << 40

// TestSparse writes a few places of a file of 1 TiB and wants the holes to cost nothing
// and to be found.
func TestSparse(t *testing.T) {
	s := mounttest.New(t, mounttest.Options{})
	path := filepath.Join(s.Namespace(t, "sparse"), "file")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(tebibyte); err != nil {
		t.Fatal(err)
	}
	places := []int64{0, 5<<30 + 123, tebibyte / 2, tebibyte - 4096}
	for i, at := range places {
		if _, err := f.WriteAt(pattern(byte(i), 4096), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	checkSparse(t, path, places)
	s.Remount(t)
	checkSparse(t, path, places)

	f, err = os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, places[1]-500, 1<<20); err != nil {
		t.Fatalf("punching a hole: %v", err)
	}
	checkSparse(t, path, []int64{places[0], places[2], places[3]})
	if err := f.Truncate(tebibyte / 4); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(tebibyte); err != nil {
		t.Fatal(err)
	}
	checkSparse(t, path, places[:1])
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s.Remount(t)
	checkSparse(t, path, places[:1])
	if !mounttest.Plain() {
		s.Unmount(t)
		if used := mounttest.DiskUsage(t, s.Dir); used > 8<<20 {
			t.Errorf("the store takes %d bytes for 4 KiB of data", used)
		}
	}
}

// checkSparse wants a file of 1 TiB to hold 4 KiB at each of the places and nothing else.
func checkSparse(t *testing.T, path string, places []int64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Size() != tebibyte {
		t.Fatalf("size %d, %v; want 1 TiB", st.Size(), err)
	}
	if used := st.Sys().(*syscall.Stat_t).Blocks * 512; used == 0 || used > 1<<20 {
		t.Errorf("st_blocks says %d bytes for %d places of 4 KiB", used, len(places))
	}
	// Every data range found by SEEK_DATA must hold one of the places, and every place must be in one.
	var at int64
	left := places
	for {
		data, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if err == unix.ENXIO {
			break
		}
		if err != nil {
			t.Fatalf("SEEK_DATA from %d: %v", at, err)
		}
		hole, err := unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
		if err != nil {
			t.Fatalf("SEEK_HOLE from %d: %v", data, err)
		}
		if hole-data > 1<<20 {
			t.Errorf("data from %d to %d: more than was written", data, hole)
		}
		for len(left) > 0 && left[0] >= data && left[0]+4096 <= hole {
			left = left[1:]
		}
		at = hole
	}
	if len(left) > 0 {
		t.Errorf("no data found at %v", left)
	}
	for _, place := range places {
		got := make([]byte, 4096+8192)
		n, err := f.ReadAt(got, max(0, place-4096))
		if err != nil && err != io.EOF {
			t.Fatalf("reading around %d: %v", place, err)
		}
		want := make([]byte, n)
		copy(want[min(place, 4096):], pattern(seedOf(place), 4096))
		if !bytes.Equal(got[:n], want) {
			t.Errorf("around %d: other bytes than were written", place)
		}
	}
	for _, hole := range []int64{1 << 30, tebibyte/2 + 8192, tebibyte - 100_000} {
		got := bytes.Repeat([]byte{1}, 1000)
		if _, err := f.ReadAt(got, hole); err != nil || !bytes.Equal(got, make([]byte, 1000)) {
			t.Errorf("the hole at %d is not all zeros, %v", hole, err)
		}
	}
}

// seedOf is what TestSparse writes at a place.
func seedOf(place int64) byte {
	switch {
	case place == 0:
		return 0
	case place < tebibyte/2:
		return 1
	case place == tebibyte/2:
		return 2
	}
	return 3
}

// TestFileSizeLimits goes to the ends of what an offset can say.
func TestFileSizeLimits(t *testing.T) {
	mounttest.NeedMount(t, "file size of 8 EiB")
	s := mounttest.New(t, mounttest.Options{})
	path := filepath.Join(s.Namespace(t, "sparse"), "file")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	const last = int64(1)<<62 + 12345
	if _, err := f.WriteAt([]byte("end"), last); err != nil {
		t.Fatalf("writing at 2^62: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s.Remount(t)
	f, err = os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := make([]byte, 3)
	if _, err := f.ReadAt(got, last); err != nil || string(got) != "end" {
		t.Errorf("at 2^62: %q, %v", got, err)
	}
	if st, err := f.Stat(); err != nil || st.Size() != last+3 {
		t.Errorf("size %v, %v; want %d", st.Size(), err, last+3)
	}
}

// TestFallocateRefusals wants the kinds of fallocate that we do not do to say so, and to
// change nothing.
func TestFallocateRefusals(t *testing.T) {
	mounttest.NeedMount(t, "refusals of ours")
	s := mounttest.New(t, mounttest.Options{})
	path := filepath.Join(s.Namespace(t, "sparse"), "file")
	if err := os.WriteFile(path, pattern(1, 64<<10), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, mode := range map[string]uint32{"collapse": unix.FALLOC_FL_COLLAPSE_RANGE, "insert": unix.FALLOC_FL_INSERT_RANGE} {
		t.Run(name, func(t *testing.T) {
			if err := unix.Fallocate(int(f.Fd()), mode, 0, 4096); err != unix.EOPNOTSUPP {
				t.Errorf("%v, want EOPNOTSUPP", err)
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, pattern(1, 64<<10)) {
				t.Error(fmt.Sprint("the file changed: ", len(got), " bytes, ", err))
			}
		})
	}
}
