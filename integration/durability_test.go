package integration_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"salliefs/integration/mounttest"
)

// TestUnmountIsDurable writes without any sync, unmounts in each of the ways that there are,
// and wants everything back.
func TestUnmountIsDurable(t *testing.T) {
	for _, c := range []struct {
		name string
		way  func(t *testing.T, s *mounttest.Store)
	}{
		{"salliefs umount", func(t *testing.T, s *mounttest.Store) { s.Unmount(t) }},
		{"fusermount3 -u", func(t *testing.T, s *mounttest.Store) {
			mounttest.Need(t, "fusermount3", "fuse3")
			s.UnmountBy(t, func(int) error { return exec.Command("fusermount3", "-u", s.Mnt).Run() })
		}},
		{"SIGTERM", func(t *testing.T, s *mounttest.Store) {
			s.UnmountBy(t, func(pid int) error { return syscall.Kill(pid, syscall.SIGTERM) })
		}},
		{"SIGINT", func(t *testing.T, s *mounttest.Store) {
			s.UnmountBy(t, func(pid int) error { return syscall.Kill(pid, syscall.SIGINT) })
		}},
		{"umount", func(t *testing.T, s *mounttest.Store) {
			mounttest.NeedRoot(t, "use umount(8)")
			s.UnmountBy(t, func(int) error { return exec.Command("umount", s.Mnt).Run() })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			mounttest.NeedMount(t, "unmounting")
			s := mounttest.New(t, mounttest.Options{})
			dir := s.Namespace(t, "work")
			for round := range 2 { // an unmount must not cost what an earlier one had made durable
				writeWork(t, dir, round)
				want := mounttest.Scan(t, dir)
				c.way(t, s)
				s.Mount(t)
				mounttest.Same(t, want, mounttest.Scan(t, dir), 0)
			}
			s.Unmount(t)
			s.Check(t, "--data")
		})
	}
}

