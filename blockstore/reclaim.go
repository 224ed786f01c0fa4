package blockstore

import (
	"context"
	"errors"
	"fmt"
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
	// reclaimPause is the least time between two sweeps that nobody asked for, and before what could not be read is tried
	// again.
	reclaimPause = time.Minute
	// sweepShare is how many times longer than a sweep took the pause after it is at the least.
	sweepShare = 20
	// damagePause is the least time before a sweep that met damage is repeated, unless a snapshot is deleted.
	damagePause = time.Hour
)

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
	var pace sweepPace
	var retry time.Time // of what failed
	again := time.NewTimer(s.reclaimPause)
	defer again.Stop()
	for {
		select {
		case <-s.closing:
			return
		case <-s.idle:
		case <-again.C:
		}
		err := s.reclaim(ctx)
		if !endsReclaim(err) && s.sweepWanted.Load() && pace.wait(s.sweepAsked.Load()) <= 0 {
			err = errors.Join(err, s.pacedSweep(ctx, &pace))
		}
		// The committer tells of a failure, and of a full disk.
		if err != nil && !endsReclaim(err) {
			s.log.Error("space reclaim", "store", s.dir, "err", err)
		}
		if err != nil {
			retry = time.Now().Add(s.reclaimPause)
		}
		again.Stop()
		if wait := s.reclaimWait(retry, &pace); wait > 0 && s.Failed() == nil {
			again.Reset(wait)
		}
	}
}

// reclaimWait is when there is something to do again, although nothing may happen until then; 0 for never.
func (s *Store) reclaimWait(retry time.Time, p *sweepPace) time.Duration {
	waits := []time.Duration{time.Until(retry), time.Until(s.segments.rested())}
	if s.sweepWanted.Load() {
		waits = append(waits, p.wait(s.sweepAsked.Load()))
	}
	var least time.Duration
	for _, w := range waits {
		if w > 0 && (least == 0 || w < least) {
			least = w
		}
	}
	return least
}

// sweepPace says when the next sweep may run.
type sweepPace struct {
	asked time.Time // one that somebody asked for
	other time.Time
}

func (p *sweepPace) wait(asked bool) time.Duration {
	if asked {
		return time.Until(p.asked)
	}
	return time.Until(p.other)
}

// swept takes notice of a sweep that has ended.
func (p *sweepPace) swept(pause, took time.Duration, err error) {
	p.asked = time.Now().Add(max(pause, sweepShare*took))
	if p.other = p.asked; errors.Is(err, ErrCorrupt) {
		p.other = p.asked.Add(damagePause)
	}
}

// pacedSweep sweeps, and has Reclaim look at the segments that are mostly dead then.
func (s *Store) pacedSweep(ctx context.Context, p *sweepPace) error {
	s.sweepAsked.Store(false)
	start := time.Now()
	err := s.Sweep(ctx)
	p.swept(s.reclaimPause, time.Since(start), err)
	s.kick(s.idle)
	return err
}

// Reclaim frees what removed namespaces held and moves the live blocks out of segments that are mostly dead, until
// nothing is left to do. It runs by itself after commits; commands call it to wait for the space. What can not be read is
// left out, and reported in the error; the next call tries that again, unless it is damaged.
func (s *Store) Reclaim(ctx context.Context) error {
	if s.readOnly {
		return nil
	}
	s.segments.endRest()
	return s.reclaim(ctx)
}

// reclaim is Reclaim without those segments that could not be read a moment ago.
func (s *Store) reclaim(ctx context.Context) error {
	var all error
	if s.dropWanted.Swap(false) {
		if all = s.dropNamespaces(ctx); endsReclaim(all) {
			return all
		}
	}
	if err := s.endCurrent(); err != nil {
		return errors.Join(all, err)
	}
	for ctx.Err() == nil {
		seg, ok := s.segments.candidate()
		if !ok {
			return all
		}
		err := s.reclaimSegment(ctx, seg)
		if all = errors.Join(all, err); endsReclaim(err) {
			return all
		}
	}
	return ctx.Err()
}

// endsReclaim tells whether an error is about the whole store, and not about one thing that can not be read.
func endsReclaim(err error) bool {
	return errors.Is(err, ErrFailed) || errors.Is(err, ErrNoSpace) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// endCurrent ends the current segment if most of it is dead.
func (s *Store) endCurrent() error {
	limit := s.minReclaim
	if !s.spaceLow() {
		limit *= maxDeadCurrent / minReclaim
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
// more than half, or less while the disk is nearly full; or a small one, when there are many of them.
func (ss *segmentSet) candidate() (best uint64, ok bool) {
	share := 0.5
	if ss.s.spaceLow() { // it may ask the disk, so before the lock
		share = lowSpaceShare
	}
	short := min(smallSegment, ss.s.segmentLimit()/2)
	ss.mu.RLock()
	defer ss.mu.RUnlock()
	small, now := 0, time.Now()
	for id, i := range ss.table {
		if ss.cur != nil && ss.cur.id == id || i.stuck || now.Before(i.rest) {
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
		if dead < ss.s.minReclaim {
			continue
		}
		if d := float64(dead) / float64(i.size); d > share {
			best, share, ok = id, d, true
		}
	}
	return best, ok
}

// endRest has all segments that are not damaged tried again.
func (ss *segmentSet) endRest() {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for _, i := range ss.table {
		i.rest = time.Time{}
	}
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
		s.segments.leave(seg, err)
		return fmt.Errorf("segment %s: %w", segmentName(seg), err)
	}
	var unread error
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, u, err := s.moveStep(seg, entries)
		if err != nil {
			return err
		}
		if u != nil {
			unread = u
		}
		if entries = entries[n:]; len(entries) == 0 {
			break
		}
	}
	if !s.segments.leave(seg, unread) {
		s.stats.reclaimed.Add(before.size - before.live)
		return nil
	}
	if unread != nil {
		return fmt.Errorf("segment %s: %w", segmentName(seg), unread)
	}
	// A block is damaged, or the counters are wrong: check reports either.
	s.log.Warn("a segment could not be emptied", "segment", segmentName(seg))
	return nil
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

// leave has a segment left alone that could not be emptied: for a while if err is one that may pass, else from now on. It
// reports false if there is no such segment any more.
func (ss *segmentSet) leave(seg uint64, err error) (there bool) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	i := ss.table[seg]
	switch {
	case i == nil:
		return false
	case err == nil || lasting(err):
		i.stuck = true
	default:
		i.rest = time.Now().Add(ss.s.reclaimPause)
		ss.s.kick(ss.s.idle) // to wait for that
	}
	return true
}

// rested is when the next segment may be tried again that could not be read; zero for none.
func (ss *segmentSet) rested() (next time.Time) {
	ss.mu.RLock()
	defer ss.mu.RUnlock()
	now := time.Now()
	for _, i := range ss.table {
		if i.rest.After(now) && (next.IsZero() || i.rest.Before(next)) {
			next = i.rest
		}
	}
	return next
}

// lasting tells whether to read once more would fail again: it is not the disk that failed.
func lasting(err error) bool {
	for _, e := range []error{ErrCorrupt, segment.ErrDamaged, segment.ErrWrongSegment, segment.ErrNewerFormat} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
