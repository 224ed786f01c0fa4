package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
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
	return commit(e, b)
}

func commit(e Engine, b Batch) error {
	if err := e.Commit(b); err != nil {
		return err
	}
	return e.Apply(b)
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
