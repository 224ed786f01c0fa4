package blockstore

import (
	"context"
	"errors"
	"fmt"

	"salliefs/blockstore/record"
)

// BlockRefs tells which blocks a record of the filesystem names.
type BlockRefs func(kind Kind, value []byte, visit func(BlockID)) error

// SetBlockRefs gives the store the function that Sweep needs. Without it no sweep runs.
func (s *Store) SetBlockRefs(fn BlockRefs) { s.refs.Store(&fn) }

// Sweep frees the blocks that no record names any more and that could not be freed when the last extent went, because
// a snapshot or a clone might have named them too; and the versions of records that no snapshot sees. It reads all
// records, beside writers. It runs by itself when something made it necessary: at most once a minute, for no more than a
// twentieth of the time, and once an hour while there is damage. Namespaces with damaged records are left out, and reported
// in the error.
//
// It relies on this: a block is named by a record from the group on that makes it, and a record that comes to name a
// block that exists takes it from a record that named it until then.
func (s *Store) Sweep(ctx context.Context) error {
	refs := s.refs.Load()
	if refs == nil || s.readOnly {
		return nil
	}
	s.sweepWanted.Store(false)
	err := s.sweep(ctx, *refs)
	if err == nil {
		err = s.noteSwept()
	}
	if err != nil {
		s.sweepWanted.Store(true)
	}
	return err
}

func (s *Store) sweep(ctx context.Context, refs BlockRefs) error {
	if err := s.Sync(); err != nil {
		return err
	}
	s.commitMu.Lock()
	w := sweep{
		s: s, refs: refs, snap: s.engine.NewSnapshot(),
		limit:   BlockID(max(s.state.nextBlock, idReserve) - idReserve),
		present: s.epoch,
	}
	removed := make(map[*nsState]Epoch)
	s.nsMu.RLock()
	for _, table := range []map[NamespaceID]*nsState{s.namespaces, s.retired} {
		for _, n := range table {
			removed[n] = n.removed
		}
	}
	s.nsMu.RUnlock()
	s.commitMu.Unlock()
	defer w.snap.Close()
	var damage error
	for n, epoch := range removed {
		err := w.namespace(ctx, n, epoch)
		switch {
		case errors.Is(err, ErrCorrupt):
			damage = errors.Join(damage, fmt.Errorf("sweep of namespace %d: %w", n.id, err))
		case err != nil:
			return err
		}
	}
	return damage
}

// sweep looks at one state of the store.
type sweep struct {
	s       *Store
	refs    BlockRefs
	snap    record.Snapshot
	limit   BlockID // younger blocks are not looked at
	present Epoch   // whose versions may still be written, so that none of it is deleted
}

// namespace sweeps a namespace, which was removed in an epoch unless that is 0.
func (w *sweep) namespace(ctx context.Context, n *nsState, removed Epoch) error {
	m := marks{sweep: w, removed: removed, named: make(idSet)}
	if err := m.collect(ctx, n); err != nil {
		return err
	}
	return w.freeUnnamed(ctx, n.id, m.named)
}

// marks is what a walk over the records of a namespace finds.
type marks struct {
	*sweep
	removed Epoch // of the namespace, or 0

	named idSet        // blocks that a version of a record names which is present or which a snapshot sees
	dead  []record.Key // other versions, to be deleted: all those of a record, or none, before its deletion goes

	newer     record.Key // the version before, of the same or another record
	tombstone record.Key // the newest version of the present record, if it is a deletion that hides nothing so far
}

func (m *marks) collect(ctx context.Context, n *nsState) error {
	it, err := m.snap.NewIter(record.NamespaceBounds(uint32(n.id)))
	if err != nil {
		return err
	}
	m.newer.Namespace = systemNamespace // no record of a namespace
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		if err = ctx.Err(); err == nil {
			err = m.version(n, it)
		}
		if err == nil && len(m.dead) >= freeStep {
			err = m.deleteDead(ctx)
		}
	}
	if err == nil {
		m.endRecord()
		err = m.deleteDead(ctx)
	}
	return errors.Join(err, it.Close())
}

