package fuse

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
)

// TestPosix runs go-fuse's whole suite but for one test, in a directory of a namespace
// and with a namespace for each of its tests.
func TestPosix(t *testing.T) {
	for _, where := range []string{"directory", "namespace"} {
		t.Run(where, func(t *testing.T) {
			onEach(t, Options{}, func(t *testing.T, m *mounted) {
				dir := m.dir
				if where == "namespace" {
					dir = m.Mountpoint()
				}
				posix(t, dir)
			})
		})
	}
}

func posix(t *testing.T, parent string) {
	for _, name := range slices.Sorted(maps.Keys(posixtest.All)) {
		t.Run(name, func(t *testing.T) {
			if name == "FcntlFlockLocksFile" {
				t.Skip("FcntlFlockLocksFile skipped: it wants two POSIX locks of one process to conflict, which they do on no filesystem")
			}
			dir := filepath.Join(parent, name)
			must(t, os.Mkdir(dir, 0o755))
			posixtest.All[name](t, dir)
		})
	}
}
