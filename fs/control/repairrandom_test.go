package control

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore"
	"salliefs/blockstore/record"
	"salliefs/blockstore/record/disktest"
	"salliefs/blockstore/storetest"
	"salliefs/fs"
)

// on is the same store on another disk.
func (m *mending) on(disk *disktest.Disk) *mending {
	return &mending{world: &world{disk: disk, master: m.master}, t: m.t, content: m.content, ino: m.ino}
}

// copyDisk makes a disk with the same files, all durable.
func copyDisk(t *testing.T, from *disktest.Disk) *disktest.Disk {
	t.Helper()
	to := disktest.New()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	sync := func(dir string) {
		t.Helper()
		d, err := to.OpenDir(dir)
		check(err)
		check(errors.Join(d.Sync(), d.Close()))
	}
	for _, dir := range []string{"st", "st/records", "st/segments"} {
		check(to.MkdirAll(dir, 0o700))
		names, err := from.List(dir)
		check(err)
		for _, name := range names {
			name = dir + "/" + name
			if info, err := from.Stat(name); err != nil || info.IsDir() {
				continue
			}
			b, err := from.Bytes(name)
			check(err)
			f, err := to.Create(name, vfs.WriteCategoryUnspecified)
			check(err)
			_, err = f.Write(b)
			check(errors.Join(err, f.Sync(), f.Close()))
		}
	}
	for _, dir := range []string{"st/segments", "st/records", "st", "/"} {
		sync(dir)
	}
	return to
}

// tryOpen opens a store that may refuse.
func (m *mending) tryOpen() error {
	st, err := blockstore.Open("st", m.master, storetest.Small(blockstore.Options{FS: m.disk, Log: slog.New(slog.DiscardHandler)}))
	if err != nil {
		return err
	}
	tree, err := fs.Open(st, fs.Options{})
	if err != nil {
		return errors.Join(err, st.Close())
	}
	m.world.Local = NewLocal(LocalOptions{Dir: "st", Disk: m.disk, Store: st, Tree: tree, Master: m.master,
		Close: func() error { return errors.Join(tree.Close(), st.Close()) }})
	return nil
}

// sound reads all files: what can be read must be right. It lists those of which all can be.
func (m *mending) sound(when string) map[string]bool {
	whole := make(map[string]bool)
	for path, want := range m.content {
		a, err := m.find(path)
		if err != nil {
			continue
		}
		if a.Size != int64(len(want)) && a.Mode&0o777 != 0o600 { // which one that is made anew has
			m.t.Errorf("%s: %s has %d bytes, want %d", when, path, a.Size, len(want))
			continue
		}
		whole[path] = a.Size == int64(len(want))
		buf := make([]byte, 4096)
		for off := 0; off < len(want); off += 4096 {
			part := buf[:min(4096, len(want)-off)]
			n, err := m.o.Tree.ReadAt(a.Ino, part, int64(off))
			if err != nil {
				whole[path] = false
			} else if string(part[:n]) != want[off:off+n] {
				m.t.Fatalf("%s: %s is wrong at %d", when, path, off)
			}
		}
	}
	return whole
}

