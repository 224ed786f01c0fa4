package blockstore

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// nsBytes counts bytes by namespace, in the order of their IDs. Those that have none are not in it.
type nsBytes []nsCount

type nsCount struct {
	ns    NamespaceID
	bytes int64
}

// nsCountSize is the most that one of the counts of a segment takes in its record, in bytes.
const nsCountSize = 8

// add counts n bytes more, which are not 0, of a namespace.
func (b *nsBytes) add(ns NamespaceID, n int64) {
	i, ok := slices.BinarySearchFunc(*b, ns, func(c nsCount, ns NamespaceID) int { return cmp.Compare(c.ns, ns) })
	if !ok {
		*b = slices.Insert(*b, i, nsCount{ns: ns})
	}
	(*b)[i].bytes += n
}

func (b *nsBytes) addAll(more nsBytes) {
	for _, c := range more {
		b.add(c.ns, c.bytes)
	}
}

func (b nsBytes) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	for _, c := range b {
		dst = binary.AppendUvarint(dst, uint64(c.ns))
		dst = binary.AppendUvarint(dst, uint64(c.bytes))
	}
	return dst
}

// nsBytes decodes counts of at most limit bytes each.
func (d *decoder) nsBytes(limit uint64) nsBytes {
	n := d.uvarint(uint64(len(d.b) / 2)) // each takes two bytes at the least
	if n == 0 {
		return nil
	}
	b := make(nsBytes, 0, n)
	for range n {
		c := nsCount{NamespaceID(d.uvarint(uint64(MaxNamespaceID))), int64(d.uvarint(limit))}
		if c.bytes == 0 || len(b) > 0 && c.ns <= b[len(b)-1].ns {
			d.fail("counts of namespaces out of order")
			return nil
		}
		b = append(b, c)
	}
	return b
}
