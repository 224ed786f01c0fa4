package blockstore_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"salliefs/blockstore"
	"salliefs/blockstore/record/disktest"
	"salliefs/blockstore/storetest"
)

// freedWorld is a store with two namespaces that have blocks in a segment of an earlier run.
type freedWorld struct {
	disk   *disktest.Disk
	st     *storetest.Store
	s      *blockstore.Store
	a, b   blockstore.NamespaceID
	blocks map[blockstore.NamespaceID][]blockstore.BlockID // n of a, and as many of b
}

func newFreedWorld(t *testing.T, n int) *freedWorld {
	t.Helper()
	disk := disktest.New()
	w := &freedWorld{disk: disk, st: storetest.Create(t, disk, storetest.Dir), blocks: make(map[blockstore.NamespaceID][]blockstore.BlockID)}
	w.s = w.st.Open(t, manual())
	var errA, errB error
	w.a, errA = w.s.CreateNamespace("a", blockstore.NamespaceSettings{}, nil)
	w.b, errB = w.s.CreateNamespace("b", blockstore.NamespaceSettings{}, nil)
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	for range n {
		w.put(t, w.a)
		w.put(t, w.b)
	}
	mustSync(t, w.s)
	w.reopen(t)
	w.wantFreed(t, 0, 0)
	return w
}

// put makes a block that goes to a segment.
func (w *freedWorld) put(t *testing.T, ns blockstore.NamespaceID) {
	t.Helper()
	w.blocks[ns] = append(w.blocks[ns], fillNamespace(t, w.s, ns))
}

