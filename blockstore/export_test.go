package blockstore

import (
	"time"

	"salliefs/blockstore/internal/knobs"
	"salliefs/blockstore/record"
	"salliefs/crypto"
)

// Small gives options with small memory tables, so that the record engine's files turn over soon, and little patience.
func (o Options) Small() Options {
	o.Knobs.MemTable = 64 << 10
	o.Knobs.ClosePatience = 200 * time.Millisecond
	return o
}

// Hasty gives options under which space is reclaimed by itself, with another pause between tries.
func (o Options) Hasty(pause time.Duration) Options {
	o.Knobs.NoReclaim = false
	o.Knobs.ReclaimPause = pause
	return o
}

// OpenAnyway is Open that gives the store even if it could not be opened.
func OpenAnyway(dir string, std *crypto.Master, o Options) (*Store, error) {
	s, err := prepare(dir, std, o)
	if err == nil {
		err = s.open(o)
	}
	return s, err
}

// Sealers gives the keys that the store has in memory: its own one, and those of its namespaces.
func (s *Store) Sealers() []*crypto.Sealer {
	keys := []*crypto.Sealer{s.sealer}
	for _, table := range []map[NamespaceID]*nsState{s.namespaces, s.retired} {
		for _, n := range table {
			keys = append(keys, n.key.Blocks(), n.key.Records())
		}
	}
	return keys
}

// Break makes the store's commits forget what a crash needs.
func (s *Store) Break(skipSegmentSync, recordsFirst bool) {
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	s.broken = knobs.BrokenOrder{SkipSegmentSync: skipSegmentSync, RecordsFirst: recordsFirst}
}

// HoldCommits keeps commits waiting until release is called.
func (s *Store) HoldCommits() (release func()) {
	s.commitMu.Lock()
	return s.commitMu.Unlock
}

// Fail fails the store, as the record engine does when it meets an error on its own.
func (s *Store) Fail(err error) { s.fail(err) }

// MoveInlined moves the large blocks in the record engine to a segment.
func (s *Store) MoveInlined() error { return s.moveInlined(0) }

// Pending is how many bytes are not committed.
func (s *Store) Pending() int64 { return s.pendingBytes() }

// Unsealed is how many bytes of blocks in the open group are not sealed, about.
func (s *Store) Unsealed() int64 {
	g := s.view.Load().open
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.unsealed
}

// DamageBlockRecord puts something else in a block's record.
func (s *Store) DamageBlockRecord(ns NamespaceID, id BlockID) {
	s.damage(systemKey(kindBlock, uint64(ns), uint64(id)))
	s.metas.drop(id)
}

// DamageRemoved puts something else in the record of a removed namespace.
func (s *Store) DamageRemoved(ns NamespaceID) { s.damage(systemKey(kindDropped, 0, uint64(ns))) }

// DamageRecord puts something else in the version of the first epoch of a record.
func (s *Store) DamageRecord(k Key) { s.damage(physicalKey(k, firstEpoch)) }

// DamageSnapshot puts something else in a snapshot's record.
func (s *Store) DamageSnapshot(e Epoch) { s.damage(systemKey(kindSnapshot, 0, uint64(e))) }

func (s *Store) damage(k record.Key) {
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	b := s.engine.NewBatch(0)
	value := make([]byte, 60)
	value[0] = 50
	b.Set(k.Append(nil), len(value), func(dst []byte) []byte { return append(dst, value...) })
	if err := s.engine.Commit(b); err != nil {
		panic(err)
	}
	if err := s.engine.Apply(b); err != nil {
		panic(err)
	}
}

// BlockIDs lists the committed blocks of all namespaces, also of removed ones.
func (s *Store) BlockIDs() (ids []BlockID) {
	it, err := s.engine.NewIter(record.KindBounds(systemNamespace, kindBlock))
	if err != nil {
		panic(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		k, err := record.DecodeKey(it.Key())
		if err != nil {
			panic(err)
		}
		ids = append(ids, BlockID(k.Suffix))
	}
	if err := it.Close(); err != nil {
		panic(err)
	}
	return ids
}

// CountVersions counts the versions of a namespace's records.
func (s *Store) CountVersions(ns NamespaceID) (n int) {
	it, err := s.engine.NewIter(record.NamespaceBounds(uint32(ns)))
	if err != nil {
		panic(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	if err := it.Close(); err != nil {
		panic(err)
	}
	return n
}

// UseUpNamespaces makes it as if all numbers of namespaces were given out but n.
func (s *Store) UseUpNamespaces(n uint64) { s.nextNS.Store(uint64(MaxNamespaceID) + 1 - n) }

// Miscount makes the counters of a segment say n bytes more of a namespace's blocks that are not in use any more.
func (s *Store) Miscount(seg uint64, ns NamespaceID, n int64) {
	s.segments.mu.Lock()
	defer s.segments.mu.Unlock()
	s.segments.table[seg].freed.add(ns, n)
}
