package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"salliefs/blockstore/record/disktest"
)

// smallTables makes logs and tables turn over within a few commits.
const smallTables = 64 << 10

func testOptions(d *disktest.Disk) Options {
	return Options{FS: d, CacheSize: 1 << 20, MemTableSize: smallTables}
}

// testDisk is a disk with an empty engine in /records.
func testDisk(t *testing.T) *disktest.Disk {
	t.Helper()
	d := disktest.New()
	if err := d.MkdirAll("/records", 0o700); err != nil {
		t.Fatal(err)
	}
	root, err := d.OpenDir("/")
	if err == nil {
		err = errors.Join(root.Sync(), root.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	o := testOptions(d)
	o.Create = true
	e, err := Open("/records", o)
	if err == nil {
		err = e.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func testKey(i int) []byte {
	return Key{Namespace: 1, Kind: 0x10, Inode: uint64(i), Epoch: 1}.Append(nil)
}

// put commits step i: a record of its own, and one that all steps write.
func put(e Engine, i int) error {
	value := make([]byte, 2<<10)
	rand.NewChaCha8([32]byte{byte(i)}).Read(value)
	binary.BigEndian.PutUint64(value, uint64(i))
	b := e.NewBatch(0)
	for _, k := range [][]byte{testKey(i), testKey(0)} {
		b.Set(k, len(value), func(dst []byte) []byte { return append(dst, value...) })
	}
	if err := e.Reserve(b.Len()); err != nil {
		return err
	}
	return e.Apply(b, true)
}

// newest is the number of the newest step, after looking at all of them.
func newest(e Engine) (int, error) {
	read := func(i int) (step int, err error) {
		err = e.Get(testKey(i), func(v []byte) error { step = int(binary.BigEndian.Uint64(v)); return nil })
		if errors.Is(err, ErrNotFound) {
			err = nil
		}
		return step, err
	}
	n, err := read(0)
	if err != nil {
		return 0, err
	}
	for i := 1; i <= n+1; i++ {
		if step, err := read(i); err != nil || (step == i) != (i <= n) {
			return 0, fmt.Errorf("step %d is the newest, and step %d says %d, %w", n, i, step, err)
		}
	}
	return n, nil
}

func last(t *testing.T, e Engine) int {
	t.Helper()
	n, err := newest(e)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// within fails the test when fn takes long: something waits for ever.
func within(t *testing.T, what string, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); fn() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		buf := make([]byte, 1<<20)
		t.Fatalf("%s does not return\n%s", what, buf[:runtime.Stack(buf, true)])
	}
}

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

func TestOpenMissing(t *testing.T) {
	d := disktest.New()
	if err := d.MkdirAll("/records", 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open("/records", testOptions(d)); !errors.Is(err, ErrDamaged) {
		t.Fatalf("an engine that is missing: %v", err)
	}
	if names, _ := d.List("/records"); len(names) > 0 {
		t.Fatalf("opening left %v", names)
	}
}

// TestReadOnlyDisk opens an engine that was not closed, on a disk that takes no changes.
func TestReadOnlyDisk(t *testing.T) {
	d := testDisk(t)
	e, err := Open("/records", testOptions(d))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if err := put(e, i+1); err != nil {
			t.Fatal(err)
		}
	}
	crashed := d.Crash(rand.New(rand.NewPCG(1, 4)), 0)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	crashed.SetReadOnly(true)
	o := testOptions(crashed)
	o.ReadOnly = true
	if e, err = Open("/records", o); err != nil {
		t.Fatal(err)
	}
	if got := last(t, e); got != 20 {
		t.Fatalf("step %d, want 20", got)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}
