package fs

import (
	"encoding/binary"

	"salliefs/blockstore"
)

// RegionSize is how much of a file one list of extents covers, in bytes. Blocks do not span regions.
const RegionSize = 128 << 10

const (
	regionBits = 17

	// maxExtents is how many extents a region may have before it is rewritten as few blocks.
	maxExtents = 64

	// maxStoredExtents bounds what a decoder accepts.
	maxStoredExtents = 4 * maxExtents

	extentSizeHint = 10 // bytes of a typical encoded extent
)

// extent says where a piece of a region is. Without a block it is zeros that are allocated.
type extent struct {
	off, len uint32 // in the region; len > 0
	id       blockstore.BlockID
	boff     uint32 // where the piece starts in the block
	shared   bool   // others may name the block too
}

func (e *extent) end() uint32 { return e.off + e.len }

// The lowest bits of an encoded extent's length say what it is.
const (
	extentZeros  = 0
	extentBlock  = 1
	extentShared = 2
)

// appendExtents encodes a list that is ordered and does not overlap.
func appendExtents(b []byte, list []extent) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	var end uint32
	var id blockstore.BlockID
	for i := range list {
		e := &list[i]
		what := uint64(extentBlock)
		if e.id == 0 {
			what = extentZeros
		} else if e.shared {
			what = extentShared
		}
		b = binary.AppendUvarint(b, uint64(e.off-end))
		b = binary.AppendUvarint(b, uint64(e.len)<<2|what)
		end = e.end()
		if e.id != 0 {
			b = binary.AppendUvarint(b, uint64(e.boff))
			b = binary.AppendVarint(b, int64(e.id-id))
			id = e.id
		}
	}
	return b
}

// extents decodes a list, which is appended to list.
func (d *decoder) extents(list []extent) []extent {
	n := int(d.uvarint(maxStoredExtents))
	var end, id uint64
	for range n {
		var e extent
		off := end + d.uvarint(RegionSize)
		x := d.uvarint(RegionSize<<2 | 3)
		length, what := x>>2, x&3
		end = off + length
		if length == 0 || end > RegionSize || what > extentShared {
			d.fail("extent out of range")
		}
		e.off, e.len = uint32(off), uint32(length)
		if what != extentZeros {
			e.boff = uint32(d.uvarint(blockstore.MaxBlockSize))
			id += uint64(d.varint())
			e.id, e.shared = blockstore.BlockID(id), what == extentShared
			if id == 0 || uint64(e.boff)+length > blockstore.MaxBlockSize {
				d.fail("extent without its block")
			}
		}
		if d.bad != "" {
			return list
		}
		list = append(list, e)
	}
	return list
}

// encodeRegion makes the value of a region record.
func encodeRegion(list []extent) []byte {
	return appendExtents(append(make([]byte, 0, 4+len(list)*extentSizeHint), recordVersion), list)
}

// decodeRegion is the inverse of encodeRegion.
func decodeRegion(value []byte) ([]extent, error) {
	d := newDecoder(value)
	list := d.extents(nil)
	if len(list) == 0 {
		d.fail("empty region")
	}
	return list, d.err("region record")
}

// covered is how many bytes of [from, to) a list covers.
func covered(list []extent, from, to uint32) (n int64) {
	for i := range list {
		e := &list[i]
		if a, b := max(e.off, from), min(e.end(), to); a < b {
			n += int64(b - a)
		}
	}
	return n
}

// cut appends list without [from, to) to dst. dst and list may not overlap.
func cut(dst, list []extent, from, to uint32) []extent {
	for _, e := range list {
		if e.end() <= from || e.off >= to {
			dst = append(dst, e)
			continue
		}
		if e.off < from {
			left := e
			left.len = from - e.off
			dst = append(dst, left)
		}
		if e.end() > to {
			right := e
			right.off, right.len = to, e.end()-to
			if e.id != 0 {
				right.boff += to - e.off
			}
			dst = append(dst, right)
		}
	}
	return dst
}

// place appends list with [from, to) replaced by e, which has that range, to dst.
func place(dst, list []extent, e extent) []extent {
	start := len(dst)
	dst = cut(dst, list, e.off, e.end())
	i := len(dst)
	for i > start && dst[i-1].off > e.off {
		i--
	}
	if i > start {
		if p := &dst[i-1]; p.end() == e.off && p.id == e.id && (e.id == 0 || p.boff+p.len == e.boff && p.shared == e.shared) {
			p.len += e.len
			return dst
		}
	}
	dst = append(dst, extent{})
	copy(dst[i+1:], dst[i:])
	dst[i] = e
	return dst
}

// names reports whether an extent of list names a block.
func names(list []extent, id blockstore.BlockID) bool {
	for i := range list {
		if list[i].id == id {
			return true
		}
	}
	return false
}

// freeGone frees the blocks that old names and now does not. A block that is named more than once is freed once.
func freeGone(tx *blockstore.Tx, ns NamespaceID, old, now []extent) {
	for i := range old {
		e := &old[i]
		if e.id == 0 || names(now, e.id) || names(old[:i], e.id) {
			continue
		}
		if e.shared {
			tx.FreeShared(ns, e.id)
		} else {
			tx.FreeBlock(ns, e.id)
		}
	}
}

// sum is how many bytes a list covers.
func sum(list []extent) (n int64) {
	for i := range list {
		n += int64(list[i].len)
	}
	return n
}
