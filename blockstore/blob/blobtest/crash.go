package blobtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"salliefs/blockstore/blob"
)

// CrashDir is the directory in which RunCrash has stores live. It exists.
const CrashDir = "disk"

// RunCrash tests what power cuts leave of a back end on a vfs.FS. open opens the
// store in CrashDir/objects, making it if it is not there.
func RunCrash(t *testing.T, open func(fs vfs.FS) (blob.Store, error)) {
	const seeds = 15
	cuts := 0
	for seed := range uint64(seeds) {
		n, err := Crash(open, seed)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		cuts += n
	}
	t.Logf("%d power cuts", cuts)
	if cuts < 100*seeds {
		t.Fatalf("only %d power cuts: the suite does not reach the filesystem", cuts)
	}
}

// Crash runs one series of operations that depends on seed alone, and cuts the
// power before each call that they make into the filesystem. It returns how
// often, and an error at the first cut that left what the contract forbids.
func Crash(open func(fs vfs.FS) (blob.Store, error), seed uint64) (cuts int, err error) {
	c := &crasher{
		open:    open,
		disk:    vfs.NewCrashableMem(),
		rng:     rand.New(rand.NewPCG(seed, 1)),
		model:   crashModel{},
		writers: map[string]*crashWriter{},
	}
	if err := c.disk.MkdirAll(CrashDir, 0o700); err != nil {
		return 0, err
	}
	root, err := c.disk.OpenDir("")
	if err != nil {
		return 0, err
	}
	if err := errors.Join(root.Sync(), root.Close()); err != nil {
		return 0, err
	}
	c.store, err = open(errorfs.Wrap(c.disk, errorfs.InjectorFunc(c.beforeCall)))
	for step := 0; err == nil && step < 60; step++ {
		err = c.step()
	}
	if c.violation != nil {
		err = c.violation
	}
	return c.cuts, err
}

type crasher struct {
	open      func(fs vfs.FS) (blob.Store, error)
	disk      *vfs.MemFS
	rng       *rand.Rand
	store     blob.Store
	model     crashModel
	writers   map[string]*crashWriter
	doing     string // the operation that is running
	cuts      int
	violation error
}

type crashWriter struct {
	blob.Writer
	synced  int    // -1 before the first sync
	written []byte // or being written
}

// beforeCall cuts the power in front of a call into the filesystem, three times:
// nothing unsynced survives, half of it, all of it. A call that only reads is the
// same moment as the next one that does not.
func (c *crasher) beforeCall(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsRead {
		return c.violation
	}
	for _, percent := range []int{0, 50, 100} {
		if c.violation != nil {
			return c.violation
		}
		c.cuts++
		left := c.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: c.rng})
		if err := c.checkCrashed(left); err != nil {
			c.violation = fmt.Errorf("during %s, power cut before call %d on %q, %d %% of what was not synced survives: %w",
				c.doing, op.Kind, op.Path, percent, err)
		}
	}
	return c.violation
}

// checkCrashed opens the store on what a power cut left, compares it with the
// model, and sees whether it works.
func (c *crasher) checkCrashed(left vfs.FS) error {
	s, err := c.open(left)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	if err := c.model.check(s); err != nil {
		return err
	}
	if err := s.PutNew(ctx, "dir/after-the-crash", []byte("x")); err != nil {
		return err
	}
	return s.Remove(ctx, "dir/after-the-crash")
}

// step runs one random operation on one of a few names.
func (c *crasher) step() error {
	name := []string{"a", "b", "dir/a", "dir/b", "dir/sub/a", "other/a"}[c.rng.IntN(6)]
	w := c.writers[name]
	op := c.rng.IntN(10)
	switch {
	case w == nil && op < 5:
		return c.create(name)
	case w == nil && op < 7:
		return c.put(name)
	case w == nil:
		return c.remove(name)
	case op < 5:
		return c.write(name, w)
	case op < 8:
		return c.sync(name, w)
	case op < 9:
		return c.close(name, w)
	default:
		return c.abort(name, w)
	}
}

func (c *crasher) create(name string) error {
	c.doing = "create " + name
	if _, err := c.store.Stat(ctx, name); err == nil {
		return nil // taken
	}
	c.model.may(name, outcome{})
	w, err := c.store.Create(ctx, name)
	if err == nil {
		c.writers[name] = &crashWriter{Writer: w, synced: -1}
	}
	return err
}

func (c *crasher) write(name string, w *crashWriter) error {
	c.doing = "write " + name
	data := random(c.rng.Uint64(), 1+c.rng.IntN(10_000))
	w.written = append(w.written, data...)
	c.model.may(name, outcome{synced: max(0, w.synced), bytes: w.written})
	_, err := w.Write(data)
	return err
}

func (c *crasher) sync(name string, w *crashWriter) error {
	c.doing = "sync " + name
	err := w.Sync()
	w.synced = len(w.written)
	c.model.must(name, exactly(w.written))
	return err
}

func (c *crasher) close(name string, w *crashWriter) error {
	c.doing = "close " + name
	err := w.Close()
	c.model.must(name, exactly(w.written))
	delete(c.writers, name)
	return err
}

func (c *crasher) abort(name string, w *crashWriter) error {
	c.doing = "abort " + name
	if w.synced < 0 {
		c.model.may(name, outcome{absent: true})
	}
	delete(c.writers, name)
	return w.Abort()
}

func (c *crasher) put(name string) error {
	c.doing = "put " + name
	data := random(c.rng.Uint64(), c.rng.IntN(10_000))
	put := c.store.Put
	if _, err := c.store.Stat(ctx, name); errors.Is(err, blob.ErrNotExist) && c.rng.IntN(2) == 0 {
		c.doing, put = "put new "+name, c.store.PutNew
	}
	c.model.may(name, exactly(data))
	err := put(ctx, name, data)
	c.model.must(name, exactly(data))
	return err
}

func (c *crasher) remove(name string) error {
	c.doing = "remove " + name
	c.model.may(name, outcome{absent: true})
	err := c.store.Remove(ctx, "never-there", name)
	c.model.must(name, outcome{absent: true})
	return err
}
