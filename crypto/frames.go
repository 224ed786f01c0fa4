package crypto

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"
)

// FrameSize is how much plaintext a frame holds, the system's page; only a block's last frame holds less. Blocks of at
// most FrameSize have no frames: they are sealed as messages are. Larger frames would seal and open a whole block by some
// percent faster, and a page of it several times slower.
const FrameSize = 4 << 10

const sealedFrameSize = FrameSize + TagSize

// SealBlock appends the sealed form of a block's payload to dst and returns the result, SealedBlockSize(len(plaintext))
// bytes longer. Up to FrameSize that is Seal. A longer payload becomes nonce ‖ frames, each frame ciphertext ‖ tag,
// all under one derived key: the construction of STREAM (https://eprint.iacr.org/2015/189), with the frame's number and
// whether it is the last one in its nonce. ad must tell the block and its plaintext length from all others.
func (s *Sealer) SealBlock(dst, plaintext, ad []byte) []byte {
	if len(plaintext) <= FrameSize {
		return s.Seal(dst, plaintext, ad)
	}
	plainLen := len(plaintext)
	dst = s.appendNonce(dst, SealedBlockSize(plainLen)-NonceSize)
	nonce := dst[len(dst)-NonceSize:]
	aead := s.aead(deriveFrames, nonce)
	t := scratches.Get().(*scratch)
	defer scratches.Put(t)
	for i := range frames(plainLen) {
		frame := plaintext[:frameLen(plainLen, i)]
		plaintext = plaintext[len(frame):]
		dst = aead.Seal(dst, t.frameNonce(nonce, i, len(plaintext) == 0), frame, ad)
	}
	return dst
}

// SealedBlockSize is the length of a sealed block of plainLen bytes.
func SealedBlockSize(plainLen int) int {
	return NonceSize + plainLen + frames(plainLen)*TagSize
}

// OpenBlock appends the payload of a sealed block, plainLen bytes, to dst and returns the result. dst may be
// sealed[:0], to open in place; otherwise its spare room must not overlap sealed. The error is ErrAuth, also when the
// length is not that of a block of plainLen bytes, or ErrWiped.
func (s *Sealer) OpenBlock(dst, sealed []byte, plainLen int, ad []byte) ([]byte, error) {
	if plainLen < 0 || len(sealed) < Overhead || len(sealed) != SealedBlockSize(plainLen) {
		return nil, ErrAuth
	}
	return s.OpenFrames(dst, sealed[:NonceSize], sealed[NonceSize:], 0, plainLen, ad)
}

// FrameSpan says what it takes to read the n bytes at off of a block of plainLen bytes: the sealed bytes [start,end),
// counted from behind the nonce, which are whole frames beginning with number first, and the count of plaintext bytes
// to skip at the beginning of what OpenFrames makes of them. It panics unless 0 ≤ off, 1 ≤ n and off+n ≤ plainLen.
func FrameSpan(plainLen, off, n int) (start, end, first, skip int) {
	if off < 0 || n < 1 || n > plainLen || off > plainLen-n {
		panic(fmt.Sprintf("crypto: %d bytes at %d are not within a block of %d", n, off, plainLen))
	}
	first = off / FrameSize
	last := (off + n - 1) / FrameSize
	return first * sealedFrameSize, last*sealedFrameSize + frameLen(plainLen, last) + TagSize, first, off - first*FrameSize
}

// OpenFrames appends the plaintext of consecutive whole frames to dst and returns the result. nonce is the block's,
// sealed the frames from number first on, at least one, plainLen the length of the whole block. dst may begin anywhere
// before sealed in the same buffer; otherwise its spare room must not overlap sealed. The error is ErrAuth or ErrWiped,
// and dst's spare room then holds no plaintext.
func (s *Sealer) OpenFrames(dst, nonce, sealed []byte, first, plainLen int, ad []byte) ([]byte, error) {
	end := first
	if first >= 0 && plainLen >= 0 {
		end = framesIn(len(sealed), first, plainLen)
	}
	if end == first || len(nonce) != NonceSize {
		return nil, ErrAuth
	}
	if s.wiped.Load() {
		return nil, ErrWiped
	}
	t := scratches.Get().(*scratch)
	defer scratches.Put(t)
	copy(t.nonce[:], nonce) // opening in place overwrites it
	if plainLen <= FrameSize {
		return openGCM(s.aead(deriveMessage, nonce), dst, t.nonce[gcmNonceSize:], sealed, ad)
	}
	return openFrames(s.aead(deriveFrames, nonce), t, dst, sealed, first, plainLen, ad)
}

