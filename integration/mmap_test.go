package integration_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"salliefs/integration/mounttest"
)

// helper prepares this test binary to run as one of the helpers.
func helper(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), helperVar+"="+name)
	return cmd
}

// mapper is a process that writes by a shared mapping: FILE EVERY FIRST writes its own
// pages of the file, several times, and syncs.
func mapper(args []string) error {
	every, err1 := strconv.Atoi(args[1])
	first, err2 := strconv.Atoi(args[2])
	f, err3 := os.OpenFile(args[0], os.O_RDWR, 0)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	for round := range 5 {
		for page := first; page*4096 < len(mem); page += every {
			copy(mem[page*4096:], mapperPage(page, round))
		}
		if err := unix.Msync(mem, unix.MS_SYNC); err != nil {
			return fmt.Errorf("msync: %w", err)
		}
	}
	return unix.Munmap(mem)
}

func mapperPage(page, round int) []byte {
	return pattern(byte(page*31+round), 4096)
}

// TestMappedWriters lets several processes write one file by mappings, each its own
// pages, and reads what they wrote in every other way.
func TestMappedWriters(t *testing.T) {
	s := mounttest.New(t, mounttest.Options{})
	path := filepath.Join(s.Namespace(t, "mapped"), "file")
	const pages, writers = 1000, 4
	if err := os.WriteFile(path, make([]byte, pages*4096), 0o644); err != nil {
		t.Fatal(err)
	}
	var running []*exec.Cmd
	for i := range writers {
		cmd := helper("mapper", path, fmt.Sprint(writers), fmt.Sprint(i))
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		running = append(running, cmd)
	}
	for _, cmd := range running {
		if err := cmd.Wait(); err != nil {
			t.Fatalf("a writer failed: %v", err)
		}
	}
	var want []byte
	for page := range pages {
		want = append(want, mapperPage(page, 4)...)
	}
	for _, when := range []string{"at once", "after a remount"} {
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: read gives other bytes than were written by the mappings (%v)", when, err)
		}
		s.Remount(t)
	}
}

// TestMapSeesWrites wants a mapping and write(2) to be two views of the same bytes, also
// where a file grows under its mapping, and a private mapping to keep to itself.
func TestMapSeesWrites(t *testing.T) {
	s := mounttest.New(t, mounttest.Options{})
	path := filepath.Join(s.Namespace(t, "mapped"), "file")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, 3*4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	private, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("by write"), 100); err != nil {
		t.Fatal(err)
	}
	if got := string(mem[100:108]); got != "by write" {
		t.Errorf("the mapping shows %q", got)
	}
	copy(mem[200:], "by mapping")
	got := make([]byte, 10)
	if _, err := f.ReadAt(got, 200); err != nil || string(got) != "by mapping" {
		t.Errorf("read shows %q, %v", got, err)
	}
	copy(private[300:], "private")
	if _, err := f.ReadAt(got[:7], 300); err != nil || !bytes.Equal(got[:7], make([]byte, 7)) {
		t.Errorf("a private mapping's write got into the file: %q, %v", got[:7], err)
	}
	if err := f.Truncate(3 * 4096); err != nil {
		t.Fatal(err)
	}
	copy(mem[2*4096:], "grown")
	if err := errors.Join(unix.Munmap(mem), unix.Munmap(private), f.Close()); err != nil {
		t.Fatal(err)
	}
	s.Remount(t)
	data, err := os.ReadFile(path)
	if err != nil || len(data) != 3*4096 {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	want := make([]byte, 3*4096)
	copy(want[100:], "by write")
	copy(want[200:], "by mapping")
	copy(want[2*4096:], "grown")
	if !bytes.Equal(data, want) {
		t.Error("after a remount: other bytes than were written")
	}
}
