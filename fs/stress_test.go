package fs

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"salliefs/blockstore"
	"salliefs/blockstore/storetest"
)

// stressTime is how long the stress test runs: SALLIEFS_STRESS, as "5m"; else some seconds.
func stressTime(t *testing.T) time.Duration {
	v := os.Getenv("SALLIEFS_STRESS")
	if v == "" {
		return 3 * time.Second
	}
	d, err := time.ParseDuration(v)
	must(t, err)
	return d
}

// stressOps is how many operations each goroutine makes at the least, however slow the machine is.
const stressOps = 100

// TestStress has 8 goroutines change a tree at once, with all that a store does in the background beside them. They share
// directories and the blocks of copies, but each has files of its own, of which it knows what they hold: at each moment, and
// after the store was closed and opened again.
func TestStress(t *testing.T) {
	w := &world{tb: t, disk: storetest.New(t), clock: newClock()}
	w.opts = Options{Clock: w.clock.Now, Log: slog.New(slog.DiscardHandler), CacheInodes: 32}
	w.openSmall()
	t.Cleanup(w.close)
	ns := w.ns("n")
	dirs := []Ino{ns, w.dir(ns, "d"), w.dir(ns, "e")}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	end := time.Now().Add(stressTime(t))
	var all sync.WaitGroup
	workers := make([]*stresser, 8)
	for i := range workers {
		s := &stresser{w: w, me: i, rnd: rand.New(rand.NewPCG(seed, uint64(i))), dirs: dirs, files: make(map[stressPath][]byte)}
		workers[i] = s
		all.Go(func() {
			for s.ops < stressOps || time.Now().Before(end) {
				if err := s.step(); err != nil {
					t.Errorf("goroutine %d, operation %d: %v", i, s.ops, err)
					return
				}
			}
		})
	}
	all.Wait()
	ops := 0
	for range 2 {
		if w.check(); t.Failed() {
			return
		}
		want := 0
		for _, s := range workers {
			must(t, s.verify())
			want += len(s.files)
			ops += s.ops
		}
		names := -2 // the two directories
		for _, dir := range dirs {
			names += len(w.names(dir)) - 2 // . and ..
		}
		if names != want {
			t.Errorf("%d names, want %d", names, want)
		}
		w.close()
		w.openSmall()
		w.background.Wait()
	}
	t.Logf("%d operations", ops/2)
}

// openSmall opens a store that turns over soon.
func (w *world) openSmall() {
	w.tb.Helper()
	w.st = w.disk.Open(w.tb, storetest.Small(blockstore.Options{CommitInterval: 10 * time.Millisecond}))
	var err error
	w.FS, err = Open(w.st, w.opts)
	must(w.tb, err)
	w.aheadFrom = 20 << 10
}

// stressPath is a directory's number, and a name in it.
type stressPath struct {
	dir  int
	name string
}

// stresser is a goroutine with its own files.
type stresser struct {
	w     *world
	me    int
	rnd   *rand.Rand
	dirs  []Ino
	files map[stressPath][]byte
	ops   int
}

const stressSize = 300_000

// any gives one of its names, which may be in use or not.
func (s *stresser) any() stressPath {
	return stressPath{s.rnd.IntN(len(s.dirs)), fmt.Sprintf("%d-%d", s.me, s.rnd.IntN(6))}
}

