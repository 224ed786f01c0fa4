// Package storetest makes stores for tests: in memory, with the cheapest key derivation.
package storetest

import (
	"log/slog"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore"
	"salliefs/blockstore/internal/knobs"
	"salliefs/crypto"
)

// Dir is where Create puts a store in a memory filesystem.
const Dir = "/store"

// A Store is a store's disk and its key: what is needed to open it, again and again.
type Store struct {
	FS     vfs.FS
	Dir    string
	Master *crypto.Master
}

// Create makes a store on fs without any slot: it is opened with the master key itself.
func Create(tb testing.TB, fs vfs.FS, dir string) *Store {
	tb.Helper()
	master, err := crypto.NewMaster(nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(master.Wipe)
	kr := crypto.NewKeyring(crypto.StoreID{1, 2, 3})
	if err := kr.AddContext(blockstore.StandardContext, master); err != nil {
		tb.Fatal(err)
	}
	if err := kr.AddRecovery(blockstore.StandardContext, master); err != nil {
		tb.Fatal(err)
	}
	if err := blockstore.Create(dir, kr, master, blockstore.CreateOptions{FS: fs}); err != nil {
		tb.Fatal(err)
	}
	return &Store{FS: fs, Dir: dir, Master: master}
}

// New makes a store in memory.
func New(tb testing.TB) *Store {
	return Create(tb, vfs.NewMem(), Dir)
}

// Open opens the store with options of which FS and Log are filled in.
func (s *Store) Open(tb testing.TB, o blockstore.Options) *blockstore.Store {
	tb.Helper()
	st, err := s.TryOpen(o)
	if err != nil {
		tb.Fatal(err)
	}
	return st
}

// TryOpen is Open for stores that may refuse.
func (s *Store) TryOpen(o blockstore.Options) (*blockstore.Store, error) {
	o.FS = s.FS
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return blockstore.Open(s.Dir, s.Master, o)
}

// Small gives options under which a few hundred changes make all happen that a store does in months: memory tables turn
// over, segments end and are reclaimed, blocks move out of the record engine.
func Small(o blockstore.Options) blockstore.Options {
	o.Knobs.MemTable = 64 << 10
	o.Knobs.Segment = 512 << 10
	o.Knobs.MinReclaim = 64 << 10
	o.Knobs.Inlined = 4
	o.Knobs.ClosePatience = 200 * time.Millisecond
	o.Knobs.ReclaimPause = 50 * time.Millisecond
	return o
}

// Break gives options whose commits forget what a crash needs: to sync segments, or to do it before the records that name
// their blocks are committed. A test of crashes must find that out.
func Break(o blockstore.Options, skipSegmentSync, recordsFirst bool) blockstore.Options {
	o.Knobs.Broken = knobs.BrokenOrder{SkipSegmentSync: skipSegmentSync, RecordsFirst: recordsFirst}
	return o
}
