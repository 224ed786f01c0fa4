package blockstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"salliefs/blockstore"
	"salliefs/blockstore/record/disktest"
	"salliefs/blockstore/storetest"
)

func TestSnapshots(t *testing.T) {
	disk := storetest.New(t)
	s := disk.Open(t, blockstore.Options{})
	put(t, s, key(1, 1), "one")
	put(t, s, key(1, 2), "gone")
	var old blockstore.BlockID
	if err := s.Update(func(tx *blockstore.Tx) error { old = tx.PutBlock(0, []byte("old block")); return nil }); err != nil {
		t.Fatal(err)
	}
	put(t, s, key(9, 1), fmt.Sprint(old))
	a, err := s.Snapshot("a")
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, key(1, 1), "two")
	remove(t, s, key(1, 2))
	put(t, s, key(1, 3), "new")
	if err := s.Update(func(tx *blockstore.Tx) error { tx.FreeBlock(0, old); tx.Delete(key(9, 1)); return nil }); err != nil {
		t.Fatal(err)
	}
	b, err := s.Snapshot("b")
	if err != nil {
		t.Fatal(err)
	}
	remove(t, s, key(1, 1))
	mustSync(t, s)
	if _, err := s.Snapshot("b"); !errors.Is(err, blockstore.ErrExists) {
		t.Fatalf("second snapshot b: %v", err)
	}
	verify := func() {
		t.Helper()
		want(t, s, a.Epoch, key(1, 1), "one")
		want(t, s, a.Epoch, key(1, 2), "gone")
		want(t, s, a.Epoch, key(1, 3), "")
		want(t, s, b.Epoch, key(1, 1), "two")
		want(t, s, b.Epoch, key(1, 2), "")
		want(t, s, b.Epoch, key(1, 3), "new")
		want(t, s, blockstore.Live, key(1, 1), "")
		want(t, s, blockstore.Live, key(1, 2), "")
		want(t, s, blockstore.Live, key(1, 3), "new")
		dst := make([]byte, 9)
		if err := s.ReadBlock(0, old, 0, dst); err != nil || string(dst) != "old block" {
			t.Fatalf("block of snapshot a: %q, %v", dst, err)
		}
		for e, want := range map[blockstore.Epoch]string{a.Epoch: "1:one 2:gone ", b.Epoch: "1:two 3:new ", blockstore.Live: "3:new "} {
			var got string
			if err := s.Scan(e, key(1, 0).Ino, testKind, 0, func(suffix uint64, v []byte) bool {
				got += fmt.Sprintf("%d:%s ", suffix, v)
				return true
			}); err != nil || got != want {
				t.Fatalf("scan at epoch %d: %q, %v; want %q", e, got, err, want)
			}
		}
	}
	verify()
	mustClose(t, s)
	s = disk.Open(t, blockstore.Options{})
	defer mustClose(t, s)
	verify()
	mustCheck(t, s)

	s.SetBlockRefs(func(kind blockstore.Kind, value []byte, visit func(blockstore.BlockID)) error {
		var id blockstore.BlockID
		if _, err := fmt.Sscan(string(value), &id); err == nil {
			visit(id)
		}
		return nil
	})
	sweep := func() {
		t.Helper()
		if err := s.Sweep(context.Background()); err != nil {
			t.Fatal(err)
		}
		mustCheck(t, s)
	}
	sweep()
	verify()
	if err := s.DeleteSnapshot("a"); err != nil {
		t.Fatal(err)
	}
	sweep()
	want(t, s, b.Epoch, key(1, 1), "two")
	if err := s.ReadBlock(0, old, 0, make([]byte, 9)); !errors.Is(err, blockstore.ErrNotFound) {
		t.Fatalf("the block of a deleted snapshot: %v", err)
	}
	if err := s.DeleteSnapshot("b"); err != nil {
		t.Fatal(err)
	}
	sweep()
	want(t, s, blockstore.Live, key(1, 1), "")
	want(t, s, blockstore.Live, key(1, 3), "new")
}

