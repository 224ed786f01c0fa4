package segment

import "encoding/binary"

// Sealer seals and opens the footer. It appends to dst; sealing adds at most 64
// bytes. Open must fail for bytes that this Sealer did not seal under ad.
type Sealer interface {
	Seal(dst, plaintext, ad []byte) []byte
	Open(dst, sealed, ad []byte) ([]byte, error)
}

// Table is what a footer holds: the entries of a segment, by ascending offset.
type Table []Entry

// appendTableEntry appends e as the footer's plaintext holds it.
func appendTableEntry(dst []byte, e Entry) []byte {
	dst = binary.BigEndian.AppendUint64(dst, e.Block)
	dst = binary.BigEndian.AppendUint32(dst, e.Namespace)
	dst = binary.BigEndian.AppendUint32(dst, uint32(e.Offset))
	dst = binary.BigEndian.AppendUint32(dst, uint32(e.Length))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(e.Hint)))
	return append(dst, e.Hint...)
}

// decodeTable decodes a footer's plaintext. The entries must cover exactly what
// is between the segment's header and end, so that to encode them again gives
// the same bytes. Hints share memory with b.
func decodeTable(b []byte, end int64) (Table, error) {
	bad := func(why string) (Table, error) { return nil, damaged("footer", end, "%s", why) }
	if len(b) < tableHeader {
		return bad("no count")
	}
	count := int64(binary.BigEndian.Uint32(b))
	b = b[tableHeader:]
	if count > int64(len(b)/tableEntry) {
		return bad("count exceeds the table")
	}
	table := make(Table, 0, count)
	next := int64(HeaderSize)
	for range count {
		e, size := decodeTableEntry(b)
		if size == 0 {
			return bad("an entry is cut off")
		}
		if e.Length == 0 || e.Length > MaxSealedSize || len(e.Hint) > MaxHintSize {
			return bad("an entry's size is out of range")
		}
		if e.Offset != next+EntryOverhead || e.end() > end {
			return bad("the entries do not fit each other")
		}
		table = append(table, e)
		b, next = b[size:], e.end()
	}
	if len(b) != 0 || next != end {
		return bad("the entries do not cover the segment")
	}
	return table, nil
}

// decodeTableEntry decodes the entry at the start of b and says how many bytes
// it has there; 0 if it is cut off.
func decodeTableEntry(b []byte) (Entry, int) {
	if len(b) < tableEntry {
		return Entry{}, 0
	}
	size := tableEntry + int(binary.BigEndian.Uint16(b[20:]))
	if len(b) < size {
		return Entry{}, 0
	}
	return Entry{
		Block:     binary.BigEndian.Uint64(b),
		Namespace: binary.BigEndian.Uint32(b[8:]),
		Offset:    int64(binary.BigEndian.Uint32(b[12:])),
		Length:    int(binary.BigEndian.Uint32(b[16:])),
		Hint:      b[tableEntry:size:size],
	}, size
}

// footerAD is the associated data of a footer: which segment it closes, and
// where, so that the footer of a segment's shorter past does not open.
func footerAD(h Header, offset int64) []byte {
	ad := AppendHeader([]byte(footerLabel), h)
	return binary.BigEndian.AppendUint64(ad, uint64(offset))
}
