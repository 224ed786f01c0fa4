package segment

import (
	"encoding/binary"
	"io"
	"slices"
)

// Entry says what a segment holds at one place.
type Entry struct {
	Block     uint64 // block ID
	Namespace uint32 // ID of the namespace whose key sealed the block
	Offset    int64  // of the sealed bytes in the segment; the entry header is before it
	Length    int    // of the sealed bytes, 1 … MaxSealedSize
	Hint      []byte // as given to Append; nil when the entry comes from Scan
}

// end is the offset behind the entry.
func (e Entry) end() int64 { return e.Offset + int64(e.Length) }

// appendEntryHeader appends the EntryOverhead bytes that precede sealed.
func appendEntryHeader(dst []byte, identity uint32, e Entry, sealed []byte) []byte {
	start := len(dst)
	dst = append(dst, entryMagic...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(e.Length))
	dst = binary.BigEndian.AppendUint64(dst, e.Block)
	dst = binary.BigEndian.AppendUint32(dst, e.Namespace)
	return binary.BigEndian.AppendUint32(dst, checksum(identity, e.Offset-EntryOverhead, dst[start:], sealed))
}

// decodeEntryHeader reads the header of the entry that starts at offset at, of
// which b has at least EntryOverhead bytes. The entry must end at or before limit.
// The checksum is not looked at; see checkEntry.
func decodeEntryHeader(b []byte, at, limit int64) (Entry, error) {
	if limit-at < EntryOverhead {
		return Entry{}, damaged("entry", at, "cut off in its header")
	}
	if string(b[:4]) != entryMagic {
		return Entry{}, damaged("entry", at, "no magic number")
	}
	length := binary.BigEndian.Uint32(b[4:])
	if length == 0 || length > MaxSealedSize {
		return Entry{}, damaged("entry", at, "length %d is not within 1 … %d", length, MaxSealedSize)
	}
	e := Entry{
		Block:     binary.BigEndian.Uint64(b[8:]),
		Namespace: binary.BigEndian.Uint32(b[16:]),
		Offset:    at + EntryOverhead,
		Length:    int(length),
	}
	if e.end() > limit {
		return Entry{}, damaged("entry", at, "%d sealed bytes do not fit before offset %d", length, limit)
	}
	return e, nil
}

// checkEntry compares the checksum of a whole entry, header and sealed bytes.
func checkEntry(identity uint32, at int64, raw []byte) error {
	stored := binary.BigEndian.Uint32(raw[20:])
	if checksum(identity, at, raw[:20], raw[EntryOverhead:]) != stored {
		return damaged("entry", at, "checksum does not match")
	}
	return nil
}

// ReadEntry reads the sealed bytes of e from segment h, of size bytes, after
// checking the entry header and the checksum. It needs no key, so it serves who
// moves blocks without opening them. It uses buf if that is large enough, else
// allocates e.Length + EntryOverhead bytes. e.Hint is not looked at.
func ReadEntry(r io.ReaderAt, size int64, h Header, e Entry, buf []byte) ([]byte, error) {
	at := e.Offset - EntryOverhead
	if e.Length < 1 || e.Length > MaxSealedSize || e.Offset < HeaderSize+EntryOverhead || e.Offset > min(size, MaxSize)-int64(e.Length) {
		return nil, damaged("entry", at, "%d sealed bytes do not lie within the segment's %d", e.Length, size)
	}
	raw := slices.Grow(buf[:0], EntryOverhead+e.Length)[:EntryOverhead+e.Length]
	if err := readFull(r, raw, at); err != nil {
		return nil, err
	}
	got, err := decodeEntryHeader(raw, at, e.end())
	if err != nil {
		return nil, err
	}
	if got.Block != e.Block || got.Namespace != e.Namespace || got.Length != e.Length {
		return nil, damaged("entry", at, "holds %d bytes of block %d of namespace %d instead of %d bytes of block %d of namespace %d",
			got.Length, got.Block, got.Namespace, e.Length, e.Block, e.Namespace)
	}
	return raw[EntryOverhead:], checkEntry(h.identity(), at, raw)
}
