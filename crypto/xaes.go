package crypto

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"io"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
)

const (
	KeySize   = 32                  // bytes of every symmetric key
	NonceSize = 24                  // bytes of a sealed message's nonce
	TagSize   = 16                  // bytes of a GCM tag
	Overhead  = NonceSize + TagSize // bytes by which a sealed message is longer than its plaintext

	gcmNonceSize = 12 // the second half of a nonce
)

// The label byte of the SP 800-108 derivation keeps the keys of whole messages and of framed blocks apart: without it,
// one frame could pass for a whole message under the same associated data.
const (
	deriveMessage = 'X' // as C2SP's XAES-256-GCM has it
	deriveFrames  = 'F'
)

// A Sealer seals and opens with XAES-256-GCM (https://c2sp.org/XAES-256-GCM) under one key. It may be used by several
// goroutines at once.
type Sealer struct {
	block cipher.Block // AES-256 under the key
	k1    [16]byte     // CMAC's first subkey (NIST SP 800-38B, 6.1), used by every derivation
	rand  io.Reader    // nil: crypto/rand. Set by tests only.
	wiped atomic.Bool
}

// NewSealer returns a sealer under key, which must have KeySize bytes and is not kept.
func NewSealer(key []byte) *Sealer {
	if len(key) != KeySize {
		panic(fmt.Sprintf("crypto: a sealer's key has %d bytes, not %d", len(key), KeySize))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("crypto: " + err.Error())
	}
	s := &Sealer{block: block}
	block.Encrypt(s.k1[:], s.k1[:])
	var carry byte
	for i := len(s.k1) - 1; i >= 0; i-- {
		carry, s.k1[i] = s.k1[i]>>7, s.k1[i]<<1|carry
	}
	s.k1[len(s.k1)-1] ^= carry * 0b1000_0111 // carry is 0 or 1: no branch on key bits
	return s
}

// Seal appends nonce ‖ ciphertext ‖ tag to dst and returns the result, which is Overhead bytes longer than plaintext.
// The nonce is random. dst's spare room must not overlap plaintext or ad. Seal panics if s has been wiped.
func (s *Sealer) Seal(dst, plaintext, ad []byte) []byte {
	dst = s.appendNonce(dst, len(plaintext)+TagSize)
	nonce := dst[len(dst)-NonceSize:]
	return s.aead(deriveMessage, nonce).Seal(dst, nonce[gcmNonceSize:], plaintext, ad)
}

// Open appends the plaintext of sealed to dst and returns the result. dst may be sealed[:0], to open in place, which
// leaves sealed useless also on an error; otherwise its spare room must not overlap sealed. The error is ErrAuth, or ErrWiped if s has been wiped.
func (s *Sealer) Open(dst, sealed, ad []byte) ([]byte, error) {
	if len(sealed) < Overhead {
		return nil, ErrAuth
	}
	if s.wiped.Load() {
		return nil, ErrWiped
	}
	t := scratches.Get().(*scratch)
	defer scratches.Put(t)
	copy(t.nonce[:], sealed) // opening in place overwrites it
	aead := s.aead(deriveMessage, t.nonce[:])
	return openGCM(aead, dst, t.nonce[gcmNonceSize:], sealed[NonceSize:], ad)
}

// Wipe erases the key from memory. It may not run beside Seal or Open; afterwards Seal panics and Open returns
// ErrWiped.
func (s *Sealer) Wipe() {
	if s.wiped.Swap(true) {
		return
	}
	// The standard library offers no way to erase a key schedule; its struct as a whole can be set all the same.
	reflect.ValueOf(s.block).Elem().SetZero()
	clear(s.k1[:])
}

// appendNonce appends a random nonce to dst, with room for at least more bytes behind it.
func (s *Sealer) appendNonce(dst []byte, more int) []byte {
	n := len(dst)
	dst = slices.Grow(dst, NonceSize+more)[:n+NonceSize]
	if s.rand == nil {
		rand.Read(dst[n:]) // never fails: it ends the program instead
	} else if _, err := io.ReadFull(s.rand, dst[n:]); err != nil {
		panic("crypto: " + err.Error())
	}
	return dst
}

// aead returns AES-256-GCM under the key derived from the first half of nonce: XAES-256-GCM's derivation, steps 3 to 5,
// for the given label.
func (s *Sealer) aead(label byte, nonce []byte) cipher.AEAD {
	t := scratches.Get().(*scratch)
	for half := range 2 {
		m := t.key[16*half : 16*half+16]
		m[0], m[1], m[2], m[3] = 0, byte(half+1), label, 0
		copy(m[4:], nonce[:gcmNonceSize])
		subtle.XORBytes(m, m, s.k1[:])
		s.block.Encrypt(m, m)
	}
	// Looked at after the key was used: whoever sealed beside a Wipe must not get away with a key of zeros.
	if s.wiped.Load() {
		panic("crypto: a wiped sealer was used")
	}
	block, err := aes.NewCipher(t.key[:])
	if err != nil {
		panic("crypto: " + err.Error())
	}
	clear(t.key[:])
	scratches.Put(t)
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("crypto: " + err.Error())
	}
	return aead
}

// openGCM appends the plaintext of ciphertext (with its tag) to dst. Unlike cipher.AEAD it lets dst's spare room begin
// anywhere before ciphertext in the same buffer, as it does when a nonce or a frame's tag has been cut out.
func openGCM(aead cipher.AEAD, dst, nonce, ciphertext, ad []byte) ([]byte, error) {
	dst = slices.Grow(dst, len(ciphertext)-TagSize)
	out := dst[len(dst):]
	if overlap(out[:len(ciphertext)-TagSize], ciphertext) {
		ciphertext = append(out, ciphertext...) // a move within the buffer, or a copy if it is too short for the tag
	}
	if _, err := aead.Open(out, nonce, ciphertext, ad); err != nil {
		return nil, ErrAuth
	}
	return dst[:len(dst)+len(ciphertext)-TagSize], nil
}

// overlap says whether x and y share memory, at different or equal offsets.
func overlap(x, y []byte) bool {
	return len(x) > 0 && len(y) > 0 &&
		uintptr(unsafe.Pointer(&x[0])) <= uintptr(unsafe.Pointer(&y[len(y)-1])) &&
		uintptr(unsafe.Pointer(&y[0])) <= uintptr(unsafe.Pointer(&x[len(x)-1]))
}

// scratch is memory that would escape to the heap on every call, because AES and GCM are behind interfaces.
type scratch struct {
	key   [KeySize]byte // a derived key; cleared after use
	nonce [NonceSize]byte
	frame [gcmNonceSize]byte // a frame's nonce
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}
