package blockstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore"
	"salliefs/blockstore/storetest"
)

const testKind blockstore.Kind = 0x10

func key(n, suffix uint64) blockstore.Key {
	return blockstore.Key{Ino: blockstore.MakeIno(0, n), Kind: testKind, Suffix: suffix}
}

func put(t *testing.T, s *blockstore.Store, k blockstore.Key, value string) {
	t.Helper()
	if err := s.Update(func(tx *blockstore.Tx) error { tx.Put(k, []byte(value)); return nil }); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, s *blockstore.Store, k blockstore.Key) {
	t.Helper()
	if err := s.Update(func(tx *blockstore.Tx) error { tx.Delete(k); return nil }); err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, s *blockstore.Store, e blockstore.Epoch, k blockstore.Key, value string) {
	t.Helper()
	v, err := s.GetAt(e, k)
	if value == "" {
		if !errors.Is(err, blockstore.ErrNotFound) {
			t.Fatalf("%v at epoch %d: %q, %v; want ErrNotFound", k, e, v, err)
		}
		return
	}
	if err != nil || string(v) != value {
		t.Fatalf("%v at epoch %d: %q, %v; want %q", k, e, v, err, value)
	}
}

func mustSync(t *testing.T, s *blockstore.Store) {
	t.Helper()
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
}

