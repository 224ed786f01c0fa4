package record

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"salliefs/blockstore/record/disktest"
)

const faultSteps = 60

// TestWriteFaults fails each change of the disk once, by turns, while an engine works; in short runs every other one of
// the common ones. It must tell, go on reading, close, and open again at the state of the last commit that it reported,
// or the one after.
func TestWriteFaults(t *testing.T) {
	counts := make(map[disktest.Kind]int)
	sites := make(map[disktest.Kind]int)
	d := testDisk(t)
	e, err := Open("/records", testOptions(d))
	if err != nil {
		t.Fatal(err)
	}
	for k := disktest.Create; k.Changes(); k++ {
		counts[k] = d.Count(k)
	}
	for i := range faultSteps {
		if err := put(e, i+1); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for k := disktest.Create; k.Changes(); k++ {
		counts[k] = d.Count(k) - counts[k]
		for n := 1; n <= counts[k] && !t.Failed(); n++ {
			if os.Getenv("SALLIEFS_TEST_LONG") == "" && n%3 > 0 && counts[k] > 20 {
				continue
			}
			if writeFault(t, k, int64(n)) {
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

// writeFault fails the nth change of a kind, and tells whether there was one.
func writeFault(t *testing.T, k disktest.Kind, n int64) bool {
	t.Helper()
	d := testDisk(t)
	var failed atomic.Int32
	o := testOptions(d)
	o.Failed = func(error) { failed.Add(1) }
	e, err := Open("/records", o)
	if err != nil {
		t.Fatal(err)
	}
	var ops atomic.Int64
	var hit atomic.Pointer[disktest.Op]
	d.SetHook(func(op disktest.Op) error {
		if op.Kind == k && ops.Add(1) == n {
			hit.Store(&op)
			return syscall.EIO
		}
		return nil
	})
	acked, done := 0, 0
	for ; done < faultSteps && err == nil; done++ {
		if err = put(e, done+1); err == nil {
			acked++
		}
	}
	if hit.Load() == nil { // goroutines have their own order
		d.SetHook(nil)
		err := e.Close()
		if err != nil && hit.Load() == nil {
			t.Fatal(err)
		}
		return false
	}
	op := hit.Load()
	for end := time.Now().Add(time.Second); err != nil && failed.Load() == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond) // who met it is about to call Failed
	}
	if err != nil && failed.Load() != 1 {
		t.Fatalf("%d, %v: Apply failed (%v), Failed was called %d times", n, op, err, failed.Load())
	}
	if err == nil && failed.Load() > 0 && put(e, done+1) == nil {
		t.Fatalf("%d, %v: commits go on after the failure", n, op)
	}
	within(t, "reading after "+op.String(), func() {
		if err := readAll(e, acked); err != nil {
			t.Errorf("%d, %v: %v", n, op, err)
		}
	})
	within(t, "Close after "+op.String(), func() {
		if err := e.Close(); err != nil && op.Kind != disktest.Remove && failed.Load() == 0 {
			t.Errorf("%d, %v: Close: %v", n, op, err)
		}
	})
	d.SetHook(nil)
	// Once as the disk is, once as if the power had gone with it.
	for _, d := range []*disktest.Disk{d, d.Crash(rand.New(rand.NewPCG(uint64(n), 1)), 0)} {
		e, err := Open("/records", testOptions(d))
		if err != nil {
			t.Fatalf("%d, %v: opening afterwards: %v", n, op, err)
		}
		if got := last(t, e); got < acked || got > done+1 {
			t.Errorf("%d, %v: step %d after reopening, want %d to %d", n, op, got, acked, done)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return true
}

// readAll reads by all ways, at least the first steps.
func readAll(e Engine, steps int) error {
	if got, err := newest(e); got < steps || err != nil {
		return fmt.Errorf("step %d of %d is readable, %w", got, steps, err)
	}
	s := e.NewSnapshot()
	it, err := s.NewIter(nil, nil)
	if err != nil {
		return err
	}
	for it.First(); it.Next(); {
	}
	e.Metrics()
	return errors.Join(it.Close(), s.Close())
}

// TestOpenFaults fails each operation of an opening that has logs to replay, once and from then on. It must return, and
// lose nothing.
func TestOpenFaults(t *testing.T) {
	for _, err := range []error{syscall.EIO, syscall.ENOSPC} {
		for _, sticky := range []bool{false, true} {
			n := int64(1)
			for ; openFault(t, n, sticky, err); n++ {
			}
			if n < 20 {
				t.Fatalf("only %d operations", n)
			}
		}
	}
}

// openFault fails the nth operation, and tells whether there was one.
func openFault(t *testing.T, n int64, sticky bool, fault error) bool {
	t.Helper()
	d := testDisk(t)
	e, err := Open("/records", testOptions(d))
	if err != nil {
		t.Fatal(err)
	}
	const steps = 12
	for i := range steps {
		if err := put(e, i+1); err != nil {
			t.Fatal(err)
		}
	}
	crashed := d.Crash(rand.New(rand.NewPCG(uint64(n), 2)), 0)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	var ops atomic.Int64
	var hit atomic.Pointer[disktest.Op]
	crashed.SetHook(func(op disktest.Op) error {
		if fault == syscall.ENOSPC && !op.Kind.Changes() {
			return nil
		}
		if i := ops.Add(1); i == n || sticky && i > n {
			hit.Store(&op)
			return fault
		}
		return nil
	})
	within(t, fmt.Sprintf("Open with a fault in operation %d", n), func() {
		if e, err = Open("/records", testOptions(crashed)); err == nil {
			if got, err := newest(e); got != steps && !errors.Is(err, fault) {
				t.Errorf("operation %d (%v): %d steps, %v, want %d", n, hit.Load(), got, err, steps)
			}
			_ = e.Close()
		}
	})
	if hit.Load() == nil {
		return false
	}
	again := crashed.Crash(rand.New(rand.NewPCG(uint64(n), 3)), 0)
	if e, err = Open("/records", testOptions(again)); err != nil {
		t.Fatalf("operation %d (%v): opening again: %v", n, hit.Load(), err)
	}
	if got := last(t, e); got != steps {
		t.Errorf("operation %d (%v): %d steps after opening again, want %d", n, hit.Load(), got, steps)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return !t.Failed()
}

// TestDamagedCompaction: a compaction that meets damage is tried again from time to time, also where it keeps an engine from
// being opened.
func TestDamagedCompaction(t *testing.T) {
	disk := disktest.New()
	damaged := make(map[string]bool)
	var e Engine
	var err error
	for i := range 9 { // until a compaction is due
		if e, err = Open("/db", Options{FS: disk, Create: i == 0, CacheSize: 1 << 20}); err != nil {
			break
		}
		b := e.NewBatch(0)
		for k := range 50 {
			b.Set(Key{Inode: uint64(k)}.Append(nil), 100, func(dst []byte) []byte { return append(dst, make([]byte, 100)...) })
		}
		if err := commit(e, b); err != nil {
			t.Fatal(err)
		}
		names, err := disk.List("/db")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, ".sst") && !damaged[name] {
				damaged[name] = true
				b, err := disk.Bytes("/db/" + name)
				if err != nil {
					t.Fatal(err)
				}
				b[100] ^= 1
			}
		}
		if i < 8 {
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err != nil && !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond) // until the pauses have grown
	before := disk.Count(disktest.Read)
	time.Sleep(time.Second)
	if n := disk.Count(disktest.Read) - before; n > 40 {
		t.Errorf("%d reads in a second", n)
	}
	if err == nil {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}
