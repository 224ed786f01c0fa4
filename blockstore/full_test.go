package blockstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"salliefs/blockstore"
	"salliefs/blockstore/record/disktest"
	"salliefs/blockstore/storetest"
)

// noise is data that does not shrink.
func noise(seed, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)}).Read(b)
	return b
}

// fullWorld is a disk with a store, and blocks whose records are found under key(1, i).
type fullWorld struct {
	disk   *disktest.Disk
	st     *storetest.Store
	s      *blockstore.Store
	blocks sync.Map // i → blockstore.BlockID
}

func newFullWorld(t *testing.T, o blockstore.Options) *fullWorld {
	t.Helper()
	disk := disktest.New()
	st := storetest.Create(t, disk, storetest.Dir)
	return &fullWorld{disk: disk, st: st, s: st.Open(t, o)}
}

const fullBlock = 100_000

// write does what a writer does: it asks for room, writes, and from time to time syncs.
func (w *fullWorld) write(i int) error {
	if err := w.s.Throttle(); err != nil {
		return err
	}
	err := w.s.Update(func(tx *blockstore.Tx) error {
		id := tx.PutBlock(0, noise(i, fullBlock))
		w.blocks.Store(i, id)
		tx.Put(key(1, uint64(i)), fmt.Append(nil, id))
		return nil
	})
	if err == nil && i%7 == 0 {
		err = w.s.Sync()
	}
	return err
}

func (w *fullWorld) remove(i int) error {
	if err := w.s.ThrottleMeta(); err != nil {
		return err
	}
	id, _ := w.blocks.LoadAndDelete(i)
	return w.s.Update(func(tx *blockstore.Tx) error {
		tx.FreeBlock(0, id.(blockstore.BlockID))
		tx.Delete(key(1, uint64(i)))
		return nil
	})
}

// verify reads all blocks.
func (w *fullWorld) verify(t *testing.T) (n int) {
	t.Helper()
	dst := make([]byte, fullBlock)
	w.blocks.Range(func(i, id any) bool {
		n++
		if err := w.s.ReadBlock(0, id.(blockstore.BlockID), 0, dst); err != nil || !bytes.Equal(dst, noise(i.(int), fullBlock)) {
			t.Errorf("block %d: %v, or other data", i, err)
			return false
		}
		want(t, w.s, blockstore.Live, key(1, uint64(i.(int))), fmt.Sprint(id))
		return true
	})
	return n
}

// TestFullDisk fills a small disk from several writers, and makes room again.
func TestFullDisk(t *testing.T) {
	o := blockstore.Options{CommitInterval: 20 * time.Millisecond}.Small()
	w := newFullWorld(t, o)
	w.disk.SetCapacity(48 << 20)
	var wg sync.WaitGroup
	var next sync.Mutex
	i := 0
	for range 4 {
		wg.Go(func() {
			for {
				next.Lock()
				n := i
				i++
				next.Unlock()
				if err := w.write(n); err != nil {
					if !errors.Is(err, blockstore.ErrNoSpace) {
						t.Errorf("a writer got: %v", err)
					}
					return
				}
				if n > 10_000 {
					t.Error("the disk is never full")
					return
				}
			}
		})
	}
	within(t, "filling the disk", wg.Wait)
	total, free, reserve, err := w.s.DiskFree()
	if err != nil || free > reserve+4<<20 || free < reserve/2 {
		t.Errorf("full at %d free of %d, reserve %d, %v", free, total, reserve, err)
	}
	n := w.verify(t)
	if err := w.s.Sync(); err != nil {
		t.Fatalf("what was accepted does not fit: %v", err)
	}
	// All but every tenth go; then there is room.
	w.blocks.Range(func(i, _ any) bool {
		if i.(int)%10 != 0 {
			if err := w.remove(i.(int)); err != nil {
				t.Errorf("removing with a full disk: %v", err)
			}
		}
		return !t.Failed()
	})
	mustSync(t, w.s)
	if err := w.s.Reclaim(context.Background()); err != nil {
		t.Fatal(err)
	}
	w.verify(t)
	for j := range n / 2 {
		if err := w.write(20_000 + j); err != nil {
			t.Fatalf("block %d after making room: %v", j, err)
		}
	}
	w.verify(t)
	mustCheck(t, w.s)
	mustClose(t, w.s)
	w.s = w.st.Open(t, o)
	w.verify(t)
	mustCheck(t, w.s)
	mustClose(t, w.s)
}

