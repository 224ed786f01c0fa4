package record

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// KeySize is the length of every physical key in bytes; FORMAT.md draws the layout.
const KeySize = prefixSize + epochSize

const (
	prefixSize = 4 + 1 + 8 + 8
	epochSize  = 8
)

// A Key names one version of one record.
type Key struct {
	Namespace uint32
	Kind      uint8
	Inode     uint64
	Suffix    uint64
	Epoch     uint64
}

// Append appends the physical form of k to dst.
func (k Key) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, k.Namespace)
	dst = append(dst, k.Kind)
	dst = binary.BigEndian.AppendUint64(dst, k.Inode)
	dst = binary.BigEndian.AppendUint64(dst, k.Suffix)
	return binary.BigEndian.AppendUint64(dst, ^k.Epoch)
}

// DecodeKey is the inverse of Append.
func DecodeKey(b []byte) (Key, error) {
	if len(b) != KeySize {
		return Key{}, fmt.Errorf("record key of %d bytes, want %d", len(b), KeySize)
	}
	return Key{
		Namespace: binary.BigEndian.Uint32(b),
		Kind:      b[4],
		Inode:     binary.BigEndian.Uint64(b[5:]),
		Suffix:    binary.BigEndian.Uint64(b[13:]),
		Epoch:     ^binary.BigEndian.Uint64(b[21:]),
	}, nil
}

// String prints the parts of k for error messages.
func (k Key) String() string {
	return fmt.Sprintf("namespace %d kind %#02x inode %#x suffix %#x epoch %d", k.Namespace, k.Kind, k.Inode, k.Suffix, k.Epoch)
}

// KindBounds gives the range of physical keys [lower, upper) of one kind in a namespace.
func KindBounds(namespace uint32, kind uint8) (lower, upper []byte) {
	lower = append(binary.BigEndian.AppendUint32(nil, namespace), kind)
	return lower, successor(lower)
}

// NamespaceBounds gives the range of physical keys [lower, upper) of a namespace.
func NamespaceBounds(namespace uint32) (lower, upper []byte) {
	lower = binary.BigEndian.AppendUint32(nil, namespace)
	return lower, successor(lower)
}

// InodeBounds gives the range of physical keys [lower, upper) of one kind of an inode.
func InodeBounds(namespace uint32, kind uint8, inode uint64) (lower, upper []byte) {
	lower = append(binary.BigEndian.AppendUint32(make([]byte, 0, 13), namespace), kind)
	lower = binary.BigEndian.AppendUint64(lower, inode)
	return lower, successor(lower)
}

// RecordBounds gives the range of physical keys [lower, upper) of all versions of one record.
func RecordBounds(k Key) (lower, upper []byte) {
	lower = k.Append(nil)[:prefixSize]
	return lower, successor(lower)
}

// successor is the smallest key greater than all keys that start with b; nil when there is none.
func successor(b []byte) []byte {
	s := bytes.Clone(b)
	for i := len(s) - 1; i >= 0; i-- {
		if s[i]++; s[i] != 0 {
			return s[:i+1]
		}
	}
	return nil
}

// split is the length of a key's part that all versions of a record share. Bounds are shorter than keys and have no
// version.
func split(k []byte) int {
	if len(k) == KeySize {
		return prefixSize
	}
	return len(k)
}

func compare(a, b []byte) int {
	ap, bp := split(a), split(b)
	if c := bytes.Compare(a[:ap], b[:bp]); c != 0 {
		return c
	}
	return bytes.Compare(a[ap:], b[bp:])
}

// comparer orders physical keys bytewise, with the version as Pebble's suffix so that its filters are over the rest
// of the key. Its name is stored in the database and can never change.
func comparer() *pebble.Comparer {
	return &pebble.Comparer{
		Name:                 "salliefs.record.1",
		Compare:              compare,
		Equal:                bytes.Equal,
		ComparePointSuffixes: bytes.Compare,
		CompareRangeSuffixes: bytes.Compare,
		Split:                split,
		AbbreviatedKey:       pebble.DefaultComparer.AbbreviatedKey,
		// Shortened keys would not split where keys do, so none are made.
		Separator:          func(dst, a, b []byte) []byte { return append(dst, a...) },
		Successor:          func(dst, a []byte) []byte { return append(dst, a...) },
		ImmediateSuccessor: func(dst, a []byte) []byte { return append(append(dst, a...), 0) },
		FormatKey:          pebble.DefaultComparer.FormatKey,
	}
}
