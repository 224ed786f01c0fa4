package fs

import (
	"fmt"
	"hash/maphash"
	"testing"

	"salliefs/blockstore"
)

func TestNameCache(t *testing.T) {
	c := &nameCache{seed: maphash.MakeSeed()}
	a := dirent{name: "a", n: maxNumber, typ: 15, slot: 15}
	const suffix = 1<<hashBits - 1
	if _, ok := c.get(suffix, "a"); ok {
		t.Error("found in an empty cache")
	}
	c.put(suffix, &a)
	if got, ok := c.get(suffix, "a"); !ok || got != a {
		t.Errorf("%+v, %v", got, ok)
	}
	for _, x := range []struct {
		suffix uint64
		name   string
	}{{suffix, "b"}, {suffix - 64*nameSlots, "a"}, {suffix - 1, "a"}} {
		if got, ok := c.get(x.suffix, x.name); ok {
			t.Errorf("%+v is %+v", x, got)
		}
	}
	c.drop(suffix - 64*nameSlots) // another in the same place
	if _, ok := c.get(suffix, "a"); !ok {
		t.Error("dropped")
	}
	c.drop(suffix)
	if _, ok := c.get(suffix, "a"); ok {
		t.Error("not dropped")
	}
}

func TestNameSet(t *testing.T) {
	var s nameSet
	if s.lacks(1) {
		t.Error("a set that is not started knows something")
	}
	s.start()
	places := len(s.places)
	for i := range uint64(mostNames) {
		if !s.lacks(i << 20 >> 3) {
			t.Fatalf("%d is in it too early", i)
		}
		places += s.add(i << 20 >> 3)
	}
	for i := range uint64(mostNames) {
		if s.lacks(i << 20 >> 3) {
			t.Fatalf("%d is lost", i)
		}
	}
	if places != len(s.places) {
		t.Errorf("counted %d places of %d", places, len(s.places))
	}
	for i := range uint64(3 * mostNames) {
		places += s.add(i*7 + 3)
	}
	if places != 0 || s.places != nil || s.lacks(1<<40) {
		t.Errorf("a set of too many names is kept: %d, %d", places, len(s.places))
	}
}

// TestBudgets fills the caches past what they may take.
func TestBudgets(t *testing.T) {
	w := newWorld(t, Options{CacheInodes: 64})
	ns := w.ns("n")
	for i := range 300 {
		d := w.dir(ns, fmt.Sprint(i))
		for j := range 20 {
			w.file(d, fmt.Sprint(j))
		}
	}
	for i := range w.inodes.shards {
		if n := len(w.inodes.shards[i].ring); n > 2 {
			t.Fatalf("%d inodes in a shard", n)
		}
	}
	var places int64
	for i := range w.inodes.shards {
		for _, in := range w.inodes.shards[i].ring {
			if in.dir != nil {
				places += int64(len(in.dir.names.places))
			}
		}
	}
	if got := w.nameUnits.Load(); got != places {
		t.Errorf("%d places counted, %d there", got, places)
	}
	if testing.Short() {
		t.Skip("the budget of regions takes some seconds to use up")
	}
	f := w.file(ns, "sparse")
	w.write(f, 1<<40, "x")
	buf := make([]byte, 1)
	for i := range regionBudget / regionCost * 3 / 2 {
		if _, err := w.ReadAt(f, buf, int64(i)*RegionSize); err != nil {
			t.Fatal(err)
		}
	}
	in, err := w.lock(f)
	must(t, err)
	if got := w.regionUnits.Load(); got > regionBudget || got != int64(in.regionCost) || in.regionCost != len(in.regions)*regionCost {
		t.Errorf("%d units counted, %d there for %d regions", got, in.regionCost, len(in.regions))
	}
	w.unlock(in)
	w.check()
}

// TestWriteBack writes without moving times.
func TestWriteBack(t *testing.T) {
	w := newWorld(t, Options{})
	f := w.file(w.ns("n"), "f")
	before := w.attr(f)
	_, err := w.WriteBack(f, []byte("data"), 0)
	must(t, err)
	after := w.attr(f)
	if after.Mtime != before.Mtime || after.Ctime != before.Ctime || w.read(f) != "data" {
		t.Errorf("%+v, before %+v", after, before)
	}
}

