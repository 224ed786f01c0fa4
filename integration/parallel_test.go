package integration_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"salliefs/integration/mounttest"
)

const (
	workers = 8
	rounds  = 60
)

// TestProcessesAtOnce lets 8 processes work in one directory: they add to one log, count
// in one counter under two kinds of locks, race for the same names, and each keeps
// files of its own that nobody may disturb.
func TestProcessesAtOnce(t *testing.T) {
	s := mounttest.New(t, mounttest.Options{})
	dir := s.Namespace(t, "shared")
	for name, data := range map[string]string{"counter-flock": "0", "counter-fcntl": "0", "log": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	atOnce(t, workers, func(i int) *exec.Cmd { return helper("worker", dir, fmt.Sprint(i)) })
	for _, when := range []string{"at once", "after a remount"} {
		checkWork(t, dir, when)
		s.Remount(t)
	}
}

// checkWork looks whether everybody's work is there, once.
func checkWork(t *testing.T, dir, when string) {
	t.Helper()
	for _, name := range []string{"counter-flock", "counter-fcntl"} {
		if data, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(data) != fmt.Sprint(workers*rounds) {
			t.Errorf("%s: %s is %q, %v; want %d", when, name, data, err, workers*rounds)
		}
	}
	log, err := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]int{}
	for _, line := range strings.Split(strings.TrimSuffix(string(log), "\n"), "\n") {
		lines[line]++
	}
	wins := 0
	for i := range workers {
		for round := range rounds {
			if n := lines[logLine(i, round)]; n != 1 {
				t.Fatalf("%s: the line of process %d, round %d is %d times in the log", when, i, round, n)
			}
		}
		data, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("own-%d", i)))
		if want := ownData(i, rounds-1); err != nil || !bytes.Equal(data, want) {
			t.Errorf("%s: the file of process %d is not as it left it (%d bytes, %v)", when, i, len(data), err)
		}
		won, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("won-%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(string(won))
		if err != nil {
			t.Fatal(err)
		}
		wins += n
	}
	if len(lines) != workers*rounds {
		t.Errorf("%s: %d lines in the log, want %d", when, len(lines), workers*rounds)
	}
	if wins != rounds {
		t.Errorf("%s: %d of the exclusive creations won, want one for each of the %d names", when, wins, rounds)
	}
}

func logLine(worker, round int) string {
	return fmt.Sprintf("process %d round %d %s", worker, round, strings.Repeat("x", 10+round))
}

func ownData(worker, round int) []byte {
	return pattern(byte(worker*16+round), int64(1000+round*3000))
}

// worker is one of the processes: DIR NUMBER.
func worker(args []string) error {
	dir := args[0]
	me, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(uint64(me), 1))
	own := filepath.Join(dir, fmt.Sprintf("own-%d", me))
	won := 0
	for round := range rounds {
		err := errors.Join(
			appendTo(filepath.Join(dir, "log"), logLine(me, round)+"\n"),
			count(filepath.Join(dir, "counter-flock"), lockFlock),
			count(filepath.Join(dir, "counter-fcntl"), lockFcntl),
			os.WriteFile(own+".tmp", ownData(me, round), 0o644),
			os.Rename(own+".tmp", own),
		)
		if err != nil {
			return fmt.Errorf("process %d round %d: %w", me, round, err)
		}
		if got, err := os.ReadFile(own); err != nil || !bytes.Equal(got, ownData(me, round)) {
			return fmt.Errorf("process %d round %d: its own file has other bytes (%d, %v)", me, round, len(got), err)
		}
		f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("race-%d", round)), os.O_CREATE|os.O_EXCL, 0o644)
		switch {
		case err == nil:
			won++
			f.Close()
		case !os.IsExist(err):
			return err
		}
		if random.IntN(4) == 0 {
			if err := makeAndRemove(filepath.Join(dir, fmt.Sprintf("tree-%d", me))); err != nil {
				return fmt.Errorf("process %d round %d: %w", me, round, err)
			}
		}
	}
	return os.WriteFile(filepath.Join(dir, fmt.Sprintf("won-%d", me)), []byte(fmt.Sprint(won)), 0o644)
}

// count adds one to the number in a file, under a lock.
func count(path string, lock func(fd int) error) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close() // unlocks
	if err := lock(int(f.Fd())); err != nil {
		return fmt.Errorf("locking: %w", err)
	}
	buf := make([]byte, 20)
	n, _ := f.ReadAt(buf, 0)
	value, err := strconv.Atoi(string(buf[:n]))
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(fmt.Sprint(value+1)), 0)
	return err
}

func lockFlock(fd int) error {
	return retry(func() error { return syscall.Flock(fd, syscall.LOCK_EX) })
}

func lockFcntl(fd int) error {
	return retry(func() error {
		return syscall.FcntlFlock(uintptr(fd), syscall.F_SETLKW, &syscall.Flock_t{Type: syscall.F_WRLCK})
	})
}

// retry repeats what a signal (Go's own, too) interrupted.
func retry(do func() error) error {
	for {
		if err := do(); err != unix.EINTR {
			return err
		}
	}
}

// makeAndRemove builds a small tree and takes it down, as editors and builds do.
func makeAndRemove(dir string) error {
	for _, d := range []string{"", "a", "a/b"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
		for i := range 5 {
			if err := os.WriteFile(filepath.Join(dir, d, fmt.Sprint("f", i)), pattern(byte(i), 3000), 0o644); err != nil {
				return err
			}
		}
	}
	return os.RemoveAll(dir)
}

// holdOpen opens files, removes their names and keeps them until it is killed: DIR COUNT.
func holdOpen(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	for i := range n {
		path := filepath.Join(args[0], fmt.Sprint("held-", i))
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		if _, err := f.Write(pattern(byte(i), 100_000)); err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), os.Remove(path)); err != nil {
			return err
		}
		defer f.Close()
	}
	fmt.Println("holding")
	time.Sleep(time.Hour)
	return nil
}

// atOnce runs n programs at once, and fails the test if one of them fails.
func atOnce(t *testing.T, n int, program func(i int) *exec.Cmd) {
	t.Helper()
	var running []*exec.Cmd
	for i := range n {
		cmd := program(i)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		running = append(running, cmd)
	}
	for i, cmd := range running {
		if err := cmd.Wait(); err != nil {
			t.Errorf("process %d: %v", i, err)
		}
	}
}
