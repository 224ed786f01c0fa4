package blockstore

import (
	"encoding/binary"
	"errors"
	"fmt"

	"salliefs/blockstore/record"
	"salliefs/blockstore/segment"
)

// inlinedBlock is a large block that a small sync put into the record engine.
type inlinedBlock struct {
	ns   NamespaceID
	id   BlockID
	hint BlockHint // none after a crash
}

const (
	// moveLimit bounds the bytes that one step moves while commits wait.
	moveLimit = 4 << 20
	// inlinedLimit is how many large blocks may be in the record engine before they move to a segment.
	inlinedLimit = 64
	// inlinedSpan is how many blocks may have been made since the first of them. So many are looked at after a crash.
	inlinedSpan = 1 << 16
)

// firstInlined is the smallest ID of some blocks.
func firstInlined(blocks []inlinedBlock) BlockID {
	first := blocks[0].id
	for _, b := range blocks {
		first = min(first, b.id)
	}
	return first
}

func inlinedRecord(first BlockID) []byte { return binary.AppendUvarint([]byte{1}, uint64(first)) }

func decodeInlined(b []byte) (BlockID, error) {
	d := decoder{b: b}
	if v := d.byte(); v != 1 && d.err == nil {
		return 0, fmt.Errorf("%w: record of inlined blocks of version %d", ErrCorrupt, v)
	}
	first := BlockID(d.uvarint(1<<63 - 1))
	return first, d.finish("record of inlined blocks")
}