// step makes one operation, and looks at what it is about.
func (s *stresser) step() error {
	s.ops++
	p, q := s.any(), s.any()
	data, there := s.files[p]
	if !there {
		_, err := s.w.Mknod(s.dirs[p.dir], p.name, ModeRegular|0o644, 0, Cred{})
		if err == nil {
			s.files[p] = nil
			err = s.write(p, s.rnd.IntN(1000), s.bytes(1+s.rnd.IntN(50_000)))
		}
		return err
	}
	if err := s.same(p); err != nil {
		return err
	}
	switch op := s.rnd.IntN(12); {
	case op == 0:
		delete(s.files, p)
		return s.w.Unlink(s.dirs[p.dir], p.name)
	case op <= 2 && p != q:
		s.files[q] = data
		delete(s.files, p)
		return s.w.Rename(s.dirs[p.dir], p.name, s.dirs[q.dir], q.name, 0)
	case op == 3 && p != q && s.files[q] != nil:
		s.files[p], s.files[q] = s.files[q], data
		return s.w.Rename(s.dirs[p.dir], p.name, s.dirs[q.dir], q.name, RenameExchange)
	case op == 4:
		size := s.rnd.IntN(stressSize)
		s.files[p] = append(bytes.Clone(data[:min(size, len(data))]), make([]byte, max(0, size-len(data)))...)
		return s.on(p, func(ino Ino) error {
			_, err := s.w.SetAttr(ino, SetAttr{Valid: SetSize, Size: int64(size)})
			return err
		})
	case op == 5 && len(data) > 0:
		from := s.rnd.IntN(len(data))
		to := min(len(data), from+1+s.rnd.IntN(100_000))
		clear(data[from:to])
		return s.on(p, func(ino Ino) error {
			return s.w.Fallocate(ino, FallocPunchHole|FallocKeepSize, int64(from), int64(to-from))
		})
	case op == 6 && p != q && s.files[q] != nil && len(data) > 0:
		return s.copyRange(p, q)
	case op == 7:
		return s.on(p, s.w.Fsync)
	case op == 8 && s.rnd.IntN(20) == 0:
		return s.w.Sync()
	}
	return s.write(p, s.rnd.IntN(stressSize), s.bytes(1+s.rnd.IntN(20_000)))
}

// bytes is data of which half shrinks.
func (s *stresser) bytes(n int) []byte {
	if s.rnd.IntN(2) == 0 {
		return bytes.Repeat([]byte{byte(s.rnd.Uint32()), byte(s.me)}, n/2+1)[:n]
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(s.rnd.Uint32())
	}
	return b
}

// on calls fn with a file's inode.
func (s *stresser) on(p stressPath, fn func(ino Ino) error) error {
	a, err := s.w.Lookup(s.dirs[p.dir], p.name)
	if err == nil {
		err = fn(a.Ino)
	}
	return err
}

func (s *stresser) write(p stressPath, off int, b []byte) error {
	data := s.files[p]
	if need := off + len(b); len(data) < need {
		data = append(data, make([]byte, need-len(data))...)
	}
	copy(data[off:], b)
	s.files[p] = data
	return s.on(p, func(ino Ino) error {
		n, err := s.w.WriteAt(ino, b, int64(off), false)
		if err == nil && n < len(b) {
			err = fmt.Errorf("%d bytes of %d were written", n, len(b))
		}
		return err
	})
}

// copyRange copies a part of one file into another, to the end of it at most.
func (s *stresser) copyRange(p, q stressPath) error {
	from, to := s.files[p], s.files[q]
	off := s.rnd.IntN(len(from))
	n := 1 + s.rnd.IntN(len(from)-off)
	at := s.rnd.IntN(len(to) + 1)
	for n > 0 { // it may copy less than it was asked for
		var copied int64
		err := s.on(p, func(src Ino) error {
			return s.on(q, func(dst Ino) (err error) {
				copied, err = s.w.CopyRange(src, int64(off), dst, int64(at), int64(n))
				return err
			})
		})
		if err != nil || copied == 0 {
			return errors.Join(err, s.same(q))
		}
		c := int(copied)
		if need := at + c; len(to) < need {
			to = append(to, make([]byte, need-len(to))...)
		}
		copy(to[at:], from[off:off+c])
		s.files[q] = to
		off, at, n = off+c, at+c, n-c
	}
	return s.same(q)
}

// same compares a file with what it must hold.
func (s *stresser) same(p stressPath) error {
	return s.on(p, func(ino Ino) error {
		want := s.files[p]
		got := make([]byte, len(want)+10)
		n, err := s.w.ReadAt(ino, got, 0)
		if err != nil {
			return fmt.Errorf("%v: %w", p, err)
		}
		if got = got[:n]; !bytes.Equal(got, want) {
			at := 0
			for at < min(len(got), len(want)) && got[at] == want[at] {
				at++
			}
			return fmt.Errorf("%v has %d bytes, want %d, and differs at %d", p, len(got), len(want), at)
		}
		return nil
	})
}

// verify looks at all its files.
func (s *stresser) verify() error {
	for _, p := range slices.Collect(maps.Keys(s.files)) {
		if err := s.same(p); err != nil {
			return fmt.Errorf("goroutine %d: %w", s.me, err)
		}
	}
	return nil
}
