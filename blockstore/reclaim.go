package blockstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"salliefs/blockstore/segment"
)

// inlinedBlock is a large block that a small sync put into the record engine.
type inlinedBlock struct {
	ns NamespaceID
	id BlockID
}

const (
	// reclaimStep bounds the bytes that one step moves while commits wait.
	reclaimStep = 4 << 20
	// inlinedLimit is how many large blocks may be in the record engine before they move to a segment.
	inlinedLimit = 64
	// minReclaim is the least dead space, in bytes, that makes moving a segment's live blocks worth it.
	minReclaim = 1 << 20
	// A process leaves its last segment as short as it is. More short ones than maxSmallSegments are put together.
	smallSegment     = 4 << 20
	maxSmallSegments = 16
	// sweepPause is the least time between two sweeps that nobody asked for.
	sweepPause = time.Minute
)

// housekeeping does what a commit has made necessary, in steps between which commits go on.
func (s *Store) housekeeping() {
	if err := s.moveInlined(inlinedLimit); err != nil {
		s.log.Error("moving blocks to a segment", "err", err)
	}
	s.kick(s.idle)
}

// reclaimer gives space back in the background.
func (s *Store) reclaimer() {
	defer s.background.Done()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // until Close, or until this worker ends
		select {
		case <-s.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	var swept time.Time
	for {
		select {
		case <-s.closing:
			return
		case <-s.idle:
		}
		err := s.Reclaim(ctx)
		if err == nil && s.sweepWanted.Load() && time.Since(swept) > sweepPause {
			err = s.Sweep(ctx)
			swept = time.Now()
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, ErrFailed) {
			s.log.Error("space reclaim", "err", err)
		}
	}
}

// Reclaim frees what removed namespaces held and moves the live blocks out of segments that are mostly dead, until
// nothing is left to do. It runs by itself after commits; commands call it to wait for the space.
func (s *Store) Reclaim(ctx context.Context) error {
	if s.readOnly {
		return nil
	}
	if s.dropWanted.Swap(false) {
		if err := s.dropNamespaces(ctx); err != nil {
			return err
		}
	}
	for ctx.Err() == nil {
		seg, ok := s.segments.candidate()
		if !ok {
			return nil
		}
		if err := s.reclaimSegment(ctx, seg); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// candidate picks the segment with the largest share of dead space, of those where that is more than half; or a small
// one, when there are many of them.
func (ss *segmentSet) candidate() (best uint64, ok bool) {
	ss.mu.RLock()
	defer ss.mu.RUnlock()
	share := 0.5
	small := 0
	for id, i := range ss.table {
		if ss.cur != nil && ss.cur.id == id || i.stuck {
			continue
		}
		if i.size < smallSegment {
			if small++; small > maxSmallSegments && !ok {
				best, ok = id, true
			}
		}
		dead := i.size - i.live - i.blocks*segment.EntryOverhead
		if dead < minReclaim {
			continue
		}
		if d := float64(dead) / float64(i.size); d > share {
			best, share, ok = id, d, true
		}
	}
	return best, ok
}

// reclaimSegment moves all live blocks of a segment; the last step removes it.
func (s *Store) reclaimSegment(ctx context.Context, seg uint64) error {
	entries, err := s.segments.entries(seg)
	if err != nil {
		s.segments.setStuck(seg) // check reports it; trying again would not help
		return err
	}
	_, size, _ := s.segments.totals()
	for len(entries) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := s.moveStep(seg, entries)
		if err != nil {
			s.segments.setStuck(seg)
			return fmt.Errorf("segment %s: %w", segmentName(seg), err)
		}
		entries = entries[n:]
	}
	s.segments.setStuck(seg) // if it still counts as live, its counters are wrong, which check reports
	if _, now, _ := s.segments.totals(); now < size {
		s.stats.reclaimed.Add(size - now)
	}
	return nil
}

// moveStep moves the live ones of the first entries and says how many it looked at.
func (s *Store) moveStep(seg uint64, entries segment.Table) (n int, err error) {
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	if err := s.Failed(); err != nil {
		return 0, err
	}
	c := s.newHousekeeping()
	var bytes int
	for ; n < len(entries) && bytes < reclaimStep; n++ {
		e := entries[n]
		ns, id := NamespaceID(e.Namespace), BlockID(e.Block)
		m, err := s.storedMeta(ns, id)
		if errors.Is(err, ErrNotFound) || err == nil && (m.segment != seg || m.offset != e.Offset) {
			continue
		}
		if err != nil {
			return n, err
		}
		sealed := make([]byte, m.storedLen())
		if err := s.segments.readAt(seg, id, sealed, m.offset); err != nil {
			return n, err
		}
		if err := c.move(ns, id, m, sealed); err != nil {
			return n, err
		}
		bytes += len(sealed)
	}
	return n, c.finishMoves()
}

// newHousekeeping starts a commit that holds no group. commitMu is held.
func (s *Store) newHousekeeping() *commit {
	return &commit{
		s: s, g: newGroup(0, s.epoch), state: s.state, batch: s.engine.NewBatch(64 << 10),
		usage: make(map[NamespaceID]*usageDelta), segs: make(map[uint64]*segmentDelta),
	}
}

// move writes a block to the current segment: as it is, or smaller where its namespace leaves the codec to us.
func (c *commit) move(ns NamespaceID, id BlockID, m blockMeta, sealed []byte) error {
	if m.segment != 0 {
		c.segment(m.segment).add(-int64(len(sealed)), -1)
	}
	if n := c.s.nsByID(ns); n != nil && m.codec == CodecS2 && n.settings().Compression == CodecAuto {
		before := len(sealed)
		var err error
		if m, sealed, err = c.s.recompress(n, id, m, sealed); err != nil {
			return err
		}
		c.usageOf(ns).stored += int64(len(sealed) - before)
	}
	seg, off, err := c.s.segments.append(ns, id, sealed)
	if err != nil {
		return err
	}
	m.segment, m.offset = seg, off
	c.segment(seg).add(int64(len(sealed)), 1)
	c.putBlock(ns, id, m, sealed)
	return nil
}

// recompress gives a block's stored form with zstd, if that is smaller.
func (s *Store) recompress(n *nsState, id BlockID, m blockMeta, sealed []byte) (blockMeta, []byte, error) {
	data, err := s.openBlock(newBuffer(m.plainLen), n, id, m, sealed)
	if err != nil {
		return m, nil, &BlockError{n.id, id, err}
	}
	defer freeBuffer(data)
	if nm, ns := s.sealData(n, id, data, false); len(ns) < len(sealed) {
		return nm, ns, nil
	}
	return m, sealed, nil
}

// finishMoves makes moved blocks durable at their new places, then in the records.
func (c *commit) finishMoves() error {
	err := c.s.segments.sync()
	if err == nil {
		err = c.finish()
	}
	if err != nil {
		c.s.fail(err)
	}
	return err
}

// moveInlined moves the large blocks that small syncs have put into the record engine to a segment, when there are more
// than limit.
func (s *Store) moveInlined(limit int) error {
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	if len(s.inlined) <= limit || s.Failed() != nil {
		return nil
	}
	c := s.newHousekeeping()
	todo := s.inlined
	s.inlined = nil
	for _, b := range todo {
		var m blockMeta
		var sealed []byte
		err := s.withBlockRecord(b.ns, b.id, func(meta blockMeta, inline []byte) error {
			m, sealed = meta, append([]byte(nil), inline...)
			return nil
		})
		if errors.Is(err, ErrNotFound) || err == nil && m.segment != 0 {
			continue
		}
		if err != nil {
			return err
		}
		if err := c.move(b.ns, b.id, m, sealed); err != nil {
			s.fail(err)
			return err
		}
	}
	return c.finishMoves()
}

// entries lists what a segment holds, from its footer or, where a crash left none, by a scan.
func (ss *segmentSet) entries(seg uint64) (segment.Table, error) {
	r, err := ss.acquire(seg)
	if err != nil {
		return nil, err
	}
	defer ss.release(r)
	h := ss.header(seg)
	table, err := segment.ReadFooter(r.r, r.r.Size(), h, ss.s.sealer)
	if err == nil {
		return table, nil
	}
	table = nil
	_, err = segment.Scan(r.r, r.r.Size(), h, func(e segment.Entry, _ []byte) error {
		table = append(table, e)
		return nil
	})
	return table, err
}

func (ss *segmentSet) setStuck(seg uint64) {
	ss.mu.Lock()
	if i := ss.table[seg]; i != nil {
		i.stuck = true
	}
	ss.mu.Unlock()
}