// findInlined looks for the large blocks that a run which did not end with Close left in the record engine.
func (s *Store) findInlined() error {
	v, err := s.getSystem(s.engine, systemKey(kindInlined, 0, 0))
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	first, err := decodeInlined(v)
	if err != nil {
		return err
	}
	s.inlinedFrom = max(first, 1)
	for ns := range s.namespaces {
		if err := s.findInlinedOf(ns, first); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) findInlinedOf(ns NamespaceID, first BlockID) error {
	_, upper := record.InodeBounds(systemNamespace, kindBlock, uint64(ns))
	it, err := s.engine.NewIter(systemKey(kindBlock, uint64(ns), uint64(first)).Append(nil), upper)
	if err != nil {
		return engineError(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		k, err := record.DecodeKey(it.Key())
		if err != nil {
			continue // who reads it finds out
		}
		v, err := it.Value()
		if err != nil {
			break // Close returns it
		}
		if _, inline, err := splitBlockRecord(v); err == nil && len(inline) > inlineLimit {
			s.inlined = append(s.inlined, inlinedBlock{ns: ns, id: BlockID(k.Suffix)})
		}
	}
	return engineError(it.Close())
}

// newHousekeeping starts a commit that holds no group. commitMu is held.
func (s *Store) newHousekeeping() *commit { return s.newCommit(newGroup(0, s.epoch), 64<<10) }

// housekeep commits what fill collects, in a commit that holds no group.
func (s *Store) housekeep(fill func(c *commit) error) error {
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	if err := s.Failed(); err != nil {
		return err
	}
	c := s.newHousekeeping()
	return c.run(func() error { return fill(c) })
}

// moveStep moves the live ones of the first entries of a segment, says how many it looked at, and removes the segment if
// nothing is in use of it then. unread is why some could not be read that are not damaged.
func (s *Store) moveStep(seg uint64, entries segment.Table) (n int, unread, err error) {
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	if err := s.Failed(); err != nil {
		return 0, nil, err
	}
	c := s.newHousekeeping()
	c.segment(seg) // looked at by apply in any case
	err = c.run(func() error {
		for bytes := 0; n < len(entries) && bytes < moveLimit; n++ {
			moved, u, err := c.moveEntry(seg, entries[n])
			if err != nil {
				return err
			}
			if u != nil {
				unread = u
			}
			bytes += moved
		}
		return nil
	})
	return n, unread, err
}

// moveEntry moves the block of an entry, if the block is in use and there. One that can not be read stays where it is;
// unread says why, unless it is damaged.
func (c *commit) moveEntry(seg uint64, e segment.Entry) (moved int, unread, err error) {
	s, ns, id := c.s, NamespaceID(e.Namespace), BlockID(e.Block)
	m, err := s.storedMeta(ns, id)
	if errors.Is(err, ErrNotFound) || err == nil && (m.segment != seg || m.offset != e.Offset) {
		return 0, nil, nil
	}
	var sealed []byte
	if err == nil {
		sealed, err = s.segments.readEntry(seg, e, nil)
	}
	if err == nil && len(sealed) != m.storedLen() {
		err = ErrCorrupt
	}
	if err != nil {
		s.log.Error("a block can not be moved", "segment", segmentName(seg), "namespace", ns, "block", id, "err", err)
		if lasting(err) {
			err = nil
		}
		return 0, err, nil
	}
	return len(sealed), nil, c.move(ns, id, m, sealed, func(m blockMeta) []byte { return rehint(e.Hint, m) })
}

// readEntry reads a sealed block, and checks it as far as that can be done without its key.
// It uses buf if that is large enough.
func (ss *segmentSet) readEntry(seg uint64, e segment.Entry, buf []byte) ([]byte, error) {
	r, err := ss.acquire(seg)
	if err != nil {
		return nil, err
	}
	defer r.release()
	return segment.ReadEntry(r.r, r.r.Size(), ss.header(seg), e, buf)
}

// move writes a block to the current segment: as it is, or smaller where its namespace leaves the codec to us.
// hint gives its hint when it is known how and where it will be stored.
func (c *commit) move(ns NamespaceID, id BlockID, m blockMeta, sealed []byte, hint func(m blockMeta) []byte) error {
	before := int64(len(sealed))
	old := m.segment
	if n := c.s.nsByID(ns); n != nil && m.codec == CodecS2 && n.settings().Compression == CodecAuto {
		m, sealed = c.s.recompress(n, id, m, sealed)
	}
	if err := c.roomFor(int64(len(sealed)), func() int { return blockRecordSize }); err != nil {
		return err
	}
	if err := c.segments(len(sealed)); err != nil {
		return err
	}
	if err := c.append(ns, id, &m, sealed, hint(m)); err != nil {
		return err
	}
	if old != 0 {
		c.segment(old).free(ns, before)
	}
	c.usageOf(ns).stored += int64(len(sealed)) - before
	c.putBlock(ns, id, m, sealed)
	return nil
}

// recompress gives a block's stored form with zstd, if that is smaller. A block that does not open stays as it is, for
// who reads it to find out.
func (s *Store) recompress(n *nsState, id BlockID, m blockMeta, sealed []byte) (blockMeta, []byte) {
	data, err := s.openBlock(newBuffer(m.plainLen), n, id, m, sealed)
	if err != nil {
		return m, sealed
	}
	defer freeBuffer(data)
	if nm, ns := s.sealData(n, id, data, false); len(ns) < len(sealed) {
		nm.lost = m.lost
		return nm, ns
	}
	return m, sealed
}

// mover moves large blocks out of the record engine in the background, beside the committer, which has to be on time.
func (s *Store) mover() {
	defer s.background.Done()
	for {
		select {
		case <-s.closing:
			return
		case <-s.moving:
		}
		if err := s.moveInlined(s.inlinedLimit); err != nil && !errors.Is(err, ErrFailed) && !errors.Is(err, ErrNoSpace) {
			s.log.Warn("blocks stay in the record engine for now", "store", s.dir, "err", err)
		}
	}
}

// moveInlined moves the large blocks that small syncs have put into the record engine to a segment, when there are more
// than limit, or when many blocks were made since.
func (s *Store) moveInlined(limit int) error {
	for {
		more, err := s.moveInlinedStep(limit)
		if err != nil || !more {
			return err
		}
		limit = 0
	}
}

func (s *Store) moveInlinedStep(limit int) (more bool, err error) {
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	if len(s.inlined) > 0 && s.nextBlock.Load()-uint64(s.inlined[0].id) > inlinedSpan {
		limit = 0
	}
	if err := s.Failed(); err != nil || len(s.inlined) <= limit {
		return false, err
	}
	c := s.newHousekeeping()
	n := 0
	err = c.run(func() error {
		for bytes := 0; n < len(s.inlined) && bytes < moveLimit; n++ {
			moved, err := c.moveInline(s.inlined[n])
			if err != nil {
				return err
			}
			bytes += moved
		}
		if n == len(s.inlined) && s.inlinedFrom != 0 {
			c.delete(systemKey(kindInlined, 0, 0))
			c.after = append(c.after, func() { s.inlinedFrom = 0 })
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	s.inlined = append([]inlinedBlock(nil), s.inlined[n:]...)
	return len(s.inlined) > 0, nil
}

func (c *commit) moveInline(b inlinedBlock) (moved int, err error) {
	var m blockMeta
	var sealed []byte
	err = c.s.withBlockRecord(b.ns, b.id, func(meta blockMeta, inline []byte) error {
		m, sealed = meta, append([]byte(nil), inline...)
		return nil
	})
	if errors.Is(err, ErrNotFound) || err == nil && m.segment != 0 {
		return 0, nil
	}
	if err != nil {
		c.s.log.Error("a block can not be moved", "namespace", b.ns, "block", b.id, "err", err)
		return 0, nil
	}
	return len(sealed), c.move(b.ns, b.id, m, sealed, func(m blockMeta) []byte {
		if ns := c.s.readableNS(b.ns); ns != nil {
			return c.hints.of(ns, b.id, m, b.hint)
		}
		return nil
	})
}
