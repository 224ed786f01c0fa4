package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore"
	"salliefs/blockstore/record"
	"salliefs/fs"
)

// Kinds of records, as FORMAT.md of blockstore and of fs have them.
const (
	kindUsage   = 3
	kindSegment = 5
	kindBlock   = 6
	kindInode   = 0x10
	kindDirent  = 0x11
	kindRegion  = 0x12
	kindXattr   = 0x13
	kindTarget  = 0x14
	kindOrphan  = 0x15
)

// mending is a store with a tree that is to be damaged.
type mending struct {
	*world
	t       *testing.T
	content map[string]string // of all files, by path
	ino     map[string]fs.Ino
}

func noise(seed uint64, n int) string {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

// newMending makes a store with files of all kinds, of which the large ones are in segments.
func newMending(t *testing.T) *mending {
	t.Helper()
	return newMendingOn(t, vfs.NewCrashableMem(), blockstore.Options{})
}

func newMendingOn(t *testing.T, disk vfs.FS, o blockstore.Options) *mending {
	t.Helper()
	m := &mending{world: newWorldOn(t, disk, o), t: t, content: make(map[string]string), ino: make(map[string]fs.Ino)}
	tree := m.o.Tree
	for _, ns := range []string{"n", "other"} {
		m.must(tree.CreateNamespace(ns, fs.NamespaceSettings{Compression: blockstore.CodecNone}, fs.Cred{UID: 7}))
	}
	for path, size := range map[string]int{
		"n/big": 1 << 20, "n/small": 100, "n/d/mid": 300_000, "n/d/e/deep": 9000, "n/d/e/empty": 0, "other/file": 200_000, "root": 150_000,
	} {
		m.content[path] = noise(uint64(size), size)
		_, err := m.Set(t.Context(), path, strings.NewReader(m.content[path]))
		m.must(err)
	}
	for _, path := range []string{"n", "n/d", "n/d/e"} {
		m.ino[path] = m.lookup(path).Ino
	}
	for path := range m.content {
		m.ino[path] = m.lookup(path).Ino
	}
	_, err := tree.Link(m.ino["n/small"], m.ino["n/d"], "link")
	m.must(err)
	m.content["n/d/link"] = m.content["n/small"]
	a, err := tree.Symlink(m.ino["n"], "long", strings.Repeat("x", 1000), fs.Cred{})
	m.must(err)
	m.ino["n/long"] = a.Ino
	m.must(tree.SetXattr(m.ino["n/small"], "user.a", []byte("value"), 0))
	m.must(tree.Sync())
	return m
}

func (m *mending) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *mending) lookup(path string) fs.Attr {
	m.t.Helper()
	a, err := m.find(path)
	m.must(err)
	return a
}

func (m *mending) find(path string) (a fs.Attr, err error) {
	a.Ino = fs.RootIno
	for part := range strings.SplitSeq(path, "/") {
		if a, err = m.o.Tree.Lookup(a.Ino, part); err != nil {
			return a, err
		}
	}
	return a, nil
}

// read reads a file, and counts the bytes that can not be read.
func (m *mending) read(path string) (data string, bad int, err error) {
	a, err := m.find(path)
	if err != nil {
		return "", 0, err
	}
	buf := make([]byte, a.Size)
	for off := int64(0); off < a.Size; off += 4096 {
		part := buf[off:min(off+4096, a.Size)]
		if _, err := m.o.Tree.ReadAt(a.Ino, part, off); errors.Is(err, fs.ErrCorrupt) {
			bad += len(part)
			clear(part)
		} else if err != nil {
			return "", 0, err
		}
	}
	return string(buf), bad, nil
}

// reopen closes the store, has something done to its disk, and opens it again.
func (m *mending) reopen(damage func()) {
	m.t.Helper()
	m.must(m.Close())
	damage()
	open(m.t, m.world, blockstore.Options{FS: m.disk, Log: slog.New(slog.DiscardHandler)})
}

