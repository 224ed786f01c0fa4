package blobtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"salliefs/blockstore/blob"
)

func testWrite(t *testing.T, s blob.Store) {
	for i, sizes := range [][]int{{1}, {10, 0, 20}, {4096, 1, 4095}, {1 << 20, 1<<20 + 1, 7}, {3 << 20}} {
		name := []string{"a", "b", "sub/c", "sub/deeper/d", "e"}[i]
		w := create(t, s, name)
		var all []byte
		for _, n := range sizes {
			data := random(uint64(n), n)
			write(t, w, data)
			all = append(all, data...)
			if w.Size() != int64(len(all)) {
				t.Fatalf("size %d after %d bytes", w.Size(), len(all))
			}
		}
		must(t, w.Close())
		holds(t, s, name, all)
	}
}

func testEmpty(t *testing.T, s blob.Store) {
	store(t, s, "nothing", nil)
	holds(t, s, "nothing", nil)
	must(t, s.Put(ctx, "nothing-either", nil))
	holds(t, s, "nothing-either", nil)
}

func testReadAt(t *testing.T, s blob.Store) {
	data := random(1, 10_000)
	store(t, s, "obj", data)
	r, err := s.Open(ctx, "obj")
	must(t, err)
	checkReadAt(t, r, data)
	if r.Size() != int64(len(data)) {
		t.Fatalf("size %d", r.Size())
	}
	must(t, r.Close())
	_, err = r.ReadAt(make([]byte, 1), 0)
	wants(t, "read after close", err, blob.ErrClosed, "obj")
	wants(t, "second close", r.Close(), blob.ErrClosed, "obj")
}

// checkReadAt tests that r keeps io.ReaderAt's contract for data, 10,000 bytes.
func checkReadAt(t *testing.T, r io.ReaderAt, data []byte) {
	t.Helper()
	for _, c := range []struct {
		off, n, want int
		eof          bool
	}{
		{0, 1, 1, false}, {0, 9_999, 9_999, false}, {17, 4096, 4096, false}, {9_999, 1, 1, false},
		{9_999, 2, 1, true}, {5_000, 6_000, 5_000, true}, {10_000, 1, 0, true}, {20_000, 1, 0, true},
	} {
		b := make([]byte, c.n)
		n, err := r.ReadAt(b, int64(c.off))
		if n != c.want || !bytes.Equal(b[:n], data[min(c.off, len(data)):][:n]) {
			t.Fatalf("read %d at %d: got %d bytes or the wrong ones, want %d", c.n, c.off, n, c.want)
		}
		if c.eof != (err == io.EOF) || !c.eof && err != nil {
			t.Fatalf("read %d at %d: error %v", c.n, c.off, err)
		}
	}
	if _, err := r.ReadAt(make([]byte, 1), -1); err == nil || err == io.EOF {
		t.Fatalf("read at -1: error %v", err)
	}
}

func testWriterReadAt(t *testing.T, s blob.Store) {
	data := random(2, 10_000)
	w := create(t, s, "obj")
	write(t, w, data[:6_000])
	must(t, w.Sync())
	write(t, w, data[6_000:])
	checkReadAt(t, w, data)
	must(t, w.Close())
	_, err := w.ReadAt(make([]byte, 1), 0)
	wants(t, "read after close", err, blob.ErrClosed, "obj")
}

func testSync(t *testing.T, s blob.Store) {
	w := create(t, s, "obj")
	must(t, w.Sync())
	var all []byte
	for i := range 5 {
		data := random(uint64(i), 1000*i)
		write(t, w, data)
		all = append(all, data...)
		must(t, w.Sync())
		must(t, w.Sync())
	}
	must(t, w.Close())
	holds(t, s, "obj", all)
}

func testAbortUnsynced(t *testing.T, s blob.Store) {
	w := create(t, s, "obj")
	write(t, w, random(1, 5000))
	must(t, w.Abort())
	_, err := s.Open(ctx, "obj")
	wants(t, "open after abort", err, blob.ErrNotExist, "obj")
	if l := list(t, s, ""); len(l) != 0 {
		t.Fatalf("left behind: %v", l)
	}
	store(t, s, "obj", []byte("again"))
	holds(t, s, "obj", []byte("again"))
}

