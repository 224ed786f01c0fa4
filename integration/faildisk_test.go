package integration_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"salliefs/integration/mounttest"
)

// TestFailedDisk has the daemon's syncs fail, or its writes, while afterwards the disk works again: the store must not take
// that for good. Where that can be told, in the record engine and in a segment.
func TestFailedDisk(t *testing.T) {
	mounttest.NeedMount(t, "daemon to trace")
	strace := mounttest.Need(t, "strace", "strace")
	const (
		syncs  = "fsync,fdatasync,sync_file_range,msync"
		writes = "write,pwrite64,writev,pwritev,pwritev2"
	)
	for _, c := range []struct {
		name, calls string
		size        int // of what can not be written
	}{
		{"sync of little", syncs, 300},
		{"sync of much", syncs, 3 << 20},
		{"write of little", writes, 300},
		{"write of much", writes, 3 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := mounttest.New(t, mounttest.Options{})
			w := beforeFailure(t, s)
			args := []string{"-f", "-q", "-o", "/dev/null", "-e", "trace=" + c.calls, "-e", "inject=" + c.calls + ":error=EIO", "-p", strconv.Itoa(s.PID(t))}
			for _, path := range storeFiles(t, s) {
				args = append(args, "-P", path)
			}
			injector := exec.Command(strace, args...)
			var complaint strings.Builder
			injector.Stderr = &complaint
			if err := injector.Start(); err != nil {
				t.Fatal(err)
			}
			if err := awaitTracer(s.PID(t), injector.Process.Pid); err != nil {
				injector.Process.Kill()
				injector.Wait()
				t.Skipf("strace may not attach here: %v: %s", err, complaint.String())
			}
			first := writeSync(w.dir+"/after", noise(1, c.size))
			injector.Process.Signal(syscall.SIGINT) // detaches
			injector.Wait()
			if first == nil {
				t.Fatalf("fsync succeeds while no %s of the disk does", c.name)
			}
			w.failed(t, s)
			s.Kill(t)
			s.Mount(t)
			w.asBefore(t, s)
		})
	}
}

// storeFiles are the files to which a store writes, and the segments that it makes next. (What else a process writes to, its
// own runtime needs.)
func storeFiles(t *testing.T, s *mounttest.Store) []string {
	t.Helper()
	records, err1 := filepath.Glob(s.Dir + "/records/*")
	segments, err2 := filepath.Glob(s.Dir + "/segments/*.seg")
	if err := errors.Join(err1, err2); err != nil || len(records) == 0 {
		t.Fatalf("%d files of the record engine, %v", len(records), err)
	}
	files := append(records, segments...)
	for next := range uint64(100) {
		files = append(files, fmt.Sprintf("%s/segments/%016x.seg", s.Dir, next))
	}
	return files
}

// failureWorld is what a store holds when its disk begins to fail.
type failureWorld struct {
	dir  string
	want map[string][]byte
}

// beforeFailure writes files that are durable.
func beforeFailure(t *testing.T, s *mounttest.Store) *failureWorld {
	t.Helper()
	w := &failureWorld{dir: s.Namespace(t, "work"), want: map[string][]byte{}}
	for name, size := range map[string]int{"small": 100, "large": 3 << 20} {
		w.want[name] = noise(size, size)
		if err := writeSync(filepath.Join(w.dir, name), w.want[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := syncDir(w.dir); err != nil {
		t.Fatal(err)
	}
	return w
}

// readable wants the files to be as they were.
func (w *failureWorld) readable(t *testing.T) {
	t.Helper()
	for name, want := range w.want {
		if got, err := os.ReadFile(filepath.Join(w.dir, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s, which was durable: %d bytes of %d, %v", name, len(got), len(want), err)
		}
	}
}

// failed wants a mounted store to have stopped writing, to say so everywhere, and to go on reading.
func (w *failureWorld) failed(t *testing.T, s *mounttest.Store) {
	t.Helper()
	w.readable(t)
	for range 2 { // not the next time either
		if err := syncDir(w.dir); err == nil {
			t.Error("a later fsync succeeds")
		}
		if err := writeSync(w.dir+"/later", []byte("later")); err == nil {
			t.Error("a file is written and synced afterwards")
		}
		if err := os.Rename(w.dir+"/small", w.dir+"/renamed"); err == nil {
			t.Error("a file is renamed afterwards")
		}
		if _, errs, code := s.Try("set", "-s", s.Mnt, "work/key", "value"); code == 0 || !strings.Contains(errs, "stopped accepting writes") {
			t.Errorf("salliefs set: exit code %d: %s", code, errs)
		}
	}
	w.readable(t)
	const reason = "stopped accepting writes"
	if log := s.Log(); !strings.Contains(log, "takes no more writes") || !strings.Contains(log, "level=ERROR") {
		t.Errorf("the log does not say why the store takes no more writes:\n%s", log)
	}
	for _, command := range []string{"info", "stats"} {
		if out := s.Run(t, command, "-s", s.Mnt); !strings.Contains(out, "\nfailed ") || !strings.Contains(out, reason) {
			t.Errorf("salliefs %s does not say why the store takes no more writes:\n%s", command, out)
		}
		var told struct{ Failure string }
		out := s.Run(t, command, "-s", s.Mnt, "--json")
		if err := json.Unmarshal([]byte(out), &told); err != nil || !strings.Contains(told.Failure, reason) {
			t.Errorf("salliefs %s --json does not say why the store takes no more writes (%v):\n%s", command, err, out)
		}
	}
}

// asBefore wants a store that was opened again to have what was durable, and to work.
func (w *failureWorld) asBefore(t *testing.T, s *mounttest.Store) {
	t.Helper()
	w.readable(t)
	if out := s.Run(t, "info", "-s", s.Mnt); strings.Contains(out, "failed") {
		t.Errorf("salliefs info of a store that was opened again:\n%s", out)
	}
	if err := errors.Join(writeSync(w.dir+"/new", []byte("new")), os.Remove(w.dir+"/small"), syncDir(w.dir)); err != nil {
		t.Errorf("the store was opened again: %v", err)
	}
	s.Unmount(t)
	s.Check(t, "--data")
}
