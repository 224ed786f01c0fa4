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

// dropNamespaces frees what removed namespaces held, of those that no snapshot sees.
func (s *Store) dropNamespaces(ctx context.Context) error {
	var ids []NamespaceID
	err := s.scanSystem(s.engine, kindDropped, func(k record.Key, v []byte) error {
		d := decoder{b: v}
		d.byte()
		epoch := Epoch(d.uvarint(1<<63 - 1))
		if err := d.finish("record of a removed namespace"); err != nil {
			return err
		}
		if !s.snapshotBetween(0, epoch) {
			ids = append(ids, NamespaceID(k.Suffix))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := s.dropNamespace(ctx, id); err != nil {
			return fmt.Errorf("removed namespace %d: %w", id, err)
		}
	}
	return nil
}

func droppedRecord(epoch Epoch) []byte { return binary.AppendUvarint([]byte{1}, uint64(epoch)) }

func (s *Store) dropNamespace(ctx context.Context, id NamespaceID) error {
	for {
		if err := ctx.Err(); err != nil {
			s.dropWanted.Store(true)
			return err
		}
		more, err := s.dropStep(id)
		if err != nil {
			return err
		}
		if !more {
			break
		}
	}
	s.nsMu.Lock()
	if n := s.retired[id]; n != nil {
		n.key.Wipe()
		delete(s.retired, id)
	}
	s.nsMu.Unlock()
	return nil
}

// dropStep frees some blocks of a removed namespace; when there are none left, its records.
func (s *Store) dropStep(id NamespaceID) (more bool, err error) {
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	if err := s.Failed(); err != nil {
		return false, err
	}
	c := s.newHousekeeping()
	lower, upper := record.InodeBounds(systemNamespace, kindBlock, uint64(id))
	it, err := s.engine.NewIter(lower, upper)
	if err != nil {
		return false, err
	}
	var blocks []BlockID
	for ok := it.First(); ok && len(blocks) < freeStep; ok = it.Next() {
		k, err := record.DecodeKey(it.Key())
		if err != nil {
			return false, errors.Join(fmt.Errorf("%w: %w", ErrCorrupt, err), it.Close())
		}
		blocks = append(blocks, BlockID(k.Suffix))
	}
	if err := it.Close(); err != nil {
		return false, err
	}
	for _, b := range blocks {
		if err := c.freeBlock(id, b); err != nil {
			return false, err
		}
	}
	delete(c.usage, id)
	if len(blocks) == 0 {
		c.batch.DeleteRange(record.NamespaceBounds(uint32(id)))
		c.batch.DeleteRange(record.RecordBounds(namespaceKey(id)))
		c.delete(systemKey(kindDropped, 0, uint64(id)))
	}
	return len(blocks) > 0, c.finishMoves()
}
