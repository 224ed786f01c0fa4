package blockstore

import (
	"errors"
	"sync"
	"time"
)

// Memory limits of what is not committed yet, in bytes.
const (
	groupLimit   = 16 << 20 // a group this large is committed without waiting for its time
	memoryLimit  = 48 << 20 // a writer waits while more is pending
	eagerLimit   = 1 << 20  // the newest blocks, of this many bytes, are not sealed before the commit
	sealQueueLen = 512
)

// fullPause is the least time between two tries of the committer to commit on a full disk, warnPause that between two
// warnings of it.
const (
	fullPause = time.Second
	warnPause = 30 * time.Second
)

var txPool = sync.Pool{New: func() any { return new(Tx) }}

// Update runs fn, whose changes enter the open group whole; when fn fails, none does and its error is returned. They
// can be read when Update returns and are durable after the next commit. fn must be short, must not read from the
// store or wait, and may run again for engines that several processes share. It fails with ErrFailed after a failed
// write and ErrReadOnly on a store opened for reading.
func (s *Store) Update(fn func(tx *Tx) error) error {
	if err := s.writable(); err != nil {
		return err
	}
	tx := txPool.Get().(*Tx)
	tx.s = s
	first, full, err := s.runTx(tx, fn)
	tx.reset()
	txPool.Put(tx)
	if full {
		s.kick(s.full)
	} else if first {
		s.kick(s.dirty)
	}
	return err
}

// runTx has fn make a transaction's changes, and applies them. When fn panics, it changes nothing, and others go on.
func (s *Store) runTx(tx *Tx, fn func(tx *Tx) error) (first, full bool, err error) {
	s.gate.RLock()
	defer s.gate.RUnlock()
	tx.g = s.view.Load().open
	switch err = fn(tx); {
	case err == nil:
		first = s.applyTx(tx)
	case tx.grew > 0: // what was rewritten stays
		tx.g.mu.Lock()
		tx.g.unsealed += tx.grew
		tx.g.mu.Unlock()
	}
	return first, tx.g.mem.Load() > groupLimit, err
}

// applyTx moves a transaction's changes into its group. It tells whether the group was empty before.
func (s *Store) applyTx(tx *Tx) (first bool) {
	g := tx.g
	g.mu.Lock()
	if first = g.emptyLocked(); first {
		g.since = time.Now()
	}
	gone := g.addLocked(&tx.changes)
	var early []*pending
	if len(tx.blocks) > 0 || tx.rewrote {
		g.unsealed += tx.grew
		early = g.takeEarlyLocked()
	}
	g.mu.Unlock()
	for _, u := range tx.usage {
		s.noteUsage(u.ns, u.delta.files, u.delta.logical)
	}
	for _, p := range gone {
		p.discard()
	}
	for _, p := range early {
		if p.ahead {
			continue
		}
		select {
		case s.sealQueue <- p:
		default: // the workers are behind; the commit will do it
		}
	}
	return first
}

// Sync makes everything that was updated before durable. Concurrent callers share a commit. It fails with ErrNoSpace
// when the disk is full; then all stays in memory, can be read, and is committed when there is space.
func (s *Store) Sync() error {
	if s.readOnly {
		return nil
	}
	return s.commitThrough(s.newestGroup(), true, s.commitOpenLocked)
}

// SyncAhead is Sync for who expects somebody to ask for it in a moment, and wants that answered soon: what need not be done for
// the changes to be durable is left to Settle, or to the next commit.
func (s *Store) SyncAhead() error {
	if s.readOnly {
		return nil
	}
	return s.commitThrough(s.newestGroup(), true, s.commitAheadLocked)
}

// Settle does what SyncAhead has left, unless a commit is just doing it.
func (s *Store) Settle() { s.commitMu.trySettle() }

// newestGroup is the ID of the newest group that holds something.
func (s *Store) newestGroup() uint64 {
	open := s.view.Load().open
	open.mu.RLock()
	defer open.mu.RUnlock()
	if open.emptyLocked() {
		return open.id - 1
	}
	return open.id
}

// commitThrough returns when the group with the given ID, and all before it, are durable.
func (s *Store) commitThrough(id uint64, urgent bool, commitLocked func(urgent bool) error) error {
	if s.durable.Load() >= id {
		return s.Failed()
	}
	s.commitMu.mu.Lock()
	defer s.commitMu.Unlock()
	if s.durable.Load() >= id {
		return s.Failed()
	}
	s.commitMu.settle()
	return commitLocked(urgent)
}

// kick wakes the committer without waiting for it.
func (s *Store) kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// committer commits a group when its first change is commitInterval old or when it is full, however long the commit before
// took. While nothing changes it sleeps.
func (s *Store) committer() {
	defer s.background.Done()
	var warned time.Time
	for {
		select {
		case <-s.closing:
			return
		case <-s.full:
		case <-s.dirty:
			if s.sleep(s.untilDue(), s.full) {
				return
			}
		}
		err := s.commitThrough(s.view.Load().open.id, false, s.commitOpenLocked)
		switch {
		case err == nil:
			s.kick(s.moving)
			s.kick(s.idle)
		case s.Failed() != nil:
			return // fail has said why
		case errors.Is(err, ErrNoSpace):
			s.kick(s.idle) // perhaps something can be given back
			if time.Since(warned) > warnPause {
				warned = time.Now()
				s.log.Warn("what was written waits for disk space", "store", s.dir, "err", err)
			}
			if s.sleep(fullPause, nil) {
				return
			}
			s.kick(s.dirty)
		default:
			s.log.Error("commit failed", "store", s.dir, "err", err)
		}
	}
}

// untilDue is how long the open group may wait. An empty one may get its first change at any time from now on.
func (s *Store) untilDue() time.Duration {
	g := s.view.Load().open
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.emptyLocked() {
		return s.commitInterval
	}
	return s.commitInterval - time.Since(g.since)
}

// sleep lets time pass, or less when early is sent on. It reports true when the store is being closed.
func (s *Store) sleep(d time.Duration, early <-chan struct{}) (closing bool) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-s.closing:
		return true
	case <-early:
	case <-t.C:
	}
	return false
}
