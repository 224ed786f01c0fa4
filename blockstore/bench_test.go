package blockstore_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore"
	"salliefs/blockstore/storetest"
)

func benchStore(b *testing.B) *blockstore.Store {
	b.Helper()
	dir := b.TempDir()
	s := storetest.Create(b, vfs.Default, dir+"/store").Open(b, blockstore.Options{})
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// BenchmarkSmallSync is a 4 KiB overwrite with fsync: one block, two records, one flush.
func BenchmarkSmallSync(b *testing.B) {
	s := benchStore(b)
	data := make([]byte, 4096)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	value := make([]byte, 150)
	var last blockstore.BlockID
	i := 0
	for b.Loop() {
		i++
		if err := s.Update(func(tx *blockstore.Tx) error {
			if last != 0 {
				tx.FreeBlock(0, last)
			}
			last = tx.PutBlock(0, data)
			tx.Put(key(1, 0), append([]byte(nil), value...))
			tx.Put(key(1, uint64(i%512)+1), append([]byte(nil), value...))
			return nil
		}); err != nil {
			b.Fatal(err)
		}
		if err := s.Sync(); err != nil {
			b.Fatal(err)
		}
	}
	st := s.Stats()
	b.ReportMetric(float64(st.RecordBytes)/float64(i), "B-written/op")
}

// BenchmarkSmallFiles is what creating a file of 6 KB costs below fs, commits included.
func BenchmarkSmallFiles(b *testing.B) {
	s := benchStore(b)
	data := make([]byte, 6000)
	for i := range data {
		data[i] = "the quick brown fox jumps over the lazy dog "[(i+i/100)%44]
	}
	i := uint64(1)
	b.ReportAllocs()
	for b.Loop() {
		i++
		if err := s.Throttle(); err != nil {
			b.Fatal(err)
		}
		if err := s.Update(func(tx *blockstore.Tx) error {
			ino := tx.NewIno(0)
			tx.Put(blockstore.Key{Ino: ino, Kind: testKind}, make([]byte, 100))
			tx.Put(key(1, i*0x9e3779b97f4a7c15), make([]byte, 40))
			tx.PutBlock(0, data)
			tx.Account(0, 1, 6000)
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Sync(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkGet(b *testing.B) {
	s := benchStore(b)
	const n = 100000
	for i := range uint64(n) {
		if err := s.Update(func(tx *blockstore.Tx) error {
			tx.Put(key(i+1, 0), binary.BigEndian.AppendUint64(make([]byte, 100), i))
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Sync(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Get(key(rand.Uint64N(n)+1, 0)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadBlock(b *testing.B) {
	s := benchStore(b)
	data := make([]byte, blockstore.MaxBlockSize)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	var ids []blockstore.BlockID
	for range 500 {
		if err := s.Update(func(tx *blockstore.Tx) error { ids = append(ids, tx.PutBlock(0, data)); return nil }); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Sync(); err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{4 << 10, 128 << 10} {
		b.Run(map[int]string{4 << 10: "4KiB", 128 << 10: "128KiB"}[size], func(b *testing.B) {
			dst := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := s.ReadBlock(0, ids[rand.IntN(len(ids))], rand.IntN(len(data)-size+1)&^4095, dst); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