// engine has something done to the records of the closed store.
func (m *mending) engine(do func(e record.Engine, b record.Batch)) {
	m.t.Helper()
	e, err := record.Open("st/records", record.Options{FS: m.disk, CacheSize: 1 << 20, Log: slog.New(slog.DiscardHandler)})
	m.must(err)
	b := e.NewBatch(0)
	do(e, b)
	if !b.Empty() {
		m.must(errors.Join(e.Commit(b), e.Apply(b)))
	}
	m.must(e.Close())
}

// each visits the keys of one kind of an inode; the inode 0 means all.
func (m *mending) each(e record.Engine, ns uint32, kind uint8, ino fs.Ino, visit func(physical []byte)) {
	lower, upper := record.KindBounds(ns, kind)
	if ino != 0 {
		lower, upper = record.InodeBounds(ns, kind, uint64(ino))
	}
	it, err := e.NewIter(lower, upper)
	m.must(err)
	for ok := it.First(); ok; ok = it.Next() {
		visit(bytes.Clone(it.Key()))
	}
	m.must(it.Close())
}

// spoil makes records of an inode such that they do not open, or takes them away.
func (m *mending) spoil(path string, kind uint8, gone bool) {
	ino := m.ino[path]
	if kind == kindOrphan {
		ino = blockstore.MakeIno(ino.Namespace(), 1)
	}
	m.reopen(func() {
		m.engine(func(e record.Engine, b record.Batch) {
			n := 0
			m.each(e, uint32(ino.Namespace()), kind, ino, func(k []byte) {
				n++
				if gone {
					b.Delete(k)
					return
				}
				b.Set(k, 60, func(dst []byte) []byte { return append(dst, make([]byte, 60)...) })
			})
			if n == 0 {
				m.t.Fatalf("%s has no records of kind %#x", path, kind)
			}
		})
	})
}

// put writes records through the store, as a filesystem with a mistake would.
func (m *mending) put(fn func(tx *blockstore.Tx)) {
	m.t.Helper()
	m.must(m.o.Store.Update(func(tx *blockstore.Tx) error { fn(tx); return nil }))
	m.must(m.o.Tree.Sync())
	m.reopen(func() {})
}

// segments lists the store's segments.
func (m *mending) segments() (names []string) {
	list, err := m.disk.List("st/segments")
	m.must(err)
	for _, n := range list {
		if strings.HasSuffix(n, ".seg") {
			names = append(names, "st/segments/"+n)
		}
	}
	slices.Sort(names)
	return names
}

