package blockstore_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"salliefs/blockstore"
	"salliefs/blockstore/record/disktest"
	"salliefs/blockstore/storetest"
)

// long is how many times more of the random tests are run: SALLIEFS_TEST_LONG as a number, 20 for other values.
func long() int {
	v := os.Getenv("SALLIEFS_TEST_LONG")
	if v == "" {
		return 1
	}
	if n, err := strconv.Atoi(v); err == nil && n > 1 {
		return n
	}
	return 20
}

// share is how much of n a test does: all, more in long runs, less where all is slow.
func share(n int) int { return max(1, n*long()/slow) }

// cut is a disk as the power left it, and what may be on it.
type cut struct {
	op     disktest.Op
	disk   *disktest.Disk
	synced int64 // the oldest step that it may be at
	newest int64
}

// crashRun makes random steps from a seed, and cuts the power at some of the changes that they make to the disk. It
// returns the cuts and the number of changes.
func crashRun(t *testing.T, seed uint64, broken func(s *blockstore.Store)) (w *world, cuts []cut, changes int) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 1))
	cutRnd := rand.New(rand.NewPCG(seed, 2)) // used under the hook's lock
	disk := disktest.New()
	st := storetest.Create(t, disk, storetest.Dir)
	// Some runs leave commits to Sync, some have the committer and the reclaimer work beside.
	o := blockstore.Options{CommitInterval: time.Hour}.Small()
	if seed%2 == 1 {
		o.CommitInterval = time.Millisecond
	}
	w, err := newWorld(st, o, rnd.IntN)
	if err != nil {
		t.Fatal(err)
	}
	if broken != nil {
		broken(w.s)
	}
	lock := make(chan struct{}, 1)
	disk.SetHook(func(op disktest.Op) error {
		if !op.Kind.Changes() {
			return nil
		}
		lock <- struct{}{}
		defer func() { <-lock }()
		changes++
		if cutRnd.IntN(6) == 0 {
			percent := [...]int{0, 20, 50, 80, 100}[cutRnd.IntN(5)]
			c := cut{op: op, synced: w.synced.Load()}
			c.disk = disk.Crash(cutRnd, percent)
			c.newest = w.started.Load()
			cuts = append(cuts, c)
		}
		return nil
	})
	for range 120 {
		if err := w.random(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	disk.SetHook(nil)
	if err := w.s.Close(); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	return w, cuts, changes
}

// survives opens a store on what a cut left, and looks whether it is at one moment of history, not too old.
func (w *world) survives(c cut) error {
	st := &storetest.Store{FS: c.disk, Dir: w.disk.Dir, Master: w.disk.Master}
	segments, err := c.disk.List(c.disk.PathJoin(st.Dir, "segments"))
	if err != nil {
		return err
	}
	s, err := st.TryOpen(w.opts)
	if err != nil {
		return err
	}
	at, err := w.recovered(s)
	if err == nil && (int64(at.step) < c.synced || int64(at.step) > c.newest) {
		err = fmt.Errorf("it is at step %d, want %d to %d", at.step, c.synced, c.newest)
	}
	if err == nil {
		err = w.verify(s, at)
	}
	if err == nil {
		err = check(s)
	}
	if err == nil { // it works on
		given := w.given
		if s.Stats().Generation == 0 && len(segments) == 0 {
			given = 0 // nothing was sealed for them that came to the disk
		}
		err = s.Update(func(tx *blockstore.Tx) error {
			tx.Put(key(99, 1), []byte("after the crash"))
			if id := tx.PutBlock(0, make([]byte, 5000)); id <= given {
				return fmt.Errorf("block ID %d is given out again", id)
			}
			return nil
		})
	}
	return errors.Join(err, s.Close())
}

// TestCrash cuts the power at random changes of the disk: the store must be at a state that it had, and no older than the
// last Sync.
func TestCrash(t *testing.T) {
	var cuts, changes int
	sites := make(map[disktest.Kind]int)
	for seed := range uint64(share(16)) {
		w, list, n := crashRun(t, seed, nil)
		changes += n
		for i, c := range list {
			sites[c.op.Kind]++
			if err := w.survives(c); err != nil {
				t.Fatalf("seed %d, cut %d before %v: %v", seed, i, c.op, err)
			}
		}
		cuts += len(list)
	}
	t.Logf("%d cuts at %d changes of the disk: %v", cuts, changes, sites)
	if cuts < 10*share(16) {
		t.Errorf("only %d cuts", cuts)
	}
}

// TestCrashFindsBrokenOrder: a store that forgets what a crash needs does not survive TestCrash.
func TestCrashFindsBrokenOrder(t *testing.T) {
	for name, order := range map[string]func(s *blockstore.Store){
		"segment sync skipped": func(s *blockstore.Store) { s.Break(true, false) },
		"records first":        func(s *blockstore.Store) { s.Break(false, true) },
	} {
		t.Run(name, func(t *testing.T) {
			cuts := 0
			for seed := uint64(0); cuts < 1000; seed++ {
				w, list, _ := crashRun(t, seed, order)
				for _, c := range list {
					cuts++
					if err := w.survives(c); err != nil {
						t.Logf("found by cut %d: %v", cuts, err)
						return
					}
				}
			}
			t.Errorf("%d cuts found nothing", cuts)
		})
	}
}
