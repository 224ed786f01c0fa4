package record

import (
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

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
		if err := commit(e, b); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Commit: %v", err)
		}
	})
	within(t, "Close", func() { _ = e.Close() })
}
