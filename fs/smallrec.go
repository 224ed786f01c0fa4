package fs

import (
	"encoding/binary"
	"fmt"
)

// xattr is an extended attribute. Those of an inode whose hashes are equal share a record.
type xattr struct {
	name  string
	value []byte
}

func encodeXattrs(list []xattr) []byte {
	size := 1
	for i := range list {
		size += len(list[i].name) + len(list[i].value) + 5
	}
	b := append(make([]byte, 0, size), recordVersion)
	for i := range list {
		b = binary.AppendUvarint(b, uint64(len(list[i].name)))
		b = append(b, list[i].name...)
		b = binary.AppendUvarint(b, uint64(len(list[i].value)))
		b = append(b, list[i].value...)
	}
	return b
}

func decodeXattrs(value []byte) (list []xattr, err error) {
	d := newDecoder(value)
	if d.bad == "" && len(d.b) == 0 {
		d.fail("no attributes")
	}
	for len(d.b) > 0 {
		name := d.take(int(d.uvarint(MaxXattrName)))
		v := d.take(int(d.uvarint(MaxXattr)))
		if d.bad == "" && len(name) == 0 {
			d.fail("attribute without a name")
		}
		list = append(list, xattr{string(name), v})
	}
	return list, d.err("xattr record")
}

// orphan says what is left to do for an inode.
type orphan struct {
	what byte
	run  uint64 // of the process that made it: its own unlinked files may still be open
}

const (
	orphanDelete   = 1 // it has no name
	orphanTruncate = 2 // regions past its size are to be freed
)

func encodeOrphan(o orphan) []byte {
	return binary.LittleEndian.AppendUint64([]byte{recordVersion, o.what}, o.run)
}

func decodeOrphan(value []byte) (o orphan, err error) {
	d := newDecoder(value)
	o.what = d.byte()
	o.run = d.uint64()
	if d.bad == "" && o.what != orphanDelete && o.what != orphanTruncate {
		d.fail(fmt.Sprintf("unknown task %d", o.what))
	}
	return o, d.err("orphan record")
}

func encodeTarget(target string) []byte {
	return append(append(make([]byte, 0, 1+len(target)), recordVersion), target...)
}

func decodeTarget(value []byte) (string, error) {
	d := newDecoder(value)
	t := string(d.take(len(d.b)))
	if len(t) <= maxInlineTarget || len(t) > MaxTarget {
		d.fail("length out of range")
	}
	return t, d.err("target record")
}
