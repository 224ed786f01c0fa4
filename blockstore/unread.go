package blockstore

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"salliefs/blockstore/record"
)

// A walk goes over a range of the record engine's keys, and past places where the engine's files are damaged.
type walk struct {
	r record.Reader
	// visit is called with each key, and says how to go on from it.
	visit func(it record.Iterator) (next func() bool, err error)
	// unread is told of keys, from one on and before another, of which nobody knows whether they are there. It begins
	// and ends between two records, so that an older version of a record never passes for the newest.
	unread func(from, to []byte, err error) error
}

func (w walk) run(lower, upper []byte) error {
	it, err := w.r.NewIter(lower, upper)
	if err != nil {
		return w.unread(lower, upper, engineError(err))
	}
	at := append([]byte(nil), lower...)
	ok := it.First()
	for {
		for ok {
			at = append(at[:0], it.Key()...)
			next, err := w.visit(it)
			if err != nil {
				_ = it.Close() // it was only read
				return err
			}
			ok = next()
		}
		err := it.Err()
		if err == nil {
			return engineError(it.Close())
		}
		resume := pastUnread(it, at, upper)
		if err := w.unread(at, resume, engineError(err)); err != nil || bytes.Equal(resume, upper) {
			_ = it.Close() // it says the same again
			return err
		}
		at = append(at[:0], resume...)
		ok = it.SeekGE(resume)
	}
}

// prefixSize is what all versions of a record share of their keys.
const prefixSize = record.KeySize - 8

// pastUnread finds a key behind at from which on the engine can read again, with nothing of the same record before it;
// upper if there is none. It looks for the nearest one, and may miss keys between two damaged places.
func pastUnread(it record.Iterator, at, upper []byte) []byte {
	var bad, good [prefixSize]byte
	copy(bad[:], at)
	readable := func(k [prefixSize]byte) bool {
		if upper != nil && bytes.Compare(k[:], upper) >= 0 {
			return true // there is nothing
		}
		it.SeekGE(append(k[:], make([]byte, record.KeySize-prefixSize)...))
		return it.Err() == nil
	}
	bit := 0
	for base := bad; ; bit++ {
		var ok bool
		if good, ok = plusBit(base, bit); !ok {
			return upper
		}
		if readable(good) {
			break
		}
		bad = good
	}
	for bit--; bit >= 0; bit-- {
		if k, ok := plusBit(bad, bit); ok && bytes.Compare(k[:], good[:]) < 0 {
			if readable(k) {
				good = k
			} else {
				bad = k
			}
		}
	}
	if upper != nil && bytes.Compare(good[:], upper) >= 0 {
		return upper
	}
	return append(good[:], make([]byte, record.KeySize-prefixSize)...)
}

// plusBit is k + 1<<bit, and whether that is still a key.
func plusBit(k [prefixSize]byte, bit int) ([prefixSize]byte, bool) {
	i := prefixSize - 1 - bit/8
	if i < 0 {
		return k, false
	}
	carry := uint16(1) << (bit % 8)
	for ; i >= 0 && carry > 0; i-- {
		sum := uint16(k[i]) + carry
		k[i], carry = byte(sum), sum>>8
	}
	return k, carry == 0
}

// keyBound reads a bound of keys, which may be shorter than a key.
func keyBound(b []byte) record.Key {
	var k [record.KeySize]byte
	copy(k[:], b)
	return record.Key{
		Namespace: binary.BigEndian.Uint32(k[:]), Kind: k[4],
		Inode: binary.BigEndian.Uint64(k[5:]), Suffix: binary.BigEndian.Uint64(k[13:]),
	}
}

// unreadText describes a range of keys that can not be read.
func unreadText(from, to []byte, err error) string {
	a, b := keyBound(from), keyBound(to)
	text := fmt.Sprintf("records can not be read from kind %#02x of inode %d, suffix %#x, on", a.Kind, Ino(a.Inode).Number(), a.Suffix)
	if a.Namespace == b.Namespace && to != nil {
		text += fmt.Sprintf(" to before kind %#02x of inode %d, suffix %#x", b.Kind, Ino(b.Inode).Number(), b.Suffix)
	}
	return fmt.Sprintf("%s: %v", text, err)
}