// writeWork makes files of all sizes and changes those of the last round.
func writeWork(t *testing.T, dir string, round int) {
	t.Helper()
	for i := range 40 {
		path := filepath.Join(dir, fmt.Sprint("round", round), fmt.Sprint("f", i))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, pattern(byte(i), int64(i*i*200)), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "large"), pattern(byte(round), 5<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	if round > 0 {
		last := filepath.Join(dir, fmt.Sprint("round", round-1))
		if err := errors.Join(overwrite(last+"/f20", []byte("changed")), os.Remove(last+"/f21"), os.Rename(last+"/f22", last+"/renamed")); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUnmountWritesMappedPages unmounts right after pages were changed by a mapping: nobody
// has told the daemon of them yet.
func TestUnmountWritesMappedPages(t *testing.T) {
	s := mounttest.New(t, mounttest.Options{})
	path := filepath.Join(s.Namespace(t, "work"), "file")
	if err := os.WriteFile(path, make([]byte, 64*4096), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, 64*4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	want := pattern(7, 64*4096)
	copy(mem, want)
	if err := errors.Join(unix.Munmap(mem), f.Close()); err != nil {
		t.Fatal(err)
	}
	s.Remount(t)
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the pages are not as the mapping left them (%d bytes, %v)", len(got), err)
	}
}

// TestKillAfterFsync kills the daemon right after fsync returned: what was synced must be
// there, and what was not may be, but then as a whole.
func TestKillAfterFsync(t *testing.T) {
	mounttest.NeedMount(t, "daemon to kill")
	s := mounttest.New(t, mounttest.Options{})
	dir := s.Namespace(t, "work")
	rounds := mounttest.Scale(6, 60)
	for round := range rounds {
		synced := filepath.Join(dir, fmt.Sprint("synced", round))
		data := pattern(byte(round), int64(1+round*40_000))
		if err := writeSync(synced, data); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "after"), data, 0o644); err != nil { // may be lost
			t.Fatal(err)
		}
		s.Kill(t)
		s.Mount(t)
		for i := range round + 1 {
			got, err := os.ReadFile(filepath.Join(dir, fmt.Sprint("synced", i)))
			if err != nil || !bytes.Equal(got, pattern(byte(i), int64(1+i*40_000))) {
				t.Fatalf("killed in round %d: the file that was synced in round %d is gone or different (%d bytes, %v)", round, i, len(got), err)
			}
		}
	}
	s.Unmount(t)
	s.Check(t, "--data")
}

// TestKillAfterSyncOfDirectory makes names durable with fsync of their directory, and changes
// of a file's place with it.
func TestKillAfterSyncOfDirectory(t *testing.T) {
	mounttest.NeedMount(t, "daemon to kill")
	s := mounttest.New(t, mounttest.Options{})
	dir := s.Namespace(t, "work")
	if err := errors.Join(
		writeSync(dir+"/a", []byte("a")),
		writeSync(dir+"/target", []byte("old")),
		writeSync(dir+"/new", []byte("new")),
		os.Mkdir(dir+"/sub", 0o755),
		os.Symlink("a", dir+"/link"),
		os.Link(dir+"/a", dir+"/sub/twin"),
		os.Rename(dir+"/new", dir+"/target"),
		syncDir(dir),
	); err != nil {
		t.Fatal(err)
	}
	want := mounttest.Scan(t, dir)
	s.Kill(t)
	s.Mount(t)
	mounttest.Same(t, want, mounttest.Scan(t, dir), 0)
}

// TestKillAfterAPause kills the daemon without any sync, when it says that everything that was
// handed over has become durable by itself. (That this takes 5 s is for blockstore's tests.)
func TestKillAfterAPause(t *testing.T) {
	mounttest.NeedMount(t, "daemon to kill")
	s := mounttest.New(t, mounttest.Options{})
	dir := s.Namespace(t, "work")
	writeWork(t, dir, 0)
	want := mounttest.Scan(t, dir)
	awaitCommit(t, s, time.Minute, 0)
	s.Kill(t)
	s.Mount(t)
	mounttest.Same(t, want, mounttest.Scan(t, dir), 0)
	s.Unmount(t)
	s.Check(t, "--data")
}

// awaitCommit waits until so many bytes of files, or more, have been handed over, and nothing waits for a
// commit any more.
func awaitCommit(t *testing.T, s *mounttest.Store, within time.Duration, bytes int64) {
	t.Helper()
	if err := eventually(within, func() error {
		if st := s.Stats(t); st.PendingBytes > 0 || st.LogicalBytes < bytes {
			return fmt.Errorf("%d bytes of files, %d bytes wait", st.LogicalBytes, st.PendingBytes)
		}
		return nil
	}); err != nil {
		t.Fatalf("not durable within %v: %v", within, err)
	}
}

// kernelHolds is less than the time for which the kernel by itself keeps data of a file that stays open.
const kernelHolds = 25 * time.Second

// TestKillWithOpenFile kills the daemon while a file that was never synced is still open: the kernel is made
// to hand the data over every few seconds, and then they are committed.
func TestKillWithOpenFile(t *testing.T) {
	mounttest.NeedMount(t, "daemon to kill")
	s := mounttest.New(t, mounttest.Options{})
	path := filepath.Join(s.Namespace(t, "work"), "file")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := pattern(3, 700_000)
	if _, err := f.Write(want); err != nil {
		t.Fatal(err)
	}
	awaitCommit(t, s, kernelHolds, int64(len(want)))
	s.Kill(t)
	f.Close()
	s.Mount(t)
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes are there, %v", len(got), len(want), err)
	}
}