// free frees the first n blocks of a namespace, and makes that durable.
func (w *freedWorld) free(t *testing.T, ns blockstore.NamespaceID, n int) {
	t.Helper()
	if err := w.s.Update(func(tx *blockstore.Tx) error {
		for _, id := range w.blocks[ns][:n] {
			tx.FreeBlock(ns, id)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	w.blocks[ns] = w.blocks[ns][n:]
	mustSync(t, w.s)
}

func (w *freedWorld) reopen(t *testing.T) {
	t.Helper()
	mustClose(t, w.s)
	w.s = w.st.Open(t, manual())
}

// wantFreed looks for the number of blocks that are not in use any more, of each namespace. They are all of one size.
func (w *freedWorld) wantFreed(t *testing.T, a, b int64) {
	t.Helper()
	n, _ := w.s.NamespaceByID(w.b)
	size := n.Usage.Stored / n.Usage.Blocks
	want := make(map[blockstore.NamespaceID]int64)
	if a > 0 {
		want[w.a] = a * size
	}
	if b > 0 {
		want[w.b] = b * size
	}
	st := w.s.Stats()
	if !maps.Equal(st.SegmentFreed, want) {
		t.Errorf("freed: %v, want %v", st.SegmentFreed, want)
	}
	if sum := st.SegmentFreed[w.a] + st.SegmentFreed[w.b]; st.SegmentSize-st.SegmentLive < sum {
		t.Errorf("%d bytes of %d are in use, and %d freed", st.SegmentLive, st.SegmentSize, sum)
	}
}

// TestFreedByNamespace: blocks that are freed or overwritten count for their namespace until their segment goes, also
// those of the segment that is written to.
func TestFreedByNamespace(t *testing.T) {
	w := newFreedWorld(t, 6)
	w.free(t, w.a, 1)
	w.wantFreed(t, 1, 0)
	w.put(t, w.b)
	w.free(t, w.b, 1)
	w.wantFreed(t, 1, 1)
	w.put(t, w.a)
	w.free(t, w.a, 2)
	w.wantFreed(t, 3, 1)
	w.reopen(t)
	w.wantFreed(t, 3, 1)
	mustCheck(t, w.s)
	w.put(t, w.a)
	mustSync(t, w.s)
	w.free(t, w.a, 5) // the last of them is alone in the current segment
	w.wantFreed(t, 8, 1)
	w.reopen(t)
	mustReclaim(t, w.s)
	w.wantFreed(t, 7, 1)
	mustCheck(t, w.s)
	w.free(t, w.b, 5) // all of the first run's
	w.wantFreed(t, 1, 0)
	w.reopen(t)
	w.wantFreed(t, 1, 0)
	mustCheck(t, w.s)
	mustClose(t, w.s)
}

// TestFreedByMoving: where a moved block was is freed. A damaged one keeps the segment from being removed.
func TestFreedByMoving(t *testing.T) {
	w := newFreedWorld(t, 20)
	name := segmentFiles(t, w.st)[0]
	bytes, err := w.disk.Bytes(w.disk.PathJoin(w.st.Dir, "segments", name))
	if err != nil {
		t.Fatal(err)
	}
	bytes[len(bytes)-50_000] ^= 1 // in the last block, of b
	w.free(t, w.a, 15)
	w.free(t, w.b, 10)
	mustReclaim(t, w.s)
	w.wantFreed(t, 20, 19)
	for range 2 {
		if found := problems(t, w.s, true); len(found) != 1 || !strings.HasPrefix(found[0], "block") {
			t.Errorf("problems: %q", found)
		}
		w.reopen(t)
		w.wantFreed(t, 20, 19)
	}
	bytes[len(bytes)-50_000] ^= 1
	w.reopen(t) // the store's own reclaim may have met the damage, and leaves the segment alone until then
	mustReclaim(t, w.s)
	w.wantFreed(t, 0, 0)
	mustCheck(t, w.s)
	mustClose(t, w.s)
}

// TestFreedOfRemovedNamespace: they count for its ID, and go with their segment.
func TestFreedOfRemovedNamespace(t *testing.T) {
	w := newFreedWorld(t, 4)
	if err := w.s.RemoveNamespace("a", nil); err != nil {
		t.Fatal(err)
	}
	mustSync(t, w.s)
	mustReclaim(t, w.s)
	w.wantFreed(t, 4, 0)
	w.reopen(t)
	w.wantFreed(t, 4, 0)
	mustCheck(t, w.s)
	w.put(t, w.b)
	w.free(t, w.b, 4)
	w.wantFreed(t, 0, 0)
	mustCheck(t, w.s)
	mustClose(t, w.s)
}

// TestFreedByFullDisk: what was moved for nothing, because the disk got full on the way, is counted as soon as the segment
// that it is in changes, or is left over at its end.
func TestFreedByFullDisk(t *testing.T) {
	for name, next := range map[string]int{"nothing": 0, "a block": 1, "more than the segment holds": 14} {
		t.Run(name, func(t *testing.T) {
			w := newFreedWorld(t, 20)
			w.put(t, w.b)
			mustSync(t, w.s) // in the current segment
			w.free(t, w.a, 15)
			w.disk.Fill(1700 << 10)
			w.free(t, w.b, 10)
			if err := w.s.Reclaim(context.Background()); !errors.Is(err, blockstore.ErrNoSpace) {
				t.Fatalf("Reclaim with little space: %v", err)
			}
			w.wantFreed(t, 15, 10)
			w.disk.Fill(8 << 20) // so little that segments end at 1 MiB
			for range next {
				w.put(t, w.b)
			}
			mustSync(t, w.s)
			mustCheck(t, w.s)
			w.reopen(t)
			mustCheck(t, w.s)
			mustClose(t, w.s)
		})
	}
}

// TestCheckCountsFreed: Check sees counters of blocks that are not in use any more which are wrong.
func TestCheckCountsFreed(t *testing.T) {
	w := newFreedWorld(t, 4)
	w.free(t, w.a, 2)
	w.free(t, w.b, 1)
	mustCheck(t, w.s)
	for _, n := range []int64{1, -1, 100_000, -100_000} {
		for _, ns := range []blockstore.NamespaceID{w.a, w.b, 0} {
			if ns == 0 && n < 0 {
				continue
			}
			w.s.Miscount(1, ns, n)
			found := problems(t, w.s, false)
			if len(found) != 1 || !strings.Contains(found[0], "not in use any more") {
				t.Errorf("%d bytes more of namespace %d: problems %q", n, ns, found)
			}
			w.s.Miscount(1, ns, -n)
		}
	}
	mustCheck(t, w.s)
	mustClose(t, w.s)
}
