package blockstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"salliefs/blockstore/record"
	"salliefs/blockstore/segment"
)

// What Repair does about a Problem.
const (
	remedyRecord  = "it is noted as lost"
	remedyBlock   = "what can be read of it is stored anew, the rest is noted as lost"
	remedyCount   = "they are counted anew"
	remedySegment = "what can be read of its blocks moves to another segment"
)

// Repairs are what CheckForRepair found that Repair can do something about.
type Repairs struct {
	records  []record.Key // versions that do not open
	blocks   []blockRef   // that do not open, or whose records do not
	segments map[uint64]struct{}
	usage    map[NamespaceID]usageDelta
	counts   map[uint64]segmentDelta
}

type blockRef struct {
	ns NamespaceID
	id BlockID
}

func newRepairs() *Repairs {
	return &Repairs{segments: make(map[uint64]struct{}), usage: make(map[NamespaceID]usageDelta), counts: make(map[uint64]segmentDelta)}
}

func (r *Repairs) record(ns NamespaceID, k record.Key) { r.records = append(r.records, k) }

// Empty tells whether there is nothing to do.
func (r *Repairs) Empty() bool {
	return len(r.records)+len(r.blocks)+len(r.segments)+len(r.usage)+len(r.counts) == 0
}

// Missing adds a block that an extent names and that is not there.
func (r *Repairs) Missing(ns NamespaceID, id BlockID) {
	r.blocks = append(r.blocks, blockRef{ns, id})
}

// recordLost is the plaintext that takes the place of a record's when that does not open. No decoder takes it.
var recordLost = []byte{0}

// Repair does what r says, in commits of bounded size. Each leaves a store of which Check says no more than before. What has
// become right meanwhile stays as it is. Others may go on using the store.
//
// Of a block, what can be read is stored anew under the same ID, so that snapshots have it as well; reading the rest fails
// with ErrLost. So does all of a block that is missing. A version of a record that does not open is replaced by one that
// opens and says nothing: it may not simply go, as then an older one would be taken for it. What is left to do to the
// records of the present is for the filesystem, before.
func (s *Store) Repair(ctx context.Context, r *Repairs) error {
	if err := s.writable(); err != nil {
		return err
	}
	if err := s.recount(r); err != nil {
		return err
	}
	blocks, err := s.blocksIn(r.segments)
	if err != nil {
		return err
	}
	blocks = append(blocks, r.blocks...)
	slices.SortFunc(blocks, func(a, b blockRef) int { return cmp.Or(cmp.Compare(a.ns, b.ns), cmp.Compare(a.id, b.id)) })
	blocks = slices.Compact(blocks)
	if err := s.restore(ctx, blocks, s.hintsIn(r.segments)); err != nil {
		return err
	}
	return s.replaceRecords(ctx, r.records)
}

// recount corrects counters by what they are off: others may have changed them since.
func (s *Store) recount(r *Repairs) error {
	if len(r.usage)+len(r.counts) == 0 {
		return nil
	}
	return s.housekeep(func(c *commit) error {
		for ns, d := range r.usage {
			*c.usageOf(ns) = d
		}
		for id, d := range r.counts {
			*c.segment(id) = d
		}
		c.setSystem(systemKey(kindState, 0, 0), c.state.append(nil)) // so that the commit happens; finish does it once more
		return nil
	})
}

// blocksIn lists the blocks that are in some segments.
func (s *Store) blocksIn(segs map[uint64]struct{}) (list []blockRef, err error) {
	if len(segs) == 0 {
		return nil, nil
	}
	lower, upper := record.KindBounds(systemNamespace, kindBlock)
	w := walk{r: s.engine, unread: func(_, _ []byte, err error) error { return err }}
	w.visit = func(it record.Iterator) (func() bool, error) {
		k, err := record.DecodeKey(it.Key())
		if err != nil {
			return it.Next, nil
		}
		if v, err := it.Value(); err == nil {
			if m, _, err := s.decodeBlockRecord(it.Key(), v); err == nil {
				if _, ok := segs[m.segment]; ok {
					list = append(list, blockRef{NamespaceID(k.Inode), BlockID(k.Suffix)})
				}
			}
		}
		return it.Next, nil
	}
	return list, w.run(lower, upper)
}

// blockHints are the hints that a segment's footer has, by block.
type blockHints map[BlockID][]byte

// hintsIn reads the hints of segments, as far as their footers can be read.
func (s *Store) hintsIn(segs map[uint64]struct{}) map[uint64]blockHints {
	all := make(map[uint64]blockHints, len(segs))
	for id := range segs {
		all[id] = nil
		r, err := s.segments.acquire(id)
		if err != nil {
			continue
		}
		table, err := segment.ReadFooter(r.r, r.r.Size(), s.segments.header(id), s.sealer)
		r.release()
		if err == nil {
			all[id] = make(blockHints, len(table))
			for _, e := range table {
				all[id][BlockID(e.Block)] = e.Hint
			}
		}
	}
	return all
}

// restore stores blocks anew.
func (s *Store) restore(ctx context.Context, blocks []blockRef, from map[uint64]blockHints) error {
	var unread error
	for len(blocks) > 0 || len(from) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, u, err := s.restoreStep(blocks, from)
		if err != nil {
			return err
		}
		blocks = blocks[n:]
		unread = cmp.Or(unread, u)
		if len(blocks) == 0 {
			break
		}
	}
	return unread
}

