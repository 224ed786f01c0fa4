package blockstore_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"

	"salliefs/blockstore"
	"salliefs/blockstore/storetest"
)

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
