package crypto

import (
	"crypto/sha256"
	"encoding/binary"
	"sync/atomic"
)

// A NameHasher computes the keyed hash under which a directory entry is filed: HMAC-SHA-256 over the parent's number
// and the name, cut to 8 bytes. Names of one directory that collide are the caller's business. It may be used by
// several goroutines at once.
type NameHasher struct {
	inner, outer [sha256.BlockSize]byte // the key, padded and masked as HMAC (RFC 2104) has it
	wiped        atomic.Bool
}

func newNameHasher(key []byte) *NameHasher {
	h := new(NameHasher)
	copy(h.inner[:], key)
	copy(h.outer[:], key)
	for i := range h.inner {
		h.inner[i] ^= 0x36
		h.outer[i] ^= 0x5c
	}
	return h
}

// Sum returns the hash of a name in the directory that parent numbers. It does not allocate for names of up to 255
// bytes. It panics if the hasher has been wiped.
func (h *NameHasher) Sum(parent uint64, name string) uint64 {
	if h.wiped.Load() {
		panic("crypto: a wiped name hasher was used")
	}
	var message [sha256.BlockSize + 8 + 255]byte
	b := append(message[:0], h.inner[:]...)
	b = binary.BigEndian.AppendUint64(b, parent)
	b = append(b, name...)
	inner := sha256.Sum256(b)

	var outerMessage [sha256.BlockSize + sha256.Size]byte
	b = append(outerMessage[:0], h.outer[:]...)
	b = append(b, inner[:]...)
	sum := sha256.Sum256(b)
	return binary.BigEndian.Uint64(sum[:])
}

func (h *NameHasher) wipe() {
	h.wiped.Store(true)
	clear(h.inner[:])
	clear(h.outer[:])
}
