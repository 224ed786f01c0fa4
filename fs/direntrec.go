package fs

import (
	"encoding/binary"
	"fmt"
)

// dirent is a name in a directory. The names of a directory whose hashes are equal share a record; each keeps the slot
// that it was given, so that a cookie means the same place for as long as the entry is there.
type dirent struct {
	name string
	n    uint64 // the inode's number
	typ  uint8  // the file type bits of its mode, shifted down
	slot uint8
}

const (
	typeShift = 12 // of a mode's file type bits
	slotBits  = 4
	maxSlots  = 1 << slotBits
	hashBits  = 58 // of a name, in the suffix of a dirent record
)

func appendDirent(b []byte, d *dirent) []byte {
	b = append(b, d.typ<<slotBits|d.slot)
	b = binary.AppendUvarint(b, d.n)
	b = binary.AppendUvarint(b, uint64(len(d.name)))
	return append(b, d.name...)
}

func (d *decoder) dirent() (e dirent, name []byte) {
	x := d.byte()
	e.typ, e.slot = x>>slotBits, x&(maxSlots-1)
	e.n = d.uvarint(maxNumber)
	name = d.take(int(d.uvarint(MaxName)))
	if d.bad == "" && (len(name) == 0 || e.n == 0 || e.typ == 0) {
		d.fail("empty entry")
	}
	return e, name
}

// eachDirent calls fn for the entries of a dirent record, with the bytes that they take in it.
func eachDirent(value []byte, fn func(e dirent, name []byte, start, end int)) error {
	d := newDecoder(value)
	if d.bad == "" && len(d.b) == 0 {
		d.fail("no entries")
	}
	var slots uint16
	for len(d.b) > 0 {
		start := len(value) - len(d.b)
		e, name := d.dirent()
		if slots&(1<<e.slot) != 0 {
			d.fail("slot is used twice")
		}
		slots |= 1 << e.slot
		if d.bad == "" {
			fn(e, name, start, len(value)-len(d.b))
		}
	}
	return d.err("directory record")
}

// found is where a name was looked for.
type found struct {
	suffix     uint64
	value      []byte // the record; nil if there is none, or if it is known to be the entry only
	only       bool   // the entry is the only one of its record
	start, end int    // the bytes of the entry, if there are others
	dirent            // with the number 0 if the name is not there
}

func (f *found) ok() bool { return f.n != 0 }

// findDirent looks for a name in a dirent record, which may be missing.
func findDirent(suffix uint64, value []byte, name string) (f found, err error) {
	f.suffix, f.value = suffix, value
	if value == nil {
		return f, nil
	}
	err = eachDirent(value, func(e dirent, n []byte, start, end int) {
		if string(n) == name {
			f.dirent, f.start, f.end = e, start, end
			f.name = name
		}
	})
	f.only = f.ok() && f.start == 1 && f.end == len(value)
	return f, err
}

// with is the record with an entry added, which is given a slot.
func (f *found) with(name string, n uint64, typ uint8) ([]byte, error) {
	e := dirent{name: name, n: n, typ: typ}
	b := make([]byte, 0, max(len(f.value), 1)+len(name)+10)
	if f.value == nil {
		return appendDirent(append(b, recordVersion), &e), nil
	}
	var slots uint16
	if err := eachDirent(f.value, func(e dirent, _ []byte, _, _ int) { slots |= 1 << e.slot }); err != nil {
		return nil, err
	}
	for slots&(1<<e.slot) != 0 {
		if e.slot++; e.slot == maxSlots {
			return nil, fmt.Errorf("%w: %d names with the same hash", ErrNoSpace, maxSlots)
		}
	}
	return appendDirent(append(b, f.value...), &e), nil
}

// without is the record with the entry taken out; nil when it was the last.
func (f *found) without() []byte {
	if f.only {
		return nil
	}
	b := make([]byte, 0, len(f.value))
	return append(append(b, f.value[:f.start]...), f.value[f.end:]...)
}

// replaced is the record with the entry naming another inode.
func (f *found) replaced(n uint64, typ uint8) []byte {
	e := dirent{name: f.name, n: n, typ: typ, slot: f.slot}
	if f.only {
		return appendDirent(append(make([]byte, 0, len(f.name)+10), recordVersion), &e)
	}
	b := make([]byte, 0, len(f.value)+8)
	b = appendDirent(append(b, f.value[:f.start]...), &e)
	return append(b, f.value[f.end:]...)
}
