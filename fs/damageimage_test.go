package fs

import (
	"bytes"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore"
	"salliefs/blockstore/storetest"
)

// image is a disk: the content of each file, by path. A mutation replaces contents and never changes them in place, so that
// images can share them.
type image map[string][]byte

// takeImage reads the files of a store.
func takeImage(tb testing.TB, fs vfs.FS) image {
	tb.Helper()
	m := make(image)
	var walk func(dir string)
	walk = func(dir string) {
		names, err := fs.List(dir)
		must(tb, err)
		for _, name := range names {
			p := fs.PathJoin(dir, name)
			info, err := fs.Stat(p)
			must(tb, err)
			if info.IsDir() {
				walk(p)
				continue
			}
			f, err := fs.Open(p)
			must(tb, err)
			m[p], err = io.ReadAll(f)
			must(tb, err)
			must(tb, f.Close())
		}
	}
	walk(storetest.Dir)
	return m
}

// disk makes a disk with what the image has.
func (m image) disk(tb testing.TB) *vfs.MemFS {
	mem := vfs.NewMem()
	for _, dir := range []string{"records", "segments"} {
		must(tb, mem.MkdirAll(mem.PathJoin(storetest.Dir, dir), 0o700))
	}
	for p, content := range m {
		f, err := mem.Create(p, vfs.WriteCategoryUnspecified)
		must(tb, err)
		if len(content) > 0 {
			_, err = f.Write(content)
			must(tb, err)
		}
		must(tb, f.Close())
	}
	return mem
}

// with is the image with another content of one file; nil: without it.
func (m image) with(p string, content []byte) image {
	n := maps.Clone(m)
	if content == nil {
		delete(n, p)
	} else {
		n[p] = content
	}
	return n
}

// paths lists the files whose names match a pattern of path.Match, in order.
func (m image) paths(pattern string) (list []string) {
	for p := range m {
		if ok, _ := path.Match(storetest.Dir+"/"+pattern, p); ok {
			list = append(list, p)
		}
	}
	slices.Sort(list)
	return list
}

// victim is a store with all kinds of content, at three moments.
type victim struct {
	master   *storetest.Store
	tb       testing.TB
	buf      []byte
	earlier  image // in the middle of the last run, after a sync
	crashed  image // later in that run, after a sync, as a crash would leave it
	closed   image // at its end
	atCrash  *tree
	atClosed *tree
}

// makeVictim makes the store in several runs, so that its records are in several tables and a log.
func makeVictim(tb testing.TB) *victim {
	rnd := rand.New(rand.NewPCG(1, 2))
	noise := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return string(b)
	}
	mem := vfs.NewMem()
	w := &world{tb: tb, disk: storetest.Create(tb, mem, storetest.Dir), clock: newClock(), opts: Options{Log: slog.New(slog.DiscardHandler)}}
	w.opts.Clock = w.clock.Now
	w.open()
	v := &victim{master: w.disk, tb: tb, buf: make([]byte, maxRead)}
	// The first run: most of the content.
	n := w.ns("preferences")
	must(tb, w.CreateNamespace("raw", NamespaceSettings{Compression: blockstore.CodecNone, BlockSize: 16 << 10}, Cred{}))
	raw, err := w.Lookup(RootIno, "raw")
	must(tb, err)
	w.write(w.file(RootIno, "at the root"), 0, "small")
	for i, size := range []int{1, 100, 4000, 5000, 20_000, 70_000, 140_000, 200_000} {
		w.write(w.file(n, "noise"+strings.Repeat("x", i)), 0, noise(size))
		w.write(w.file(n, "text"+strings.Repeat("x", i)), 0, strings.Repeat("what shrinks, ", size/14+1))
		w.write(w.file(raw.Ino, "raw"+strings.Repeat("x", i)), 0, strings.Repeat("what stays. ", size/24+1))
	}
	must(tb, w.Sync())
	w.remount()
	// The second one: what is not a plain file.
	d := w.dir(n, strings.Repeat("long", 63)+"abc")
	for i := range 40 {
		w.write(w.file(d, "entry"+strings.Repeat("y", i*5)), 0, noise(i*10))
	}
	holes := w.file(n, "holes")
	w.write(holes, 300<<10, noise(5000))
	w.write(holes, 1<<20, noise(100))
	must(tb, w.Fallocate(holes, FallocPunchHole|FallocKeepSize, 301<<10, 4096))
	_, err = w.Symlink(n, "link", strings.Repeat("../target/", 20), Cred{})
	must(tb, err)
	_, err = w.Symlink(n, "short link", "text", Cred{})
	must(tb, err)
	f := w.file(n, "attributes")
	for _, x := range []string{"user.a", "user.long" + strings.Repeat("n", 200), "trusted.b"} {
		must(tb, w.SetXattr(f, x, []byte(noise(300)), 0))
	}
	_, err = w.Link(f, d, "hard link")
	must(tb, err)
	_, err = w.Mknod(n, "fifo", ModeFIFO|0o600, 0, Cred{UID: 5})
	must(tb, err)
	_, err = w.Snapshot("monday")
	must(tb, err)
	w.remount()
	// The last one changes some of it.
	w.write(f, 0, "after the snapshot")
	w.write(w.file(n, "early"), 0, noise(3000))
	must(tb, w.Sync())
	v.earlier = takeImage(tb, mem)
	must(tb, w.Unlink(n, "textx"))
	must(tb, w.Rename(n, "noisexx", d, "moved", 0))
	w.write(holes, 0, noise(66_000))
	w.write(w.file(n, "late"), 0, noise(2000))
	must(tb, w.Sync())
	v.crashed = takeImage(tb, mem)
	v.atCrash = v.truth(v.crashed)
	w.write(w.file(n, "last"), 0, noise(1000))
	w.close()
	v.closed = takeImage(tb, mem)
	v.atClosed = v.truth(v.closed)
	return v
}

// truth is what an undamaged image says.
func (v *victim) truth(m image) *tree {
	v.tb.Helper()
	st, f, err := v.open(m.disk(v.tb), true)
	must(v.tb, err)
	t := readTree(f, 0)
	if len(t.errs) > 0 {
		v.tb.Fatalf("an undamaged store: %v", t.errs)
	}
	if wrong := t.lookups(f, 0, t); len(wrong) > 0 {
		v.tb.Fatalf("an undamaged store: %q", wrong)
	}
	must(v.tb, f.Close())
	must(v.tb, st.Close())
	return t
}

func (v *victim) open(disk vfs.FS, readOnly bool) (*blockstore.Store, *FS, error) {
	s := &storetest.Store{FS: disk, Dir: storetest.Dir, Master: v.master.Master}
	st, err := s.TryOpen(blockstore.Options{ReadOnly: readOnly, RecordCache: 1 << 20, PlainCache: 1})
	if err != nil {
		return nil, nil, err
	}
	f, err := Open(st, Options{ReadOnly: readOnly, CacheInodes: 200})
	if err != nil {
		_ = st.Close() // the error that matters is the first one
		return nil, nil, err
	}
	return st, f, nil
}

// differing lists the files that two images have with different content.
func (m image) differing(other image) (list []string) {
	for p, content := range m {
		if o, ok := other[p]; ok && !bytes.Equal(o, content) {
			list = append(list, p)
		}
	}
	slices.Sort(list)
	return list
}
