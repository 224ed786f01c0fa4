package blockstore

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"salliefs/blockstore/record"
	"salliefs/crypto"
)

const (
	// inlineLimit is the most sealed bytes of a block that live in the record engine for good.
	inlineLimit = 4 << 10
	// inlineGroupLimit is the most sealed bytes of all blocks of an urgent group that go into the record engine, so
	// that a small sync costs one flush. Those over inlineLimit move to a segment later.
	inlineGroupLimit = 64 << 10
)

// idReserve is more numbers than can be given out before memoryLimit makes a commit.
const idReserve = 1 << 21

// commit is the work of making one group durable.
type commit struct {
	s     *Store
	g     *group
	batch record.Batch
	state storeState
	usage map[NamespaceID]*usageDelta
	segs  map[uint64]*segmentDelta
	key   []byte               // scratch: physical key
	ad    []byte               // scratch: associated data
	after []func()             // run when the group is durable
	err   error                // of a system change
	gone  map[BlockID]struct{} // freed in this commit

	versions record.Iterator // over all records, for pruneVersions; nil until needed
}

// commitOpenLocked seals the open group and makes it durable. commitMu is held. After an error the store is failed.
func (s *Store) commitOpenLocked(urgent bool) error {
	if err := s.Failed(); err != nil {
		return err
	}
	start := time.Now()
	g := s.sealGroup()
	if g == nil {
		return nil
	}
	err := s.commitGroup(g, urgent)
	if err != nil {
		s.fail(err)
		err = s.Failed()
	} else {
		s.durable.Store(g.id)
		s.stats.commits.record(time.Since(start))
	}
	if err == nil {
		s.view.Store(&view{open: s.view.Load().open})
		for _, p := range g.order {
			p.release()
		}
	}
	close(g.done)
	return err
}

// sealGroup swaps in a new open group. It is the only thing that stops Updates. nil: there is nothing to commit.
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

func (s *Store) commitGroup(g *group, urgent bool) error {
	c := &commit{
		s: s, g: g,
		state: s.state,
		usage: make(map[NamespaceID]*usageDelta, len(g.usage)),
		segs:  make(map[uint64]*segmentDelta),
	}
	for ns, u := range g.usage {
		d := *u
		c.usage[ns] = &d
	}
	if err := c.blocks(urgent); err != nil {
		return err
	}
	for _, fn := range g.system {
		fn(c)
	}
	if c.err != nil {
		return c.err
	}
	if err := c.records(); err != nil {
		return err
	}
	if err := c.frees(); err != nil {
		return err
	}
	return c.finish()
}

// blocks places the group's blocks: in the record engine or in a segment, which it syncs.
func (c *commit) blocks(urgent bool) error {
	live := c.g.order[:0:0]
	for _, p := range c.g.order {
		if c.g.blocks[p.id] == p {
			live = append(live, p)
		}
	}
	c.s.sealAll(live, urgent || c.g.mem.Load() > groupLimit/2)
	var total int
	var large []*pending
	for _, p := range live {
		n := len(p.sealed)
		total += n
		if n > inlineLimit {
			large = append(large, p)
		}
	}
	c.batch = c.s.engine.NewBatch(int(min(c.g.mem.Load(), 8<<20)) + 1024)
	if urgent && total <= inlineGroupLimit {
		for _, p := range large {
			c.s.inlined = append(c.s.inlined, inlinedBlock{p.ns.id, p.id})
		}
		large = nil
	}
	if len(large) > 0 {
		if err := c.appendBlocks(large); err != nil {
			return err
		}
	}
	if err := c.s.segments.sync(); err != nil {
		return err
	}
	for _, p := range live {
		c.putBlock(p.ns.id, p.id, p.meta, p.sealed)
		d := c.usageOf(p.ns.id)
		d.stored += int64(len(p.sealed))
		d.blocks++
	}
	return nil
}

