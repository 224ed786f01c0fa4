package blockstore_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"salliefs/blockstore"
	"salliefs/blockstore/storetest"
)

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

// TestReadIntoPart reads a block into a part of a buffer, as the filesystem does: nothing beside it may change, whatever
// the coder needs.
func TestReadIntoPart(t *testing.T) {
	for _, codec := range []blockstore.Codec{blockstore.CodecNone, blockstore.CodecS2, blockstore.CodecZstd} {
		s := storetest.New(t).Open(t, manual())
		ns, err := s.CreateNamespace("n", blockstore.NamespaceSettings{Compression: codec}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for seed := range uint64(25) {
			rnd := rand.New(rand.NewPCG(seed, 8))
			data := make([]byte, 1+rnd.IntN(blockstore.MaxBlockSize))
			for i := range data {
				data[i] = "abcdefgh"[rnd.IntN(1+rnd.IntN(8))]
				if i > 100 && rnd.IntN(3) > 0 {
					data[i] = data[i-1-rnd.IntN(100)]
				}
			}
			var id blockstore.BlockID
			if err := s.Update(func(tx *blockstore.Tx) error { id = tx.PutBlock(ns, data); return nil }); err != nil {
				t.Fatal(err)
			}
			mustSync(t, s)
			const before, after = 50, 300
			buf := bytes.Repeat([]byte{0xa5}, before+len(data)+after)
			if err := s.ReadBlock(ns, id, 0, buf[before:before+len(data)]); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(buf[before:][:len(data)], data) {
				t.Fatalf("%v, seed %d: other data", codec, seed)
			}
			for i, b := range buf {
				if (i < before || i >= before+len(data)) && b != 0xa5 {
					t.Fatalf("%v, seed %d: byte %d beside the block changed", codec, seed, i-before-len(data))
				}
			}
		}
		mustClose(t, s)
	}
}

func TestReadNothing(t *testing.T) {
	s := storetest.New(t).Open(t, manual())
	defer mustClose(t, s)
	id := putNoise(t, s, 1, 100_000)
	for range 2 {
		if err := s.ReadBlock(0, id, 5, nil); err != nil {
			t.Error(err)
		}
		mustSync(t, s)
	}
}

// TestReadStaysInside: what lies behind the caller's slice is somebody else's, even where its capacity reaches. zstd's
// decoder writes up to 16 bytes more than asked for when it finds room for them.
func TestReadStaysInside(t *testing.T) {
	disk := storetest.New(t)
	s := disk.Open(t, blockstore.Options{})
	ns, err := s.CreateNamespace("n", blockstore.NamespaceSettings{Compression: blockstore.CodecZstd}, nil)
	if err != nil {
		t.Fatal(err)
	}
	text := ownText(t)
	blocks := make(map[blockstore.BlockID][]byte)
	for i := 0; i < 64; i++ {
		data := text[i*100 : i*100+2000+i*101]
		if err := s.Update(func(tx *blockstore.Tx) error { blocks[tx.PutBlock(ns, data)] = data; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, s)
	s = disk.Open(t, blockstore.Options{})
	behind := bytes.Repeat([]byte{0xa5}, 64)
	for id, data := range blocks {
		room := append(make([]byte, len(data)), behind...)
		dst := room[:len(data)]
		if err := s.ReadBlock(ns, id, 0, dst); err != nil || !bytes.Equal(dst, data) {
			t.Fatalf("block %d of %d bytes: %v or wrong data", id, len(data), err)
		}
		if !bytes.Equal(room[len(data):], behind) {
			t.Fatalf("block %d of %d bytes: reading wrote behind the slice", id, len(data))
		}
	}
	mustClose(t, s)
}

// ownText returns the sources of this package: data that compresses as such data does.
func ownText(t *testing.T) []byte {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil || len(names) == 0 {
		t.Fatal("no sources: ", err)
	}
	var text []byte
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, b...)
	}
	return text
}

// TestRewriteInAFailedUpdate: a block that was extended in vain counts as large as it is.
func TestRewriteInAFailedUpdate(t *testing.T) {
	s := storetest.New(t).Open(t, manual())
	id := putNoise(t, s, 1, 2000)
	before := s.Unsealed()
	no := errors.New("no")
	err := s.Update(func(tx *blockstore.Tx) error {
		if !tx.RewriteBlock(id, 2000, make([]byte, 100_000)) {
			t.Error("the block can not be extended")
		}
		return no
	})
	if !errors.Is(err, no) || s.Unsealed() < before+100_000 {
		t.Errorf("%v; %d bytes unsealed before, %d after", err, before, s.Unsealed())
	}
	mustClose(t, s)
}

// TestFreeMany: many blocks that are freed at once, by any order and some twice, are gone, and others stay. One whose record
// can not be read is left.
func TestFreeMany(t *testing.T) {
	st := storetest.New(t)
	s := st.Open(t, manual())
	other, err := s.CreateNamespace("other", blockstore.NamespaceSettings{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	type block struct {
		ns blockstore.NamespaceID
		id blockstore.BlockID
	}
	var blocks []block
	for i := range 400 {
		if err := s.Update(func(tx *blockstore.Tx) error {
			ns := blockstore.NamespaceID(i % 2 * int(other))
			blocks = append(blocks, block{ns, tx.PutBlock(ns, noise(i, 100+i*17))})
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	mustSync(t, s)
	mustClose(t, s)
	s = st.Open(t, manual()) // nothing is remembered
	damaged := blocks[7]
	s.DamageBlockRecord(damaged.ns, damaged.id)
	rnd := rand.New(rand.NewPCG(1, 2))
	freed := blocks[:300]
	rnd.Shuffle(len(freed), func(i, j int) { freed[i], freed[j] = freed[j], freed[i] })
	if err := s.Update(func(tx *blockstore.Tx) error {
		for _, b := range append(freed[:len(freed):len(freed)], freed[:20]...) {
			tx.FreeBlock(b.ns, b.id)
		}
		tx.FreeBlock(other, 1<<40) // never was
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	mustSync(t, s)
	want := map[blockstore.BlockID]bool{damaged.id: true}
	for _, b := range blocks[300:] {
		want[b.id] = true
	}
	for _, id := range s.BlockIDs() {
		if !want[id] {
			t.Errorf("block %d is still there", id)
		}
		delete(want, id)
	}
	if len(want) > 0 {
		t.Errorf("blocks %v are gone", want)
	}
	var count int64
	for _, ns := range s.Namespaces() {
		count += ns.Usage.Blocks
	}
	if count != 101 {
		t.Errorf("%d blocks are counted, want 101", count)
	}
}
