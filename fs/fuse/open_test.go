package fuse

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"salliefs/fs"
)

// TestOpenWithoutRequests: OPEN, OPENDIR, FLUSH and CREATE are asked once and then
// never again, and open(2) still does all that its flags say.
func TestOpenWithoutRequests(t *testing.T) { onEach(t, Options{}, testOpenWithoutRequests) }

func testOpenWithoutRequests(t *testing.T, s *mounted) {
	dir := s.dir
	for i := range 10 {
		p := fmt.Sprintf("%s/f%d", dir, i)
		must(t, os.WriteFile(p, []byte("x"), 0o644))
		wantContent(t, p, "x")
		_, err := os.ReadDir(dir)
		must(t, err)
	}
	got := s.Requests()
	for _, op := range []string{"OPEN", "OPENDIR", "FLUSH", "CREATE"} {
		if got[op] != 1 {
			t.Errorf("%d %s, want 1", got[op], op)
		}
	}
	if got["RELEASE"]+got["RELEASEDIR"] > 1 { // go-fuse's own file, see Server.start
		t.Errorf("%d RELEASE, %d RELEASEDIR, want none", got["RELEASE"], got["RELEASEDIR"])
	}
}

func TestOpenFlags(t *testing.T) { onEach(t, Options{}, testOpenFlags) }

func testOpenFlags(t *testing.T, s *mounted) {
	dir := s.dir
	path := dir + "/file"
	open := func(flags int, mode uint32) (int, error) { return unix.Open(path, flags|unix.O_CLOEXEC, mode) }

	// O_EXCL
	fd, err := open(unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o444)
	must(t, err)
	// A file that its creator may write although its mode says that nobody may.
	if _, err := unix.Write(fd, []byte("read-only for the next")); err != nil {
		t.Errorf("write to a new file of mode 0444: %v", err)
	}
	must(t, unix.Close(fd))
	_, err = open(unix.O_CREAT|unix.O_EXCL|unix.O_RDWR, 0o644)
	wantErr(t, "O_EXCL", err, unix.EEXIST)
	asUser(t, nobody, func() {
		// The mount is for its owner alone, so a user is one by fsuid only; see asUser.
		_, err := open(unix.O_WRONLY, 0)
		wantErr(t, "open by another user", err, unix.EACCES)
	})

	// O_TRUNC is a SETATTR.
	s.ResetRequests()
	fd, err = open(unix.O_WRONLY|unix.O_TRUNC, 0)
	must(t, err)
	if st := stat(t, path); st.Size != 0 {
		t.Errorf("size %d after O_TRUNC", st.Size)
	}
	if n := s.Requests()["SETATTR"]; n == 0 {
		t.Error("no SETATTR for O_TRUNC")
	}
	must(t, unix.Close(fd))

	// O_TRUNC of what is new, O_CREAT of what is there, O_DIRECTORY, O_NOFOLLOW.
	must(t, os.Remove(path))
	fd, err = open(unix.O_CREAT|unix.O_TRUNC|unix.O_RDWR, 0o600)
	must(t, err)
	must(t, unix.Close(fd))
	fd, err = open(unix.O_CREAT|unix.O_RDWR, 0o777)
	must(t, err)
	if st := stat(t, path); st.Mode&0o777 != 0o600 {
		t.Errorf("mode %o after a second O_CREAT, want 600", st.Mode&0o777)
	}
	must(t, unix.Close(fd))
	_, err = open(unix.O_RDONLY|unix.O_DIRECTORY, 0)
	wantErr(t, "O_DIRECTORY of a file", err, unix.ENOTDIR)
	_, err = unix.Open(dir, unix.O_WRONLY, 0)
	wantErr(t, "writing to a directory", err, unix.EISDIR)
	must(t, os.Symlink("file", dir+"/link"))
	_, err = unix.Open(dir+"/link", unix.O_RDONLY|unix.O_NOFOLLOW, 0)
	wantErr(t, "O_NOFOLLOW", err, unix.ELOOP)
}

// TestAppend: two descriptors append in turn, and lose nothing.
func TestAppend(t *testing.T) { onEach(t, Options{}, testAppend) }

func testAppend(t *testing.T, s *mounted) {
	var h [2]*os.File
	for i := range h {
		var err error
		h[i], err = os.OpenFile(s.dir+"/log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		must(t, err)
	}
	want := ""
	for i := range 200 {
		line := fmt.Sprintf("line %d\n", i)
		_, err := h[i%2].WriteString(line)
		must(t, err)
		want += line
	}
	wantContent(t, s.dir+"/log", want)
	must(t, h[0].Close())
	must(t, h[1].Close())
	if got := string(s.fs.content("log")); got != want {
		t.Errorf("%d bytes arrived, want %d", len(got), len(want))
	}
}

// TestDirectIO: O_DIRECT and cached reads and writes of one file see each other.
func TestDirectIO(t *testing.T) { onEach(t, Options{}, testDirectIO) }

func testDirectIO(t *testing.T, s *mounted) {
	path := s.dir + "/file"
	cached, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	must(t, err)
	defer cached.Close()
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_DIRECT, 0)
	must(t, err)
	defer unix.Close(fd)

	page := func(c string) []byte { return bytes.Repeat([]byte(c), 4096) }
	_, err = cached.WriteAt(append(page("a"), page("b")...), 0)
	must(t, err)
	buf := make([]byte, 8192)
	n, err := unix.Pread(fd, buf, 0)
	if err != nil || !bytes.Equal(buf[:n], append(page("a"), page("b")...)) {
		t.Errorf("O_DIRECT read %d bytes (%v), not what was written a moment ago", n, err)
	}
	_, err = unix.Pwrite(fd, page("c"), 4096)
	must(t, err)
	_, err = cached.ReadAt(buf, 0)
	must(t, err)
	if !bytes.Equal(buf, append(page("a"), page("c")...)) {
		t.Error("a cached read does not see what O_DIRECT wrote")
	}
	if got := s.fs.content("file"); !bytes.Equal(got, buf) {
		t.Error("O_DIRECT data did not arrive")
	}
}