func testAbortSynced(t *testing.T, s blob.Store) {
	data := random(1, 5000)
	w := create(t, s, "obj")
	write(t, w, data[:2000])
	must(t, w.Sync())
	write(t, w, data[2000:])
	must(t, w.Abort())
	got, err := load(s, "obj")
	must(t, err)
	if len(got) < 2000 || !bytes.HasPrefix(data, got) {
		t.Fatalf("%d bytes, not the synced prefix", len(got))
	}
	_, err = s.Create(ctx, "obj")
	wants(t, "create", err, blob.ErrExist, "obj")
}

func testClosed(t *testing.T, s blob.Store) {
	ends := map[string]func(blob.Writer) error{
		"closed": blob.Writer.Close, "aborted": blob.Writer.Abort,
	}
	for name, end := range ends {
		w := create(t, s, name)
		write(t, w, []byte("x"))
		must(t, end(w))
		_, err := w.Write([]byte("y"))
		wants(t, "write", err, blob.ErrClosed, name)
		wants(t, "sync", w.Sync(), blob.ErrClosed, name)
		wants(t, "close", w.Close(), blob.ErrClosed, name)
		wants(t, "abort", w.Abort(), blob.ErrClosed, name)
		if w.Size() != 1 {
			t.Fatalf("size %d", w.Size())
		}
	}
	holds(t, s, "closed", []byte("x"))
}

func testCancel(t *testing.T, s blob.Store) {
	store(t, s, "old", []byte("old"))
	ctx, cancel := context.WithCancel(context.Background())
	w, err := s.Create(ctx, "obj")
	must(t, err)
	write(t, w, []byte("x"))
	cancel()
	_, err = w.Write([]byte("y"))
	wants(t, "write", err, context.Canceled, "obj")
	wants(t, "sync", w.Sync(), context.Canceled, "obj")
	wants(t, "close", w.Close(), context.Canceled, "obj")
	_, err = s.Create(ctx, "new")
	wants(t, "create", err, context.Canceled, "new")
	wants(t, "put", s.Put(ctx, "new", nil), context.Canceled, "new")
	wants(t, "put new", s.PutNew(ctx, "new", nil), context.Canceled, "new")
	_, err = s.Open(ctx, "old")
	wants(t, "open", err, context.Canceled, "old")
	_, err = s.Stat(ctx, "old")
	wants(t, "stat", err, context.Canceled, "old")
	wants(t, "remove", s.Remove(ctx, "old"), context.Canceled, "old")
	err = s.List(ctx, "", func(blob.Info) error { return nil })
	wants(t, "list", err, context.Canceled, "")
	if l := list(t, s, ""); len(l) != 1 {
		t.Fatalf("objects %v, want the old one only", l)
	}
}

func testUnfinished(t *testing.T, s blob.Store) {
	data := random(1, 3000)
	w := create(t, s, "obj")
	for i := range 3 {
		write(t, w, data[i*1000:][:1000])
		got, err := load(s, "obj")
		if err == nil && !bytes.HasPrefix(data[:(i+1)*1000], got) {
			t.Fatalf("after %d bytes an open object has %d others", (i+1)*1000, len(got))
		}
		if err != nil && !errors.Is(err, blob.ErrNotExist) {
			t.Fatal(err)
		}
	}
	must(t, w.Close())
	holds(t, s, "obj", data)
}

func testConcurrentReads(t *testing.T, s blob.Store) {
	data := random(1, 1<<20)
	store(t, s, "obj", data)
	r, err := s.Open(ctx, "obj")
	must(t, err)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			b := make([]byte, 5000)
			for off := i * 1000; off+len(b) < len(data); off += 37_000 {
				if _, err := r.ReadAt(b, int64(off)); err != nil || !bytes.Equal(b, data[off:][:len(b)]) {
					t.Errorf("read at %d: wrong bytes or error %v", off, err)
					return
				}
			}
		})
	}
	wg.Wait()
	must(t, r.Close())
}

// testReadWhileClosing has readers on a Writer that writes and is closed.
func testReadWhileClosing(t *testing.T, s blob.Store) {
	data := random(1, 200_000)
	w := create(t, s, "obj")
	write(t, w, data[:1000])
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				b := make([]byte, 1000)
				_, err := w.ReadAt(b, 0)
				if errors.Is(err, blob.ErrClosed) {
					return
				}
				if err != nil || !bytes.Equal(b, data[:1000]) {
					t.Errorf("wrong bytes or error %v", err)
					return
				}
			}
		})
	}
	for off := 1000; off < len(data); off += 1000 {
		write(t, w, data[off:][:1000])
	}
	must(t, w.Close())
	wg.Wait()
}
