package blockstore

import (
	"errors"
	"fmt"
	"slices"

	"salliefs/blockstore/record"
)

// scanChunk is how many suffixes of uncommitted records a scan looks at together.
const scanChunk = 4096

// Scan calls fn for the records of one kind of an inode at an epoch, ordered by suffix, from a suffix on, until fn
// returns false. At Live it sees what is not committed yet as well. fn may call the store. The caller keeps the records
// that it cares about from changing meanwhile, with locks of its own.
func (s *Store) Scan(e Epoch, ino Ino, kind Kind, from uint64, fn func(suffix uint64, value []byte) bool) error {
	ns := s.readableNS(ino.Namespace())
	if ns == nil {
		return nil
	}
	v := s.view.Load()
	lower, upper := record.InodeBounds(uint32(ns.id), uint8(kind), uint64(ino))
	it, err := s.engine.NewIter(lower, upper)
	if err != nil {
		return engineError(err)
	}
	sc := &scan{s: s, ns: ns, it: it, epoch: e, dk: dirKey{ino, kind}}
	if e == Live {
		sc.groups = []*group{v.open, v.committing}
	}
	return engineError(errors.Join(sc.run(from, fn), it.Close()))
}

type scan struct {
	s      *Store
	ns     *nsState
	it     record.Iterator
	epoch  Epoch
	dk     dirKey
	groups []*group // newest first, entries may be nil
}

func (sc *scan) run(from uint64, fn func(suffix uint64, value []byte) bool) error {
	ok := sc.it.SeekGE(physicalKey(Key{sc.dk.ino, sc.dk.kind, from}, maxEpoch).Append(nil))
	for {
		recent, last := sc.recent(from)
		for _, suffix := range recent {
			var stop bool
			var err error
			if ok, stop, err = sc.disk(ok, suffix, false, fn); stop || err != nil {
				return err
			}
			if value := sc.pending(suffix); value != nil && !fn(suffix, value) {
				return nil
			}
			from = suffix + 1
		}
		if last {
			_, _, err := sc.disk(ok, 0, true, fn)
			return err
		}
	}
}

// recent lists the next suffixes ≥ from of uncommitted records, and tells whether there are no more.
func (sc *scan) recent(from uint64) (suffixes []uint64, last bool) {
	cut := ^uint64(0)
	last = true
	for _, g := range sc.groups {
		if g == nil {
			continue
		}
		n := len(suffixes)
		suffixes = g.appendSuffixes(suffixes, sc.dk, from, scanChunk)
		if len(suffixes)-n >= scanChunk {
			last = false
			cut = min(cut, suffixes[len(suffixes)-1])
		}
	}
	slices.Sort(suffixes)
	suffixes = slices.Compact(suffixes)
	if !last {
		i, found := slices.BinarySearch(suffixes, cut)
		if found {
			i++
		}
		suffixes = suffixes[:i]
	}
	if n := len(suffixes); n > 0 && suffixes[n-1] == ^uint64(0) {
		last = true
	}
	return suffixes, last
}

// pending is the uncommitted value of a record; nil when it is deleted.
func (sc *scan) pending(suffix uint64) []byte {
	k := Key{sc.dk.ino, sc.dk.kind, suffix}
	for _, g := range sc.groups {
		if g == nil {
			continue
		}
		if value, ok := g.lookup(k); ok {
			return value
		}
	}
	return nil
}

// disk delivers the committed records before a suffix, or all that are left, and skips the one with that suffix.
func (sc *scan) disk(ok bool, before uint64, all bool, fn func(suffix uint64, value []byte) bool) (more, stop bool, err error) {
	for ok {
		k, err := record.DecodeKey(sc.it.Key())
		if err != nil {
			return false, true, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		if !all && k.Suffix > before {
			return true, false, nil
		}
		if Epoch(k.Epoch) > sc.epoch {
			ok = sc.it.Next() // perhaps an older version of the same record
			continue
		}
		if all || k.Suffix < before {
			sealed, err := sc.it.Value()
			if err != nil {
				return false, true, err
			}
			value, err := sc.s.openRecord(sc.ns.key.Records(), sc.it.Key(), sealed)
			if err != nil {
				return false, true, err
			}
			if len(value) > 0 && !fn(k.Suffix, value) {
				return true, true, nil
			}
		}
		ok = sc.it.NextRecord()
	}
	return false, false, nil
}

// ScanNamespace calls fn for all committed records of a namespace at an epoch, in the order of kind, inode and suffix.
// It reads one fixed state, so that it can run for long beside writers; call Sync before it to see the newest.
func (s *Store) ScanNamespace(e Epoch, id NamespaceID, fn func(k Key, value []byte) error) error {
	snap := s.engine.NewSnapshot()
	defer snap.Close()
	return s.scanNamespace(snap, e, id, fn)
}

func (s *Store) scanNamespace(r record.Reader, e Epoch, id NamespaceID, fn func(k Key, value []byte) error) error {
	ns := s.readableNS(id)
	if ns == nil {
		return fmt.Errorf("namespace %d: %w", id, ErrNotFound)
	}
	it, err := r.NewIter(record.NamespaceBounds(uint32(id)))
	if err != nil {
		return engineError(err)
	}
	for ok := it.First(); ok; {
		k, err := record.DecodeKey(it.Key())
		if err != nil {
			return errors.Join(fmt.Errorf("%w: %w", ErrCorrupt, err), it.Close())
		}
		if Epoch(k.Epoch) > e {
			ok = it.Next()
			continue
		}
		var value []byte
		sealed, err := it.Value()
		if err == nil {
			value, err = s.openRecord(ns.key.Records(), it.Key(), sealed)
		}
		if err == nil && len(value) > 0 {
			err = fn(Key{Ino(k.Inode), Kind(k.Kind), k.Suffix}, value)
		}
		if err != nil {
			return errors.Join(engineError(err), it.Close())
		}
		ok = it.NextRecord()
	}
	return engineError(it.Close())
}