// TestKillWhileItWaitsForTheMount kills the daemon while a thread of it waits in the kernel for what the daemon would have to
// answer itself. It must die all the same, and nobody who uses the mount may hang.
func TestKillWhileItWaitsForTheMount(t *testing.T) {
	mounttest.NeedMount(t, "daemon to kill")
	mounttest.NeedRoot(t, "see in which system call a process is")
	for _, c := range []struct {
		name string
		call int
		work func(dir string, i int, was *os.File) (*os.File, error) // of 50 files that stay open, makes another of one
	}{
		{"writing back", unix.SYS_SYNCFS, func(dir string, i int, f *os.File) (_ *os.File, err error) {
			if f == nil {
				f, err = os.Create(fmt.Sprint(dir, "/file", i))
			}
			if err == nil {
				_, err = f.WriteAt(pattern(byte(i), 50_000), 0) // its times are the kernel's to hand over
			}
			return f, err
		}},
		{"notifying", unix.SYS_WRITEV, func(dir string, i int, was *os.File) (*os.File, error) {
			was.Close()
			f, err := os.Create(dir + "/new")
			if err == nil {
				_, err = f.Write(pattern(byte(i), 200_000))
			}
			return f, errors.Join(err, os.Rename(dir+"/new", dir+"/file")) // what replaces is written back
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := mounttest.New(t, mounttest.Options{})
			dir := s.Namespace(t, "work")
			quit := make(chan struct{})
			var worker sync.WaitGroup
			worker.Go(func() {
				var open [50]*os.File
				defer func() {
					for _, f := range open {
						f.Close()
					}
				}()
				for i, err := 0, error(nil); err == nil; i++ { // until the mount is dead
					select {
					case <-quit:
						return
					default:
					}
					at := &open[i%len(open)]
					*at, err = c.work(dir, i, *at)
				}
			})
			defer worker.Wait()
			defer close(quit)
			if !stopWithin(t, s.PID(t), c.call) {
				t.Skipf("the daemon was never seen waiting in system call %d", c.call)
			}
			s.Kill(t)
			s.Mount(t)
		})
	}
}

// stopWithin stops a process when a thread of it waits in a system call for what the process itself would have to do: stopped,
// it does nothing, and the thread goes on waiting.
func stopWithin(t *testing.T, pid, call int) bool {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); {
		if !inCall(pid, call) {
			continue
		}
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
		if inCall(pid, call) { // and not for the disk
			return true
		}
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	return false
}

// inCall says whether a thread of a process waits in a system call and can not be interrupted.
func inCall(pid, call int) bool {
	list, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	for _, task := range list {
		state, _ := os.ReadFile(task + "/stat") // the thread may be gone
		number, _ := os.ReadFile(task + "/syscall")
		if bytes.Contains(state, []byte(") D ")) && bytes.HasPrefix(number, fmt.Appendf(nil, "%d ", call)) {
			return true
		}
	}
	return false
}

// TestKillWithNamelessFiles kills the daemon while files without a name are open, and wants
// their space back.
func TestKillWithNamelessFiles(t *testing.T) {
	mounttest.NeedMount(t, "daemon to kill")
	s := mounttest.New(t, mounttest.Options{})
	dir := s.Namespace(t, "work")
	if err := os.WriteFile(dir+"/key", []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	holder := helper("holdtmp", dir, "20")
	pipe, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { holder.Process.Kill(); holder.Wait() }()
	if _, err := pipe.Read(make([]byte, 10)); err != nil {
		t.Fatalf("the holder did not get to hold: %v", err)
	}
	if err := syncDir(dir); err != nil {
		t.Fatal(err)
	}
	s.Kill(t)
	holder.Process.Kill()
	holder.Wait()
	s.Mount(t)
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the directory has %d entries, %v; want only the key", len(entries), err)
	}
	files, logical := s.Usage(t, "work")
	if files > 2 || logical > 4096 { // the key, perhaps the directory itself
		t.Errorf("the namespace counts %d files and %d bytes; the nameless files were not cleaned up", files, logical)
	}
}

// writeSync writes a file and its name durably, and insists on the success of every step.
func writeSync(path string, data []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
