package blockstore

import (
	"context"
	"errors"
	"fmt"

	"salliefs/blockstore/record"
	"salliefs/blockstore/segment"
	"salliefs/crypto"
)

// CheckOptions say how much Check looks at.
type CheckOptions struct {
	Data     bool                    // open every block, not only its record
	Progress func(done, total int64) // blocks; nil for none
}

// Problem is one thing that Check found wrong.
type Problem struct {
	Namespace NamespaceID
	Block     BlockID // 0 when it is not about a block
	Ino       Ino     // 0 when it is not about an inode
	Message   string
}

func (p Problem) String() string {
	switch {
	case p.Block != 0:
		return fmt.Sprintf("block %d of namespace %d: %s", p.Block, p.Namespace, p.Message)
	case p.Ino != 0:
		return fmt.Sprintf("inode %d of namespace %d: %s", p.Ino.Number(), p.Namespace, p.Message)
	}
	return fmt.Sprintf("namespace %d: %s", p.Namespace, p.Message)
}

// Check reads every record and compares the blocks, the segments and the counters with each other. It calls report for
// all that is wrong and fails only when it can not go on. It may run beside writers: it looks at one committed state.
func (s *Store) Check(ctx context.Context, o CheckOptions, report func(Problem)) error {
	if err := s.Sync(); err != nil && !errors.Is(err, ErrFailed) {
		return err
	}
	// Blocks do not move while their places are compared with their segments.
	s.commitMu.Lock()
	snap := s.engine.NewSnapshot()
	c := &check{s: s, r: snap, o: o, report: report, live: make(map[uint64]segmentDelta)}
	s.nsMu.RLock()
	for _, n := range s.namespaces {
		c.spaces = append(c.spaces, checkedSpace{n, n.durable})
		c.total += n.durable.Blocks
	}
	s.nsMu.RUnlock()
	segs := make(map[uint64]segmentInfo)
	s.segments.mu.RLock()
	for id, i := range s.segments.table {
		segs[id] = *i
	}
	s.segments.mu.RUnlock()
	s.commitMu.Unlock()
	defer snap.Close()
	for _, n := range c.spaces {
		if err := c.records(ctx, n.ns); err != nil {
			return err
		}
		if err := c.blocks(ctx, n); err != nil {
			return err
		}
	}
	return c.segments(ctx, segs)
}

type check struct {
	s           *Store
	r           record.Snapshot
	o           CheckOptions
	report      func(Problem)
	spaces      []checkedSpace
	live        map[uint64]segmentDelta
	done, total int64
}

type checkedSpace struct {
	ns    *nsState
	usage Usage
}

// records opens every record of a namespace, in all versions.
func (c *check) records(ctx context.Context, n *nsState) error {
	it, err := c.r.NewIter(record.NamespaceBounds(uint32(n.id)))
	if err != nil {
		return err
	}
	for ok := it.First(); ok && ctx.Err() == nil; ok = it.Next() {
		k, err := record.DecodeKey(it.Key())
		if err != nil {
			c.report(Problem{Namespace: n.id, Message: err.Error()})
			continue
		}
		sealed, err := it.Value()
		if err == nil {
			_, err = c.s.openRecord(n.key.Records(), it.Key(), sealed)
		}
		if err != nil {
			c.report(Problem{Namespace: n.id, Ino: Ino(k.Inode), Message: err.Error()})
		}
	}
	if err := it.Close(); err != nil {
		c.report(Problem{Namespace: n.id, Message: fmt.Sprintf("the record engine can not be read further: %v", err)})
	}
	return ctx.Err()
}

