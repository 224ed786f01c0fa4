package blob_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore/blob"
	"salliefs/blockstore/blob/blobtest"
)

func TestConformance(t *testing.T) {
	t.Run("Memory", func(t *testing.T) {
		blobtest.Run(t, func(*testing.T) blob.Store { return &blob.Memory{} })
	})
	t.Run("LocalOnDisk", func(t *testing.T) {
		blobtest.Run(t, func(t *testing.T) blob.Store { return openLocal(t, vfs.Default, t.TempDir()+"/objects") })
	})
	t.Run("LocalInMemory", func(t *testing.T) {
		blobtest.Run(t, func(t *testing.T) blob.Store { return openLocal(t, vfs.NewMem(), "objects") })
	})
	t.Run("Faulty", func(t *testing.T) {
		blobtest.Run(t, func(t *testing.T) blob.Store {
			return &blobtest.Faulty{Store: &blob.Memory{}, Fault: func(blobtest.Call) error { return nil }}
		})
	})
}

func openLocal(t *testing.T, fs vfs.FS, dir string) *blob.Local {
	t.Helper()
	l, err := blob.CreateLocal(fs, dir, blob.LocalOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}
