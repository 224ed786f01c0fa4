package blockstore

import (
	"errors"
	"fmt"
	"time"

	"salliefs/blockstore/record"
	"salliefs/crypto"
)

// idReserve is about how many numbers are given out, at the most, before memoryLimit makes a commit.
const idReserve = 1 << 21

// commit is the work of making one group durable, or of a step of housekeeping. Until finish it changes nothing but
// segments, where what it leaves behind is dead space, so that it can be dropped at any point.
type commit struct {
	s         *Store
	g         *group
	batch     record.Batch
	state     storeState
	usage     map[NamespaceID]*usageDelta
	segs      map[uint64]*segmentDelta
	removed   map[NamespaceID]bool // namespaces that this commit removes
	inlined   []inlinedBlock       // large blocks that it puts into the record engine
	placed    []placedBlock        // the blocks whose records it writes
	gone      map[BlockID]struct{} // freed in this commit
	appended  int64                // bytes in segments
	sweep     bool                 // it leaves blocks, or versions of records, to the sweep
	unpruned  bool                 // older versions of records could not be read
	freesMany bool                 // freed blocks come in the order of their records
	after     []func()             // run when it is durable
	key, ad   []byte               // scratch: physical key, associated data
	meta      []byte               // scratch: block metadata
	hints     hints

	versions record.Iterator // over all records, for pruneVersions; nil until needed
	blocks   record.Iterator // over all records, for freeing many blocks; nil until needed
}

type placedBlock struct {
	ns NamespaceID
	id BlockID
	m  blockMeta
}

// aheadLimit is the most memory, in bytes, that waits to be freed for what comes after a commit.
const aheadLimit = 1 << 20

// commitOpenLocked seals the open group and makes it durable. commitMu is held. When the disk is full the group is open
// again afterwards; after any other error the store is failed.
func (s *Store) commitOpenLocked(urgent bool) error {
	err := s.commitAheadLocked(urgent)
	s.commitMu.settle()
	return err
}

// commitAheadLocked is commitOpenLocked that leaves to commitMu what need not be done for the group to be durable.
func (s *Store) commitAheadLocked(urgent bool) error {
	if err := s.Failed(); err != nil {
		return err
	}
	start := time.Now()
	g := s.sealGroup()
	if g == nil {
		return nil
	}
	err := s.commitGroup(g, urgent)
	switch {
	case err == nil:
		s.durable.Store(g.id)
		s.stuck.Store(false)
		s.stats.commits.record(time.Since(start))
		s.commitMu.later(func() {
			if s.Failed() == nil { // else the group stays where it is, to be read
				s.view.Store(&view{open: s.view.Load().open})
				for _, p := range g.order {
					p.release()
				}
			}
			close(g.done)
		})
		if g.mem.Load() > aheadLimit {
			s.commitMu.settle()
		}
		return nil
	case errors.Is(err, ErrFailed): // the group stays where it is, to be read
	default:
		s.stuck.Store(true)
		s.unseal(g)
	}
	close(g.done)
	return err
}

// sealGroup swaps in a new open group. But for unseal it is all that stops Updates. nil: there is nothing to commit.
func (s *Store) sealGroup() *group {
	start := time.Now()
	s.gate.Lock()
	g := s.view.Load().open
	if g.emptyLocked() { // the gate keeps everyone else out
		s.gate.Unlock()
		return nil
	}
	s.view.Store(&view{open: newGroup(g.id+1, s.epoch), committing: g})
	s.gate.Unlock()
	s.stats.stalls.record(time.Since(start))
	return g
}