// TestCheckFinds damages records in ways that leave each of them whole, and expects Check to say so.
func TestCheckFinds(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(tx *blockstore.Tx, w *world, ns, d, f *inode)
	}{
		{"entry without inode", func(tx *blockstore.Tx, w *world, ns, d, f *inode) { tx.Delete(f.record()) }},
		{"inode without entry", func(tx *blockstore.Tx, w *world, ns, d, f *inode) { setDirent(tx, d.key, d.ns.suffix(d.key, "f"), nil) }},
		{"entry elsewhere", func(tx *blockstore.Tx, w *world, ns, d, f *inode) {
			v, _ := w.read2(d, "f")
			setDirent(tx, d.key, 12345, v)
			setDirent(tx, d.key, d.ns.suffix(d.key, "f"), nil)
		}},
		{"nlink", func(tx *blockstore.Tx, w *world, ns, d, f *inode) {
			f.rec.nlink++
			tx.Put(f.record(), encodeInode(&f.rec, f.ext))
		}},
		{"nlink of a directory", func(tx *blockstore.Tx, w *world, ns, d, f *inode) {
			d.rec.nlink++
			tx.Put(d.record(), encodeInode(&d.rec, nil))
		}},
		{"entries of a directory", func(tx *blockstore.Tx, w *world, ns, d, f *inode) {
			d.rec.size++
			tx.Put(d.record(), encodeInode(&d.rec, nil))
		}},
		{"allocated bytes", func(tx *blockstore.Tx, w *world, ns, d, f *inode) {
			f.rec.alloc++
			tx.Put(f.record(), encodeInode(&f.rec, f.ext))
		}},
		{"lost extent", func(tx *blockstore.Tx, w *world, ns, d, f *inode) { tx.Put(f.record(), encodeInode(&f.rec, nil)) }},
		{"lost region", func(tx *blockstore.Tx, w *world, ns, d, f *inode) { tx.Delete(regionKey(f, 2)) }},
		{"data past the end", func(tx *blockstore.Tx, w *world, ns, d, f *inode) {
			f.rec.size = 100
			tx.Put(f.record(), encodeInode(&f.rec, f.ext))
		}},
		{"parent", func(tx *blockstore.Tx, w *world, ns, d, f *inode) {
			d.rec.parent = d.key.Number()
			tx.Put(d.record(), encodeInode(&d.rec, nil))
		}},
		{"lost attribute", func(tx *blockstore.Tx, w *world, ns, d, f *inode) { tx.Delete(xattrKey(f.key, f.ns.hasher, "user.a")) }},
		{"counter of files", func(tx *blockstore.Tx, w *world, ns, d, f *inode) { tx.Account(ns.ns.id, 1, 0) }},
		{"counter of bytes", func(tx *blockstore.Tx, w *world, ns, d, f *inode) { tx.Account(ns.ns.id, 0, -1) }},
		{"block that nobody names", func(tx *blockstore.Tx, w *world, ns, d, f *inode) { tx.PutBlock(ns.ns.id, []byte("x")) }},
		{"block that two name", func(tx *blockstore.Tx, w *world, ns, d, f *inode) { tx.Put(regionKey(f, 2), encodeRegion(f.ext)) }},
		{"record that does not decode", func(tx *blockstore.Tx, w *world, ns, d, f *inode) { tx.Put(f.record(), []byte{99}) }},
		{"region without inode", func(tx *blockstore.Tx, w *world, ns, d, f *inode) {
			tx.Put(blockstore.Key{Ino: 999, Kind: kindRegion, Suffix: 1}, encodeRegion(f.ext))
		}},
		{"orphan without inode", func(tx *blockstore.Tx, w *world, ns, d, f *inode) { w.putOrphan(tx, ns.key+777, orphanDelete) }},
		{"orphan with a name", func(tx *blockstore.Tx, w *world, ns, d, f *inode) { w.putOrphan(tx, f.key, orphanDelete) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, Options{})
			top := w.ns("n")
			dir := w.dir(top, "d")
			file := w.file(dir, "f")
			w.write(file, 0, string(randomBytes(4096)))
			w.write(file, 2*RegionSize, string(randomBytes(4096)))
			must(t, w.SetXattr(file, "user.a", nil, 0))
			w.check()
			must(t, w.st.Update(func(tx *blockstore.Tx) error {
				c.damage(tx, w, w.get(top), w.get(dir), w.get(file))
				return nil
			}))
			n := 0
			must(t, w.Check(t.Context(), CheckOptions{}, func(p Problem) { n++ }))
			if n == 0 {
				t.Error("nothing found")
			}
		})
	}
}

// read2 reads the dirent record of a name.
func (w *world) read2(dir *inode, name string) ([]byte, error) {
	return w.FS.read(dir, kindDirent, dir.ns.suffix(dir.key, name))
}
