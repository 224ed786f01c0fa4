package blockstore

import (
	"bytes"
	"cmp"
	"errors"
	"slices"

	"salliefs/blockstore/record"
	"salliefs/crypto"
)

const (
	// inlineLimit is the most sealed bytes of a block that live in the record engine for good.
	inlineLimit = 4 << 10
	// inlineGroupLimit is the most sealed bytes of all blocks of an urgent group that go into the record engine, so
	// that a small sync costs one flush. Those over inlineLimit move to a segment later.
	inlineGroupLimit = 64 << 10
	// blockRecordSize is what a block's record takes in the batch, in bytes, about, without an inline block.
	blockRecordSize = 128
)

// placeBlocks places the group's blocks: in the record engine, or in a segment, which is not synced yet.
func (c *commit) placeBlocks(urgent bool) error {
	live := c.g.live()
	c.s.sealAll(live, urgent || c.g.mem.Load() > groupLimit)
	var total, large int64
	for _, p := range live {
		total += int64(len(p.sealed))
		if len(p.sealed) > inlineLimit {
			large += int64(len(p.sealed))
		}
	}
	inline := urgent && total <= inlineGroupLimit
	if large > 0 && !inline {
		if err := c.roomFor(large, func() int { return c.recordSize(live) }); err != nil {
			return err
		}
	}
	for _, p := range live {
		m := p.meta
		switch {
		case len(p.sealed) <= inlineLimit:
		case inline:
			c.inlined = append(c.inlined, inlinedBlock{p.ns.id, p.id, p.hint})
		default:
			if err := c.segments(len(p.sealed)); err != nil {
				return err
			}
			if err := c.append(p.ns.id, p.id, &m, p.sealed, c.hints.of(p.ns, p.id, m, p.hint)); err != nil {
				return err
			}
		}
		c.putBlock(p.ns.id, p.id, m, p.sealed)
		d := c.usageOf(p.ns.id)
		d.stored += int64(len(p.sealed))
		d.blocks++
	}
	return nil
}

// recordSize is what the group's records take in the batch, in bytes, about, when live are its blocks.
func (c *commit) recordSize(live []*pending) int {
	n := freedOverhead * len(c.g.freed)
	for _, p := range live {
		n += blockRecordSize
		if len(p.sealed) <= inlineLimit {
			n += len(p.sealed)
		}
	}
	for _, r := range c.g.recs {
		n += len(r.value) + recOverhead
	}
	return n
}

// segments makes sure that there is a current segment with room for a sealed block and its hint.
func (c *commit) segments(sealed int) error { return c.s.segments.ready(sealed) }

// append writes a sealed block to the current segment, counts it there, and sets its place in m.
func (c *commit) append(ns NamespaceID, id BlockID, m *blockMeta, sealed, hint []byte) (err error) {
	if m.segment, m.offset, err = c.s.segments.append(ns, id, sealed, hint); err != nil {
		return err
	}
	c.segment(m.segment).add(int64(len(sealed)), 1)
	c.appended += int64(len(sealed))
	return nil
}

// putBlock writes a block's record: where it is, or its sealed bytes themselves.
func (c *commit) putBlock(ns NamespaceID, id BlockID, m blockMeta, sealed []byte) {
	c.placed = append(c.placed, placedBlock{ns, id, m})
	c.name(systemKey(kindBlock, uint64(ns), uint64(id)))
	c.meta = m.append(c.meta[:0])
	meta := c.meta
	n := len(meta) + crypto.Overhead
	size := 1 + n
	if m.segment == 0 {
		size += len(sealed)
	}
	c.batch.Set(c.key, size, func(dst []byte) []byte {
		dst = append(dst, byte(n))
		dst = c.s.sealer.Seal(dst, meta, c.ad)
		if m.segment == 0 {
			dst = append(dst, sealed...)
		}
		return dst
	})
}

// manyFrees is from how many blocks on it pays to look for their records one after the other, in their order.
const manyFrees = 16

// committedMeta tells how and where a committed block is stored: by what commits have put where lately, or its record.
func (c *commit) committedMeta(ns NamespaceID, id BlockID) (m blockMeta, err error) {
	if b, ok := c.s.recent.get(id); ok && b.ns == ns {
		return b.m, nil
	}
	if !c.freesMany {
		return c.s.storedMeta(ns, id)
	}
	if c.blocks == nil {
		if c.blocks, err = c.s.engine.NewIter(nil, nil); err != nil {
			return m, engineError(err)
		}
	}
	var buf [record.KeySize]byte
	physical := systemKey(kindBlock, uint64(ns), uint64(id)).Append(buf[:0])
	if !c.blocks.SeekGE(physical) || !bytes.Equal(c.blocks.Key(), physical) {
		return m, cmp.Or(engineError(c.blocks.Err()), error(ErrNotFound))
	}
	v, err := c.blocks.Value()
	if err == nil {
		m, _, err = c.s.decodeBlockRecord(physical, v)
	}
	return m, engineError(err)
}

// frees removes the blocks that nothing names any more, unless a snapshot may still name them.
func (c *commit) frees() {
	young := c.s.youngBlocks()
	freed := c.g.freed
	if c.freesMany = len(freed) >= manyFrees; c.freesMany {
		freed = slices.SortedFunc(slices.Values(freed), func(a, b freedBlock) int {
			return cmp.Or(cmp.Compare(a.ns, b.ns), cmp.Compare(a.id, b.id))
		})
	}
	for _, f := range freed {
		switch {
		case f.id < young: // the end of the snapshot asks for a sweep
		case f.shared:
			c.sweep = true
		default:
			c.tryFree(f.ns, f.id)
		}
	}
}

// tryFree removes a block, or leaves it to the sweep if its record can not be read for now.
func (c *commit) tryFree(ns NamespaceID, id BlockID) {
	if err := c.freeBlock(ns, id); err != nil {
		c.s.log.Error("a block that is not used any more can not be freed", "namespace", ns, "block", id, "err", err)
		c.sweep = c.sweep || !errors.Is(err, ErrCorrupt) // else the sweep would find the same again
	}
}

// freeBlock removes a block. One whose record can not be read stays: how much it takes, and where, is not known.
func (c *commit) freeBlock(ns NamespaceID, id BlockID) error {
	if _, ok := c.gone[id]; ok {
		return nil
	}
	m, err := c.committedMeta(ns, id)
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
		c.segment(m.segment).free(ns, int64(m.storedLen()))
	}
	return nil
}