// unseal makes one open group of a sealed one that could not be committed and the one that was opened after it. It stops
// Updates for as long as it takes to put the records of both into one table: milliseconds, on a full disk only.
func (s *Store) unseal(g *group) {
	start := time.Now()
	s.gate.Lock()
	open := s.view.Load().open
	s.epoch = g.epoch // if it was sealed for a snapshot, there is none
	both := newGroup(open.id, g.epoch)
	if both.since = g.since; g.since.IsZero() { // it held a change of the store's own records only
		both.since = time.Now()
	}
	both.mu.Lock() // nobody has it yet; for form's sake
	gone := both.addLocked(g.changes())
	gone = append(gone, both.addLocked(open.changes())...)
	both.mu.Unlock()
	s.view.Store(&view{open: both})
	s.gate.Unlock()
	s.stats.stalls.record(time.Since(start))
	for _, p := range gone {
		p.discard()
	}
	close(open.done)
	s.kick(s.dirty) // no Update will find the group empty
}

func (s *Store) newCommit(g *group, batchSize int64) *commit {
	c := &commit{
		s: s, g: g, state: s.state, batch: s.engine.NewBatch(int(batchSize)),
		usage: make(map[NamespaceID]*usageDelta, len(g.usage)), segs: make(map[uint64]*segmentDelta),
	}
	c.hints = hints{c: c, d: s.descriptions.Load(), seed: s.hintSeed}
	return c
}

func (s *Store) commitGroup(g *group, urgent bool) error {
	if err := s.reserveNumbers(); err != nil {
		return err
	}
	c := s.newCommit(g, min(g.mem.Load(), 8<<20)+1024)
	for ns, u := range g.usage {
		d := *u
		c.usage[ns] = &d
	}
	return c.runAhead(func() error {
		if err := c.placeBlocks(urgent); err != nil {
			return err
		}
		for _, fn := range g.system {
			fn(c)
		}
		c.records()
		c.frees()
		return nil
	})
}

// reserveNumbers makes sure that the inode numbers and block IDs that were given out so far will not be given out again,
// before anything is sealed for them that could come to the disk. Commits reserve ahead, so that there is only something to
// do for the first group after opening.
func (s *Store) reserveNumbers() error {
	if s.nextIno.Load() <= s.state.nextIno && s.nextBlock.Load() <= s.state.nextBlock {
		return nil
	}
	c := s.newHousekeeping()
	return c.run(func() error {
		c.setSystem(systemKey(kindState, 0, 0), c.state.append(nil)) // finish does it once more, with new numbers
		return nil
	})
}

// run is runAhead that leaves nothing for later.
func (c *commit) run(fill func() error) error {
	err := c.runAhead(fill)
	c.s.commitMu.settle()
	return err
}

// runAhead lets fill collect what is to be committed, and commits it; what need not be done for it to be durable is left to
// commitMu. After an error other than ErrNoSpace, which changes nothing, the store is failed.
func (c *commit) runAhead(fill func() error) error {
	err := fill()
	if c.versions != nil {
		_ = c.versions.Close() // pruneVersions has looked at its errors
	}
	if c.blocks != nil {
		_ = c.blocks.Close() // storedMeta has looked at its errors
	}
	if err == nil && c.g.id == 0 && c.batch.Empty() && len(c.segs) == 0 {
		return nil // housekeeping that found nothing to do
	}
	nothing := func() error { return nil }
	sync, later := c.s.segments.sync, nothing
	if c.s.broken.SkipSegmentSync {
		sync = nothing
	}
	if c.s.broken.RecordsFirst {
		sync, later = nothing, sync
	}
	if err == nil {
		err = sync()
	}
	if err == nil {
		err = diskError(c.s.engine.Reserve(c.batch.Len() + c.finishSize()))
	}
	if errors.Is(err, ErrNoSpace) {
		c.wasted()
		return err
	}
	if err == nil {
		err = c.finish()
	}
	if err == nil {
		err = later()
	}
	if err != nil {
		c.s.fail(err)
		return c.s.Failed()
	}
	return nil
}

// finishSize is what finish adds to a batch, in bytes, or more.
func (c *commit) finishSize() int {
	return 1<<10 + 200*len(c.usage) + c.s.segments.recordSize(c)
}

