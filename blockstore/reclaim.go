package blockstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"salliefs/blockstore/segment"
)

const (
	// minReclaim is the least dead space, in bytes, that makes moving a segment's live blocks worth it.
	minReclaim = 1 << 20
	// A process leaves its last segment as short as it is. More short ones than maxSmallSegments are put together.
	smallSegment     = 4 << 20
	maxSmallSegments = 16
	// maxDeadCurrent is the dead space, in bytes, that ends the current segment before it is full, so that its live
	// blocks can be moved out of it. Where space is short it is minReclaim.
	maxDeadCurrent = 16 << 20
	// lowSpaceShare is the share of dead space from which a segment is reclaimed while the disk is nearly full.
	lowSpaceShare = 0.1
	// sweepPause is the least time between two sweeps that nobody asked for.
	sweepPause = time.Minute
)

// housekeeping does what a commit has made necessary, in steps between which commits go on.
func (s *Store) housekeeping() {
	if err := s.moveInlined(inlinedLimit); err != nil && !errors.Is(err, ErrFailed) && !errors.Is(err, ErrNoSpace) {
		s.log.Warn("blocks stay in the record engine for now", "store", s.dir, "err", err)
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
		// The committer tells of a failure, and of a full disk.
		if err != nil && ctx.Err() == nil && !errors.Is(err, ErrFailed) && !errors.Is(err, ErrNoSpace) {
			s.log.Error("space reclaim", "store", s.dir, "err", err)
		}
	}
}

// Reclaim frees what removed namespaces held and moves the live blocks out of segments that are mostly dead, until
// nothing is left to do. It runs by itself after commits; commands call it to wait for the space. What it can not read is in
// the error; the next call tries that again, unless it is damaged.
func (s *Store) Reclaim(ctx context.Context) error {
	if s.readOnly {
		return nil
	}
	var damage error
	if s.dropWanted.Swap(false) {
		if damage = s.dropNamespaces(ctx); damage != nil && !errors.Is(damage, ErrCorrupt) {
			return damage
		}
	}
	if err := s.endCurrent(); err != nil {
		return errors.Join(damage, err)
	}
	later := make(map[uint64]bool)
	for ctx.Err() == nil {
		seg, ok := s.segments.candidate(later)
		if !ok {
			return damage
		}
		err := s.reclaimSegment(ctx, seg)
		if ctx.Err() != nil || errors.Is(err, ErrFailed) || errors.Is(err, ErrNoSpace) {
			return errors.Join(damage, err)
		}
		if err != nil {
			later[seg] = true
			damage = errors.Join(damage, err)
		}
	}
	return ctx.Err()
}

// endCurrent ends the current segment if most of it is dead.
func (s *Store) endCurrent() error {
	limit := int64(maxDeadCurrent)
	if s.spaceLow() {
		limit = minReclaim
	}
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	if err := s.Failed(); err != nil {
		return err
	}
	if dead, size := s.segments.currentDead(); dead < limit || 2*dead < size {
		return nil
	}
	err := s.segments.end()
	if err != nil {
		s.fail(err)
	}
	return err
}

// candidate picks a segment that nothing uses; or the one with the largest share of dead space, of those where that is
// more than half, or less while the disk is nearly full; or a small one, when there are many of them. Those in later are
// left for later.
func (ss *segmentSet) candidate(later map[uint64]bool) (best uint64, ok bool) {
	share := 0.5
	if ss.s.spaceLow() { // it may ask the disk, so before the lock
		share = lowSpaceShare
	}
	short := min(smallSegment, ss.s.segmentLimit()/2)
	ss.mu.RLock()
	defer ss.mu.RUnlock()
	small := 0
	for id, i := range ss.table {
		if ss.cur != nil && ss.cur.id == id || i.stuck || later[id] {
			continue
		}
		if i.blocks == 0 {
			return id, true
		}
		if i.size < short {
			if small++; small > maxSmallSegments && !ok {
				best, ok = id, true
			}
		}
		dead := i.dead()
		if dead < minReclaim {
			continue
		}
		if d := float64(dead) / float64(i.size); d > share {
			best, share, ok = id, d, true
		}
	}
	return best, ok
}

// dead is how many bytes of a segment are of no use any more.
func (i *segmentInfo) dead() int64 { return i.size - i.live - i.blocks*segment.EntryOverhead }

// currentDead says how much of the current segment is dead, and its size. commitMu is held.
func (ss *segmentSet) currentDead() (dead, size int64) {
	ss.mu.RLock()
	defer ss.mu.RUnlock()
	if ss.cur == nil {
		return 0, 0
	}
	i := *ss.table[ss.cur.id]
	i.size = ss.cur.sw.Size()
	return i.dead(), i.size
}

// reclaimSegment moves all live blocks of a segment; the last step removes it.
func (s *Store) reclaimSegment(ctx context.Context, seg uint64) error {
	before, ok := s.segments.info(seg)
	if !ok {
		return nil // someone else has done it
	}
	entries, err := s.segments.entries(seg)
	if errors.Is(err, errMoved) {
		return nil
	}
	if err != nil && before.blocks > 0 {
		if damaged(err) {
			s.segments.setStuck(seg) // check reports it; trying again would not help
		}
		return fmt.Errorf("segment %s: %w", segmentName(seg), err)
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := s.moveStep(seg, entries)
		if err != nil {
			return err
		}
		if entries = entries[n:]; len(entries) == 0 {
			break
		}
	}
	if s.segments.setStuck(seg) {
		// A block could not be moved, or the counters are wrong: check reports either.
		s.log.Warn("a segment could not be emptied", "segment", segmentName(seg))
	} else {
		s.stats.reclaimed.Add(before.size - before.live)
	}
	return nil
}

// damaged tells whether what was to be read is not what was written, so that reading it again would not help.
func damaged(err error) bool {
	for _, e := range [...]error{ErrCorrupt, segment.ErrDamaged, segment.ErrWrongSegment, segment.ErrNewerFormat, io.ErrUnexpectedEOF} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// entries lists what a segment holds, from its footer or, where a crash left none or it is damaged, by a scan.
func (ss *segmentSet) entries(seg uint64) (segment.Table, error) {
	r, err := ss.acquire(seg)
	if err != nil {
		return nil, err
	}
	defer r.release()
	h := ss.header(seg)
	table, err := segment.ReadFooter(r.r, r.r.Size(), h, ss.s.sealer)
	spoiled := errors.Is(err, segment.ErrDamaged)
	if !spoiled && !errors.Is(err, segment.ErrNoFooter) {
		return table, err
	}
	table = nil
	res, scanErr := segment.Scan(r.r, r.r.Size(), h, func(e segment.Entry, _ []byte) error {
		table = append(table, e)
		return nil
	})
	if spoiled {
		ss.s.log.Error("a segment is read without its footer", "segment", segmentName(seg), "err", err, "until", res.End, "stop", res.Stop)
	} else if res.Stop != nil {
		ss.s.log.Info("a segment has no footer, and does not end with a block", "segment", segmentName(seg), "until", res.End, "stop", res.Stop)
	}
	return table, scanErr
}

// info says what a segment holds; ok is false if there is none.
func (ss *segmentSet) info(seg uint64) (i segmentInfo, ok bool) {
	ss.mu.RLock()
	defer ss.mu.RUnlock()
	if p := ss.table[seg]; p != nil {
		return *p, true
	}
	return i, false
}

// setStuck has a segment left alone from now on. It reports false if there is no such segment any more.
func (ss *segmentSet) setStuck(seg uint64) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	i := ss.table[seg]
	if i != nil {
		i.stuck = true
	}
	return i != nil
}
