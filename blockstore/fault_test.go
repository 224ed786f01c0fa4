package blockstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"salliefs/blockstore"
	"salliefs/blockstore/record/disktest"
	"salliefs/blockstore/storetest"
)

// within fails the test when fn takes long: something waits for ever.
func within(t *testing.T, what string, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); fn() }()
	select {
	case <-done:
	case <-time.After(patience):
		buf := make([]byte, 1<<20)
		t.Fatalf("%s does not return\n%s", what, buf[:runtime.Stack(buf, true)])
	}
}

// manual leaves commits and reclaim to the test.
func manual() blockstore.Options {
	o := blockstore.Options{CommitInterval: time.Hour}.Small()
	o.Knobs.NoReclaim = true
	return o
}

// failNth gives a hook that fails the nth operation of a kind with err, and says what that was.
func failNth(k disktest.Kind, n int64, err error) (hook func(disktest.Op) error, hit *atomic.Pointer[disktest.Op]) {
	var ops atomic.Int64
	hit = new(atomic.Pointer[disktest.Op])
	return func(op disktest.Op) error {
		if op.Kind == k && ops.Add(1) == n {
			hit.Store(&op)
			return err
		}
		return nil
	}, hit
}

// faultWorld makes the same steps each time, on a disk with a hook, until one fails. count says how many operations of a
// kind they took.
func faultWorld(t *testing.T, hook func(disktest.Op) error) (w *world, disk *disktest.Disk, count map[disktest.Kind]int, err error) {
	t.Helper()
	disk = disktest.New()
	st := storetest.Create(t, disk, storetest.Dir)
	w, err = newWorld(st, manual(), rand.New(rand.NewPCG(7, 7)).IntN)
	if err != nil {
		t.Fatal(err)
	}
	count = make(map[disktest.Kind]int)
	for k := disktest.Create; k.Changes(); k++ {
		count[k] = -disk.Count(k)
	}
	disk.SetHook(hook)
	for i := 0; i < 150 && err == nil; i++ {
		err = w.random()
	}
	if err == nil {
		err = w.sync()
	}
	for k := range count {
		count[k] += disk.Count(k)
	}
	return w, disk, count, err
}

// TestWriteFaults fails each change of the disk by turns while a store works; in short runs every third of the common
// ones. Where the store fails, it must take no more updates and say why, everything stays readable, and opening it again
// gives a state between the last Sync and the end.
func TestWriteFaults(t *testing.T) {
	w, _, counts, err := faultWorld(t, nil)
	if err := errors.Join(err, w.s.Close()); err != nil {
		t.Fatal(err)
	}
	sites := make(map[disktest.Kind]int)
	for k, count := range counts {
		for n := 1; n <= count && !t.Failed(); n++ {
			if long() == 1 && n%(3*slow) > 0 && count > 10 {
				continue
			}
			if op := writeFault(t, k, int64(n)); op != nil {
				sites[k]++
			}
		}
	}
	t.Logf("faults: %v of %v", sites, counts)
	for _, k := range []disktest.Kind{disktest.Create, disktest.Write, disktest.Sync, disktest.SyncDir} {
		if sites[k] == 0 {
			t.Errorf("no %v was failed", k)
		}
	}
}

// writeFault fails the nth change of a kind and says what it was.
func writeFault(t *testing.T, k disktest.Kind, n int64) *disktest.Op {
	t.Helper()
	hook, hit := failNth(k, n, syscall.EIO)
	w, disk, _, err := faultWorld(t, hook)
	if hit.Load() == nil { // goroutines have their own order
		disk.SetHook(nil)
		if err := errors.Join(err, w.s.Close()); err != nil && hit.Load() == nil {
			t.Fatal(err)
		}
		return nil
	}
	op := hit.Load()
	fatal := w.s.Failed() != nil // else the engine's own work may be just about to meet it
	if err == nil && fatal {
		err = w.sync() // it was met after the last step
	}
	if (err != nil) != fatal || err != nil && !errors.Is(err, blockstore.ErrFailed) {
		t.Fatalf("%d, %v: %v, and Failed says %v", n, op, err, w.s.Failed())
	}
	within(t, "reading after "+op.String(), func() {
		if err := w.readsOn(fatal); err != nil {
			t.Errorf("%d, %v: %v", n, op, err)
		}
	})
	disk.SetHook(nil)
	crashed := disk.Crash(rand.New(rand.NewPCG(uint64(n), 1)), 0)
	within(t, "Close after "+op.String(), func() {
		if err := w.s.Close(); fatal && err == nil || err != nil && w.s.Failed() == nil {
			t.Errorf("%d, %v: Close: %v, and Failed says %v", n, op, err, w.s.Failed())
		}
	})
	for i, d := range []*disktest.Disk{disk, crashed} {
		if err := w.survives(cut{disk: d, synced: w.synced.Load(), newest: int64(len(w.past) - 1)}); err != nil {
			t.Errorf("%d, %v: opening again (%d): %v", n, op, i, err)
		}
	}
	return op
}