// deleteDead deletes the versions found so far, so that they take little memory. What a namespace with damage further on
// loses with that, nobody sees.
func (m *marks) deleteDead(ctx context.Context) error {
	err := m.s.inSteps(ctx, len(m.dead), func(c *commit, i int) { c.delete(m.dead[i]) })
	m.dead = m.dead[:0]
	return err
}

// version looks at the version that it stands at. The newest of a record comes first.
func (m *marks) version(n *nsState, it record.Iterator) error {
	k, err := record.DecodeKey(it.Key())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	same := k
	same.Epoch = m.newer.Epoch
	newest, until := same != m.newer, Epoch(m.newer.Epoch)
	if newest {
		m.endRecord()
		until = m.removed
	}
	m.newer = k
	if until != 0 && !m.s.snapshotBetween(Epoch(k.Epoch), until) {
		m.dead = append(m.dead, k)
		return nil
	}
	sealed, err := it.Value()
	if err != nil {
		return err
	}
	v, err := m.s.openRecord(n.key.Records(), it.Key(), sealed)
	if err != nil {
		return err
	}
	m.tombstone = record.Key{}
	if len(v) > 0 {
		return m.refs(Kind(k.Kind), v, m.named.add)
	}
	if newest {
		m.tombstone = k
	}
	return nil
}

// endRecord deletes a deletion that hides nothing, after what it hid.
func (m *marks) endRecord() {
	if m.tombstone != (record.Key{}) && Epoch(m.tombstone.Epoch) < m.present {
		m.dead = append(m.dead, m.tombstone)
	}
	m.tombstone = record.Key{}
}

// freeUnnamed frees a namespace's blocks that are not named.
func (w *sweep) freeUnnamed(ctx context.Context, ns NamespaceID, named idSet) error {
	lower, upper := record.InodeBounds(systemNamespace, kindBlock, uint64(ns))
	it, err := w.snap.NewIter(lower, upper)
	if err != nil {
		return err
	}
	var free []BlockID
	step := func() error {
		err := w.s.inSteps(ctx, len(free), func(c *commit, i int) { c.tryFree(ns, free[i]) })
		free = free[:0]
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		k, err := record.DecodeKey(it.Key())
		if err != nil {
			err = fmt.Errorf("%w: %w", ErrCorrupt, err)
		} else if id := BlockID(k.Suffix); id < w.limit && !named.has(id) {
			free = append(free, id)
		}
		if err == nil && len(free) >= freeStep {
			err = step()
		}
		if err != nil {
			return errors.Join(err, it.Close())
		}
	}
	if err := it.Close(); err != nil {
		return err
	}
	return step()
}

// noteSwept takes back the record that a sweep is needed, unless one is again.
func (s *Store) noteSwept() error {
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	if !s.sweepNoted || s.sweepWanted.Load() {
		return nil
	}
	if err := s.Failed(); err != nil {
		return err
	}
	c := s.newHousekeeping()
	return c.run(func() error {
		c.delete(systemKey(kindSweep, 0, 0))
		c.after = append(c.after, func() { s.sweepNoted = false })
		return nil
	})
}

// inSteps does n small things in commits of bounded size, between which others go on.
func (s *Store) inSteps(ctx context.Context, n int, do func(c *commit, i int)) error {
	for i := 0; i < n; i += freeStep {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.step(i, min(i+freeStep, n), do); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) step(from, to int, do func(c *commit, i int)) error {
	return s.housekeep(func(c *commit) error {
		for i := from; i < to; i++ {
			do(c, i)
		}
		return nil
	})
}

// idSet is a set of block IDs: bitmaps of 4 KiB, so that ranges which are not used cost nothing.
type idSet map[BlockID]*[4096]byte

func (s idSet) add(id BlockID) {
	page := s[id>>15]
	if page == nil {
		page = new([4096]byte)
		s[id>>15] = page
	}
	page[id>>3&4095] |= 1 << (id & 7)
}

func (s idSet) has(id BlockID) bool {
	page := s[id>>15]
	return page != nil && page[id>>3&4095]&(1<<(id&7)) != 0
}