// TestFilledByOthers: others take the last byte of the disk. What was accepted stays, in memory, and can be read; removing
// works and makes room; and when there is space all goes on.
func TestFilledByOthers(t *testing.T) {
	w := newFullWorld(t, manual())
	w.disk.SetCapacity(1 << 40)
	for i := range 100 {
		if err := w.write(i); err != nil {
			t.Fatal(err)
		}
	}
	mustSync(t, w.s)
	if err := w.write(101); err != nil { // waits to be committed
		t.Fatal(err)
	}
	w.disk.Fill(0)
	if err := w.s.Sync(); !errors.Is(err, blockstore.ErrNoSpace) {
		t.Fatalf("Sync on a full disk: %v", err)
	}
	if err := w.s.Failed(); err != nil {
		t.Fatalf("a full disk fails the store: %v", err)
	}
	if err := w.write(102); !errors.Is(err, blockstore.ErrNoSpace) {
		t.Fatalf("writing on a full disk: %v", err)
	}
	if _, err := w.s.Snapshot("s"); !errors.Is(err, blockstore.ErrNoSpace) {
		t.Fatalf("Snapshot on a full disk: %v", err)
	}
	w.verify(t)
	mustCheck(t, w.s)
	// What can not be written is removed again, and with it something old: both need no space.
	if err := w.remove(101); err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		if err := w.remove(i); err != nil {
			t.Fatal(err)
		}
	}
	err := w.s.Sync()
	if err != nil {
		t.Fatalf("removing with 0 bytes free: %v", err)
	}
	w.verify(t)
	// Small commits need room in the log: there is some, and when it is used up they fail, and do not wait.
	w.disk.Fill(0)
	small := 0
	within(t, "filling the log", func() {
		for ; err == nil && small < 10_000; small++ {
			put(t, w.s, key(2, uint64(small)), string(noise(small, 500)))
			err = w.s.Sync()
		}
	})
	if !errors.Is(err, blockstore.ErrNoSpace) || small < 10 {
		t.Fatalf("small commit %d on a full disk: %v", small, err)
	}
	w.disk.SetCapacity(1 << 40)
	for i := range 30 {
		if err := w.write(200 + i); err != nil {
			t.Fatal(err)
		}
	}
	mustSync(t, w.s)
	w.disk.Fill(0)
	if err := w.write(301); !errors.Is(err, blockstore.ErrNoSpace) {
		t.Fatalf("writing: %v", err)
	}
	if len(w.s.Snapshots()) != 0 {
		t.Fatal("a snapshot that failed is there")
	}
	w.disk.SetCapacity(1 << 40)
	if _, err := w.s.Snapshot("s"); err != nil {
		t.Fatal(err)
	}
	w.verify(t)
	mustCheck(t, w.s)
	mustClose(t, w.s)
	w.s = w.st.Open(t, manual())
	w.verify(t)
	mustCheck(t, w.s)
	mustClose(t, w.s)
}

// TestFullAtEveryWrite fills the disk just before each of many writes, for a moment.
func TestFullAtEveryWrite(t *testing.T) {
	full := 0
	for n := range share(12) {
		rnd := rand.New(rand.NewPCG(uint64(n), 3))
		disk := disktest.New()
		st := storetest.Create(t, disk, storetest.Dir)
		w, err := newWorld(st, manual(), rnd.IntN)
		if err != nil {
			t.Fatal(err)
		}
		disk.SetCapacity(1 << 40)
		for i := range 200 {
			switch rnd.IntN(20) {
			case 0:
				disk.Fill(int64(rnd.IntN(3)) * 40_000)
			case 1, 2, 3:
				disk.SetCapacity(1 << 40)
			}
			var err error
			within(t, "a step", func() { err = w.random() })
			if err != nil && !errors.Is(err, blockstore.ErrNoSpace) {
				t.Fatalf("seed %d, step %d: %v", n, i, err)
			}
			if err != nil {
				full++
			}
		}
		if err := w.verify(w.s, w.now); err != nil {
			t.Fatalf("seed %d: %v", n, err)
		}
		disk.SetCapacity(1 << 40)
		waitFor(t, func() bool { return w.sync() == nil })
		if err := errors.Join(check(w.s), w.s.Failed(), w.s.Close()); err != nil {
			t.Fatalf("seed %d: %v", n, err)
		}
		if err := w.survives(cut{disk: disk, synced: w.synced.Load(), newest: w.started.Load()}); err != nil {
			t.Fatalf("seed %d, opening again: %v", n, err)
		}
	}
	t.Logf("%d steps met a full disk", full)
	if full < 1 {
		t.Error("the disk was not full often enough")
	}
}

// TestFullForRecords: the disk has room for a group's blocks, but not for its records. Each try leaves the room as it is.
func TestFullForRecords(t *testing.T) {
	w := newFullWorld(t, manual())
	w.disk.SetCapacity(1 << 40)
	for i := range 50 {
		if err := w.write(i); err != nil {
			t.Fatal(err)
		}
	}
	mustSync(t, w.s)
	for i := range 5 {
		if err := w.write(106 + i); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 60 {
		put(t, w.s, key(2, uint64(i)), string(noise(i, 50_000)))
	}
	w.disk.Fill(4 << 20)
	used := w.disk.Used()
	stalls := w.s.Stats().SealStalls.Count
	for range 5 {
		if err := w.s.Sync(); !errors.Is(err, blockstore.ErrNoSpace) {
			t.Fatalf("Sync on a full disk: %v", err)
		}
	}
	if n := w.s.Stats().SealStalls.Count - stalls; n != 10 {
		t.Errorf("%d moments that stopped Updates were counted, want that of sealing and opening for each of 5 tries", n)
	}
	if now := w.disk.Used(); now > used+256<<10 {
		t.Errorf("%d bytes are gone", now-used)
	}
	w.disk.SetCapacity(1 << 40)
	mustSync(t, w.s)
	w.verify(t)
	mustCheck(t, w.s)
	mustClose(t, w.s)
}

// TestCloseOnFullDisk: Close says what it could not save, and does not wait for ever.
func TestCloseOnFullDisk(t *testing.T) {
	w := newFullWorld(t, manual())
	w.disk.SetCapacity(1 << 40)
	if err := w.write(7); err != nil { // synced
		t.Fatal(err)
	}
	if err := w.write(8); err != nil {
		t.Fatal(err)
	}
	w.disk.Fill(0)
	within(t, "Close", func() {
		if err := w.s.Close(); !errors.Is(err, blockstore.ErrNoSpace) {
			t.Errorf("Close: %v", err)
		}
	})
	within(t, "Open", func() {
		if _, err := w.st.TryOpen(manual()); !errors.Is(err, blockstore.ErrNoSpace) {
			t.Errorf("Open: %v", err)
		}
	})
	w.disk.SetCapacity(0)
	w.blocks.Delete(8)
	w.s = w.st.Open(t, manual())
	w.verify(t)
	mustCheck(t, w.s)
	mustClose(t, w.s)
}
