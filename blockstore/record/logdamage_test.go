package record

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"salliefs/blockstore/record/disktest"
)

// damagedEngine is a disk with an engine of some steps, as a crash or Close leaves it, and an earlier state of it.
type damagedEngine struct {
	disk, earlier *disktest.Disk
	steps         int
	closed        bool
}

func newDamagedEngine(t *testing.T, closed bool) *damagedEngine {
	t.Helper()
	d := testDisk(t)
	e, err := Open("/records", testOptions(d))
	if err != nil {
		t.Fatal(err)
	}
	w := &damagedEngine{steps: 45, closed: closed}
	for i := range w.steps {
		if i == w.steps-3 {
			w.earlier = d.Crash(nil, 0)
		}
		if err := put(e, i+1); err != nil {
			t.Fatal(err)
		}
	}
	if !closed {
		w.disk = d.Crash(nil, 0)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if closed {
		w.disk = d.Crash(nil, 0)
	}
	return w
}

// outcome opens the engine after damage, and tells whether it noticed. What it does not notice must be all there.
func (w *damagedEngine) outcome(t *testing.T, what string, damage func(d *disktest.Disk)) (noticed bool) {
	t.Helper()
	d := w.disk.Crash(nil, 0)
	damage(d)
	e, err := Open("/records", testOptions(d))
	if err != nil {
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
		return true
	}
	defer e.Close()
	got, err := newest(e)
	if err == nil && got != w.steps {
		t.Errorf("%s: opens at step %d, want %d", what, got, w.steps)
	}
	return err != nil
}

func content(t *testing.T, d *disktest.Disk, name string) []byte {
	t.Helper()
	b, err := d.Bytes("/records/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestLogDamage: a log with a changed bit, cut short, with exchanged sectors, or in an older copy gives what it held or an
// error; after Close, and after a crash.
func TestLogDamage(t *testing.T) {
	for _, closed := range []bool{false, true} {
		w := newDamagedEngine(t, closed)
		rnd := rand.New(rand.NewPCG(1, 7))
		cases, noticed := 0, 0
		try := func(what string, damage func(d *disktest.Disk)) {
			cases++
			if w.outcome(t, what, damage) {
				noticed++
			}
		}
		for _, name := range logNames {
			size := len(content(t, w.disk, name))
			for at := 0; at < size; at += 1 + rnd.IntN(200) {
				try(name+": changed bit", func(d *disktest.Disk) { content(t, d, name)[at] ^= 1 << rnd.IntN(8) })
			}
			for at := 0; at < size; at += sectorSize {
				to := rnd.IntN(size/sectorSize) * sectorSize
				try(name+": exchanged sectors", func(d *disktest.Disk) {
					b := content(t, d, name)
					a, c := b[at:at+sectorSize], b[to:to+sectorSize]
					x := bytes.Clone(a)
					copy(a, c)
					copy(c, x)
				})
			}
			// After a crash a longer file may be what the crash left.
			for at := 0; at < size && (closed || at < minLogFile); at += 1 + rnd.IntN(900) {
				try(name+": cut short", func(d *disktest.Disk) { truncate(t, d, "/records/"+name, at) })
			}
			if closed {
				try(name+": older copy", func(d *disktest.Disk) { replace(t, d, "/records/"+name, content(t, w.earlier, name)) })
			}
		}
		names, err := w.disk.List("/records")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if !strings.HasPrefix(name, "MANIFEST-") {
				continue
			}
			for at := range content(t, w.disk, name) {
				try(name+": changed bit", func(d *disktest.Disk) { content(t, d, name)[at] ^= 1 << rnd.IntN(8) })
				try(name+": cut short", func(d *disktest.Disk) { truncate(t, d, "/records/"+name, at) })
			}
			if before, err := w.earlier.Bytes("/records/" + name); err == nil {
				try(name+": older copy", func(d *disktest.Disk) { replace(t, d, "/records/"+name, before) })
			}
		}
		t.Logf("closed %v: %d of %d noticed", closed, noticed, cases)
		if noticed == 0 || noticed == cases {
			t.Errorf("closed %v: %d of %d noticed", closed, noticed, cases)
		}
	}
}

func truncate(t *testing.T, d *disktest.Disk, path string, size int) {
	t.Helper()
	b, err := d.Bytes(path)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, d, path, b[:size])
}

// replace gives a file another content.
func replace(t *testing.T, d *disktest.Disk, path string, content []byte) {
	t.Helper()
	content = bytes.Clone(content)
	f, err := d.Create(path, "")
	if err == nil {
		_, err = f.Write(content)
	}
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}