// readsOn looks whether all that was done can be read, whatever happened to the disk.
func (w *world) readsOn(failed bool) error {
	if failed {
		err := w.s.Update(func(tx *blockstore.Tx) error { return nil })
		if !errors.Is(err, blockstore.ErrFailed) {
			return fmt.Errorf("Update: %w, want ErrFailed", err)
		}
		if err := w.s.Throttle(); !errors.Is(err, blockstore.ErrFailed) {
			return fmt.Errorf("Throttle: %w, want ErrFailed", err)
		}
		if err := w.s.Sync(); !errors.Is(err, blockstore.ErrFailed) {
			return fmt.Errorf("Sync: %w, want ErrFailed", err)
		}
		if _, err := w.s.Snapshot("late"); !errors.Is(err, blockstore.ErrFailed) {
			return fmt.Errorf("Snapshot: %w, want ErrFailed", err)
		}
		if w.s.Stats().FailureReason == "" {
			return errors.New("Stats has no reason")
		}
	}
	// A snapshot whose commit failed may be readable or not: it is not durable.
	return verifySpaces(w.s, blockstore.Live, w.s.Namespaces(), w.now)
}

// TestReadFaults: an error of the disk is not taken for something that is not there.
func TestReadFaults(t *testing.T) { synctest.Test(t, testReadFaults) }

func testReadFaults(t *testing.T) {
	disk := disktest.New()
	st := storetest.Create(t, disk, storetest.Dir)
	s := st.Open(t, manual())
	for i := range uint64(200) {
		put(t, s, key(1, i), string(bytes.Repeat([]byte{byte(i)}, 2000)))
	}
	mustSync(t, s)
	if _, err := s.Snapshot("s"); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(200) {
		put(t, s, key(2, i), string(bytes.Repeat([]byte{byte(i)}, 2000)))
	}
	mustClose(t, s)
	o := manual()
	o.RecordCache = 1
	s = st.Open(t, o)
	synctest.Wait() // until the engine has nothing to do that could meet it
	broken := false
	disk.SetHook(func(op disktest.Op) error {
		if op.Kind == disktest.Read || op.Kind == disktest.Open {
			broken = true
			return syscall.EIO
		}
		return nil
	})
	for i := range uint64(200) {
		if v, err := s.Get(key(1, i)); err != nil && !errors.Is(err, syscall.EIO) || err == nil && len(v) != 2000 {
			t.Fatalf("Get: %d bytes, %v", len(v), err)
		}
	}
	err := s.Scan(blockstore.Live, key(1, 0).Ino, testKind, 0, func(uint64, []byte) bool { return true })
	if !errors.Is(err, syscall.EIO) {
		t.Fatalf("Scan: %v", err)
	}
	if !broken {
		t.Fatal("nothing was read from the disk")
	}
	disk.SetHook(nil)
	mustClose(t, s)
}

// TestReadFaultInCommit: to delete a record is to look for older versions of it, which a snapshot sees. If that fails once,
// they are taken to be there, and the sweep looks again.
func TestReadFaultInCommit(t *testing.T) { synctest.Test(t, testReadFaultInCommit) }

