package blockstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"salliefs/blockstore/record"
)

// freeStep is how many blocks one step frees while commits wait.
const freeStep = 2000

func droppedRecord(epoch Epoch) []byte { return binary.AppendUvarint([]byte{1}, uint64(epoch)) }

func decodeDropped(b []byte) (Epoch, error) {
	d := decoder{b: b}
	if v := d.byte(); v != 1 && d.err == nil {
		return 0, fmt.Errorf("%w: record of a removed namespace of version %d", ErrCorrupt, v)
	}
	epoch := Epoch(d.uvarint(1<<63 - 1))
	return epoch, d.finish("record of a removed namespace")
}

// dropNamespaces frees what removed namespaces held, of those that no snapshot sees.
func (s *Store) dropNamespaces(ctx context.Context) error {
	ids, all := s.removedNamespaces()
	for _, id := range ids {
		err := s.dropNamespace(ctx, id)
		if err != nil {
			all = errors.Join(all, fmt.Errorf("removed namespace %d: %w", id, err))
		}
		if err != nil && !errors.Is(err, ErrCorrupt) {
			s.dropWanted.Store(true)
		}
		if endsReclaim(err) {
			break
		}
	}
	return all
}

// removedNamespaces lists the namespaces whose content is not freed yet.
func (s *Store) removedNamespaces() (ids []NamespaceID, err error) {
	it, err := s.engine.NewIter(record.KindBounds(systemNamespace, kindDropped))
	if err == nil {
		for ok := it.First(); ok && err == nil; ok = it.Next() {
			k, kerr := record.DecodeKey(it.Key())
			if kerr != nil {
				err = fmt.Errorf("%w: %w", ErrCorrupt, kerr)
			} else {
				ids = append(ids, NamespaceID(k.Suffix))
			}
		}
		err = errors.Join(err, it.Close())
	}
	if err = engineError(err); err != nil && !errors.Is(err, ErrCorrupt) {
		s.dropWanted.Store(true)
	}
	return ids, err
}

// dropNamespace frees what a removed namespace held, unless a snapshot sees it.
func (s *Store) dropNamespace(ctx context.Context, id NamespaceID) error {
	v, err := s.getSystem(s.engine, systemKey(kindDropped, 0, uint64(id)))
	if errors.Is(err, ErrNotFound) {
		return nil // someone else has done it
	}
	if err != nil {
		return err
	}
	epoch, err := decodeDropped(v)
	if err != nil || s.snapshotBetween(0, epoch) {
		return err
	}
	for from, more := uint64(0), true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if from, more, err = s.dropStep(id, from); err != nil {
			return err
		}
	}
	return nil
}

// dropStep frees some blocks of a removed namespace, from an ID on; when there are none left, its records. It says where
// to go on.
func (s *Store) dropStep(id NamespaceID, from uint64) (next uint64, more bool, err error) {
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	if err := s.Failed(); err != nil {
		return 0, false, err
	}
	blocks, err := s.blockIDs(id, from, freeStep)
	if err != nil {
		return 0, false, err
	}
	if n := len(blocks); n > 0 {
		next, more = uint64(blocks[n-1])+1, true
	}
	c := s.newHousekeeping()
	var unread error
	err = c.run(func() error {
		for _, b := range blocks {
			err := c.freeBlock(id, b)
			if errors.Is(err, ErrCorrupt) {
				s.log.Error("a damaged record of a block in a removed namespace is dropped", "namespace", id, "block", b, "err", err)
				// Its segment's counters stay too high, which check reports; the record does not, as nobody looks here again.
				c.delete(systemKey(kindBlock, uint64(id), uint64(b)))
			} else if err != nil {
				unread = err // what is freed so far is committed
				return nil
			}
		}
		if !more {
			c.batch.DeleteRange(record.NamespaceBounds(uint32(id)))
			c.batch.DeleteRange(record.RecordBounds(namespaceKey(id)))
			c.delete(systemKey(kindUsage, standardContext, uint64(id)))
			c.delete(systemKey(kindDropped, 0, uint64(id)))
			c.after = append(c.after, func() { s.forget(id) })
		}
		return nil
	})
	return next, more, errors.Join(err, unread)
}

// forget ends a removed namespace. Its key stays, to be wiped by Close: someone may be reading with it.
func (s *Store) forget(id NamespaceID) {
	s.nsMu.Lock()
	defer s.nsMu.Unlock()
	if n := s.retired[id]; n != nil {
		s.dropped = append(s.dropped, n.key)
		delete(s.retired, id)
	}
}

// blockIDs lists the blocks of a namespace from an ID on, at most limit.
func (s *Store) blockIDs(ns NamespaceID, from uint64, limit int) (ids []BlockID, err error) {
	_, upper := record.InodeBounds(systemNamespace, kindBlock, uint64(ns))
	it, err := s.engine.NewIter(systemKey(kindBlock, uint64(ns), from).Append(nil), upper)
	if err != nil {
		return nil, engineError(err)
	}
	for ok := it.First(); ok && len(ids) < limit; ok = it.Next() {
		k, err := record.DecodeKey(it.Key())
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%w: %w", ErrCorrupt, err), it.Close())
		}
		ids = append(ids, BlockID(k.Suffix))
	}
	return ids, engineError(it.Close())
}
