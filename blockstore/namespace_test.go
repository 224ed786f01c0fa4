package blockstore_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore"
	"salliefs/blockstore/record/disktest"
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

// topKey names a record of a namespace's top directory.
func topKey(ns blockstore.NamespaceID) blockstore.Key {
	return blockstore.Key{Ino: blockstore.MakeIno(ns, 1), Kind: testKind}
}

// fillNamespace puts a record and a block that does not go into the record engine.
func fillNamespace(t *testing.T, s *blockstore.Store, ns blockstore.NamespaceID) (id blockstore.BlockID) {
	t.Helper()
	if err := s.Update(func(tx *blockstore.Tx) error {
		id = tx.PutBlock(ns, noise(int(ns), 100_000))
		tx.Put(topKey(ns), []byte("top"))
		tx.Account(ns, 1, 100_000)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return id
}

// TestRemovedWhileCommitting removes a namespace just when the group before is being committed. That group is a moment of
// history of its own: if the power goes after it, the namespace is there, with all that is in it.
func TestRemovedWhileCommitting(t *testing.T) {
	disk := disktest.New()
	st := storetest.Create(t, disk, storetest.Dir)
	s := st.Open(t, manual())
	ns, err := s.CreateNamespace("n", blockstore.NamespaceSettings{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	mustSync(t, s)
	block := fillNamespace(t, s, ns)
	removed := false
	disk.SetHook(func(op disktest.Op) error {
		if !removed && op.Kind == disktest.Create && strings.HasSuffix(op.Path, ".seg") {
			removed = true
			if err := s.RemoveNamespace("n", nil); err != nil {
				t.Error(err)
			}
		}
		return nil
	})
	mustSync(t, s)
	disk.SetHook(nil)
	if !removed {
		t.Fatal("the commit made no segment")
	}
	crashed := &storetest.Store{FS: disk.Crash(rand.New(rand.NewPCG(1, 1)), 0), Dir: st.Dir, Master: st.Master}
	mustClose(t, s)
	s = crashed.Open(t, manual())
	defer mustClose(t, s)
	n, ok := s.NamespaceByName("n")
	if !ok || n.Usage.Files != 1 || n.Usage.Logical != 100_000 || n.Usage.Blocks != 1 {
		t.Fatalf("after the crash: %+v, %v", n, ok)
	}
	want(t, s, blockstore.Live, topKey(ns), "top")
	if err := s.ReadBlock(ns, block, 0, make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	mustCheck(t, s)
}

// TestCheckKnowsRemovedNamespaces: what removed namespaces still hold is no error.
func TestCheckKnowsRemovedNamespaces(t *testing.T) {
	st := storetest.New(t)
	s := st.Open(t, manual())
	for _, name := range []string{"seen", "unseen"} {
		ns, err := s.CreateNamespace(name, blockstore.NamespaceSettings{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		fillNamespace(t, s, ns)
		if name == "seen" {
			if _, err := s.Snapshot("s"); err != nil {
				t.Fatal(err)
			}
		}
	}
	mustSync(t, s)
	mustCheck(t, s)
	for _, name := range []string{"seen", "unseen"} {
		if err := s.RemoveNamespace(name, nil); err != nil {
			t.Fatal(err)
		}
		mustCheck(t, s)
	}
	for range 2 {
		mustClose(t, s)
		s = st.Open(t, manual())
		mustCheck(t, s)
	}
	// Damage to what only a snapshot sees is damage.
	b, err := st.FS.(*vfs.MemFS).UnsafeGetFileDataBuffer("/store/segments/" + segmentFiles(t, st)[0])
	if err != nil {
		t.Fatal(err)
	}
	b[50_000] ^= 1
	if err := check(s); err == nil {
		t.Error("Check finds nothing")
	}
	b[50_000] ^= 1
	// Nobody sees the second one, whatever snapshots there are.
	mustReclaim(t, s)
	mustCheck(t, s)
	if n := len(s.BlockIDs()); n != 1 {
		t.Errorf("%d blocks are left, want the one that the snapshot sees", n)
	}
	if err := s.DeleteSnapshot("s"); err != nil {
		t.Fatal(err)
	}
	mustReclaim(t, s)
	mustCheck(t, s)
	if n := len(s.BlockIDs()); n != 0 {
		t.Errorf("%d blocks are left", n)
	}
	mustClose(t, s)
}

// TestKeyOutlivesNamespace: who is still at work in a namespace when it goes for good gets errors, no panic.
func TestKeyOutlivesNamespace(t *testing.T) {
	s := storetest.New(t).Open(t, manual())
	defer mustClose(t, s)
	ns, err := s.CreateNamespace("n", blockstore.NamespaceSettings{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	block := fillNamespace(t, s, ns)
	mustSync(t, s)
	hasher := s.NameHasher(ns)
	before := hasher.Sum(1, "x")
	if err := s.RemoveNamespace("n", nil); err != nil {
		t.Fatal(err)
	}
	mustSync(t, s)
	mustReclaim(t, s)
	if hasher.Sum(1, "x") != before {
		t.Error("the hasher changed")
	}
	want(t, s, blockstore.Live, topKey(ns), "")
	if err := s.ReadBlock(ns, block, 0, make([]byte, 1)); !errors.Is(err, blockstore.ErrNotFound) {
		t.Errorf("ReadBlock: %v", err)
	}
	if err := s.Update(func(tx *blockstore.Tx) error { tx.Put(topKey(ns), []byte("late")); return nil }); err != nil {
		t.Fatal(err)
	}
	mustSync(t, s)
	mustCheck(t, s)
}

// TestBlocksOfOthers: a block is read with the key of its namespace only, wherever it is.
func TestBlocksOfOthers(t *testing.T) {
	s := storetest.New(t).Open(t, manual())
	defer mustClose(t, s)
	a, err := s.CreateNamespace("a", blockstore.NamespaceSettings{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.CreateNamespace("b", blockstore.NamespaceSettings{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var id blockstore.BlockID // of what shrinks, so that it is kept once it was read in part
	if err := s.Update(func(tx *blockstore.Tx) error { id = tx.PutBlock(a, bytes.Repeat([]byte("x"), 50_000)); return nil }); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"pending", "committed", "cached"} {
		var failed *blockstore.BlockError
		if err := s.ReadBlock(b, id, 0, make([]byte, 10)); !errors.As(err, &failed) {
			t.Errorf("%s: %v", when, err)
		}
		if when != "pending" {
			if err := s.ReadBlock(a, id, 3, make([]byte, 10)); err != nil {
				t.Error(err)
			}
		}
		mustSync(t, s)
	}
}

func TestNamespaceNumbersRunOut(t *testing.T) {
	s := storetest.New(t).Open(t, manual())
	defer mustClose(t, s)
	s.UseUpNamespaces(1)
	if id, err := s.CreateNamespace("last", blockstore.NamespaceSettings{}, nil); err != nil || id != blockstore.MaxNamespaceID {
		t.Errorf("the last one: %d, %v", id, err)
	}
	if _, err := s.CreateNamespace("more", blockstore.NamespaceSettings{}, nil); !errors.Is(err, blockstore.ErrNoSpace) {
		t.Errorf("one more: %v", err)
	}
	mustSync(t, s)
	mustCheck(t, s)
}
