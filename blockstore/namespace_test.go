package blockstore_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"salliefs/blockstore"
	"salliefs/blockstore/storetest"
)

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
