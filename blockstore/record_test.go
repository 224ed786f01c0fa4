package blockstore_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"salliefs/blockstore"
	"salliefs/blockstore/storetest"
)

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

// TestPanicInUpdate has the function of an Update panic, which a mount makes the failure of one request. The store goes on.
func TestPanicInUpdate(t *testing.T) {
	s := storetest.New(t).Open(t, manual())
	func() {
		defer func() {
			if v := recover(); v != "boom" {
				t.Errorf("recovered %v", v)
			}
		}()
		_ = s.Update(func(tx *blockstore.Tx) error {
			tx.Put(key(1, 1), []byte("x"))
			tx.PutBlock(0, []byte("data"))
			panic("boom")
		})
	}()
	want(t, s, blockstore.Live, key(1, 1), "")
	put(t, s, key(1, 2), "y")
	done := make(chan error, 1)
	go func() { done <- s.Sync() }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Sync hangs after a panic")
	}
	mustCheck(t, s)
	mustClose(t, s)
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
