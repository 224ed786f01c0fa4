package fs

import (
	"encoding/binary"
	"fmt"

	"salliefs/blockstore"
)

// The kinds of records that this package owns. FORMAT.md specifies their keys and values.
const (
	kindInode  blockstore.Kind = 0x10
	kindDirent blockstore.Kind = 0x11
	kindRegion blockstore.Kind = 0x12
	kindXattr  blockstore.Kind = 0x13
	kindTarget blockstore.Kind = 0x14
	kindOrphan blockstore.Kind = 0x15
)

// Every record starts with the version of its layout.
const recordVersion = 1

// decoder takes a stored value apart, within its bounds. The first failure sticks. Numbers have one encoding only, so
// that what decodes also encodes to the same bytes.
type decoder struct {
	b   []byte
	bad string
}

func newDecoder(value []byte) decoder {
	d := decoder{b: value}
	if v := d.byte(); v != recordVersion && d.bad == "" {
		d.fail(fmt.Sprintf("unknown version %d", v))
	}
	return d
}

func (d *decoder) fail(what string) {
	if d.bad == "" {
		d.bad = what
	}
	d.b = nil
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail("too short")
		return 0
	}
	x := d.b[0]
	d.b = d.b[1:]
	return x
}

func (d *decoder) uint64() uint64 {
	if len(d.b) < 8 {
		d.fail("too short")
		return 0
	}
	x := binary.LittleEndian.Uint64(d.b)
	d.b = d.b[8:]
	return x
}

// uvarint reads a number of at most limit.
func (d *decoder) uvarint(limit uint64) uint64 {
	if len(d.b) > 0 && d.b[0] < 0x80 && uint64(d.b[0]) <= limit {
		x := uint64(d.b[0])
		d.b = d.b[1:]
		return x
	}
	x, n := binary.Uvarint(d.b)
	if n <= 0 || x > limit || n > 1 && d.b[n-1] == 0 {
		d.fail("number out of range")
		return 0
	}
	d.b = d.b[n:]
	return x
}

func (d *decoder) varint() int64 {
	ux := d.uvarint(1<<64 - 1)
	x := int64(ux >> 1)
	if ux&1 != 0 {
		x = ^x
	}
	return x
}

// take reads the next n bytes.
func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.fail("too short")
		return nil
	}
	x := d.b[:n]
	d.b = d.b[n:]
	return x
}

// err ends decoding: nothing may be left.
func (d *decoder) err(what string) error {
	if d.bad == "" && len(d.b) > 0 {
		d.fail("bytes left over")
	}
	if d.bad != "" {
		return fmt.Errorf("%w: %s: %s", ErrCorrupt, what, d.bad)
	}
	return nil
}
