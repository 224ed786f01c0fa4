package blockstore

import (
	"fmt"
	"runtime"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// worthwhile tells whether a compressed payload saves enough to be kept: a sixteenth.
func worthwhile(compressed, plain int) bool { return compressed <= plain-plain/16 }

// sampleSize is how much of a large block is tried before all of it is compressed.
const sampleSize = 4 << 10

// shrinks looks at pieces of data to tell cheaply whether compressing it is worth the time. Small data is always tried.
func shrinks(data []byte) bool {
	if len(data) < 4*sampleSize {
		return true
	}
	var out [sampleSize + sampleSize/2]byte
	third := len(data) / 3
	for _, off := range [2]int{third - sampleSize/2, 2*third - sampleSize/2} {
		if len(s2.Encode(out[:], data[off:off+sampleSize])) < sampleSize-sampleSize/12 {
			return true
		}
	}
	return false
}

// compressor holds the zstd coders, which are large and made when first needed.
type compressor struct {
	once sync.Once
	enc  *zstd.Encoder
	dec  *zstd.Decoder
}

func (c *compressor) init() {
	c.once.Do(func() {
		n := runtime.GOMAXPROCS(0)
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(n),
			zstd.WithWindowSize(MaxBlockSize), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
		if err != nil {
			panic(err) // the options are constants
		}
		dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(n), zstd.WithDecoderMaxMemory(MaxBlockSize),
			zstd.WithDecoderMaxWindow(MaxBlockSize), zstd.WithDecoderLowmem(true), zstd.IgnoreChecksum(true))
		if err != nil {
			panic(err) // the options are constants
		}
		c.enc, c.dec = enc, dec
	})
}

// compress returns data in the form that it is stored in and what that form is. want is a namespace's codec, fast
// whether time counts more than space. The result is data itself or a buffer of newBuffer.
func (c *compressor) compress(data []byte, want Codec, fast bool) ([]byte, Codec) {
	if want == CodecNone || len(data) < 64 || want == CodecAuto && !shrinks(data) {
		return data, CodecNone
	}
	codec := want
	if want == CodecAuto {
		codec = CodecZstd
		if fast {
			codec = CodecS2
		}
	}
	var out []byte
	if codec == CodecS2 {
		buf := newBuffer(s2.MaxEncodedLen(len(data)))
		out = s2.Encode(buf[:cap(buf)], data)
	} else {
		c.init()
		out = c.enc.EncodeAll(data, newBuffer(len(data)+len(data)/8+64))
	}
	if !worthwhile(len(out), len(data)) {
		freeBuffer(out)
		return data, CodecNone
	}
	return out, codec
}

// decompress appends the plaintext of payload to dst, which has room for it. A payload that does not give exactly
// plainLen bytes is an error.
func (c *compressor) decompress(dst, payload []byte, codec Codec, plainLen int) ([]byte, error) {
	start := len(dst)
	switch codec {
	case CodecNone:
		dst = append(dst, payload...)
	case CodecS2:
		if n, err := s2.DecodedLen(payload); err != nil || n != plainLen {
			return dst, fmt.Errorf("%w: s2 payload of %d bytes announces %d, want %d", ErrCorrupt, len(payload), n, plainLen)
		}
		out, err := s2.Decode(dst[start:start+plainLen], payload)
		if err != nil {
			return dst, fmt.Errorf("%w: s2: %w", ErrCorrupt, err)
		}
		return dst[:start+len(out)], nil
	case CodecZstd:
		c.init()
		// The coder may write past the plaintext where there is room, and may take another buffer where it wants more.
		room := dst[: start : start+plainLen]
		out, err := c.dec.DecodeAll(payload, room)
		if err != nil {
			return dst, fmt.Errorf("%w: zstd: %w", ErrCorrupt, err)
		}
		if len(out) > start && &out[start] != &room[:start+1][start] {
			out = append(room, out[start:]...)
		}
		dst = out
	default:
		return dst, fmt.Errorf("%w: unknown codec %d", ErrCorrupt, codec)
	}
	if len(dst)-start != plainLen {
		return dst, fmt.Errorf("%w: payload gives %d bytes, want %d", ErrCorrupt, len(dst)-start, plainLen)
	}
	return dst, nil
}
