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
// records, beside writers. It runs by itself, at most once a minute, when something made it necessary.
func (s *Store) Sweep(ctx context.Context) error {
	refs := s.refs.Load()
	if refs == nil || s.readOnly {
		return nil
	}
	s.sweepWanted.Store(false)
	err := s.sweep(ctx, *refs)
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
	snap := s.engine.NewSnapshot()
	limit := BlockID(s.state.nextBlock - idReserve) // younger blocks are not looked at
	s.commitMu.Unlock()
	defer snap.Close()

	named := make(idSet)
	s.nsMu.RLock()
	spaces := make([]*nsState, 0, len(s.namespaces)+len(s.retired))
	for _, n := range s.namespaces {
		spaces = append(spaces, n)
	}
	for _, n := range s.retired {
		spaces = append(spaces, n)
	}
	s.nsMu.RUnlock()
	for _, n := range spaces {
		if err := s.markNamespace(ctx, snap, n, refs, named); err != nil {
			return err
		}
	}
	for _, n := range spaces {
		if err := s.freeUnnamed(ctx, snap, n.id, limit, named); err != nil {
			return err
		}
	}
	return nil
}

// markNamespace collects the blocks that any version of a namespace's records names. Versions that no snapshot sees are
// deleted, and do not count.
func (s *Store) markNamespace(ctx context.Context, snap record.Snapshot, n *nsState, refs BlockRefs, named idSet) error {
	it, err := snap.NewIter(record.NamespaceBounds(uint32(n.id)))
	if err != nil {
		return err
	}
	var dead []record.Key
	present := s.view.Load().open.epoch // may be written again, so nothing of it is deleted
	newer := record.Key{Namespace: systemNamespace}
	tombstone, hides := record.Key{}, true // the newest version of the present record, if it is a deletion
	endRecord := func() {
		if !hides && Epoch(tombstone.Epoch) < present {
			dead = append(dead, tombstone)
		}
		hides = true
	}
	for ok := it.First(); ok; ok = it.Next() {
		if err := ctx.Err(); err != nil {
			return errors.Join(err, it.Close())
		}
		k, err := record.DecodeKey(it.Key())
		if err != nil {
			return errors.Join(fmt.Errorf("%w: %w", ErrCorrupt, err), it.Close())
		}
		same := k
		same.Epoch = newer.Epoch
		if same == newer {
			if !s.snapshotBetween(Epoch(k.Epoch), Epoch(newer.Epoch)) {
				dead = append(dead, k)
				newer = k
				continue
			}
			hides = true
		} else {
			endRecord()
		}
		sealed, err := it.Value()
		if err != nil {
			break // Close returns it
		}
		v, err := s.openRecord(n.key.Records(), it.Key(), sealed)
		if err == nil && len(v) > 0 {
			err = refs(Kind(k.Kind), v, named.add)
		}
		if err != nil {
			return errors.Join(err, it.Close())
		}
		if same != newer && len(v) == 0 {
			tombstone, hides = k, false
		}
		newer = k
	}
	endRecord()
	if err := it.Close(); err != nil {
		return err
	}
	return s.inSteps(ctx, len(dead), func(c *commit, i int) error {
		c.delete(dead[i])
		return nil
	})
}

// freeUnnamed frees a namespace's blocks below limit that are not named.
func (s *Store) freeUnnamed(ctx context.Context, snap record.Snapshot, ns NamespaceID, limit BlockID, named idSet) error {
	lower, upper := record.InodeBounds(systemNamespace, kindBlock, uint64(ns))
	it, err := snap.NewIter(lower, upper)
	if err != nil {
		return err
	}
	var free []BlockID
	for ok := it.First(); ok; ok = it.Next() {
		k, err := record.DecodeKey(it.Key())
		if err != nil {
			return errors.Join(fmt.Errorf("%w: %w", ErrCorrupt, err), it.Close())
		}
		if id := BlockID(k.Suffix); id < limit && !named.has(id) {
			free = append(free, id)
		}
	}
	if err := it.Close(); err != nil {
		return err
	}
	return s.inSteps(ctx, len(free), func(c *commit, i int) error { return c.freeBlock(ns, free[i]) })
}

// inSteps does n small things in commits of bounded size, between which others go on.
func (s *Store) inSteps(ctx context.Context, n int, do func(c *commit, i int) error) error {
	for i := 0; i < n; {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := func() error {
			s.commitMu.Lock()
			defer s.commitMu.Unlock()
			if err := s.Failed(); err != nil {
				return err
			}
			c := s.newHousekeeping()
			for end := min(i+freeStep, n); i < end; i++ {
				if err := do(c, i); err != nil {
					return err
				}
			}
			return c.finishMoves()
		}()
		if err != nil {
			return err
		}
	}
	return nil
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