func mustClose(t *testing.T, s *blockstore.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func mustCheck(t *testing.T, s *blockstore.Store) {
	t.Helper()
	err := s.Check(context.Background(), blockstore.CheckOptions{Data: true}, func(p blockstore.Problem) { t.Errorf("check: %v", p) })
	if err != nil {
		t.Fatal(err)
	}
}

func TestRecordsSurviveReopen(t *testing.T) {
	disk := storetest.New(t)
	s := disk.Open(t, blockstore.Options{})
	put(t, s, key(1, 0), "a")
	put(t, s, key(1, 7), "b")
	put(t, s, key(2, 7), "c")
	want(t, s, blockstore.Live, key(1, 7), "b")
	mustSync(t, s)
	want(t, s, blockstore.Live, key(1, 7), "b")
	remove(t, s, key(2, 7))
	want(t, s, blockstore.Live, key(2, 7), "")
	mustClose(t, s)
	s = disk.Open(t, blockstore.Options{})
	defer mustClose(t, s)
	want(t, s, blockstore.Live, key(1, 0), "a")
	want(t, s, blockstore.Live, key(1, 7), "b")
	want(t, s, blockstore.Live, key(2, 7), "")
	mustCheck(t, s)
}

func TestUpdateThatFailsChangesNothing(t *testing.T) {
	s := storetest.New(t).Open(t, blockstore.Options{})
	defer mustClose(t, s)
	boom := errors.New("boom")
	err := s.Update(func(tx *blockstore.Tx) error {
		tx.Put(key(1, 1), []byte("x"))
		tx.PutBlock(0, []byte("data"))
		tx.Account(0, 1, 4)
		return boom
	})
	if err != boom {
		t.Fatalf("Update: %v, want its function's error", err)
	}
	want(t, s, blockstore.Live, key(1, 1), "")
	if ns, _ := s.NamespaceByID(0); ns.Usage != (blockstore.Usage{}) {
		t.Fatalf("usage %+v after a failed Update", ns.Usage)
	}
}

// blockData is a mix of what shrinks and what does not.
func blockData(rnd *rand.Rand, n int) []byte {
	b := make([]byte, n)
	if rnd.IntN(2) == 0 {
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return b
	}
	for i := range b {
		b[i] = "the quick brown fox jumps over the lazy dog "[(i+i/100)%44]
	}
	return b
}

func TestBlocks(t *testing.T) {
	for _, codec := range []blockstore.Codec{blockstore.CodecAuto, blockstore.CodecNone, blockstore.CodecS2, blockstore.CodecZstd} {
		t.Run(codec.String(), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(1, uint64(codec)))
			disk := storetest.New(t)
			s := disk.Open(t, blockstore.Options{})
			ns, err := s.CreateNamespace("n", blockstore.NamespaceSettings{Compression: codec}, nil)
			if err != nil {
				t.Fatal(err)
			}
			blocks := make(map[blockstore.BlockID][]byte)
			for _, n := range []int{1, 63, 64, 4096, 16383, 16384, 16385, 65536, 131071, 131072, 131072, 131072, 131072} {
				for range 4 {
					data := blockData(rnd, n)
					if err := s.Update(func(tx *blockstore.Tx) error { blocks[tx.PutBlock(ns, data)] = data; return nil }); err != nil {
						t.Fatal(err)
					}
				}
			}
			verify := func() {
				t.Helper()
				for id, data := range blocks {
					for range 4 {
						off := rnd.IntN(len(data))
						dst := make([]byte, 1+rnd.IntN(len(data)-off))
						if err := s.ReadBlock(ns, id, off, dst); err != nil || !bytes.Equal(dst, data[off:off+len(dst)]) {
							t.Fatalf("block %d of %d bytes, from %d: %v or wrong data", id, len(data), off, err)
						}
					}
					dst := make([]byte, len(data))
					if err := s.ReadBlock(ns, id, 0, dst); err != nil || !bytes.Equal(dst, data) {
						t.Fatalf("block %d of %d bytes: %v or wrong data", id, len(data), err)
					}
					if err := s.ReadBlock(ns, id, 1, dst); err == nil {
						t.Fatalf("block %d: reading past the end succeeds", id)
					}
				}
			}
			verify()
			mustSync(t, s)
			verify()
			mustCheck(t, s)
			mustClose(t, s)
			s = disk.Open(t, blockstore.Options{})
			verify()
			mustCheck(t, s)
			if err := s.Update(func(tx *blockstore.Tx) error {
				for id := range blocks {
					tx.FreeBlock(ns, id)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			mustSync(t, s)
			mustCheck(t, s)
			if n, _ := s.NamespaceByID(ns); n.Usage.Blocks != 0 || n.Usage.Stored != 0 {
				t.Fatalf("usage %+v after all blocks were freed", n.Usage)
			}
			if st := s.Stats(); st.SegmentLive != 0 || st.Segments > 1 {
				t.Fatalf("%d segments with %d live bytes after all blocks were freed", st.Segments, st.SegmentLive)
			}
			mustClose(t, s)
		})
	}
}

func TestRewriteBlock(t *testing.T) {
	s := storetest.New(t).Open(t, blockstore.Options{})
	defer mustClose(t, s)
	var id blockstore.BlockID
	update := func(fn func(tx *blockstore.Tx)) {
		t.Helper()
		if err := s.Update(func(tx *blockstore.Tx) error { fn(tx); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	update(func(tx *blockstore.Tx) { id = tx.PutBlock(0, []byte("hello")) })
	update(func(tx *blockstore.Tx) {
		if !tx.RewriteBlock(id, 5, []byte(" world")) || !tx.RewriteBlock(id, 0, []byte("J")) {
			t.Error("a young block can not be rewritten")
		}
		if tx.RewriteBlock(id, 12, []byte("gap")) {
			t.Error("RewriteBlock left a gap")
		}
	})
	read := func() string {
		t.Helper()
		dst := make([]byte, 11)
		if err := s.ReadBlock(0, id, 0, dst); err != nil {
			t.Fatal(err)
		}
		return string(dst)
	}
	if got := read(); got != "Jello world" {
		t.Fatalf("%q", got)
	}
	mustSync(t, s)
	update(func(tx *blockstore.Tx) {
		if tx.RewriteBlock(id, 0, []byte("x")) {
			t.Error("a committed block was rewritten")
		}
		tx.Put(key(1, 1), []byte("x"))
	})
	if got := read(); got != "Jello world" {
		t.Fatalf("%q", got)
	}
}

func TestSnapshots(t *testing.T) {
	disk := storetest.New(t)
	s := disk.Open(t, blockstore.Options{})
	put(t, s, key(1, 1), "one")
	put(t, s, key(1, 2), "gone")
	var old blockstore.BlockID
	if err := s.Update(func(tx *blockstore.Tx) error { old = tx.PutBlock(0, []byte("old block")); return nil }); err != nil {
		t.Fatal(err)
	}
	put(t, s, key(9, 1), fmt.Sprint(old))
	a, err := s.Snapshot("a")
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, key(1, 1), "two")
	remove(t, s, key(1, 2))
	put(t, s, key(1, 3), "new")
	if err := s.Update(func(tx *blockstore.Tx) error { tx.FreeBlock(0, old); tx.Delete(key(9, 1)); return nil }); err != nil {
		t.Fatal(err)
	}
	b, err := s.Snapshot("b")
	if err != nil {
		t.Fatal(err)
	}
	remove(t, s, key(1, 1))
	mustSync(t, s)
	if _, err := s.Snapshot("b"); !errors.Is(err, blockstore.ErrExists) {
		t.Fatalf("second snapshot b: %v", err)
	}
	verify := func() {
		t.Helper()
		want(t, s, a.Epoch, key(1, 1), "one")
		want(t, s, a.Epoch, key(1, 2), "gone")
		want(t, s, a.Epoch, key(1, 3), "")
		want(t, s, b.Epoch, key(1, 1), "two")
		want(t, s, b.Epoch, key(1, 2), "")
		want(t, s, b.Epoch, key(1, 3), "new")
		want(t, s, blockstore.Live, key(1, 1), "")
		want(t, s, blockstore.Live, key(1, 2), "")
		want(t, s, blockstore.Live, key(1, 3), "new")
		dst := make([]byte, 9)
		if err := s.ReadBlock(0, old, 0, dst); err != nil || string(dst) != "old block" {
			t.Fatalf("block of snapshot a: %q, %v", dst, err)
		}
		for e, want := range map[blockstore.Epoch]string{a.Epoch: "1:one 2:gone ", b.Epoch: "1:two 3:new ", blockstore.Live: "3:new "} {
			var got string
			if err := s.Scan(e, key(1, 0).Ino, testKind, 0, func(suffix uint64, v []byte) bool {
				got += fmt.Sprintf("%d:%s ", suffix, v)
				return true
			}); err != nil || got != want {
				t.Fatalf("scan at epoch %d: %q, %v; want %q", e, got, err, want)
			}
		}
	}
	verify()
	mustClose(t, s)
	s = disk.Open(t, blockstore.Options{})
	defer mustClose(t, s)
	verify()
	mustCheck(t, s)

	s.SetBlockRefs(func(kind blockstore.Kind, value []byte, visit func(blockstore.BlockID)) error {
		var id blockstore.BlockID
		if _, err := fmt.Sscan(string(value), &id); err == nil {
			visit(id)
		}
		return nil
	})
	sweep := func() {
		t.Helper()
		if err := s.Sweep(context.Background()); err != nil {
			t.Fatal(err)
		}
		mustCheck(t, s)
	}
	sweep()
	verify()
	if err := s.DeleteSnapshot("a"); err != nil {
		t.Fatal(err)
	}
	sweep()
	want(t, s, b.Epoch, key(1, 1), "two")
	if err := s.ReadBlock(0, old, 0, make([]byte, 9)); !errors.Is(err, blockstore.ErrNotFound) {
		t.Fatalf("the block of a deleted snapshot: %v", err)
	}
	if err := s.DeleteSnapshot("b"); err != nil {
		t.Fatal(err)
	}
	sweep()
	want(t, s, blockstore.Live, key(1, 1), "")
	want(t, s, blockstore.Live, key(1, 3), "new")
}

func TestScanMergesGroupsAndDisk(t *testing.T) {
	s := storetest.New(t).Open(t, blockstore.Options{})
	defer mustClose(t, s)
	rnd := rand.New(rand.NewPCG(3, 4))
	model := make(map[uint64]string)
	for round := range 12 {
		for range 1500 {
			k := rnd.Uint64N(9000) + 1
			if rnd.IntN(3) == 0 {
				remove(t, s, key(5, k))
				delete(model, k)
			} else {
				v := fmt.Sprint(round, k)
				put(t, s, key(5, k), v)
				model[k] = v
			}
		}
		if round%3 == 0 {
			mustSync(t, s)
		}
		from := rnd.Uint64N(9000)
		last := uint64(0)
		n := 0
		if err := s.Scan(blockstore.Live, key(5, 0).Ino, testKind, from, func(suffix uint64, v []byte) bool {
			if suffix < from || suffix <= last && n > 0 || model[suffix] != string(v) {
				t.Fatalf("scan from %d: suffix %d after %d is %q, want %q", from, suffix, last, v, model[suffix])
			}
			last = suffix
			n++
			return true
		}); err != nil {
			t.Fatal(err)
		}
		for k := range model {
			if k >= from {
				n--
			}
		}
		if n != 0 {
			t.Fatalf("scan from %d found %d too many", from, n)
		}
	}
}

func TestNamespaces(t *testing.T) {
	disk := storetest.New(t)
	s := disk.Open(t, blockstore.Options{})
	id, err := s.CreateNamespace("prefs", blockstore.NamespaceSettings{Quota: 1000}, func(tx *blockstore.Tx, ns blockstore.NamespaceID) {
		tx.Put(blockstore.Key{Ino: blockstore.MakeIno(ns, 1), Kind: testKind}, []byte("top"))
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateNamespace("prefs", blockstore.NamespaceSettings{}, nil); !errors.Is(err, blockstore.ErrExists) {
		t.Fatalf("second prefs: %v", err)
	}
	if _, err := s.CreateNamespace("a/b", blockstore.NamespaceSettings{}, nil); !errors.Is(err, blockstore.ErrInvalid) {
		t.Fatalf("a/b: %v", err)
	}
	top := blockstore.Key{Ino: blockstore.MakeIno(id, 1), Kind: testKind}
	if err := s.RenameNamespace("prefs", "preferences", nil); err != nil {
		t.Fatal(err)
	}
	snap, err := s.Snapshot("x")
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	s = disk.Open(t, blockstore.Options{})
	ns, ok := s.NamespaceByName("preferences")
	if !ok || ns.ID != id || ns.Settings.Quota != 1000 {
		t.Fatalf("after reopen: %+v, %v", ns, ok)
	}
	want(t, s, blockstore.Live, top, "top")
	var block blockstore.BlockID
	if err := s.Update(func(tx *blockstore.Tx) error {
		block = tx.PutBlock(id, bytes.Repeat([]byte("x"), 100000))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveNamespace("preferences", nil); err != nil {
		t.Fatal(err)
	}
	want(t, s, snap.Epoch, top, "top")
	list, err := s.NamespacesAt(snap.Epoch)
	if err != nil || len(list) != 2 || list[1].Name != "preferences" {
		t.Fatalf("namespaces of the snapshot: %+v, %v", list, err)
	}
	mustClose(t, s)
	s = disk.Open(t, blockstore.Options{})
	want(t, s, snap.Epoch, top, "top")
	if _, ok := s.NamespaceByName("preferences"); ok {
		t.Fatal("the removed namespace is back")
	}
	if err := s.DeleteSnapshot("x"); err != nil {
		t.Fatal(err)
	}
	if err := s.Reclaim(context.Background()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return errors.Is(s.ReadBlock(id, block, 0, make([]byte, 1)), blockstore.ErrNotFound) })
	next, err := s.CreateNamespace("preferences", blockstore.NamespaceSettings{}, nil)
	if err != nil || next == id {
		t.Fatalf("made again: ID %d, %v; the old one was %d", next, err, id)
	}
	mustCheck(t, s)
	mustClose(t, s)
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen in 5 s")
		}
	}
}

func TestReclaimMovesLiveBlocks(t *testing.T) {
	disk := storetest.New(t)
	s := disk.Open(t, blockstore.Options{})
	rnd := rand.New(rand.NewPCG(5, 6))
	blocks := make(map[blockstore.BlockID][]byte)
	var ids []blockstore.BlockID
	for range 400 {
		data := make([]byte, 100000)
		for i := range data {
			data[i] = byte(rnd.Uint32())
		}
		if err := s.Update(func(tx *blockstore.Tx) error {
			id := tx.PutBlock(0, data)
			blocks[id] = data
			ids = append(ids, id)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	mustSync(t, s)
	mustClose(t, s) // ends the segment
	s = disk.Open(t, blockstore.Options{})
	before := s.Stats()
	if err := s.Update(func(tx *blockstore.Tx) error {
		for i, id := range ids {
			if i%5 != 0 {
				tx.FreeBlock(0, id)
				delete(blocks, id)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	mustSync(t, s)
	if err := s.Reclaim(context.Background()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return s.Stats().SegmentSize < before.SegmentSize/2 })
	mustCheck(t, s)
	for range 2 {
		for id, data := range blocks {
			dst := make([]byte, len(data))
			if err := s.ReadBlock(0, id, 0, dst); err != nil || !bytes.Equal(dst, data) {
				t.Fatalf("block %d after reclaim: %v or wrong data", id, err)
			}
		}
		mustClose(t, s)
		s = disk.Open(t, blockstore.Options{})
	}
	mustCheck(t, s)
	mustClose(t, s)
}

// TestCrash cuts power at random moments: the store must be at a state that it had, and no older than the last Sync.
func TestCrash(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 9))
		mem := vfs.NewCrashableMem()
		disk := storetest.Create(t, mem, storetest.Dir)
		s := disk.Open(t, blockstore.Options{CommitInterval: time.Hour})
		var synced, done int
		for range 5 + rnd.IntN(60) {
			done++
			data := blockData(rnd, 1+rnd.IntN(30000))
			if err := s.Update(func(tx *blockstore.Tx) error {
				id := tx.PutBlock(0, data)
				tx.Put(key(1, uint64(done)), fmt.Appendf(nil, "%d %d %x", id, len(data), data[:1]))
				tx.Put(key(2, 0), fmt.Append(nil, done))
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if rnd.IntN(4) == 0 {
				mustSync(t, s)
				synced = done
			}
		}
		crashed := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rnd.IntN(101), RNG: rnd})
		mustClose(t, s)
		disk.FS = crashed
		s = disk.Open(t, blockstore.Options{})
		var state int
		if v, err := s.Get(key(2, 0)); err == nil {
			fmt.Sscan(string(v), &state)
		}
		if state < synced || state > done {
			t.Fatalf("seed %d: state %d after the crash, want %d to %d", seed, state, synced, done)
		}
		n := 0
		if err := s.Scan(blockstore.Live, key(1, 0).Ino, testKind, 0, func(suffix uint64, v []byte) bool {
			var id blockstore.BlockID
			var size int
			var first []byte
			fmt.Sscanf(string(v), "%d %d %x", &id, &size, &first)
			dst := make([]byte, size)
			if err := s.ReadBlock(0, id, 0, dst); err != nil || dst[0] != first[0] {
				t.Fatalf("seed %d: block %d: %v", seed, id, err)
			}
			n++
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if n != state {
			t.Fatalf("seed %d: %d records at state %d", seed, n, state)
		}
		mustCheck(t, s)
		mustClose(t, s)
	}
}
