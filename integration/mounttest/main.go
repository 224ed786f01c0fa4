package mounttest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// run is what all tests of one process share. It is written by Main before the
// first test starts and only read afterwards.
var run struct {
	root   string // every store, mount and scratch directory of the run is under it
	binary string
	whyNot string // why nothing can be mounted here; empty when it can
}

// Plain says that tests get an ordinary directory instead of a mount.
func Plain() bool { return os.Getenv("SALLIEFS_TEST_PLAIN") != "" }

// Long says that the long share of the tests was asked for.
func Long() bool { return os.Getenv("SALLIEFS_TEST_LONG") != "" }

// Race says that the daemon is built with the race detector, so that its speed
// and its memory say nothing.
func Race() bool { return os.Getenv("SALLIEFS_TEST_RACE") != "" }

// Scale is short in an ordinary run and long in a long one.
func Scale(short, long int) int {
	if Long() {
		return long
	}
	return short
}

// Main builds the binary, runs the tests and returns the exit code of the run. It
// is not 0 when a mount or a daemon is left, even if every test passed.
func Main(m *testing.M) int {
	// Stores lie directly under the root, because another user's tests must be able
	// to enter what os.MkdirTemp would close to them.
	root, err := os.MkdirTemp("", "salliefs-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "mounttest:", err)
		return 1
	}
	run.root = root
	if err := os.Chmod(root, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, "mounttest:", err)
		return 1
	}
	if !Plain() {
		if run.binary, err = build(root); err != nil {
			fmt.Fprintln(os.Stderr, "mounttest:", err)
			os.RemoveAll(root)
			return 1
		}
		run.whyNot = mountable()
	}
	code := m.Run()
	left := leftovers(root, run.binary)
	for _, what := range left {
		fmt.Fprintln(os.Stderr, "mounttest: left behind:", what)
		code = 1
	}
	if races := raceReports(root); len(races) > 0 {
		fmt.Fprintf(os.Stderr, "mounttest: the daemon has data races; see %s\n", strings.Join(races, " "))
		return 1 // keeps the root and its reports
	}
	if len(left) == 0 { // never remove through a mount
		if err := os.RemoveAll(root); err != nil {
			fmt.Fprintln(os.Stderr, "mounttest:", err)
			code = 1
		}
	}
	return code
}

// build compiles the command into dir, or copies the one that the environment names there. It is never used in place:
// processes of the binary are taken for daemons of the run, which may be killed.
func build(dir string) (string, error) {
	binary := filepath.Join(dir, "salliefs")
	if given := os.Getenv("SALLIEFS_TEST_BINARY"); given != "" {
		b, err := os.ReadFile(given)
		if err != nil {
			return "", err
		}
		return binary, os.WriteFile(binary, b, 0o755)
	}
	args := []string{"build", "-o", binary}
	cgo := "0"
	if Race() {
		args, cgo = append(args, "-race"), "1"
	}
	cmd := exec.Command("go", append(args, "salliefs/cmd/salliefs")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building salliefs: %w\n%s", err, out)
	}
	return binary, nil
}

// mountable says why this machine cannot mount, or nothing.
func mountable() string {
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return "/dev/fuse is missing (modprobe fuse; in a container: --device /dev/fuse)"
	}
	if err != nil {
		return "/dev/fuse cannot be opened: " + err.Error()
	}
	f.Close()
	if os.Geteuid() != 0 {
		if _, err := exec.LookPath("fusermount3"); err != nil {
			return "fusermount3 is not installed, and only root can mount without it (apt-get install fuse3)"
		}
	}
	return ""
}

// leftovers names the mounts and processes of this run that are still there, after
// giving daemons that are just ending a moment, and takes them away.
func leftovers(root, binary string) []string {
	var left []string
	deadline := time.Now().Add(time.Minute)
	for {
		left = left[:0]
		mounts, err := Mounts()
		if err != nil {
			return []string{err.Error()}
		}
		for _, m := range mounts {
			if strings.HasPrefix(m.Point, root+"/") {
				left = append(left, "mount "+m.Point)
			}
		}
		for _, pid := range processesOf(binary) {
			left = append(left, fmt.Sprintf("process %d: %s", pid, strings.Join(commandLine(pid), " ")))
		}
		if len(left) == 0 || time.Now().After(deadline) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if len(left) == 0 {
		return nil
	}
	for _, pid := range processesOf(binary) {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	if mounts, err := Mounts(); err == nil {
		for _, m := range mounts {
			if strings.HasPrefix(m.Point, root+"/") {
				detach(m.Point)
			}
		}
	}
	return left
}

// raceReports lists what the race detector of the daemons wrote.
func raceReports(root string) []string {
	reports, _ := filepath.Glob(filepath.Join(root, "race.*"))
	return reports
}
