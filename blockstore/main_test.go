package blockstore_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"salliefs/blockstore"
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

// waitStep is how long waitFor waits between two looks.
const waitStep = 5 * time.Millisecond

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(waitStep) {
		if time.Now().After(end) {
			t.Fatal("it did not happen in", patience)
		}
	}
}

// patience is how long a test waits for what must happen at all: longer than the slowest machine takes for it.
const patience = 2 * time.Minute

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
