package blockstore

import (
	"encoding/binary"
	"fmt"

	"salliefs/crypto"
)

// blockMeta says how a block is stored and where. It is the sealed part of a block record.
type blockMeta struct {
	codec      Codec  // CodecNone, CodecS2 or CodecZstd
	plainLen   int    // bytes of plaintext, 1 … MaxBlockSize
	payloadLen int    // bytes after compression, ≤ plainLen
	segment    uint64 // 0: the sealed bytes follow in the record
	offset     int64  // of the sealed bytes in the segment
	lost       *lost  // what a repair could not read; nil: nothing. If it is all, there is no payload, and plainLen is what it can be
}

const (
	blockMetaVersion = 1
	lostMetaVersion  = 2 // of a block of which a part is lost
)

func (m blockMeta) storedLen() int {
	if m.payloadLen == 0 {
		return 0
	}
	return crypto.SealedBlockSize(m.payloadLen)
}

func (m blockMeta) append(dst []byte) []byte {
	version := byte(blockMetaVersion)
	if m.lost != nil {
		version = lostMetaVersion
	}
	dst = append(dst, version, byte(m.codec))
	dst = binary.AppendUvarint(dst, uint64(m.plainLen))
	dst = binary.AppendUvarint(dst, uint64(m.payloadLen))
	dst = binary.AppendUvarint(dst, m.segment)
	if m.segment != 0 {
		dst = binary.AppendUvarint(dst, uint64(m.offset))
	}
	if m.lost != nil {
		dst = m.lost.append(dst)
	}
	return dst
}

func decodeBlockMeta(b []byte) (blockMeta, error) {
	var m blockMeta
	d := decoder{b: b}
	version := d.byte()
	if version != blockMetaVersion && version != lostMetaVersion && d.err == nil {
		return m, fmt.Errorf("%w: block record of version %d", ErrCorrupt, version)
	}
	m.codec = Codec(d.byte())
	m.plainLen = int(d.uvarint(MaxBlockSize))
	m.payloadLen = int(d.uvarint(MaxBlockSize))
	m.segment = d.uvarint(1<<63 - 1)
	if m.segment != 0 {
		m.offset = int64(d.uvarint(1<<63 - 1))
	}
	if version == lostMetaVersion {
		m.lost = d.lost(m.plainLen)
	}
	if err := d.finish("block record"); err != nil {
		return m, err
	}
	if m.lost != nil && m.payloadLen == 0 && m.segment == 0 && m.codec == CodecNone && (*m.lost)[0].Len == m.plainLen {
		return m, nil
	}
	if m.codec == CodecAuto || m.codec > CodecZstd || m.plainLen == 0 || m.payloadLen == 0 || m.payloadLen > m.plainLen ||
		m.codec == CodecNone && m.payloadLen != m.plainLen {
		return m, fmt.Errorf("%w: block record with codec %d, %d bytes of %d", ErrCorrupt, m.codec, m.payloadLen, m.plainLen)
	}
	return m, nil
}

// blockRecord is the value of a block record: a sealed blockMeta of which the length is stored first, and, for an inline
// block, its sealed bytes, which their own seal binds to the block.
func splitBlockRecord(v []byte) (sealedMeta, inline []byte, err error) {
	if len(v) < 1 || len(v) < 1+int(v[0]) {
		return nil, nil, fmt.Errorf("%w: block record of %d bytes", ErrCorrupt, len(v))
	}
	n := 1 + int(v[0])
	return v[1:n], v[n:], nil
}

// blockAD is the associated data that a block is sealed with. It names all that may not change unseen.
func blockAD(dst []byte, store crypto.StoreID, ns NamespaceID, id BlockID, m blockMeta) []byte {
	dst = append(dst, store[:]...)
	dst = append(dst, 'B', byte(m.codec))
	dst = binary.BigEndian.AppendUint32(dst, uint32(ns))
	dst = binary.BigEndian.AppendUint64(dst, uint64(id))
	return binary.BigEndian.AppendUint32(dst, uint32(m.plainLen))
}

// decoder reads the parts of a stored value, with bounds. The first error sticks.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrCorrupt, what)
	}
	d.b = nil
}

func (d *decoder) byte() byte {
	if len(d.b) < 1 {
		d.fail("value too short")
		return 0
	}
	x := d.b[0]
	d.b = d.b[1:]
	return x
}

// uvarint reads a number of at most limit, in its shortest form.
func (d *decoder) uvarint(limit uint64) uint64 {
	x, n := binary.Uvarint(d.b)
	if n <= 0 || x > limit || n > 1 && d.b[n-1] == 0 {
		d.fail("number out of range")
		return 0
	}
	d.b = d.b[n:]
	return x
}

// bytes reads a string of at most limit bytes with its length before it.
func (d *decoder) bytes(limit int) []byte {
	n := int(d.uvarint(uint64(limit)))
	if n > len(d.b) {
		d.fail("value too short")
		return nil
	}
	x := d.b[:n]
	d.b = d.b[n:]
	return x
}

func (d *decoder) finish(what string) error {
	if d.err == nil && len(d.b) != 0 {
		d.fail(fmt.Sprintf("%d bytes too many", len(d.b)))
	}
	if d.err != nil {
		return fmt.Errorf("%s: %w", what, d.err)
	}
	return nil
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}