// A FrameOpener opens frames of one block, whose derived key it keeps. It may be used by several goroutines at once.
type FrameOpener struct {
	s     *Sealer
	aead  cipher.AEAD
	nonce [NonceSize]byte
	wiped atomic.Bool
}

// FrameOpener returns an opener for the block with the given nonce, which must have NonceSize bytes and is not kept. The
// error is ErrWiped.
func (s *Sealer) FrameOpener(nonce []byte) (*FrameOpener, error) {
	if s.wiped.Load() {
		return nil, ErrWiped
	}
	o := &FrameOpener{s: s, aead: s.aead(deriveFrames, nonce)}
	copy(o.nonce[:], nonce)
	return o, nil
}

// Open is OpenFrames for a block of more than FrameSize bytes; one of fewer is ErrAuth.
func (o *FrameOpener) Open(dst, sealed []byte, first, plainLen int, ad []byte) ([]byte, error) {
	if plainLen <= FrameSize || first < 0 || framesIn(len(sealed), first, plainLen) == first {
		return nil, ErrAuth
	}
	if o.wiped.Load() || o.s.wiped.Load() {
		return nil, ErrWiped
	}
	t := scratches.Get().(*scratch)
	defer scratches.Put(t)
	t.nonce = o.nonce
	return openFrames(o.aead, t, dst, sealed, first, plainLen, ad)
}

// Wipe erases the derived key from memory. It may not run beside Open, which returns ErrWiped afterwards.
func (o *FrameOpener) Wipe() {
	if !o.wiped.Swap(true) {
		reflect.ValueOf(o.aead).Elem().SetZero() // as in Sealer.Wipe
	}
}

// openFrames opens whole frames from number first on until sealed is used up. t holds the block's nonce.
func openFrames(aead cipher.AEAD, t *scratch, dst, sealed []byte, first, plainLen int, ad []byte) ([]byte, error) {
	dst = slices.Grow(dst, len(sealed)-(len(sealed)+sealedFrameSize-1)/sealedFrameSize*TagSize)
	out, last := dst, frames(plainLen)-1
	for i := first; len(sealed) > 0; i++ {
		size := frameLen(plainLen, i) + TagSize
		opened, err := openGCM(aead, out, t.frameNonce(t.nonce[:], i, i == last), sealed[:size], ad)
		if err != nil {
			clear(out[len(dst):])
			return nil, err
		}
		out, sealed = opened, sealed[size:]
	}
	return out, nil
}

// frames is the number of frames of a block; a block that is sealed as a message counts as one.
func frames(plainLen int) int {
	return max(1, (plainLen+FrameSize-1)/FrameSize)
}

// frameLen is the length of frame i's plaintext.
func frameLen(plainLen, i int) int {
	return min(FrameSize, plainLen-i*FrameSize)
}

// framesIn returns the number behind that of the last frame in size sealed bytes that begin with frame first, or first
// itself if they are not whole frames of a block of plainLen bytes.
func framesIn(size, first, plainLen int) int {
	if size < TagSize || first >= frames(plainLen) {
		return first
	}
	end := first + (size+sealedFrameSize-1)/sealedFrameSize
	if end > frames(plainLen) {
		return first
	}
	if size != (end-1-first)*sealedFrameSize+frameLen(plainLen, end-1)+TagSize {
		return first
	}
	return end
}

// frameNonce returns the GCM nonce of a frame: the second half of the block's nonce, with the frame's number and whether
// it is the last one added (⊕) to its last five bytes. So frames of one block never share a nonce, and no bit of the
// block's nonce goes unchecked. The result stays valid until the next call; nonce may be t.nonce.
func (t *scratch) frameNonce(nonce []byte, frame int, last bool) []byte {
	b := t.frame[:]
	copy(b, nonce[gcmNonceSize:])
	number := binary.BigEndian.Uint32(b[7:]) ^ uint32(frame)
	binary.BigEndian.PutUint32(b[7:], number)
	if last {
		b[11] ^= 1
	}
	return b
}