func testReadFaultInCommit(t *testing.T) {
	disk := disktest.New()
	st := storetest.Create(t, disk, storetest.Dir)
	s := st.Open(t, manual())
	for i := range uint64(200) {
		put(t, s, key(1, i), string(bytes.Repeat([]byte{byte(i)}, 2000)))
	}
	mustSync(t, s)
	snap, err := s.Snapshot("s")
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	o := manual()
	o.RecordCache = 1
	s = st.Open(t, o)
	synctest.Wait() // until the engine has nothing to do that could meet it
	var reads atomic.Int32
	disk.SetHook(func(op disktest.Op) error {
		if op.Kind == disktest.Read && reads.Add(1) == 1 {
			return syscall.EIO
		}
		return nil
	})
	for i := range uint64(200) {
		remove(t, s, key(1, i))
	}
	mustSync(t, s)
	if reads.Load() < 1 {
		t.Fatal("nothing was read from the disk")
	}
	disk.SetHook(nil)
	if err := s.Failed(); err != nil || !s.Stats().SweepPending {
		t.Fatalf("Failed: %v, SweepPending is %v", err, s.Stats().SweepPending)
	}
	s.SetBlockRefs(entryRefs)
	for range 2 {
		for i := range uint64(200) {
			want(t, s, blockstore.Live, key(1, i), "")
			want(t, s, snap.Epoch, key(1, i), string(bytes.Repeat([]byte{byte(i)}, 2000)))
		}
		if err := s.Sweep(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	_, err = s.Snapshot("t") // ends the epoch
	if err := errors.Join(err, s.DeleteSnapshot("s"), s.DeleteSnapshot("t"), s.Sweep(context.Background())); err != nil {
		t.Fatal(err)
	}
	if n := s.CountVersions(0); n != 0 {
		t.Errorf("%d versions of records are left", n)
	}
	mustCheck(t, s)
	mustClose(t, s)
}

// TestThrottleEnds: who waits for memory hears of a failure that no commit meets.
func TestThrottleEnds(t *testing.T) {
	s := storetest.New(t).Open(t, manual())
	release := s.HoldCommits()
	data := make([]byte, blockstore.MaxBlockSize)
	rand.NewChaCha8([32]byte{}).Read(data)
	for s.Pending() < 100<<20 {
		if err := s.Update(func(tx *blockstore.Tx) error { tx.PutBlock(0, data); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	waiting := make(chan error)
	go func() { waiting <- s.Throttle() }()
	select {
	case err := <-waiting:
		t.Fatalf("Throttle did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	s.Fail(errors.New("the disk is gone"))
	within(t, "Throttle", func() {
		if err := <-waiting; !errors.Is(err, blockstore.ErrFailed) {
			t.Errorf("Throttle: %v", err)
		}
	})
	release()
	within(t, "Close", func() {
		if err := s.Close(); !errors.Is(err, blockstore.ErrFailed) {
			t.Errorf("Close: %v", err)
		}
	})
}

// TestDamagedBlockRecord: a block whose record is damaged can still be let go of, and others are not affected.
func TestDamagedBlockRecord(t *testing.T) {
	disk := disktest.New()
	st := storetest.Create(t, disk, storetest.Dir)
	s := st.Open(t, manual())
	var ids []blockstore.BlockID
	for i := range 3 {
		data := bytes.Repeat([]byte{'x', byte(i)}, 1000)
		if err := s.Update(func(tx *blockstore.Tx) error { ids = append(ids, tx.PutBlock(0, data)); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	mustSync(t, s)
	s.DamageBlockRecord(0, ids[1])
	mustClose(t, s) // the run that wrote it knows where it is
	s = st.Open(t, manual())
	err := s.ReadBlock(0, ids[1], 0, make([]byte, 2))
	var be *blockstore.BlockError
	if !errors.Is(err, blockstore.ErrCorrupt) || !errors.As(err, &be) || be.Block != ids[1] {
		t.Fatalf("ReadBlock: %v", err)
	}
	if err := s.Update(func(tx *blockstore.Tx) error {
		for _, id := range ids {
			tx.FreeBlock(0, id)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	mustSync(t, s)
	if err := s.ReadBlock(0, ids[0], 0, make([]byte, 2)); !errors.Is(err, blockstore.ErrNotFound) {
		t.Fatalf("a freed block: %v", err)
	}
	if err := check(s); err == nil {
		t.Fatal("Check finds nothing")
	}
	mustClose(t, s)
}