// appendBlocks writes pending blocks to the current segment and counts them there.
func (c *commit) appendBlocks(blocks []*pending) error {
	for _, p := range blocks {
		seg, off, err := c.s.segments.append(p.ns.id, p.id, p.sealed)
		if err != nil {
			return err
		}
		p.meta.segment, p.meta.offset = seg, off
		c.segment(seg).add(int64(len(p.sealed)), 1)
	}
	return nil
}

// putBlock writes a block's record: where it is, or its sealed bytes themselves.
func (c *commit) putBlock(ns NamespaceID, id BlockID, m blockMeta, sealed []byte) {
	k := systemKey(kindBlock, uint64(ns), uint64(id))
	c.key = k.Append(c.key[:0])
	var buf [maxBlockMeta]byte
	meta := m.append(buf[:0])
	n := len(meta) + crypto.Overhead
	size := 1 + n
	if m.segment == 0 {
		size += len(sealed)
	}
	c.batch.Set(c.key, size, func(dst []byte) []byte {
		dst = append(dst, byte(n))
		dst = c.s.sealer.Seal(dst, meta, recordAD(c.ad[:0], c.s.id, c.key))
		if m.segment == 0 {
			dst = append(dst, sealed...)
		}
		return dst
	})
	c.s.metas.put(id, m)
}

// set writes a sealed record.
func (c *commit) set(sealer *crypto.Sealer, k record.Key, value []byte) {
	c.key = k.Append(c.key[:0])
	c.batch.Set(c.key, len(value)+crypto.Overhead, func(dst []byte) []byte {
		return sealer.Seal(dst, value, recordAD(c.ad[:0], c.s.id, c.key))
	})
}

func (c *commit) setSystem(k record.Key, value []byte) { c.set(c.s.sealer, k, value) }

func (c *commit) delete(k record.Key) {
	c.key = k.Append(c.key[:0])
	c.batch.Delete(c.key)
}

// setVersioned writes a record's version of the group's epoch, or deletes the record when value is nil, and removes the
// older versions that no snapshot sees.
func (c *commit) setVersioned(sealer *crypto.Sealer, k record.Key, value []byte) error {
	k.Epoch = uint64(c.g.epoch)
	if c.g.epoch == firstEpoch {
		if value == nil {
			c.delete(k)
		} else {
			c.set(sealer, k, value)
		}
		return nil
	}
	kept, err := c.pruneVersions(k)
	if err != nil {
		return err
	}
	switch {
	case value != nil:
		c.set(sealer, k, value)
	case kept:
		c.set(sealer, k, nil) // a tombstone hides the version that a snapshot still sees
	default:
		c.delete(k)
	}
	return nil
}

