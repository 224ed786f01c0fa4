package fs

import (
	"sync/atomic"
	"syscall"
	"testing"

	"salliefs/blockstore/record/disktest"
)

// TestReadFaults has each read of the disk fail once, or give less than was asked for, while a tree is opened and all of it
// is read: what is read is right, or there is an error.
func TestReadFaults(t *testing.T) {
	p := newCrashPlan(t)
	h, err := p.crash(7, p.all())
	must(t, err)
	h.store.RecordCache, h.store.PlainCache = 1, 1
	all, _ := h.readFault(t, 0, nil)
	for _, fault := range []error{disktest.ErrShort, syscall.EIO} {
		tries, told := 0, 0
		for n := int64(1); n <= all; n += 1 + all/100 {
			tries++
			if _, err := h.readFault(t, n, fault); err != nil {
				told++
			}
		}
		t.Logf("%v: %d of %d reads, %d told", fault, tries, all, told)
		if told == 0 {
			t.Errorf("%v: no read told of it", fault)
		}
	}
}

// readFault opens a copy of a history's disk, has the nth read fail, reads all that there is and compares it with the model. It
// returns how many reads there were.
func (h *history) readFault(t *testing.T, n int64, fault error) (int64, error) {
	t.Helper()
	sim := h.sim.Crash(nil, 0)
	var count atomic.Int64
	sim.SetHook(func(op disktest.Op) error {
		if op.Kind == disktest.Read && count.Add(1) == n {
			return fault
		}
		return nil
	})
	f, st, err := h.openOn(sim)
	if err != nil {
		return count.Load(), err
	}
	have, err := loadState(f)
	if err == nil && have.sum != h.now.sum {
		t.Fatalf("%v at read %d: %s", fault, n, some(have.compare(h.now)))
	}
	f.background.Wait()
	_ = f.Close()
	_ = st.Close() // it may tell of the fault too
	return count.Load(), err
}
