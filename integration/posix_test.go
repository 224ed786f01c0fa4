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

// posixtestBroken are tests of go-fuse's suite that fail on ext4 too, so that they say
// nothing about us. The suite's own runner leaves the same ones out.
var posixtestBroken = map[string]string{
	"FcntlFlockLocksFile": "expects two handles of one process to lock each other out, which POSIX locks never do; ext4 fails it too",
	"OpenSymlinkRace":     "asks that opening a symbolic link not follow it, which is for loopback servers; ext4 fails it too",
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
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			if why := posixtestBroken[name]; why != "" {
				t.Skip(why)
			}
			dir := filepath.Join(s.Mnt, "posix", name)
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			posixtest.All[name](t, dir)
		})
	}
	s.Remount(t)
	if entries, err := os.ReadDir(filepath.Join(s.Mnt, "posix")); err != nil || len(entries) != len(names)-len(posixtestBroken) {
		t.Errorf("after a remount: %d directories, %v; want %d", len(entries), err, len(names)-len(posixtestBroken))
	}
}
