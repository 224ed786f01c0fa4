package integration_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"salliefs/integration/mounttest"
)

// TestOneFlushPerFsync overwrites 4 KiB of a large file and syncs, several times, and looks with
// strace at what the daemon does to the disk: one flush and less than 16 KiB each time.
func TestOneFlushPerFsync(t *testing.T) {
	mounttest.NeedMount(t, "daemon to trace")
	strace := mounttest.Need(t, "strace", "strace")
	s := mounttest.New(t, mounttest.Options{})
	path := filepath.Join(s.Namespace(t, "flush"), "large")
	if err := writeSync(path, noise(1, 64<<20)); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	change := func(i int) {
		if _, err := f.WriteAt(noise(i, 4096), int64(i)*1_048_576); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	change(40) // what only the first change of a kind costs
	const rounds, tries = 10, 10
	for try := range tries {
		time.Sleep(6 * time.Second) // for what the daemon has to do in the background
		flushes, written, lines := traceChanges(t, s, strace, func() {
			for i := range rounds {
				change(try*rounds%40 + i)
			}
		})
		t.Logf("%d changes: %d flushes, %d bytes written", rounds, flushes, written)
		if flushes < rounds || written < rounds*4<<10 {
			t.Fatalf("%d changes are not durable with %d flushes and %d bytes:\n%s", rounds, flushes, written, strings.Join(lines, "\n"))
		}
		if flushes == rounds && written <= rounds*16<<10 {
			return // else it had something else to do as well
		}
		if try == tries-1 {
			t.Errorf("%d changes of 4 KiB took %d flushes and %d bytes, want %d flushes and less than %d bytes:\n%s",
				rounds, flushes, written, rounds, rounds*16<<10, strings.Join(lines, "\n"))
		}
	}
}

// traceChanges tells what the daemon does to the disk during do.
func traceChanges(t *testing.T, s *mounttest.Store, strace string, do func()) (flushes int, written int64, lines []string) {
	t.Helper()
	trace := filepath.Join(mounttest.Dir(t), "trace")
	cmd := exec.Command(strace, "-f", "-q", "-y", "-o", trace, "-e", "trace=fsync,fdatasync,sync_file_range,msync,write,pwrite64,writev,pwritev,pwritev2",
		"-p", strconv.Itoa(s.PID(t)))
	var complaint strings.Builder
	cmd.Stderr = &complaint
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := awaitTracer(s.PID(t), cmd.Process.Pid); err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		t.Skipf("strace may not attach here: %v: %s", err, complaint.String())
	}
	do()
	time.Sleep(100 * time.Millisecond) // what belongs to the last round
	cmd.Process.Signal(syscall.SIGINT) // detaches
	cmd.Wait()
	return readTrace(t, trace, s.Dir)
}

// awaitTracer waits until every thread of a process is traced.
func awaitTracer(pid, tracer int) error {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		threads, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/status")
		if err != nil {
			return err
		}
		traced := 0
		for _, thread := range threads {
			raw, err := os.ReadFile(thread)
			if err == nil && strings.Contains(string(raw), "TracerPid:\t"+strconv.Itoa(tracer)+"\n") {
				traced++
			}
		}
		if traced > 0 && traced == len(threads) {
			return nil
		}
	}
	return errors.New("not all threads are traced after a minute")
}

var (
	// A call, or the end of one that another thread's line cut in two: only what shows a result counts.
	traceFlush = regexp.MustCompile(`(?:fsync|fdatasync|sync_file_range|msync)\b.*= 0$`)
	traceWrite = regexp.MustCompile(`(?:write|pwrite64|writev|pwritev2?)\b.*= (\d+)$`)
	traceFile  = regexp.MustCompile(`^(\d+) +\w+\(\d+<([^>]*)>`)
)

// readTrace counts the flushes and the bytes that went to files of the store.
func readTrace(t *testing.T, path, store string) (flushes int, written int64, kept []string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	file := map[string]string{} // the last file that a thread named
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		thread, _, _ := strings.Cut(line, " ")
		if m := traceFile.FindStringSubmatch(line); m != nil {
			file[thread] = m[2]
		}
		if !strings.HasPrefix(file[thread], store+"/") {
			continue // answers to the kernel by /dev/fuse, wake-ups by eventfd
		}
		if traceFlush.MatchString(line) {
			flushes++
			kept = append(kept, line)
		} else if m := traceWrite.FindStringSubmatch(line); m != nil {
			n, err := strconv.ParseInt(m[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			written += n
			kept = append(kept, line)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	for i, line := range kept {
		if len(line) > 160 {
			kept[i] = line[:100] + " … " + line[len(line)-50:]
		}
	}
	return flushes, written, kept
}