// blocks looks at every block of a namespace.
func (c *check) blocks(ctx context.Context, n checkedSpace) error {
	lower, upper := record.InodeBounds(systemNamespace, kindBlock, uint64(n.ns.id))
	it, err := c.r.NewIter(lower, upper)
	if err != nil {
		return err
	}
	var found Usage
	for ok := it.First(); ok && ctx.Err() == nil; ok = it.Next() {
		c.done++
		if c.o.Progress != nil && c.done%256 == 0 {
			c.o.Progress(c.done, max(c.done, c.total))
		}
		k, err := record.DecodeKey(it.Key())
		if err != nil {
			c.report(Problem{Namespace: n.ns.id, Message: err.Error()})
			continue
		}
		id := BlockID(k.Suffix)
		v, err := it.Value()
		if err == nil {
			err = c.block(n.ns, id, it.Key(), v, &found)
		}
		if err != nil {
			c.report(Problem{Namespace: n.ns.id, Block: id, Message: err.Error()})
		}
	}
	if err := it.Close(); err != nil {
		c.report(Problem{Namespace: n.ns.id, Message: fmt.Sprintf("the record engine can not be read further: %v", err)})
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if found.Blocks != n.usage.Blocks || found.Stored != n.usage.Stored {
		c.report(Problem{Namespace: n.ns.id, Message: fmt.Sprintf("its counters say %d blocks of %d bytes, there are %d of %d",
			n.usage.Blocks, n.usage.Stored, found.Blocks, found.Stored)})
	}
	return nil
}

func (c *check) block(n *nsState, id BlockID, physical, v []byte, found *Usage) error {
	m, inline, err := c.s.decodeBlockRecord(physical, v)
	if err != nil {
		return err
	}
	found.Blocks++
	found.Stored += int64(m.storedLen())
	if m.segment != 0 {
		d := c.live[m.segment]
		d.add(int64(m.storedLen()), 1)
		c.live[m.segment] = d
	}
	if !c.o.Data {
		return nil
	}
	if m.segment == 0 {
		_, err := c.s.openBlock(newBuffer(m.plainLen), n, id, m, inline)
		return corrupt(err)
	}
	sealed := newBuffer(m.storedLen())[:m.storedLen()]
	defer freeBuffer(sealed)
	err = c.s.segments.readAt(m.segment, id, sealed, m.offset)
	if errors.Is(err, errMoved) {
		return nil // reclaimed since; its new place was written by us just now
	}
	if err != nil {
		return err
	}
	data, err := c.s.openBlock(newBuffer(m.plainLen), n, id, m, sealed)
	if err == nil {
		freeBuffer(data)
	}
	return corrupt(err)
}

func corrupt(err error) error {
	if errors.Is(err, crypto.ErrAuth) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// segments compares each segment's counters with the blocks that are in it, and reads its header.
func (c *check) segments(ctx context.Context, segs map[uint64]segmentInfo) error {
	for id, i := range segs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if d := c.live[id]; d.bytes != i.live || d.blocks != i.blocks {
			c.report(Problem{Message: fmt.Sprintf("segment %s: its counters say %d blocks of %d bytes in use, there are %d of %d",
				segmentName(id), i.blocks, i.live, d.blocks, d.bytes)})
		}
		if err := c.header(id); err != nil && !errors.Is(err, errMoved) {
			c.report(Problem{Message: fmt.Sprintf("segment %s: %v", segmentName(id), err)})
		}
	}
	for id := range c.live {
		if _, ok := segs[id]; !ok {
			c.report(Problem{Message: fmt.Sprintf("segment %s: blocks are in it, and it has no record", segmentName(id))})
		}
	}
	return nil
}

func (c *check) header(id uint64) error {
	ss := c.s.segments
	ss.mu.RLock()
	current := ss.cur != nil && ss.cur.id == id
	ss.mu.RUnlock()
	if current {
		return nil // this process has just made it
	}
	r, err := ss.acquire(id)
	if err != nil {
		return err
	}
	defer ss.release(r)
	h, err := segment.ReadHeader(r.r, r.r.Size())
	if err == nil && h != ss.header(id) {
		err = fmt.Errorf("%w: it is %v", ErrCorrupt, h)
	}
	return err
}
