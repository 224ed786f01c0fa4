package integration_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"

	"salliefs/integration/mounttest"
)

// posixtestSkipped says why a test of go-fuse's suite is not run, or nothing. The mount's own
// tests, in fs/fuse, skip the same one.
func posixtestSkipped(name string) string {
	switch {
	case name == "FcntlFlockLocksFile":
		return "wants two POSIX locks of one process to conflict, which they do on no filesystem"
	case name == "OpenSymlinkRace" && mounttest.Plain():
		return "takes a /etc/passwd on the same filesystem for a symbolic link that the filesystem has followed itself"
	}
	return ""
}

// TestPosix runs go-fuse's suite through the mount, in a namespace and in the top
// directory, where a new directory is a namespace.
func TestPosix(t *testing.T) {
	s := mounttest.New(t, mounttest.Options{})
	names := slices.Sorted(maps.Keys(posixtest.All))
	if len(names) < 25 {
		t.Fatalf("go-fuse's suite has only %d tests", len(names))
	}
	s.Namespace(t, "posix")
	ran := 0
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			if why := posixtestSkipped(name); why != "" {
				t.Skip(why)
			}
			ran++
			dir := filepath.Join(s.Mnt, "posix", name)
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			posixtest.All[name](t, dir)
		})
	}
	s.Remount(t)
	if entries, err := os.ReadDir(filepath.Join(s.Mnt, "posix")); err != nil || len(entries) != ran {
		t.Errorf("after a remount: %d directories, %v; want %d", len(entries), err, ran)
	}
}