func TestMmap(t *testing.T) { onEach(t, Options{}, testMmap) }

func testMmap(t *testing.T, s *mounted) {
	path := s.dir + "/file"
	must(t, os.WriteFile(path, make([]byte, 3*4096), 0o644))
	p := startHelper(t, "map "+path, 0)
	p.want(t, "synced")
	if got := s.fs.content("file"); !bytes.Contains(got, []byte("through the mapping")) {
		t.Error("msync: the data did not arrive")
	}
	h, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	_, err = h.WriteAt([]byte("written"), 100)
	must(t, err)
	must(t, h.Close())
	p.goOn(t)
	p.want(t, `"written"`) // what the mapping shows
	p.want(t, "unmapped")
	p.goOn(t)
	must(t, p.cmd.Wait())
	eventually(t, "dirty pages of a mapping arrive after the last close", func() bool {
		return bytes.Contains(s.fs.content("file"), []byte("last words"))
	})
}

// TestExec has a shell run the programs: between fork and exec a child of this process
// stops one of the threads that answer its requests, and with it, should the garbage
// collector run, all of them.
func TestExec(t *testing.T) { onEach(t, Options{}, testExec) }

func testExec(t *testing.T, s *mounted) {
	bin, err := exec.LookPath("true")
	must(t, err)
	data, err := os.ReadFile(bin)
	must(t, err)
	path := s.dir + "/true"
	must(t, os.WriteFile(path, data, 0o755))
	if err := sh(path).Run(); err != nil {
		t.Errorf("running a program in the mount: %v", err)
	}
	script := s.dir + "/script"
	must(t, os.WriteFile(script, []byte("#!/bin/sh\necho hello"), 0o755))
	if out, err := sh(script).CombinedOutput(); string(out) != "hello\n" {
		t.Errorf("running a script in the mount: %q, %v", out, err)
	}
	h, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	if err := sh(path).Run(); err == nil {
		t.Error("a program that is open for writing was run, want ETXTBSY")
	}
	must(t, h.Close())
}

func sh(path string) *exec.Cmd { return exec.Command("/bin/sh", "-c", path) }

// TestTmpfile: O_TMPFILE goes its own way past all that is switched off.
func TestTmpfile(t *testing.T) { onEach(t, Options{}, testTmpfile) }

func testTmpfile(t *testing.T, s *mounted) {
	path := s.dir + "/named"
	linkTmpfile(t, path)
	wantContent(t, path, "anonymous")
	if st := stat(t, path); st.Nlink != 1 || st.Mode != unix.S_IFREG|0o600 {
		t.Errorf("the file has %d links and mode %o, want 1 and 100600", st.Nlink, st.Mode)
	}

	fd, err := unix.Open(s.dir, unix.O_TMPFILE|unix.O_RDWR, 0o600)
	must(t, err)
	var st unix.Stat_t
	must(t, unix.Fstat(fd, &st))
	if st.Nlink != 0 || !s.fs.exists(fs.Ino(st.Ino)) {
		t.Errorf("an open O_TMPFILE has %d links", st.Nlink)
	}
	must(t, unix.Close(fd))
	wantGone(t, s.fs, fs.Ino(st.Ino))
	wantNames(t, s.dir, "named")
}

// TestWriteErrors: what cannot be stored is reported by whoever waits for it.
func TestWriteErrors(t *testing.T) {
	for _, err := range []error{fs.ErrNoSpace, fs.ErrQuota} {
		t.Run(err.Error(), func(t *testing.T) { testWriteError(t, err) })
	}
}

func testWriteError(t *testing.T, fault error) {
	f := newFakeFS()
	s := mountFor(t, f, Options{})
	f.setHook(func(op string, _ fs.Ino) error {
		if op == "write" {
			return fault
		}
		return nil
	})
	direct, _ := errnoOf(fault)
	for _, c := range []struct {
		name   string
		cached bool
		wait   func(h *os.File) error
	}{
		{"close", true, func(h *os.File) error { return unix.Close(dup(t, h)) }},
		{"fsync", true, func(h *os.File) error { return unix.Fsync(int(h.Fd())) }},
		{"fdatasync", true, func(h *os.File) error { return unix.Fdatasync(int(h.Fd())) }},
		{"O_SYNC", true, func(h *os.File) error {
			fd, err := unix.Open(h.Name(), unix.O_WRONLY|unix.O_SYNC, 0)
			must(t, err)
			defer unix.Close(fd)
			_, err = unix.Pwrite(fd, []byte("y"), 0)
			return err
		}},
		{"O_DIRECT", false, func(h *os.File) error {
			// Another file, for this one has data in the cache that would go first.
			fd, err := unix.Open(h.Name()+"-2", unix.O_CREAT|unix.O_WRONLY|unix.O_DIRECT, 0o644)
			must(t, err)
			defer unix.Close(fd)
			_, err = unix.Pwrite(fd, make([]byte, 4096), 0)
			return err
		}},
	} {
		h, err := os.Create(filepath.Join(s.Mountpoint(), c.name))
		must(t, err)
		_, err = h.WriteString("does not fit")
		must(t, err)
		want := unix.ENOSPC
		if !c.cached {
			want = direct
		}
		wantErr(t, c.name, c.wait(h), want)
		h.Close()
	}
}

func dup(t *testing.T, h *os.File) int {
	t.Helper()
	fd, err := unix.Dup(int(h.Fd()))
	must(t, err)
	return fd
}
