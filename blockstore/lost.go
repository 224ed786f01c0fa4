package blockstore

import (
	"encoding/binary"
	"errors"
	"fmt"

	"salliefs/crypto"
)

// ErrLost is ErrCorrupt for bytes that a repair has noted as lost: reading them fails, and nobody need look for them.
var ErrLost = fmt.Errorf("%w: lost, as a repair has noted", ErrCorrupt)

// Range is a part of a block's plaintext, in bytes.
type Range struct{ Off, Len int }

// lost are the parts of a block that could not be read when it was repaired, in order and apart from each other. What is
// stored in their place means nothing.
type lost []Range

// allLost is for a block of n bytes of which nothing could be read.
func allLost(n int) *lost { return &lost{{0, n}} }

func (l *lost) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(*l)))
	end := 0
	for _, r := range *l {
		dst = binary.AppendUvarint(dst, uint64(r.Off-end))
		dst = binary.AppendUvarint(dst, uint64(r.Len))
		end = r.Off + r.Len
	}
	return dst
}

// lost decodes the parts of a block of size bytes that are lost.
func (d *decoder) lost(size int) *lost {
	n := d.uvarint(uint64(len(d.b) / 2)) // each takes two bytes at the least
	if n == 0 {
		d.fail("lost parts of a block are missing")
		return nil
	}
	l := make(lost, 0, n)
	end := 0
	for i := range n {
		gap := int(d.uvarint(MaxBlockSize))
		r := Range{end + gap, int(d.uvarint(MaxBlockSize))}
		if r.Len == 0 || i > 0 && gap == 0 || r.Off+r.Len > size {
			d.fail("lost parts of a block out of range")
			return nil
		}
		l = append(l, r)
		end = r.Off + r.Len
	}
	return &l
}

// missing fails for bytes of a block that are lost.
func (m *blockMeta) missing(off, n int) error {
	if m.lost == nil {
		return nil
	}
	var bad []Range
	for _, r := range *m.lost {
		if a, b := max(r.Off, off), min(r.Off+r.Len, off+n); a < b {
			bad = append(bad, Range{a, b - a})
		}
	}
	if bad == nil {
		return nil
	}
	return &DamageError{Bad: bad, Err: ErrLost}
}

// gone tells whether all of a block is lost.
func (m *blockMeta) gone() bool { return m.payloadLen == 0 }

// DamageError says which bytes of a block can not be read, and why.
type DamageError struct {
	Bad []Range // nil: all
	Err error
}

func (e *DamageError) Error() string { return e.Err.Error() }
func (e *DamageError) Unwrap() error { return e.Err }

// salvage reads what it can of a block that does not open, and says what it can not: zeros are in its place. read reads
// sealed bytes from an offset on. An error that is not for good ends it.
func (s *Store) salvage(n *nsState, id BlockID, m blockMeta, read func(dst []byte, off int) error) (data []byte, bad lost, err error) {
	all := lost{{0, m.plainLen}}
	if m.lost != nil && m.gone() {
		return nil, all, nil
	}
	if m.codec != CodecNone || m.plainLen <= crypto.FrameSize {
		sealed := make([]byte, m.storedLen())
		if err = read(sealed, 0); err == nil {
			data, err = s.openBlock(make([]byte, 0, m.plainLen), n, id, m, sealed)
		}
		if err != nil {
			return nil, all, unlessLasting(err)
		}
		return data, m.lostParts(), nil
	}
	nonce := make([]byte, crypto.NonceSize)
	if err := read(nonce, 0); err != nil {
		return nil, all, unlessLasting(err)
	}
	var ad [64]byte
	a := blockAD(ad[:0], s.id, n.id, id, m)
	data = make([]byte, m.plainLen)
	for off := 0; off < m.plainLen; off += crypto.FrameSize {
		length := min(crypto.FrameSize, m.plainLen-off)
		start, end, first, _ := crypto.FrameSpan(m.plainLen, off, length)
		sealed := make([]byte, end-start)
		err := read(sealed, crypto.NonceSize+start)
		var plain []byte
		if err == nil {
			plain, err = n.key.Blocks().OpenFrames(nil, nonce, sealed, first, m.plainLen, a)
		}
		if err == nil {
			copy(data[off:], plain)
			continue
		}
		if err := unlessLasting(err); err != nil {
			return nil, nil, err
		}
		bad = bad.with(Range{off, length})
	}
	for _, r := range m.lostParts() {
		bad = bad.with(r)
	}
	return data, bad, nil
}

func (m *blockMeta) lostParts() lost {
	if m.lost == nil {
		return nil
	}
	return *m.lost
}

// with is l and one more part.
func (l lost) with(r Range) lost {
	var out lost
	for _, x := range l {
		if x.Off+x.Len < r.Off || x.Off > r.Off+r.Len {
			out = append(out, x)
			continue
		}
		end := max(x.Off+x.Len, r.Off+r.Len)
		r.Off = min(x.Off, r.Off)
		r.Len = end - r.Off
	}
	i := 0
	for i < len(out) && out[i].Off < r.Off {
		i++
	}
	return append(out[:i:i], append(lost{r}, out[i:]...)...)
}

// unlessLasting is an error that may be gone when the disk is asked again, as it is when the disk itself fails.
func unlessLasting(err error) error {
	if err == nil || lasting(sealError(err)) || errors.Is(err, crypto.ErrAuth) {
		return nil
	}
	return err
}
