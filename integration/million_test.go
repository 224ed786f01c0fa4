package integration_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"salliefs/integration/mounttest"
)

// What a store of a million small files may cost.
const (
	millionMemory = 400 << 20       // resident, throughout
	millionGrowth = 1.5             // cost per file, against a tenth of the files
	millionOpen   = 1 * time.Second // mounting, without the key derivation
	millionCrash  = 2 * time.Second // mounting after a crash under load
)

// cost is what a number of files cost, each phase for one file.
type cost struct {
	files                int
	create, list, remove time.Duration
	open, crash          time.Duration
	memory               int64
}

// TestMillionFiles makes a million small files, and a tenth as many for comparison; lists them
// from a cold start, and removes them. The short share makes 20,000 and only looks at memory, as the
// time of so few says little.
func TestMillionFiles(t *testing.T) {
	mounttest.NeedMount(t, "daemon")
	n := mounttest.Scale(20_000, 1_000_000)
	if given := os.Getenv("SALLIEFS_TEST_FILES"); given != "" {
		var err error
		if n, err = strconv.Atoi(given); err != nil {
			t.Fatalf("SALLIEFS_TEST_FILES: %v", err)
		}
	}
	few := measureFiles(t, n/10)
	many := measureFiles(t, n)
	t.Logf("%9s %12s %12s %12s %10s %10s %10s", "files", "create/file", "ls -lR/file", "rm -rf/file", "open", "after kill", "memory")
	for _, c := range []cost{few, many} {
		t.Logf("%9d %12v %12v %12v %10v %10v %7d MB", c.files, c.create, c.list, c.remove,
			c.open.Round(time.Millisecond), c.crash.Round(time.Millisecond), c.memory/1e6)
	}
	if many.memory > millionMemory && !mounttest.Race() {
		t.Errorf("the daemon took %d MB, want less than %d", many.memory>>20, millionMemory>>20)
	}
	if !mounttest.Long() || mounttest.Race() {
		return
	}
	for _, p := range []struct {
		phase     string
		few, many time.Duration
	}{{"creating", few.create, many.create}, {"ls -lR", few.list, many.list}, {"rm -rf", few.remove, many.remove}} {
		if growth := float64(p.many) / float64(p.few); growth > millionGrowth {
			t.Errorf("%s: a file costs %.2f times as much among %d as among %d, want at most %v", p.phase, growth, many.files, few.files, millionGrowth)
		}
	}
	if many.open > millionOpen {
		t.Errorf("mounting takes %v, want at most %v", many.open, millionOpen)
	}
	if many.crash > millionCrash {
		t.Errorf("mounting after a crash takes %v, want at most %v", many.crash, millionCrash)
	}
}

// measureFiles does it all in a store of its own.
func measureFiles(t *testing.T, n int) cost {
	t.Helper()
	s := mounttest.New(t, mounttest.Options{})
	empty := timeMount(t, s)
	root := filepath.Join(s.Namespace(t, "million"), "tree")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	c := cost{files: n}
	perFile := func(start time.Time) time.Duration {
		return (time.Since(start) / time.Duration(n)).Round(100 * time.Nanosecond)
	}
	memory := func() {
		if _, most := s.Memory(t); most > c.memory {
			c.memory = most
		}
	}

	start := time.Now()
	if err := makeFiles(root, n); err != nil {
		t.Fatal(err)
	}
	if err := syncDir(root); err != nil {
		t.Fatal(err)
	}
	c.create = perFile(start)
	memory()

	c.crash = timeCrash(t, s)
	memory()
	c.open = max(0, timeMount(t, s)-empty) // an empty store takes as long for its key
	dropCaches(t)
	start = time.Now()
	listing := mounttest.Sh(t, root, "ls", "-lR")
	c.list = perFile(start)
	if lines := bytes.Count([]byte(listing), []byte("\n-rw")); lines != n {
		t.Errorf("ls -lR shows %d files, want %d", lines, n)
	}
	memory()

	s.Remount(t)
	dropCaches(t)
	start = time.Now()
	mounttest.Sh(t, filepath.Dir(root), "rm", "-rf", "tree")
	if err := syncDir(filepath.Dir(root)); err != nil {
		t.Fatal(err)
	}
	c.remove = perFile(start)
	memory()
	if _, err := os.Lstat(root); !os.IsNotExist(err) {
		t.Errorf("after rm -rf: %v", err)
	}
	return c
}

// makeFiles makes files of 100 to 1,100 bytes, 1,000 to a directory.
func makeFiles(root string, n int) error {
	data := noise(1, 2100)
	for i := range n {
		dir := fmt.Sprintf("%s/%04d", root, i/1000)
		if i%1000 == 0 {
			if err := os.Mkdir(dir, 0o755); err != nil {
				return err
			}
		}
		fd, err := unix.Open(fmt.Sprintf("%s/%03d", dir, i%1000), unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		_, err = unix.Write(fd, data[i%1000:][:100+i%1000])
		unix.Close(fd)
		if err != nil {
			return err
		}
	}
	return nil
}

// timeMount remounts and says how long mounting took.
func timeMount(t *testing.T, s *mounttest.Store) time.Duration {
	t.Helper()
	s.Unmount(t)
	start := time.Now()
	s.Mount(t)
	return time.Since(start)
}

// timeCrash kills the daemon after some seconds of work that nobody synced, as much as a crash can find, and says how long
// mounting took from there.
func timeCrash(t *testing.T, s *mounttest.Store) time.Duration {
	t.Helper()
	dir := filepath.Join(s.Mnt, "million", "crash")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	data := noise(1, 2000)
	for i, end := 0, time.Now().Add(5*time.Second); time.Now().Before(end); i++ {
		path := fmt.Sprintf("%s/%d", dir, i)
		if err := os.WriteFile(path, data[:i%len(data)], 0o644); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			if err := os.Rename(path, fmt.Sprintf("%s/%d", dir, i/2)); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.Kill(t)
	dropCaches(t)
	start := time.Now()
	s.Mount(t)
	took := time.Since(start)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	return took
}

// dropCaches forgets what the kernel has of the disk, where that is allowed.
func dropCaches(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		unix.Sync()
		os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0) // not there in a container: then the figures are warm
	}
}
