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

// Scanned is told what ScanNamespace finds. An error of one of its functions ends the scan.
type Scanned struct {
	// Record is called for each record, in the order of kind, inode and suffix.
	Record func(k Key, value []byte) error
	// Damaged is called in its place for a record that can not be read or does not open.
	Damaged func(k Key, err error) error
	// Unread is told of records, from one on and before another, of which nobody knows whether they are there.
	Unread func(from, to Key, err error) error
}

// ScanNamespace reads all committed records of a namespace at an epoch. It reads one fixed state, so that it can run for
// long beside writers; call Sync before it to see the newest. It goes on past damage.
func (s *Store) ScanNamespace(e Epoch, id NamespaceID, to Scanned) error {
	snap := s.engine.NewSnapshot()
	defer snap.Close()
	ns := s.readableNS(id)
	if ns == nil {
		return fmt.Errorf("namespace %d: %w", id, ErrNotFound)
	}
	w := walk{r: snap}
	w.visit = func(it record.Iterator) (func() bool, error) {
		k, err := record.DecodeKey(it.Key())
		if err != nil {
			return it.Next, to.Damaged(Key{Ino: MakeIno(id, 0)}, fmt.Errorf("%w: %w", ErrCorrupt, err))
		}
		if Epoch(k.Epoch) > e {
			return it.Next, nil
		}
		var value []byte
		sealed, err := it.Value()
		if err == nil {
			value, err = s.openRecord(ns.key.Records(), it.Key(), sealed)
		}
		key := Key{Ino(k.Inode), Kind(k.Kind), k.Suffix}
		switch {
		case err != nil:
			err = to.Damaged(key, engineError(err))
		case len(value) > 0:
			err = to.Record(key, value)
		}
		return it.NextRecord, err
	}
	w.unread = func(from, until []byte, err error) error {
		a, b := keyBound(from), keyBound(until)
		last := Key{Ino(b.Inode), Kind(b.Kind), b.Suffix}
		if b.Namespace != a.Namespace || until == nil {
			last = Key{^Ino(0), ^Kind(0), ^uint64(0)}
		}
		return to.Unread(Key{Ino(a.Inode), Kind(a.Kind), a.Suffix}, last, err)
	}
	return w.run(record.NamespaceBounds(uint32(id)))
}
