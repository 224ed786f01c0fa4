package blockstore

import (
	"errors"
	"fmt"

	"salliefs/blockstore/segment"
)

// liveBlocks is what the blocks' records say of a segment.
type liveBlocks struct {
	segmentDelta
	spaces nsBytes // the same bytes, by namespace
	end    int64   // offset behind the last of them
	read   int64   // how many of them were read
}

// read reads a block that is in a segment: with what is before it there, unless this process is still writing the segment.
func (c *check) read(ns NamespaceID, id BlockID, m blockMeta, buf []byte) ([]byte, error) {
	ss := c.s.segments
	d := c.live[m.segment]
	d.read++
	c.live[m.segment] = d
	if ss.isCurrent(m.segment) {
		sealed := buf[:m.storedLen()]
		return sealed, ss.readAt(m.segment, id, sealed, m.offset)
	}
	e := segment.Entry{Block: uint64(id), Namespace: uint32(ns), Offset: m.offset, Length: m.storedLen()}
	sealed, err := ss.readEntry(m.segment, e, buf)
	return sealed, segmentError(m.segment, err)
}

// segments compares each segment's counters with the blocks that are in it, and reads what surrounds the blocks.
func (c *check) segments() error {
	for id, i := range c.segs {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if d := c.live[id]; !c.blind && (d.bytes != i.live || d.blocks != i.blocks) {
			c.repairs.counts[id] = segmentDelta{bytes: d.bytes - i.live, blocks: d.blocks - i.blocks}
			c.report(Problem{Remedy: remedyCount, Message: fmt.Sprintf("segment %s: its counters say %d blocks of %d bytes in use, there are %d of %d",
				segmentName(id), i.blocks, i.live, d.blocks, d.bytes)})
		}
		switch err := c.segment(id); {
		case c.ctx.Err() != nil:
			return c.ctx.Err()
		case err != nil && !errors.Is(err, errMoved):
			c.inSegment(id, err)
		}
	}
	for id := range c.live {
		if _, ok := c.segs[id]; !ok {
			c.report(Problem{Message: fmt.Sprintf("segment %s: blocks are in it, and it has no record", segmentName(id))})
		}
	}
	return nil
}

func (c *check) inSegment(id uint64, err error) {
	p := Problem{Message: fmt.Sprintf("segment %s: %v", segmentName(id), err)}
	if unlessLasting(err) == nil {
		c.repairs.segments[id] = struct{}{}
		p.Remedy = remedySegment
	}
	c.report(p)
}

// segment reads a segment's header and footer, and with Data those of its entries that no block in use has.
func (c *check) segment(id uint64) error {
	ss := c.s.segments
	if ss.isCurrent(id) {
		return nil // this process has just made it
	}
	r, err := ss.acquire(id)
	if err != nil {
		return err
	}
	defer r.release()
	h := ss.header(id)
	table, err := segment.ReadFooter(r.r, r.r.Size(), h, c.s.sealer)
	switch {
	case errors.Is(err, segment.ErrNoFooter):
	case err != nil && (!c.o.Data || !errors.Is(err, segment.ErrDamaged)):
		return err
	case err != nil:
		c.inSegment(id, err)
	default:
		c.freed(id, table)
		if c.o.Data && int64(len(table)) != c.live[id].read {
			return c.entries(id, r, table)
		}
		return nil // or each entry was read with its block
	}
	if !c.o.Data {
		return nil
	}
	table = nil
	res, err := segment.Scan(r.r, r.r.Size(), h, func(e segment.Entry, _ []byte) error {
		table = append(table, e)
		return c.ctx.Err()
	})
	if err == nil && res.End < c.live[id].end {
		err = res.Stop // else a crash may have left it so
	}
	if err == nil {
		c.freed(id, table)
	}
	return err
}

// freed compares what a segment's counters say of blocks that are not in use any more with what there is beside those in
// use. What a crash, or a full disk, kept from being committed may be left over at the end.
func (c *check) freed(id uint64, table segment.Table) {
	info, live := c.segs[id], c.live[id]
	if c.blind {
		return
	}
	reported := live.bytes != info.live || live.blocks != info.blocks // with which of them are in use, what is not changes
	over := make(map[NamespaceID]int64)                               // bytes that are there and that nothing counts
	for _, e := range table {
		over[NamespaceID(e.Namespace)] += int64(e.Length)
	}
	counted := make(map[NamespaceID]int64)
	for _, n := range live.spaces {
		over[n.ns] -= n.bytes
	}
	for _, n := range info.freed {
		over[n.ns] -= n.bytes
		counted[n.ns] = n.bytes
	}
	for i := len(table) - 1; i >= 0 && table[i].Offset >= live.end; i-- {
		ns, n := NamespaceID(table[i].Namespace), int64(table[i].Length)
		if over[ns] < n {
			break
		}
		over[ns] -= n
	}
	for ns, n := range over {
		if n != 0 {
			d := c.repairs.counts[id]
			d.freed.add(ns, n)
			c.repairs.counts[id] = d
			if reported {
				continue
			}
			c.report(Problem{Namespace: ns, Remedy: remedyCount, Message: fmt.Sprintf("segment %s: its counters say %d bytes of blocks that are not in use any more, there are %d",
				segmentName(id), counted[ns], counted[ns]+n)})
		}
	}
}

// entries reads what a segment's footer lists. A damaged block in use was reported before.
func (c *check) entries(id uint64, r *segmentReader, table segment.Table) error {
	buf := newBuffer(segment.EntryOverhead + segment.MaxSealedSize)
	defer freeBuffer(buf)
	for _, e := range table {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if _, reported := c.damaged[BlockID(e.Block)]; reported {
			continue
		}
		if _, err := segment.ReadEntry(r.r, r.r.Size(), c.s.segments.header(id), e, buf); err != nil {
			c.inSegment(id, err)
		}
	}
	return nil
}
