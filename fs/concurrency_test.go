package fs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// TestConcurrent has goroutines do everything at once in a few directories and files. What each op should give is not
// known then; that nothing blocks for ever, races or leaves a tree that does not fit together is what is tested.
func TestConcurrent(t *testing.T) {
	w := newWorld(t, Options{CacheInodes: 1, Relatime: true})
	var dirs []Ino
	for i := range 2 {
		ns := w.ns(fmt.Sprint("n", i))
		dirs = append(dirs, ns, w.dir(ns, "d1"), w.dir(ns, "d2"))
		dirs = append(dirs, w.dir(dirs[len(dirs)-1], "d3"))
	}
	dirs = append(dirs, RootIno)
	ops := 4000
	if testing.Short() {
		ops = 300
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r := rand.New(rand.NewPCG(uint64(g), 1))
			for range ops {
				if err := w.randomOp(r, dirs); err != nil && !expected(err) {
					t.Error(err)
				}
			}
		}()
	}
	wg.Wait()
	w.check()
	w.remount()
	w.background.Wait()
	w.check()
}

// expected are the errors that come of others being faster.
func expected(err error) bool {
	for _, e := range []error{ErrNotExist, ErrExist, ErrNotDir, ErrIsDir, ErrNotEmpty, ErrXDev, ErrInvalid, ErrNoAttr, ErrPerm, ErrNoData} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (w *world) randomOp(r *rand.Rand, dirs []Ino) error {
	dir, other := dirs[r.IntN(len(dirs))], dirs[r.IntN(len(dirs))]
	name, name2 := fmt.Sprint(r.IntN(6)), fmt.Sprint(r.IntN(6))
	if r.IntN(8) == 0 {
		name = fmt.Sprint("d", 1+r.IntN(3))
	}
	buf := make([]byte, 1+r.IntN(10000))
	off := int64(r.IntN(300000))
	a, err := w.Lookup(dir, name)
	if err == nil {
		w.Ref(a.Ino)
		defer w.Unref(a.Ino, 1)
	}
	switch op := r.IntN(20); {
	case op == 0 && dir != RootIno:
		_, err = w.Mkdir(dir, name, 0o755, Cred{})
	case op == 1:
		err = w.Unlink(dir, name)
	case op == 2 && dir != RootIno && name[0] != 'd':
		err = w.Rmdir(dir, name)
	case op == 3:
		err = w.Rename(dir, name, other, name2, 0)
	case op == 4:
		err = w.Rename(dir, name, other, name2, RenameExchange)
	case op == 5:
		err = w.ReadDir(dir, 0, true, func(e *DirEntry) bool { return true })
	case op == 6:
		err = w.SetKey(fmt.Sprint("n", r.IntN(2)), name, buf, Cred{})
	case op == 7 && r.IntN(20) == 0:
		err = w.Sync()
	case op == 8 && a.Ino != 0:
		_, err = w.Link(a.Ino, other, name2)
	case op == 9 && a.Ino != 0:
		_, err = w.SetAttr(a.Ino, SetAttr{Valid: SetMode | SetMtimeNow, Mode: 0o700})
	case op == 10 && a.IsRegular():
		_, err = w.SetAttr(a.Ino, SetAttr{Valid: SetSize, Size: off})
	case op == 11 && a.Ino != 0:
		err = w.SetXattr(a.Ino, "user."+name2, buf[:100%len(buf)], 0)
	case op == 12 && a.Ino != 0:
		err = w.RemoveXattr(a.Ino, "user."+name2)
	case op == 13 && a.IsRegular():
		err = w.Fallocate(a.Ino, FallocPunchHole|FallocKeepSize, off, 5000)
	case op == 14 && a.IsRegular():
		b, err2 := w.Lookup(other, name2)
		if err = err2; err == nil {
			_, err = w.CopyRange(a.Ino, off, b.Ino, 1000, 50000)
		}
	case op == 15 && a.IsRegular():
		_, err = w.Seek(a.Ino, off/2, SeekData)
	case op <= 17 && a.IsRegular():
		_, err = w.WriteAt(a.Ino, buf, off, false)
	case a.IsRegular():
		_, err = w.ReadAt(a.Ino, buf, off)
	default:
		_, err = w.Mknod(dir, name, ModeRegular|0o644, 0, Cred{})
	}
	return err
}

// TestConcurrentReadsOfARegion reads what no cache has, by several at once: the list that the one remembers, the others
// read already. The race detector is what tells.
func TestConcurrentReadsOfARegion(t *testing.T) {
	w := newWorld(t, Options{})
	f := w.file(w.ns("n"), "f")
	w.write(f, RegionSize, "in the second region")
	in, err := w.rlock(f)
	must(t, err)
	defer w.runlock(in)
	for range 200 {
		w.regionUnits.Add(-in.dropRegions())
		lists := make([][]extent, 4)
		var wg sync.WaitGroup
		for i := range lists {
			wg.Add(1)
			go func() {
				defer wg.Done()
				var err error
				if lists[i], err = w.extents(in, 1); err != nil || len(lists[i]) != 1 {
					t.Errorf("%v, %v", lists[i], err)
				}
			}()
		}
		wg.Wait()
		for _, l := range lists {
			if &l[0] != &lists[0][0] {
				t.Fatal("two lists of one region")
			}
		}
	}
	list, err := w.extents(in, 1)
	must(t, err)
	if late := w.cacheRegion(in, 1, slices.Clone(list), false); &late[0] != &list[0] { // by a reader who was slower
		t.Error("a list that others may be reading was replaced")
	}
	if got := w.regionUnits.Load(); got != int64(in.regionCost) {
		t.Errorf("%d units counted, %d there", got, in.regionCost)
	}
}
