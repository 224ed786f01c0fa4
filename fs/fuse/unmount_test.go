package fuse

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ended waits for Wait to return.
func ended(t *testing.T, s *Server) {
	t.Helper()
	done := make(chan struct{})
	go func() { s.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("Wait does not return")
	}
}

func TestUnmount(t *testing.T) { onEach(t, Options{}, testUnmount) }

func testUnmount(t *testing.T, s *mounted) {
	h, err := os.Create(s.dir + "/file")
	must(t, err)
	_, err = h.WriteString("data")
	must(t, err)
	if err := s.Unmount(); !errors.Is(err, ErrBusy) {
		t.Errorf("with an open file: %v, want ErrBusy", err)
	}
	if err := Unmount(s.Mountpoint(), false); !errors.Is(err, ErrBusy) {
		t.Errorf("with an open file, from outside: %v, want ErrBusy", err)
	}
	_, err = h.WriteString(" more")
	must(t, err)
	must(t, h.Close())
	must(t, s.Unmount())
	ended(t, s.Server)
	if got := string(s.fs.content("file")); got != "data more" {
		t.Errorf("after the unmount the filesystem has %q", got)
	}
	if fake, ok := s.fs.(*fakeFS); ok && fake.observer != nil {
		t.Error("the filesystem still reports to an ended mount")
	}
	if line := mountLine(t, s.Mountpoint()); line != "" {
		t.Errorf("still in the mount table: %s", line)
	}
	must(t, s.Unmount()) // once more is no error
	must(t, s.Writeback())
	s.Settle()
}

// TestUnmountFromOutside: whoever unmounts, and however, Wait returns.
func TestUnmountFromOutside(t *testing.T) {
	for name, unmount := range map[string]func(at string) error{
		"umount(2)":      func(at string) error { return unix.Unmount(at, 0) },
		"Unmount":        func(at string) error { return Unmount(at, false) },
		"lazy":           func(at string) error { return Unmount(at, true) },
		"fusermount3 -u": func(at string) error { return exec.Command("fusermount3", "-u", at).Run() },
		"abort":          func(at string) error { return forced(at) },
	} {
		t.Run(name, func(t *testing.T) {
			if name == "fusermount3 -u" {
				if _, err := exec.LookPath("fusermount3"); err != nil {
					t.Skipf("%s skipped: fusermount3 is not installed", t.Name())
				}
			}
			f := newFakeFS()
			s := newMounted(t, f, Options{})
			must(t, os.WriteFile(s.dir+"/file", []byte("data"), 0o644))
			must(t, unmount(s.Mountpoint()))
			must(t, s.Unmount()) // somebody else was faster, by very little
			ended(t, s.Server)
			if got := string(f.content("file")); got != "data" {
				t.Errorf("the filesystem has %q", got)
			}
		})
	}
}

// forced aborts the connection, which may or may not take the mount away as well.
func forced(at string) error {
	unix.Unmount(at, unix.MNT_FORCE)
	if err := Unmount(at, true); err != nil && !errors.Is(err, ErrNotMounted) {
		return err
	}
	return nil
}

// TestDetach: programs go on with a mount that is out of sight, and it ends with them.
func TestDetach(t *testing.T) { onEach(t, Options{}, testDetach) }

func testDetach(t *testing.T, s *mounted) {
	h, err := os.Create(s.dir + "/file")
	must(t, err)
	must(t, s.Detach())
	if line := mountLine(t, s.Mountpoint()); line != "" {
		t.Errorf("still in the mount table: %s", line)
	}
	_, err = h.WriteString("still writing")
	must(t, err)
	if err := s.Writeback(); err == nil {
		t.Error("writing back a detached mount: no error, though it can not be reached")
	}
	must(t, h.Sync())
	must(t, h.Close())
	ended(t, s.Server)
	if got := string(s.fs.content("file")); got != "still writing" {
		t.Errorf("the filesystem has %q", got)
	}
}

// TestOtherNamespace: a copy of the mount in another mount namespace keeps it alive, which
// an unmount says instead of waiting for ever.
func TestOtherNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skipf("%s skipped: it takes root to make a mount namespace", t.Name())
	}
	s := mountFor(t, newFakeFS(), Options{})
	child := exec.Command("/bin/sh", "-c", "mount --make-rprivate / && echo ready && read forever")
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	in, err := child.StdinPipe()
	must(t, err)
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	defer child.Wait()
	defer in.Close()
	if _, err := out.Read(make([]byte, 10)); err != nil {
		t.Skipf("%s skipped: no mount namespace could be made: %v", t.Name(), err)
	}
	if err := s.Unmount(); !errors.Is(err, ErrElsewhere) {
		t.Errorf("unmount: %v, want ErrElsewhere", err)
	}
	if line := mountLine(t, s.Mountpoint()); line != "" {
		t.Errorf("still in the mount table: %s", line)
	}
	select {
	case <-s.done:
		t.Error("the mount has ended although another namespace has it")
	default:
	}
	must(t, in.Close())
	ended(t, s)
}

// TestDeadMount: a killed daemon leaves a dead mount, which is recognised and removed.
func TestDeadMount(t *testing.T) {
	needFUSE(t)
	dir := mountDir(t)
	p := startServer(t, dir, 0)
	must(t, os.WriteFile(dir+"/file", nil, 0o644))
	must(t, p.cmd.Process.Kill())
	p.cmd.Wait()
	eventually(t, "the mount is dead", func() bool { _, err := os.Stat(dir); return errors.Is(err, unix.ENOTCONN) })
	if err := CheckMountpoint(dir); !errors.Is(err, ErrDead) {
		t.Errorf("check of a dead mount: %v", err)
	}
	must(t, Unmount(dir, true))
	must(t, CheckMountpoint(dir))
}
