package integration_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"salliefs/integration/mounttest"
)

// TestReadOnlyMount mounts with -o ro: everything can be read, nothing changed.
func TestReadOnlyMount(t *testing.T) {
	s := mounttest.New(t, mounttest.Options{})
	mounttest.NeedMount(t, "options")
	dir := s.Namespace(t, "ns")
	writeWork(t, dir, 0)
	want := mounttest.Scan(t, dir)
	s.Unmount(t)
	before := mounttest.Scan(t, s.Dir)
	s.MountWith(t, "-o", "ro")
	mounttest.Same(t, want, mounttest.Scan(t, dir), 0)
	wantReadOnly(t, dir)
	s.Unmount(t)
	for _, line := range mounttest.Diff(before, mounttest.Scan(t, s.Dir), 0) {
		if !strings.Contains(line, "mtime") && !isLockFile(line) {
			t.Errorf("a read-only mount changed the store: %s", line)
		}
	}
}

// isLockFile recognises what only says who has the store open.
func isLockFile(line string) bool { return strings.Contains(strings.ToLower(line), "lock") }

// wantReadOnly tries every kind of change.
func wantReadOnly(t *testing.T, dir string) {
	t.Helper()
	file := filepath.Join(dir, "large")
	for what, err := range map[string]error{
		"create":   os.WriteFile(dir+"/new", nil, 0o644),
		"write":    overwrite(file, []byte("x")),
		"truncate": os.Truncate(file, 1),
		"mkdir":    os.Mkdir(dir+"/newdir", 0o755),
		"unlink":   os.Remove(file),
		"rename":   os.Rename(file, dir+"/renamed"),
		"chmod":    os.Chmod(file, 0o600),
		"link":     os.Link(file, dir+"/link"),
		"symlink":  os.Symlink("x", dir+"/symlink"),
		"setxattr": unix.Setxattr(file, "user.a", []byte("x"), 0),
	} {
		if !errors.Is(err, unix.EROFS) {
			t.Errorf("%s: %v, want EROFS", what, err)
		}
	}
}

// TestReadOnlyDisk has the store on a disk that cannot be written: an ordinary mount says so and
// what to do, and that works.
func TestReadOnlyDisk(t *testing.T) {
	mounttest.NeedMount(t, "disk under it")
	mounttest.NeedRoot(t, "make a directory read-only for root")
	s := mounttest.New(t, mounttest.Options{})
	dir := s.Namespace(t, "ns")
	writeWork(t, dir, 0)
	want := mounttest.Scan(t, dir)
	s.Unmount(t)
	if err := errors.Join(unix.Mount(s.Dir, s.Dir, "", unix.MS_BIND, ""),
		unix.Mount("", s.Dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")); err != nil {
		t.Skipf("no read-only bind mount can be made here: %v", err)
	}
	defer func() {
		if err := unix.Unmount(s.Dir, 0); err != nil {
			t.Errorf("unmounting the read-only bind mount: %v", err)
		}
	}()
	_, errs, code := s.Try("mount", "--password-file", s.Password, s.Dir, s.Mnt)
	wantComplaint(t, errs, code, codeReadOnly, "read-only", "-o ro")
	if _, mounted := mounttest.MountAt(s.Mnt); mounted {
		t.Fatal("it said that it failed, but mounted")
	}
	if got := s.Run(t, "get", "--password-file", s.Password, "--store", s.Dir, "ns/round0/f1"); got != string(pattern(1, 200)) {
		t.Errorf("get from a read-only disk gives %d bytes", len(got))
	}
	_, errs, code = s.Try("set", "--password-file", s.Password, "--store", s.Dir, "ns/new", "value")
	wantComplaint(t, errs, code, codeReadOnly, "read-only")
	s.MountWith(t, "-o", "ro")
	mounttest.Same(t, want, mounttest.Scan(t, dir), 0)
	wantReadOnly(t, dir)
	s.Unmount(t)
}
