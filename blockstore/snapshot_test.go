package blockstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"salliefs/blockstore"
	"salliefs/blockstore/storetest"
)

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