// TestRepairRandomDamage flips random bits of segments and tables.
func TestRepairRandomDamage(t *testing.T) {
	disk := disktest.New()
	base := newMendingOn(t, disk, storetest.Small(blockstore.Options{Log: slog.New(slog.DiscardHandler)}))
	for i := range 300 { // so that there are tables
		path := fmt.Sprintf("other/many/%d", i)
		base.content[path] = noise(uint64(i)+1, 500)
		_, err := base.Set(t.Context(), path, strings.NewReader(base.content[path]))
		base.must(err)
	}
	base.must(base.Close())
	base.world.Local = NewLocal(LocalOptions{})
	var files []string
	for _, dir := range []string{"st/segments", "st/records"} {
		list, err := disk.List(dir)
		base.must(err)
		for _, name := range list {
			if strings.HasSuffix(name, ".seg") || strings.HasSuffix(name, ".sst") {
				files = append(files, dir+"/"+name)
			}
		}
	}
	segments := base.segments()
	refused, left, repaired := 0, 0, 0
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		m := base.on(copyDisk(t, disk))
		for range 1 + rnd.IntN(6) {
			name := files[rnd.IntN(len(files))]
			if seed%3 > 0 { // a damaged table is mostly refused
				name = segments[rnd.IntN(len(segments))]
			}
			editFile(t, m.disk, name, func(b []byte) []byte {
				b[rnd.IntN(len(b))] ^= 1 << rnd.IntN(8)
				return b
			})
		}
		when := fmt.Sprintf("seed %d", seed)
		if err := m.tryOpen(); err != nil {
			if !errors.Is(err, fs.ErrCorrupt) {
				t.Errorf("%s: %v", when, err)
			}
			refused++ // a rebuild can make something of it
			continue
		}
		before := m.sound(when)
		r, err := m.Repair(t.Context(), RepairOptions{}, func(Progress) {}, func(Problem) {})
		if err != nil && !errors.Is(err, fs.ErrCorrupt) && !errors.Is(err, fs.ErrFailed) {
			t.Errorf("%s: repair: %v", when, err)
		}
		after := m.sound(when + ", repaired")
		for path, was := range before {
			if was && !after[path] {
				t.Errorf("%s: %s was whole, and is not any more", when, path)
			}
		}
		switch {
		case err == nil && r.Left == 0:
			repaired++
			if list, _ := m.found(); len(list) > 0 {
				t.Errorf("%s: after the repair: %q", when, list)
			}
		default:
			left++
		}
		_ = m.Close() // a store with damage need not be able to end well
	}
	t.Logf("%d repaired, %d in part, %d refused", repaired, left, refused)
	if repaired == 0 {
		t.Error("nothing was repaired")
	}
}

// TestRepairCrash cuts the power while a store is repaired. What is there then is no worse, and is repaired.
func TestRepairCrash(t *testing.T) {
	disk := disktest.New()
	base := newMendingOn(t, disk, blockstore.Options{})
	base.flipIn("n/big")
	base.spoil("n/d", kindDirent, false)
	base.spoil("n/small", kindInode, false)
	base.spoil("other/file", kindInode, false)
	base.reopen(func() {
		base.engine(func(e record.Engine, b record.Batch) {
			n := 0
			base.each(e, 1<<32-1, kindBlock, blockstore.Ino(base.ino["root"].Namespace()), func(k []byte) {
				if n++; n == 1 {
					b.Delete(k)
				}
			})
		})
	})
	before, _ := base.found()
	base.must(base.Close())
	base.world.Local = NewLocal(LocalOptions{})
	if len(before) < 5 {
		t.Fatalf("found %q", before)
	}

	repair := func(seed uint64, every int) (cuts []*disktest.Disk, changes int) {
		m := base.on(copyDisk(t, disk))
		m.must(m.tryOpen())
		rnd := rand.New(rand.NewPCG(seed, 1))
		var mu sync.Mutex
		d := m.disk.(*disktest.Disk)
		d.SetHook(func(op disktest.Op) error {
			if !op.Kind.Changes() {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			if changes++; every > 0 && changes%every == int(seed)%every {
				cuts = append(cuts, d.Crash(rnd, 50))
			}
			return nil
		})
		_, err := m.Repair(t.Context(), RepairOptions{}, func(Progress) {}, func(Problem) {})
		m.must(err)
		d.SetHook(nil)
		m.must(m.Close())
		return cuts, changes
	}
	_, changes := repair(0, 0)
	for seed := range uint64(4) {
		cuts, _ := repair(seed, max(1, changes/8))
		for i, d := range cuts {
			when := fmt.Sprintf("seed %d, cut %d of %d", seed, i, len(cuts))
			m := base.on(d)
			if err := m.tryOpen(); err != nil {
				t.Fatalf("%s: %v", when, err)
			}
			m.sound(when)
			if list, _ := m.found(); len(list) > len(before) {
				t.Errorf("%s: %q, before there was %q", when, list, before)
			}
			r, err := m.Repair(t.Context(), RepairOptions{}, func(Progress) {}, func(Problem) {})
			m.must(err)
			if list, _ := m.found(); len(list) > 0 || r.Left > 0 {
				t.Errorf("%s: repaired again: %q, %+v", when, list, r)
			}
			m.sound(when + ", repaired")
			m.must(m.Close())
		}
	}
	t.Logf("%d changes of the disk", changes)
}