// pruneVersions deletes the versions of k older than k.Epoch that no snapshot sees, knowing that k.Epoch gets a version.
// It tells whether any is left.
func (c *commit) pruneVersions(k record.Key) (kept bool, err error) {
	it := c.versions
	if it == nil {
		if it, err = c.s.engine.NewIter(nil, nil); err != nil {
			return false, err
		}
		c.versions = it
	}
	newer := Epoch(k.Epoch)
	c.key = k.Append(c.key[:0])
	for ok := it.SeekVersion(c.key); ok; ok = it.Next() {
		v, err := record.DecodeKey(it.Key())
		if err != nil {
			return false, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		if v.Epoch == k.Epoch {
			continue
		}
		if c.s.snapshotBetween(Epoch(v.Epoch), newer) {
			kept = true
		} else {
			c.batch.Delete(it.Key())
		}
		newer = Epoch(v.Epoch)
	}
	return kept, nil
}

// records writes the group's records.
func (c *commit) records() error {
	var ns *nsState
	for k, r := range c.g.recs {
		id := k.Ino.Namespace()
		if ns == nil || ns.id != id {
			if ns = c.s.nsByID(id); ns == nil {
				continue // the namespace is gone, and its records with it
			}
		}
		phys := record.Key{Namespace: uint32(id), Kind: uint8(k.Kind), Inode: uint64(k.Ino), Suffix: k.Suffix}
		if err := c.setVersioned(ns.key.Records(), phys, r.value); err != nil {
			return err
		}
	}
	return nil
}

// frees removes the blocks that nothing names any more, unless a snapshot may still name them.
func (c *commit) frees() error {
	young := c.s.youngBlocks()
	for _, f := range c.g.freed {
		if f.shared || f.id < young {
			c.s.sweepWanted.Store(true)
			continue
		}
		if err := c.freeBlock(f.ns, f.id); err != nil {
			return err
		}
	}
	return nil
}

func (c *commit) freeBlock(ns NamespaceID, id BlockID) error {
	if _, ok := c.gone[id]; ok {
		return nil
	}
	m, err := c.s.storedMeta(ns, id)
	if errors.Is(err, ErrNotFound) {
		return nil // a sweep was faster
	}
	if err != nil {
		return err
	}
	if c.gone == nil {
		c.gone = make(map[BlockID]struct{})
	}
	c.gone[id] = struct{}{}
	c.delete(systemKey(kindBlock, uint64(ns), uint64(id)))
	d := c.usageOf(ns)
	d.stored -= int64(m.storedLen())
	d.blocks--
	if m.segment != 0 {
		c.segment(m.segment).add(-int64(m.storedLen()), -1)
	}
	c.after = append(c.after, func() { c.s.metas.drop(id) })
	return nil
}

func (c *commit) usageOf(ns NamespaceID) *usageDelta {
	d := c.usage[ns]
	if d == nil {
		d = new(usageDelta)
		c.usage[ns] = d
	}
	return d
}

// finish writes the counters and commits the batch.
func (c *commit) finish() error {
	s := c.s
	if c.versions != nil {
		if err := c.versions.Close(); err != nil {
			return err
		}
	}
	s.nsMu.Lock()
	for id, d := range c.usage {
		ns := s.namespaces[id]
		if ns == nil {
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
	s.nsMu.Unlock()
	removed := s.segments.apply(c)
	c.state.generation++
	c.state.epoch = max(c.state.epoch, s.epoch)
	// Numbers that were given out after this commit, and lost with a crash, are not given out again: bytes that were
	// sealed for a block must never fit another one.
	c.state.nextIno = s.nextIno.Load() + idReserve
	c.state.nextBlock = s.nextBlock.Load() + idReserve
	c.state.nextNS = s.nextNS.Load()
	c.state.nextSegment = s.segments.next()
	c.setSystem(systemKey(kindState, 0, 0), c.state.append(nil))
	s.stats.bytesRecords.Add(int64(c.batch.Len()))
	if err := s.engine.Apply(c.batch, true); err != nil {
		return fmt.Errorf("commit of the records: %w", diskError(err))
	}
	s.state = c.state
	for _, fn := range c.after {
		fn()
	}
	s.segments.remove(removed)
	return nil
}

// snapshotBetween tells whether a snapshot sees a version of epoch from that a version of epoch to replaced.
func (s *Store) snapshotBetween(from, to Epoch) bool {
	s.snapMu.RLock()
	defer s.snapMu.RUnlock()
	i, _ := slices.BinarySearchFunc(s.snapshots, from, func(sn Snapshot, e Epoch) int {
		switch {
		case sn.Epoch < e:
			return -1
		case sn.Epoch > e:
			return 1
		}
		return 0
	})
	return i < len(s.snapshots) && s.snapshots[i].Epoch < to
}

// youngBlocks is the first block ID that the newest snapshot does not know.
func (s *Store) youngBlocks() BlockID {
	s.snapMu.RLock()
	defer s.snapMu.RUnlock()
	if n := len(s.snapshots); n > 0 {
		return s.snapshots[n-1].firstID
	}
	return 0
}
