package blockstore

import (
	"errors"
	"fmt"

	"salliefs/blockstore/segment"
)

// inlinedBlock is a large block that a small sync put into the record engine.
type inlinedBlock struct {
	ns NamespaceID
	id BlockID
}

const (
	// moveLimit bounds the bytes that one step moves while commits wait.
	moveLimit = 4 << 20
	// inlinedLimit is how many large blocks may be in the record engine before they move to a segment.
	inlinedLimit = 64
)

// newHousekeeping starts a commit that holds no group. commitMu is held.
func (s *Store) newHousekeeping() *commit { return s.newCommit(newGroup(0, s.epoch), 64<<10) }

// moveStep moves the live ones of the first entries of a segment, says how many it looked at, and removes the segment if
// nothing is in use of it then. An error that leaves the store working is of a block that could not be read now.
func (s *Store) moveStep(seg uint64, entries segment.Table) (n int, err error) {
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	if err := s.Failed(); err != nil {
		return 0, err
	}
	c := s.newHousekeeping()
	c.segment(seg) // looked at by apply in any case
	err = c.run(func() error {
		for bytes := 0; n < len(entries) && bytes < moveLimit; n++ {
			moved, err := c.moveEntry(seg, entries[n])
			if err != nil {
				return err
			}
			bytes += moved
		}
		return nil
	})
	if err == nil {
		err = c.unread
	}
	return n, err
}

// moveEntry moves the block of an entry, if the block is in use and there. One that can not be read stays where it is.
func (c *commit) moveEntry(seg uint64, e segment.Entry) (moved int, err error) {
	s, ns, id := c.s, NamespaceID(e.Namespace), BlockID(e.Block)
	m, err := s.storedMeta(ns, id)
	if errors.Is(err, ErrNotFound) || err == nil && (m.segment != seg || m.offset != e.Offset) {
		return 0, nil
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
		if !damaged(err) {
			c.unread = fmt.Errorf("segment %s: %w", segmentName(seg), err)
		}
		return 0, nil
	}
	return len(sealed), c.move(ns, id, m, sealed)
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
func (c *commit) move(ns NamespaceID, id BlockID, m blockMeta, sealed []byte) error {
	before := int64(len(sealed))
	old := m.segment
	if n := c.s.nsByID(ns); n != nil && m.codec == CodecS2 && n.settings().Compression == CodecAuto {
		m, sealed = c.s.recompress(n, id, m, sealed)
	}
	if err := c.s.roomFor(int64(len(sealed))); err != nil {
		return err
	}
	if err := c.append(ns, id, &m, sealed); err != nil {
		return err
	}
	if old != 0 {
		c.segment(old).add(-before, -1)
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
		return nm, ns
	}
	return m, sealed
}

// moveInlined moves the large blocks that small syncs have put into the record engine to a segment, when there are more
// than limit.
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
	return len(sealed), c.move(b.ns, b.id, m, sealed)
}