func (s *Store) restoreStep(blocks []blockRef, from map[uint64]blockHints) (n int, unread, err error) {
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	if err := s.Failed(); err != nil {
		return 0, nil, err
	}
	if cur := s.segments.cur; cur != nil {
		if _, ok := from[cur.id]; ok {
			if err := s.segments.end(); err != nil {
				return 0, nil, err
			}
		}
	}
	c := s.newHousekeeping()
	for id := range from {
		c.segment(id) // looked at by apply in any case
	}
	err = c.run(func() error {
		for bytes := 0; n < len(blocks) && n < freeStep && bytes < moveLimit; n++ {
			moved, err := c.restore(blocks[n], from)
			switch {
			case errors.Is(err, ErrNoSpace) || errors.Is(err, ErrFailed):
				return err
			case err != nil:
				unread = fmt.Errorf("block %d of namespace %d stays as it is: %w", blocks[n].id, blocks[n].ns, err)
			}
			bytes += moved
		}
		return nil
	})
	return n, unread, err
}

// restore stores a block anew, unless it can be read where it is.
func (c *commit) restore(b blockRef, from map[uint64]blockHints) (moved int, err error) {
	s := c.s
	ns := s.readableNS(b.ns)
	if ns == nil {
		return 0, nil // removed meanwhile
	}
	var m blockMeta
	var inline []byte
	err = s.withBlockRecord(b.ns, b.id, func(meta blockMeta, sealed []byte) error {
		m, inline = meta, append([]byte(nil), sealed...)
		return nil
	})
	if err != nil {
		if !errors.Is(err, ErrNotFound) && unlessLasting(err) != nil {
			return 0, err
		}
		if errors.Is(err, ErrNotFound) && b.id >= BlockID(s.nextBlock.Load()) {
			return 0, nil // no block can have been of that ID
		}
		c.usageOf(b.ns).blocks++ // it was not counted
		c.putLost(b, blockMeta{codec: CodecNone, plainLen: MaxBlockSize, lost: allLost(MaxBlockSize)}, nil)
		return 0, nil
	}
	data, bad, err := s.salvage(ns, b.id, m, s.reader(m, b.id, inline))
	if err != nil {
		return 0, err
	}
	if len(bad) == len(m.lostParts()) { // all that was there is
		if _, ok := from[m.segment]; !ok || m.segment == 0 {
			return 0, nil
		}
		old, sealed := m.segment, make([]byte, m.storedLen())
		if err := s.reader(m, b.id, nil)(sealed, 0); err != nil {
			return 0, err
		}
		return len(sealed), c.move(b.ns, b.id, m, sealed, func(m blockMeta) []byte { return rehint(from[old][b.id], m) })
	}
	nm := blockMeta{codec: CodecNone, plainLen: m.plainLen, lost: allLost(m.plainLen)}
	var sealed []byte
	if data != nil && len(bad) > 0 && bad[0].Len < m.plainLen {
		nm, sealed = s.sealData(ns, b.id, data, false)
		nm.lost = &bad
		if len(sealed) > inlineLimit {
			if err := c.roomFor(int64(len(sealed)), func() int { return blockRecordSize }); err != nil {
				return 0, err
			}
			if err := c.append(b.ns, b.id, &nm, sealed, nil); err != nil {
				return 0, err
			}
		}
	}
	if m.segment != 0 {
		c.segment(m.segment).free(b.ns, int64(m.storedLen()))
	}
	c.usageOf(b.ns).stored += int64(len(sealed) - m.storedLen())
	c.putLost(b, nm, sealed)
	return len(sealed), nil
}

// putLost writes the record of a block of which something is lost.
func (c *commit) putLost(b blockRef, m blockMeta, sealed []byte) {
	c.putBlock(b.ns, b.id, m, sealed)
	c.after = append(c.after, func() {
		c.s.metas.drop(b.id)
		c.s.framed.drop(b.id)
		c.s.plain.drop(b.ns, b.id)
	})
}

// reader reads the sealed bytes of a block from an offset in them on.
func (s *Store) reader(m blockMeta, id BlockID, inline []byte) func(dst []byte, off int) error {
	return func(dst []byte, off int) error {
		if m.segment == 0 {
			copy(dst, inline[min(off, len(inline)):])
			return nil
		}
		err := s.segments.readAt(m.segment, id, dst, m.offset+int64(off))
		if errors.Is(err, errMoved) { // it has no record: it is gone
			err = fmt.Errorf("segment %s: %w: it is missing", segmentName(m.segment), ErrCorrupt)
		}
		return err
	}
}

// replaceRecords puts recordLost in the place of versions of records that do not open.
func (s *Store) replaceRecords(ctx context.Context, keys []record.Key) error {
	return s.inSteps(ctx, len(keys), func(c *commit, i int) {
		k := keys[i]
		ns := s.readableNS(NamespaceID(k.Namespace))
		if ns == nil {
			return
		}
		physical := k.Append(nil)
		err := s.engine.Get(physical, func(sealed []byte) error {
			_, err := s.openRecord(ns.key.Records(), physical, sealed)
			return err
		})
		if err != nil && !errors.Is(engineError(err), ErrNotFound) && unlessLasting(engineError(err)) == nil {
			c.set(ns.key.Records(), k, recordLost)
		}
	})
}
