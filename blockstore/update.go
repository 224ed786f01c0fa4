package blockstore

import (
	"sync"
	"time"
)

// Memory limits of what is not committed yet, in bytes.
const (
	groupLimit   = 24 << 20 // a group this large is committed without waiting for its time
	memoryLimit  = 96 << 20 // a writer waits while more is pending
	eagerLimit   = 1 << 20  // the newest blocks, of this many bytes, are not sealed before the commit
	sealQueueLen = 512
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
	s.gate.RLock()
	g := s.view.Load().open
	tx.g = g
	err := fn(tx)
	first := err == nil && s.applyTx(tx)
	full := g.mem.Load() > groupLimit
	s.gate.RUnlock()
	tx.reset()
	txPool.Put(tx)
	if full {
		s.kick(s.full)
	} else if first {
		s.kick(s.dirty)
	}
	return err
}

// applyTx moves a transaction's changes into its group. It tells whether the group was empty before.
func (s *Store) applyTx(tx *Tx) (first bool) {
	g := tx.g
	g.mu.Lock()
	first = g.emptyLocked()
	for _, r := range tx.recs {
		g.putLocked(r.key, r.value)
	}
	for _, p := range tx.blocks {
		g.blocks[p.id] = p
		g.order = append(g.order, p)
		g.mem.Add(p.size.Load())
	}
	var gone []*pending
	for _, f := range tx.freed {
		// A block that the same group made never reaches the disk, unless something else may name it.
		if p := g.blocks[f.id]; p != nil && !f.shared {
			delete(g.blocks, f.id)
			gone = append(gone, p)
			continue
		}
		g.freed = append(g.freed, f)
	}
	for _, u := range tx.usage {
		d := g.usageLocked(u.ns)
		d.files += u.delta.files
		d.logical += u.delta.logical
		s.noteUsage(u.ns, u.delta.files, u.delta.logical)
	}
	g.system = append(g.system, tx.system...)
	var early []*pending
	if len(tx.blocks) > 0 || tx.rewrote {
		early = g.takeEarlyLocked()
	}
	g.mu.Unlock()
	for _, p := range gone {
		p.discard()
	}
	for _, p := range early {
		select {
		case s.sealQueue <- p:
		default: // the workers are behind; the commit will do it
		}
	}
	return first
}

// takeEarlyLocked picks the oldest unsealed blocks, when there are many, so that sealing does not all wait for the
// commit. Young blocks may still be rewritten or freed.
func (g *group) takeEarlyLocked() []*pending {
	var waiting int64
	from := len(g.order)
	for ; from > g.early && waiting < eagerLimit; from-- {
		waiting += g.order[from-1].size.Load()
	}
	start := g.early
	g.early = from
	return g.order[start:from]
}

// Sync makes everything that was updated before durable. Concurrent callers share a commit.
func (s *Store) Sync() error {
	if s.readOnly {
		return nil
	}
	v := s.view.Load()
	target := v.open.id
	v.open.mu.RLock()
	if v.open.emptyLocked() {
		target--
	}
	v.open.mu.RUnlock()
	return s.commitThrough(target, true)
}

// commitThrough returns when the group with the given ID, and all before it, are durable.
func (s *Store) commitThrough(id uint64, urgent bool) error {
	if s.durable.Load() >= id {
		return s.Failed()
	}
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	if s.durable.Load() >= id {
		return s.Failed()
	}
	return s.commitOpenLocked(urgent)
}

// kick wakes the committer without waiting for it.
func (s *Store) kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// committer commits a group when its time has come or when it is full. While nothing changes it sleeps.
func (s *Store) committer() {
	defer s.background.Done()
	for {
		select {
		case <-s.closing:
			return
		case <-s.full:
		case <-s.dirty:
			timer := time.NewTimer(s.commitInterval)
			select {
			case <-s.closing:
				timer.Stop()
				return
			case <-s.full:
				timer.Stop()
			case <-timer.C:
			}
		}
		id := s.view.Load().open.id
		if err := s.commitThrough(id, false); err != nil {
			s.log.Error("commit failed", "err", err)
			return
		}
		s.housekeeping()
	}
}