// edit changes a file on the disk.
func editFile(t *testing.T, disk vfs.FS, name string, change func(b []byte) []byte) {
	t.Helper()
	f, err := disk.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	b = change(b)
	w, err := disk.Create(name, vfs.WriteCategoryUnspecified)
	if err == nil {
		_, err = w.Write(b)
		err = errors.Join(err, w.Sync(), w.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// flipIn flips a bit of a segment such that bytes of a file can not be read any more, and says which.
func (m *mending) flipIn(path string) (from, to int64) {
	m.t.Helper()
	flip := func(name string, at int) (size int) {
		m.reopen(func() {
			editFile(m.t, m.disk, name, func(b []byte) []byte {
				size = len(b)
				b[at] ^= 4
				return b
			})
		})
		return size
	}
	for _, name := range m.segments() {
		for at, size := 70_000, 70_001; at < size; at += 100_000 {
			size = flip(name, at)
			m.must(m.Check(m.t.Context(), CheckOptions{Data: true}, func(Progress) {}, func(p Problem) {
				if string(p.Where) == path && p.To > 0 {
					from, to = p.From, p.To
				}
			}))
			if to > 0 {
				return from, to
			}
			flip(name, at)
		}
	}
	m.t.Fatalf("no byte of a segment belongs to %s", path)
	return 0, 0
}

// found checks the store, and lists what is wrong; known are pieces that are lost.
func (m *mending) found() (list []string, known int) {
	m.t.Helper()
	err := m.Check(m.t.Context(), CheckOptions{Data: true}, func(Progress) {}, func(p Problem) {
		if p.Lost {
			known++
			return
		}
		list = append(list, fmt.Sprintf("%s: %s: %s", p.Where, p.What, p.Remedy))
	})
	m.must(err)
	return list, known
}

// run repairs, and lists what is said.
func (m *mending) run(dry bool) (list []string, r Repaired) {
	m.t.Helper()
	r, err := m.Repair(m.t.Context(), RepairOptions{DryRun: dry}, func(Progress) {}, func(p Problem) {
		if !p.Lost {
			list = append(list, fmt.Sprintf("%s: %s: %s", p.Where, p.What, p.Remedy))
		}
	})
	m.must(err)
	slices.Sort(list)
	return list, r
}

// report is the text of the reports in a namespace.
func (m *mending) report(ns string) (text string) {
	m.t.Helper()
	dir, prefix := ns+"/lost+found", "REPORT-"
	if ns == "" {
		dir, prefix = "", "lost+found-REPORT-"
	}
	err := m.List(m.t.Context(), dir, false, func(e Entry) error {
		name := string(e.Path)[strings.LastIndex(string(e.Path), "/")+1:]
		if !strings.HasPrefix(name, prefix) {
			return nil
		}
		var b bytes.Buffer
		err := m.Get(m.t.Context(), string(e.Path), func(Entry) error { return nil }, &b)
		text += b.String()
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.t.Fatal(err)
	}
	return text
}

// mend repairs what is damaged, and checks all that a repair promises. whole are files that must be as they were, apart
// from those that are named in hurt, with the number of bytes that may be lost at most.
func (m *mending) mend(hurt map[string]int) {
	t := m.t
	t.Helper()
	before, _ := m.found()
	if len(before) == 0 {
		t.Fatal("the damage is not found")
	}
	snapshots := len(m.o.Tree.Snapshots())
	dry, r := m.run(true)
	if slices.Sort(before); !slices.Equal(before, dry) || r.Repaired == 0 || r.Snapshot != "" {
		t.Errorf("check says\n%s\ndry run\n%s\n%+v", strings.Join(before, "\n"), strings.Join(dry, "\n"), r)
	}
	if again, _ := m.found(); len(again) != len(before) || len(m.o.Tree.Snapshots()) != snapshots {
		t.Errorf("a dry run changes something: %q", again)
	}
	did, r := m.run(false)
	if !slices.Equal(did, dry) || r.Left != 0 || r.Repaired != len(did) {
		t.Errorf("dry run\n%s\nrun\n%s\n%+v", strings.Join(dry, "\n"), strings.Join(did, "\n"), r)
	}
	if list := m.o.Tree.Snapshots(); len(list) != snapshots+1 || list[snapshots].Name != r.Snapshot || !strings.HasPrefix(r.Snapshot, "before-repair-") {
		t.Errorf("snapshots %+v, %+v", list, r)
	}
	for range 2 {
		if after, _ := m.found(); len(after) > 0 {
			t.Errorf("after the repair:\n%s", strings.Join(after, "\n"))
		}
		if again, r := m.run(false); len(again) > 0 || r.Snapshot != "" {
			t.Errorf("a second repair: %q, %+v", again, r)
		}
		for path, want := range m.content {
			most, isHurt := hurt[path]
			got, bad, err := m.read(path)
			switch {
			case isHurt && most < 0: // it is gone, or elsewhere
			case err != nil || bad > most:
				t.Errorf("%s: %d bytes are lost, at most %d are right, %v", path, bad, most, err)
			case bad == 0 && got != want:
				t.Errorf("%s is not what it was", path)
			}
		}
		m.reopen(func() {})
	}
}

func TestRepairData(t *testing.T) {
	t.Run("a flipped bit", func(t *testing.T) {
		m := newMending(t)
		from, to := m.flipIn("n/big")
		if to-from != 4096 {
			t.Errorf("bytes %d to %d can not be read", from, to)
		}
		told := fmt.Sprintf("n/big: bytes %d to %d: ", from, to)
		m.mend(map[string]int{"n/big": 4096})
		if report := m.report("n"); !strings.Contains(report, told) || !strings.Contains(report, "before-repair-") {
			t.Errorf("report %q", report)
		}
		want := m.content["n/big"]
		want = want[:from] + strings.Repeat("\x00", 4096) + want[to:]
		if got, bad, err := m.read("n/lost+found/big"); got != want || bad > 0 || err != nil {
			t.Errorf("the copy: %d bytes, %d bad, %v", len(got), bad, err)
		}
		if got, bad, _ := m.read("n/big"); bad != 4096 || got != want {
			t.Errorf("%d bytes are lost of the file", bad)
		}
		if _, known := m.found(); known != 1 {
			t.Errorf("%d pieces are known to be lost", known)
		}
		// What is written over lost bytes is there.
		if _, err := m.o.Tree.WriteAt(m.ino["n/big"], []byte(m.content["n/big"][from:to]), from, false); err != nil {
			t.Error(err)
		}
		if got, bad, err := m.read("n/big"); got != m.content["n/big"] || bad > 0 || err != nil {
			t.Errorf("written again: %d bad, %v", bad, err)
		}
	})
	t.Run("a missing segment", func(t *testing.T) {
		m := newMending(t)
		m.reopen(func() {
			for _, name := range m.segments() {
				m.must(m.disk.Remove(name))
			}
		})
		m.mend(map[string]int{"n/big": 1 << 20, "n/d/mid": 300_000, "n/d/e/deep": 9000, "other/file": 200_000, "root": 150_000})
		for _, ns := range []string{"n", "other", ""} {
			if m.report(ns) == "" {
				t.Errorf("no report in %q", ns)
			}
		}
	})
	for name, change := range map[string]func([]byte) []byte{
		"header": func(b []byte) []byte { b[3] ^= 1; return b }, "trailer": func(b []byte) []byte { b[len(b)-9] ^= 1; return b },
		"footer": func(b []byte) []byte { b[len(b)-40] ^= 1; return b },
	} {
		t.Run("a damaged "+name, func(t *testing.T) {
			m := newMending(t)
			m.reopen(func() {
				for _, seg := range m.segments() {
					editFile(t, m.disk, seg, change)
				}
			})
			m.mend(nil) // no block is damaged
		})
	}
	t.Run("a segment cut short", func(t *testing.T) {
		m := newMending(t)
		m.reopen(func() {
			for _, seg := range m.segments() {
				editFile(t, m.disk, seg, func(b []byte) []byte { return b[:len(b)/2+100] })
			}
		})
		m.mend(map[string]int{"n/big": 1 << 20, "n/d/mid": 300_000, "n/d/e/deep": 9000, "other/file": 200_000, "root": 150_000})
	})
	for name, gone := range map[string]bool{"damaged": false, "missing": true} {
		t.Run("a block's record "+name, func(t *testing.T) {
			m := newMending(t)
			m.reopen(func() {
				m.engine(func(e record.Engine, b record.Batch) {
					n := 0
					lower, upper := record.InodeBounds(1<<32-1, kindBlock, uint64(m.ino["n/big"].Namespace()))
					it, err := e.NewIter(lower, upper)
					m.must(err)
					for ok := it.First(); ok; ok = it.Next() {
						if n++; n != 3 {
							continue
						}
						if gone {
							b.Delete(bytes.Clone(it.Key()))
						} else {
							b.Set(bytes.Clone(it.Key()), 60, func(dst []byte) []byte { return append(dst, make([]byte, 60)...) })
						}
					}
					m.must(it.Close())
				})
			})
			all := make(map[string]int)
			for path := range m.content {
				all[path] = 128 << 10
			}
			m.mend(all)
		})
	}
}

func TestRepairRecords(t *testing.T) {
	for name, c := range map[string]struct {
		path  string
		kind  uint8
		hurt  map[string]int
		after func(m *mending)
	}{
		"inode of a small file": {"n/small", kindInode, map[string]int{"n/small": -1, "n/d/link": -1}, func(m *mending) {
			if _, err := m.find("n/small"); !errors.Is(err, fs.ErrNotExist) {
				m.t.Errorf("the name: %v", err)
			}
		}},
		"inode of a large file": {"n/big", kindInode, map[string]int{"n/big": 128 << 10}, func(m *mending) {
			got, bad, err := m.read("n/big")
			if bad != 128<<10 || err != nil || got[128<<10:] != m.content["n/big"][128<<10:] {
				m.t.Errorf("%d bytes are lost, %v", bad, err)
			}
			if a := m.lookup("n/big"); a.Mode != fs.ModeRegular|0o600 || a.UID != 7 {
				m.t.Errorf("%+v", a)
			}
		}},
		"inode of a directory": {"n/d", kindInode, nil, func(m *mending) {
			if a := m.lookup("n/d"); a.Mode != fs.ModeDir|0o700 || a.Nlink != 3 {
				m.t.Errorf("%+v", a)
			}
		}},
		"inode of a top directory": {"n", kindInode, nil, nil},
		"entries": {"n/d", kindDirent, map[string]int{"n/d/mid": -1, "n/d/link": -1, "n/d/e/deep": -1, "n/d/e/empty": -1}, func(m *mending) {
			for path, was := range map[string]string{
				fmt.Sprintf("n/lost+found/#%d", m.ino["n/d/mid"].Number()):    "n/d/mid",
				fmt.Sprintf("n/lost+found/#%d/deep", m.ino["n/d/e"].Number()): "n/d/e/deep",
			} {
				if got, bad, err := m.read(path); got != m.content[was] || bad > 0 || err != nil {
					m.t.Errorf("%s: %d bytes, %v", path, len(got), err)
				}
			}
			if a := m.lookup("n/small"); a.Nlink != 1 {
				m.t.Errorf("%d links", a.Nlink)
			}
		}},
		"regions": {"n/big", kindRegion, map[string]int{"n/big": 1 << 20}, func(m *mending) {
			got, bad, err := m.read("n/big")
			if bad != 7<<17 || err != nil || got[:1<<17] != m.content["n/big"][:1<<17] {
				m.t.Errorf("%d bytes are lost, %v", bad, err)
			}
		}},
		"attributes": {"n/small", kindXattr, nil, nil},
		"target":     {"n/long", kindTarget, nil, nil},
	} {
		for how, gone := range map[string]bool{"damaged": false, "missing": true} {
			if gone && (c.kind == kindRegion || c.kind == kindXattr || c.kind == kindDirent) {
				continue // that looks like holes, and like counts that are wrong
			}
			t.Run(name+" "+how, func(t *testing.T) {
				m := newMending(t)
				m.spoil(c.path, c.kind, gone)
				m.mend(c.hurt)
				if c.after != nil {
					c.after(m)
				}
			})
		}
	}
}

// TestRepairContradictions: each record is whole, and they do not go together.
func TestRepairContradictions(t *testing.T) {
	read := func(m *mending, k blockstore.Key) []byte {
		v, err := m.o.Store.Get(k)
		m.must(err)
		return bytes.Clone(v)
	}
	for name, damage := range map[string]func(m *mending) (hurt map[string]int){
		"counters": func(m *mending) map[string]int {
			m.put(func(tx *blockstore.Tx) { tx.Account(m.ino["n"].Namespace(), 5, -77) })
			return nil
		},
		"a name that names nothing": func(m *mending) map[string]int {
			m.put(func(tx *blockstore.Tx) { tx.Delete(blockstore.Key{Ino: m.ino["n/d/e/empty"], Kind: kindInode}) })
			return map[string]int{"n/d/e/empty": -1}
		},
		"records that do not decode": func(m *mending) map[string]int {
			m.put(func(tx *blockstore.Tx) {
				tx.Put(blockstore.Key{Ino: m.ino["n/d/e/empty"], Kind: kindInode}, []byte{9})
				tx.Put(blockstore.Key{Ino: m.ino["n/d"], Kind: kindDirent, Suffix: 77}, []byte{9})
				tx.Put(blockstore.Key{Ino: m.ino["n/d/mid"], Kind: kindXattr, Suffix: 77}, []byte{9})
				tx.Put(blockstore.Key{Ino: m.ino["n"], Kind: kindOrphan, Suffix: m.ino["n/d/mid"].Number()}, []byte{9})
			})
			return map[string]int{"n/d/e/empty": -1}
		},
		"records of nothing": func(m *mending) map[string]int {
			region := read(m, blockstore.Key{Ino: m.ino["n/big"], Kind: kindRegion, Suffix: 2})
			m.put(func(tx *blockstore.Tx) {
				ino := tx.NewIno(m.ino["n"].Namespace())
				tx.Put(blockstore.Key{Ino: ino, Kind: kindRegion, Suffix: 2}, region)
			})
			return nil
		},
		"noted as left over": func(m *mending) map[string]int {
			m.put(func(tx *blockstore.Tx) {
				tx.Put(blockstore.Key{Ino: m.ino["n"], Kind: kindOrphan, Suffix: m.ino["n/d/mid"].Number()}, append([]byte{1, 1}, make([]byte, 8)...))
			})
			return nil
		},
		"an entry in a wrong place": func(m *mending) map[string]int {
			entry := append([]byte{1, 0x80}, append(appendUvarint(nil, m.ino["n/d/mid"].Number()), 1, 'x')...)
			m.put(func(tx *blockstore.Tx) { tx.Put(blockstore.Key{Ino: m.ino["n/d"], Kind: kindDirent, Suffix: 5}, entry) })
			return nil
		},
		"directories in each other": func(m *mending) map[string]int {
			// The entry of d moves from the top into e, which is in d.
			var top, below blockstore.Key
			hash := m.o.Store.NameHasher(m.ino["n"].Namespace())
			top = blockstore.Key{Ino: m.ino["n"], Kind: kindDirent, Suffix: hash.Sum(uint64(m.ino["n"]), "d") >> 6}
			below = blockstore.Key{Ino: m.ino["n/d/e"], Kind: kindDirent, Suffix: hash.Sum(uint64(m.ino["n/d/e"]), "d") >> 6}
			value := read(m, top)
			m.put(func(tx *blockstore.Tx) {
				tx.Delete(top)
				tx.Put(below, value)
			})
			return map[string]int{"n/d/mid": -1, "n/d/link": -1, "n/d/e/deep": -1, "n/d/e/empty": -1}
		},
		"a directory with two names": func(m *mending) map[string]int {
			hash := m.o.Store.NameHasher(m.ino["n"].Namespace())
			value := read(m, blockstore.Key{Ino: m.ino["n/d"], Kind: kindDirent, Suffix: hash.Sum(uint64(m.ino["n/d"]), "e") >> 6})
			m.put(func(tx *blockstore.Tx) {
				tx.Put(blockstore.Key{Ino: m.ino["n"], Kind: kindDirent, Suffix: hash.Sum(uint64(m.ino["n"]), "e") >> 6}, value)
			})
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMending(t)
			m.mend(damage(m))
		})
	}
}

func appendUvarint(b []byte, x uint64) []byte {
	for ; x >= 0x80; x >>= 7 {
		b = append(b, byte(x)|0x80)
	}
	return append(b, byte(x))
}

// TestRepairStopsWithoutSnapshot: without one, nothing is repaired.
func TestRepairStopsWithoutSnapshot(t *testing.T) {
	m := newMending(t)
	m.flipIn("n/big")
	before, _ := m.found()
	m.must(m.Close())
	open(t, m.world, blockstore.Options{FS: m.disk, ReadOnly: true, Log: slog.New(slog.DiscardHandler)})
	if _, err := m.Repair(context.Background(), RepairOptions{}, func(Progress) {}, func(Problem) {}); !errors.Is(err, fs.ErrReadOnly) {
		t.Errorf("repair: %v", err)
	}
	if after, _ := m.found(); !slices.Equal(after, before) {
		t.Errorf("found %q", after)
	}
}
