package fuse

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// mountPrefix is how the mount points of this test process begin.
var mountPrefix = filepath.Join(os.TempDir(), fmt.Sprintf("salliefs-fuse-test-%d-", os.Getpid()))

// TestMain also looks for mounts that a test has left behind.
func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) != "" {
		os.Exit(helper())
	}
	flag.Parse()
	watchdog()
	code := m.Run()
	for _, at := range leftovers() {
		fmt.Fprintf(os.Stderr, "FAIL: %s is still mounted\n", at)
		Unmount(at, true)
		code = 1
	}
	os.Exit(code)
}

// watchdog ends what hangs a little before the test binary's own time is up. A process
// that waits for itself cannot be killed: its threads wait for replies, and the device
// stays open until they end.
func watchdog() {
	limit, err := time.ParseDuration(flag.Lookup("test.timeout").Value.String())
	if err != nil || limit < 10*time.Second {
		return
	}
	time.AfterFunc(limit-5*time.Second, func() {
		for _, at := range leftovers() {
			fmt.Fprintf(os.Stderr, "FAIL: the mount at %s hangs; aborting it\n", at)
			unix.Unmount(at, unix.MNT_FORCE)
			unix.Unmount(at, unix.MNT_FORCE|unix.MNT_DETACH)
		}
	})
}

// leftovers are the mounts below this test process's mount points.
func leftovers() []string {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return []string{err.Error()}
	}
	var found []string
	for line := range strings.Lines(string(table)) {
		at, kind, _ := parseMountinfo(line)
		if kind == "fuse."+typeName && strings.HasPrefix(at, mountPrefix) {
			found = append(found, at)
		}
	}
	return found
}

// needFUSE skips where the kernel offers no FUSE.
func needFUSE(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(fuseDevice); err != nil {
		t.Skipf("%s skipped: %s is missing", t.Name(), fuseDevice)
	}
}

// mountDir is a new mount point that the test's end removes.
func mountDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(filepath.Dir(mountPrefix), filepath.Base(mountPrefix)+"*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(dir) })
	return dir
}

func unmountNow(t *testing.T, s *Server) {
	t.Helper()
	if err := s.Unmount(); err != nil {
		t.Errorf("unmount: %v", err)
		s.Detach()
	}
}

// testLog fails a test that logs, unless the test expects it.
type testLog struct {
	t *testing.T
}

func (l *testLog) Write(p []byte) (int, error) {
	l.t.Errorf("logged: %s", p)
	return len(p), nil
}
