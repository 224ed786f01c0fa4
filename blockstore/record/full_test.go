package record

import (
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore/record/disktest"
)

// TestFullDisk fills the disk at each of many moments. A commit either finds room or fails before it has changed
// anything; and when there is space again, all goes on.
func TestFullDisk(t *testing.T) {
	for n := range 12 {
		d := testDisk(t)
		o := testOptions(d)
		o.Failed = func(err error) { t.Errorf("the engine failed: %v", err) }
		e, err := Open("/records", o)
		if err != nil {
			t.Fatal(err)
		}
		step := 0
		next := func() error {
			err := put(e, step+1)
			if err == nil {
				step++
			} else if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			return err
		}
		for range n {
			if err := next(); err != nil {
				t.Fatal(err)
			}
		}
		d.Fill(int64(n%5) * 4096)
		within(t, "filling the disk", func() {
			for range 200 {
				if next() != nil {
					return
				}
			}
		})
		d.SetCapacity(0)
		within(t, "going on", func() {
			for range 40 {
				for next() != nil {
					time.Sleep(10 * time.Millisecond)
				}
			}
		})
		if got := last(t, e); got != step {
			t.Fatalf("step %d, want %d", got, step)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if e, err = Open("/records", testOptions(d)); err != nil {
			t.Fatal(err)
		}
		if got := last(t, e); got != step {
			t.Fatalf("step %d after opening again, want %d", got, step)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFullDiskIsQuiet: tables that can not be written are not tried again without end.
func TestFullDiskIsQuiet(t *testing.T) {
	d := testDisk(t)
	e, err := Open("/records", testOptions(d))
	if err != nil {
		t.Fatal(err)
	}
	var tables atomic.Int32
	d.SetHook(func(op disktest.Op) error {
		if op.Kind != disktest.Create || !strings.HasSuffix(op.Path, ".sst") {
			return nil
		}
		tables.Add(1)
		return syscall.ENOSPC
	})
	for step := 1; ; step++ {
		if err := put(e, step); err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			break
		}
		if step > 1000 {
			t.Fatal("commits go on without end")
		}
	}
	time.Sleep(400 * time.Millisecond)
	if n := tables.Load(); n < 1 || n > 20 {
		t.Errorf("%d tables were begun", n)
	}
	d.SetHook(nil)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestGiveUp: a commit that waits for space ends when nobody wants to wait any more.
func TestGiveUp(t *testing.T) {
	d := testDisk(t)
	e, err := Open("/records", testOptions(d))
	if err != nil {
		t.Fatal(err)
	}
	d.SetHook(func(op disktest.Op) error {
		if op.Kind == disktest.Write {
			return syscall.ENOSPC
		}
		return nil
	})
	time.AfterFunc(50*time.Millisecond, e.GiveUp)
	within(t, "a commit", func() {
		b := e.NewBatch(0)
		b.Set(testKey(1), 1, func(dst []byte) []byte { return append(dst, 1) })
		if err := e.Apply(b, true); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Apply: %v", err)
		}
	})
	within(t, "Close", func() { _ = e.Close() })
}

// TestSpareLog: what a crash left of the spare log does not count as one.
func TestSpareLog(t *testing.T) {
	for name, size := range map[string]int{"missing": -1, "empty": 0, "short": 1000, "long": 2 * zeroAheadInMemory} {
		t.Run(name, func(t *testing.T) {
			d := testDisk(t)
			e, err := Open("/records", testOptions(d))
			if err == nil {
				err = e.Close()
			}
			if err == nil {
				err = d.Remove("/records/" + spareName)
			}
			if err != nil {
				t.Fatal(err)
			}
			if size >= 0 {
				f, err := d.Create("/records/"+spareName, vfs.WriteCategoryUnspecified)
				if err == nil {
					_, err = f.Write(make([]byte, size))
					err = errors.Join(err, f.Close())
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if e, err = Open("/records", testOptions(d)); err != nil {
				t.Fatal(err)
			}
			if info, err := d.Stat("/records/" + spareName); err != nil || info.Size() != zeroAheadInMemory {
				t.Errorf("the spare log: %v, %v", info, err)
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestSpareLogHasItsRoom: the spare log holds when the disk is full, also on one that gives room to who syncs first.
func TestSpareLogHasItsRoom(t *testing.T) {
	d := testDisk(t)
	d.SetLate(true)
	if err := d.Remove("/records/" + spareName); err != nil {
		t.Fatal(err)
	}
	o := testOptions(d)
	o.Failed = func(err error) { t.Errorf("the engine failed: %v", err) }
	e, err := Open("/records", o)
	if err != nil {
		t.Fatal(err)
	}
	const enough = 10 // for the log to have room until Pebble begins another one
	step := 0
	for ; step < enough; step++ {
		if err := put(e, step+1); err != nil {
			t.Fatal(err)
		}
	}
	var used atomic.Bool
	d.SetHook(func(op disktest.Op) error {
		if op.Kind == disktest.Create && op.Path == "/records/"+spareName {
			used.Store(true)
		}
		return nil
	})
	d.Fill(0)
	within(t, "filling the disk", func() {
		for err = put(e, step+1); err == nil; err = put(e, step+1) {
			step++
		}
	})
	if !errors.Is(err, syscall.ENOSPC) || !used.Load() {
		t.Errorf("after %d commits: %v; the spare log was used: %v", step, err, used.Load())
	}
	d.SetCapacity(0)
	if got := last(t, e); got != step {
		t.Errorf("step %d, want %d", got, step)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestSpareLogOfHoles cuts the power while the spare log is made, on a disk that gives room late. What then counts as a spare
// log has its room: a file of that size with holes would not do.
func TestSpareLogOfHoles(t *testing.T) {
	d := testDisk(t)
	d.SetLate(true)
	const path = "/records/" + spareName
	if err := d.Remove(path); err != nil {
		t.Fatal(err)
	}
	var cuts []*disktest.Disk
	var mu sync.Mutex
	cut := func() {
		mu.Lock()
		defer mu.Unlock()
		for range 8 {
			cuts = append(cuts, d.Crash(rand.New(rand.NewPCG(uint64(len(cuts)), 1)), 75))
		}
	}
	d.SetHook(func(op disktest.Op) error {
		if op.Kind.Changes() {
			cut()
		}
		return nil
	})
	e, err := Open("/records", testOptions(d))
	if err != nil {
		t.Fatal(err)
	}
	d.SetHook(nil)
	cut() // where it is finished
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	whole := 0
	for i, cut := range cuts {
		before := cut.Written()
		found := newDisk(cut, "/records", nil, nil)
		found.findSpare()
		if taken := cut.Taken(path); found.spare == "" || taken != zeroAheadInMemory {
			t.Errorf("cut %d: the spare log has room for %d bytes", i, taken)
		}
		if cut.Written() == before {
			whole++
		}
	}
	if whole == 0 || whole == len(cuts) {
		t.Errorf("%d of %d cuts left a spare log", whole, len(cuts))
	}
}