// finish writes the counters and makes the batch durable.
func (c *commit) finish() error {
	s := c.s
	c.putUsage()
	removed := s.segments.apply(c)
	if c.sweep && !s.sweepNoted {
		c.setSystem(systemKey(kindSweep, 0, 0), []byte{sweepVersion})
	}
	from := s.inlinedFrom
	if len(c.inlined) > 0 {
		if first := firstInlined(c.inlined); from == 0 || first < from {
			from = first
			c.setSystem(systemKey(kindInlined, 0, 0), inlinedRecord(from))
		}
	}
	c.state.generation++
	c.state.epoch = max(c.state.epoch, s.epoch)
	// Numbers that were given out after this commit, and lost with a crash, are not given out again: bytes that were
	// sealed for a block must never fit another one.
	c.state.nextIno = s.nextIno.Load() + idReserve
	c.state.nextBlock = s.nextBlock.Load() + idReserve
	c.state.nextNS = s.nextNS.Load()
	c.state.nextSegment = s.segments.next()
	c.setSystem(systemKey(kindState, 0, 0), c.state.append(nil))
	size := int64(c.batch.Len())
	if err := s.engine.Commit(c.batch); err != nil {
		return fmt.Errorf("commit of the records: %w", diskError(err))
	}
	s.commitMu.later(func() {
		s.inlinedFrom = from
		c.settle(size, removed)
	})
	return nil
}

// settle has everybody see what is durable: the records, in a batch of size bytes, and what the store knows of them. Segments
// that were removed go.
func (c *commit) settle(size int64, removed []uint64) {
	s := c.s
	if err := s.engine.Apply(c.batch); err != nil {
		s.fail(fmt.Errorf("records that are durable: %w", diskError(err)))
		return
	}
	s.state = c.state
	s.generation.Store(c.state.generation)
	s.stats.bytesRecords.Add(size)
	s.space.spend(size + c.appended)
	for _, b := range c.placed {
		s.recent.put(b.id, b)
		if b.m.segment != 0 {
			s.metas.put(b.id, b.m)
		}
	}
	for id := range c.gone {
		s.recent.drop(id)
		s.metas.drop(id)
		s.framed.drop(id)
	}
	s.inlined = append(s.inlined, c.inlined...)
	if c.sweep {
		s.sweepNoted = true
		s.sweepWanted.Store(true)
	}
	for _, fn := range c.after {
		fn()
	}
	s.segments.remove(removed)
}

// putUsage adds what the commit changes to what namespaces hold, other than those that it removes or that are removed.
func (c *commit) putUsage() {
	s := c.s
	s.nsMu.RLock()
	defer s.nsMu.RUnlock()
	for id, d := range c.usage {
		ns := s.namespaces[id]
		if ns == nil {
			ns = s.retired[id]
		}
		if ns == nil || ns.removed != 0 || c.removed[id] {
			continue
		}
		ns.durable.Files += d.files
		ns.durable.Logical += d.logical
		ns.durable.Stored += d.stored
		ns.durable.Blocks += d.blocks
		ns.stored.Add(d.stored)
		ns.blocks.Add(d.blocks)
		c.setSystem(systemKey(kindUsage, standardContext, uint64(id)), ns.durable.append(nil))
	}
}

func (c *commit) usageOf(ns NamespaceID) *usageDelta {
	d := c.usage[ns]
	if d == nil {
		d = new(usageDelta)
		c.usage[ns] = d
	}
	return d
}

// set writes a sealed record.
func (c *commit) set(sealer *crypto.Sealer, k record.Key, value []byte) {
	c.name(k)
	c.batch.Set(c.key, len(value)+crypto.Overhead, func(dst []byte) []byte { return sealer.Seal(dst, value, c.ad) })
}

// name puts a record's physical key and its associated data into key and ad.
func (c *commit) name(k record.Key) {
	c.key = k.Append(c.key[:0])
	c.ad = recordAD(c.ad[:0], c.s.id, c.key)
}

func (c *commit) setSystem(k record.Key, value []byte) { c.set(c.s.sealer, k, value) }

func (c *commit) delete(k record.Key) {
	c.key = k.Append(c.key[:0])
	c.batch.Delete(c.key)
}
