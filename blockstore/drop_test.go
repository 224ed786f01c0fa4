package blockstore_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"salliefs/blockstore"
	"salliefs/blockstore/record/disktest"
	"salliefs/blockstore/storetest"
)

// removedNamespaces makes a store with removed namespaces, each of which holds n blocks.
func removedNamespaces(t *testing.T, disk *disktest.Disk, n int, names ...string) (s *blockstore.Store, ids []blockstore.NamespaceID) {
	t.Helper()
	st := storetest.Create(t, disk, storetest.Dir)
	s = st.Open(t, manual())
	for _, name := range names {
		id, err := s.CreateNamespace(name, blockstore.NamespaceSettings{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
		if err := s.Update(func(tx *blockstore.Tx) error {
			for i := range n {
				tx.PutBlock(id, noise(i, 5000))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, s)
	o := manual()
	o.RecordCache = 1
	s = st.Open(t, o)
	mustReclaim(t, s)
	for _, name := range names {
		if err := s.RemoveNamespace(name, nil); err != nil {
			t.Fatal(err)
		}
	}
	mustSync(t, s)
	return s, ids
}

// TestReadFaultInDrop: a block whose record can not be read for now is not taken for a damaged one, so that the counters
// stay right.
func TestReadFaultInDrop(t *testing.T) {
	faults := 0
	for n := int32(1); ; n++ {
		disk := disktest.New()
		s, _ := removedNamespaces(t, disk, 20, "n")
		var reads atomic.Int32
		disk.SetHook(func(op disktest.Op) error {
			if op.Kind == disktest.Read && strings.HasSuffix(op.Path, ".sst") && reads.Add(1) == n {
				return syscall.EIO
			}
			return nil
		})
		err := s.Reclaim(context.Background())
		if err != nil && !errors.Is(err, syscall.EIO) {
			t.Fatalf("read %d: %v", n, err)
		}
		disk.SetHook(nil)
		if err := s.Failed(); err != nil {
			t.Fatalf("read %d: %v", n, err)
		}
		mustReclaim(t, s)
		mustCheck(t, s)
		if ids := s.BlockIDs(); len(ids) > 0 {
			t.Errorf("read %d: %d blocks are left", n, len(ids))
		}
		mustClose(t, s)
		if reads.Load() < n || t.Failed() {
			break
		}
		if err != nil {
			faults++
		}
	}
	if faults < 10 {
		t.Errorf("only %d reads were failed", faults)
	}
}

// TestDamagedRemovedNamespace: one removed namespace that can not be freed does not keep others from it.
func TestDamagedRemovedNamespace(t *testing.T) {
	s, ids := removedNamespaces(t, disktest.New(), 3, "a", "b", "c")
	s.DamageRemoved(ids[0])
	if err := s.Reclaim(context.Background()); !errors.Is(err, blockstore.ErrCorrupt) {
		t.Fatalf("Reclaim: %v", err)
	}
	if left := s.BlockIDs(); len(left) != 3 {
		t.Errorf("%d blocks are left, want those of the damaged one", len(left))
	}
	mustReclaim(t, s)
	mustClose(t, s)
}