// TestSweepBesideSnapshot deletes a record, and while a sweep is about to forget the deletion, makes it again and takes a
// snapshot. Neither may lose it.
func TestSweepBesideSnapshot(t *testing.T) {
	s := storetest.New(t).Open(t, manual())
	defer mustClose(t, s)
	second, err := s.CreateNamespace("second", blockstore.NamespaceSettings{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	spaces := []blockstore.NamespaceID{0, second}
	for _, ns := range spaces {
		put(t, s, topKey(ns), "old")
	}
	if _, err := s.Snapshot("first"); err != nil {
		t.Fatal(err)
	}
	for _, ns := range spaces {
		remove(t, s, topKey(ns))
	}
	mustSync(t, s)
	if err := s.DeleteSnapshot("first"); err != nil { // so that the deletions hide nothing
		t.Fatal(err)
	}
	for _, ns := range spaces {
		put(t, s, blockstore.Key{Ino: blockstore.MakeIno(ns, 9), Kind: testKind}, "visit")
	}
	var snap blockstore.Snapshot
	s.SetBlockRefs(func(blockstore.Kind, []byte, func(blockstore.BlockID)) error {
		if snap.Epoch != 0 {
			return nil
		}
		for _, ns := range spaces {
			put(t, s, topKey(ns), "new")
		}
		if snap, err = s.Snapshot("second"); err != nil {
			t.Error(err)
		}
		return err
	})
	if err := s.Sweep(context.Background()); err != nil {
		t.Fatal(err)
	}
	if snap.Epoch == 0 {
		t.Fatal("the sweep looked at nothing")
	}
	for _, ns := range spaces {
		want(t, s, blockstore.Live, topKey(ns), "new")
		want(t, s, snap.Epoch, topKey(ns), "new")
	}
	mustCheck(t, s)
}

// TestSweepInSteps: what a sweep finds goes while it walks, so that a large sweep takes no more memory than a small one.
func TestSweepInSteps(t *testing.T) {
	s := storetest.New(t).Open(t, manual())
	const n = 10_000
	each := func(fn func(tx *blockstore.Tx, i uint64)) {
		t.Helper()
		if err := s.Update(func(tx *blockstore.Tx) error {
			for i := range uint64(n) {
				fn(tx, i)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	each(func(tx *blockstore.Tx, i uint64) { tx.Put(key(1, i), []byte("old")) })
	put(t, s, key(2, 1), "the last to be visited")
	if _, err := s.Snapshot("s"); err != nil {
		t.Fatal(err)
	}
	each(func(tx *blockstore.Tx, i uint64) { tx.Delete(key(1, i)) })
	if _, err := s.Snapshot("t"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.DeleteSnapshot("s"), s.DeleteSnapshot("t")); err != nil {
		t.Fatal(err)
	}
	before, last := s.CountVersions(0), 0
	s.SetBlockRefs(func(blockstore.Kind, []byte, func(blockstore.BlockID)) error { last = s.CountVersions(0); return nil })
	if err := s.Sweep(context.Background()); err != nil {
		t.Fatal(err)
	}
	if before != 2*n+1 || last > n/2 {
		t.Errorf("of %d versions %d were left when the last record was visited", before, last)
	}
	if n := s.CountVersions(0); n != 1 {
		t.Errorf("%d versions are left, want that of one record", n)
	}
	mustClose(t, s)
}

// TestSweepsOfIdleStore: what a deleted snapshot held comes back, down to the segments, although nobody writes any more,
// another sweep was just before, and one fails.
func TestSweepsOfIdleStore(t *testing.T) { synctest.Test(t, testSweepsOfIdleStore) }

func testSweepsOfIdleStore(t *testing.T) {
	st := storetest.New(t)
	s := st.Open(t, manual())
	const n, first = 40, 30
	var ids []blockstore.BlockID
	for i := range n {
		ids = append(ids, putNoise(t, s, i, 100_000))
		put(t, s, key(2, uint64(i)), fmt.Sprint(ids[i]))
	}
	mustClose(t, s)
	s = st.Open(t, manual().Hasty(300*time.Millisecond))
	mustReclaim(t, s)
	var sweeps atomic.Int32
	s.SetBlockRefs(func(_ blockstore.Kind, value []byte, visit func(blockstore.BlockID)) error {
		if string(value) == "one record" {
			if sweeps.Add(1) == 2 {
				return syscall.EIO
			}
			return nil
		}
		id, err := strconv.Atoi(string(value))
		visit(blockstore.BlockID(id))
		return err
	})
	put(t, s, key(1, 1), "one record")
	for i, part := range [][2]int{{0, first}, {first, n}} {
		if _, err := s.Snapshot(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		for j := part[0]; j < part[1]; j++ {
			remove(t, s, key(2, uint64(j)))
		}
		free(t, s, ids[part[0]:part[1]]...)
	}
	mustSync(t, s)
	if s.Stats().SweepPending {
		t.Error("a sweep is wanted for blocks that snapshots hold")
	}
	for i, left := range []int{n - first, 0} {
		if err := s.DeleteSnapshot(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool { return len(s.BlockIDs()) == left && s.Stats().SegmentSize < 2_000_000 })
	}
	if n := sweeps.Load(); n != 3 {
		t.Errorf("%d sweeps, want one for each snapshot and one that failed", n)
	}
	mustClose(t, s)
}

// TestSweepsMeetDamage: a record that can not be read does not have all others read again and again.
func TestSweepsMeetDamage(t *testing.T) { synctest.Test(t, testSweepsMeetDamage) }

func testSweepsMeetDamage(t *testing.T) {
	s := storetest.New(t).Open(t, blockstore.Options{CommitInterval: time.Millisecond}.Hasty(time.Millisecond))
	var sweeps atomic.Int32
	put(t, s, key(1, 1), "visit")
	put(t, s, key(2, 1), "damaged")
	mustSync(t, s)
	s.DamageRecord(key(2, 1))
	s.SetBlockRefs(func(blockstore.Kind, []byte, func(blockstore.BlockID)) error { sweeps.Add(1); return nil })
	share := func() {
		t.Helper()
		if err := s.Update(func(tx *blockstore.Tx) error {
			tx.FreeShared(0, tx.PutBlock(0, []byte("nobody names it")))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	share()
	waitFor(t, func() bool { return sweeps.Load() > 0 })
	for part := range int32(10) {
		share()
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if n := sweeps.Load(); n != 1+11*(part+1)/60 {
			t.Errorf("%d sweeps after %d minutes, want one an hour", n, 11*(part+1))
		}
	}
	// Who asks for space gets it.
	if _, err := s.Snapshot("s"); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteSnapshot("s"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return sweeps.Load() == 3 })
	mustClose(t, s)
}

// TestSweepIsRemembered: what waits for a sweep waits across a crash.
func TestSweepIsRemembered(t *testing.T) {
	disk := disktest.New()
	st := storetest.Create(t, disk, storetest.Dir)
	s := st.Open(t, manual())
	var id blockstore.BlockID
	if err := s.Update(func(tx *blockstore.Tx) error { id = tx.PutBlock(0, []byte("shared")); return nil }); err != nil {
		t.Fatal(err)
	}
	mustSync(t, s)
	if err := s.Update(func(tx *blockstore.Tx) error { tx.FreeShared(0, id); return nil }); err != nil {
		t.Fatal(err)
	}
	mustSync(t, s)
	crashed := disk.Crash(rand.New(rand.NewPCG(1, 1)), 0)
	mustClose(t, s)
	st.FS = crashed
	for i := range 2 {
		s = st.Open(t, manual())
		if got, want := s.Stats().SweepPending, i == 0; got != want {
			t.Fatalf("SweepPending is %v in run %d", got, i)
		}
		s.SetBlockRefs(entryRefs)
		if err := s.Sweep(context.Background()); err != nil {
			t.Fatal(err)
		}
		if ids := s.BlockIDs(); len(ids) != 0 {
			t.Fatalf("blocks %v are left", ids)
		}
		mustCheck(t, s)
		mustClose(t, s)
	}
}

// TestSweepWithDamage: a namespace with a record that can not be read is left alone, others are not.
func TestSweepWithDamage(t *testing.T) {
	s := storetest.New(t).Open(t, manual())
	s.SetBlockRefs(entryRefs)
	damaged, err := s.CreateNamespace("damaged", blockstore.NamespaceSettings{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	each := func(change func(tx *blockstore.Tx, ns blockstore.NamespaceID)) {
		t.Helper()
		for _, ns := range []blockstore.NamespaceID{0, damaged} {
			if err := s.Update(func(tx *blockstore.Tx) error { change(tx, ns); return nil }); err != nil {
				t.Fatal(err)
			}
		}
		mustSync(t, s)
	}
	each(func(tx *blockstore.Tx, ns blockstore.NamespaceID) { tx.Put(topKey(ns), []byte("top")) })
	s.DamageRecord(topKey(damaged))
	each(func(tx *blockstore.Tx, ns blockstore.NamespaceID) {
		tx.FreeShared(ns, tx.PutBlock(ns, []byte("nobody names it")))
	})
	if err := s.Sweep(context.Background()); !errors.Is(err, blockstore.ErrCorrupt) {
		t.Fatalf("Sweep: %v", err)
	}
	if ids := s.BlockIDs(); len(ids) != 1 {
		t.Fatalf("blocks %v are left, want that of the damaged namespace", ids)
	}
	if !s.Stats().SweepPending {
		t.Error("the sweep counts as done")
	}
	mustClose(t, s)
}
