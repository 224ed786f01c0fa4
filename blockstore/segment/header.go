package segment

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// Header identifies a segment. Readers compare it with what they expect, so that
// one segment can not stand in for another.
type Header struct {
	Store [16]byte // the store's ID
	ID    uint64   // the segment's, never reused in the store
}

func (h Header) String() string { return fmt.Sprintf("segment %d of store %x", h.ID, h.Store) }

// AppendHeader appends the HeaderSize bytes that h is stored as.
func AppendHeader(dst []byte, h Header) []byte {
	start := len(dst)
	dst = append(dst, headerMagic...)
	dst = binary.BigEndian.AppendUint16(dst, Version)
	dst = append(dst, make([]byte, 6)...)
	dst = append(dst, h.Store[:]...)
	dst = binary.BigEndian.AppendUint64(dst, h.ID)
	dst = append(dst, make([]byte, 20)...)
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// DecodeHeader is the inverse of AppendHeader. Errors: ErrDamaged,
// ErrNewerFormat.
func DecodeHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, damaged("header", 0, "%d bytes of %d", len(b), HeaderSize)
	}
	b = b[:HeaderSize]
	if string(b[:8]) != headerMagic {
		return Header{}, damaged("header", 0, "no magic number")
	}
	if crc32.Checksum(b[:60], castagnoli) != binary.BigEndian.Uint32(b[60:]) {
		return Header{}, damaged("header", 0, "checksum does not match")
	}
	switch v := binary.BigEndian.Uint16(b[8:]); {
	case v == 0:
		return Header{}, damaged("header", 0, "version 0")
	case v > Version:
		return Header{}, fmt.Errorf("%w: version %d, this program reads up to %d", ErrNewerFormat, v, Version)
	}
	if !zero(b[10:16]) || !zero(b[40:60]) {
		return Header{}, damaged("header", 0, "reserved bytes are not zero")
	}
	h := Header{ID: binary.BigEndian.Uint64(b[32:])}
	copy(h.Store[:], b[16:])
	return h, nil
}

// ReadHeader reads the header of a segment of size bytes. Use it to find out
// what an object is; who knows that already gives it to Scan or ReadFooter.
func ReadHeader(r io.ReaderAt, size int64) (Header, error) {
	if size > MaxSize {
		return Header{}, damaged("header", 0, "segment of %d bytes, at most %d are allowed", size, MaxSize)
	}
	var b [HeaderSize]byte
	n := min(size, HeaderSize)
	if err := readFull(r, b[:n], 0); err != nil {
		return Header{}, err
	}
	return DecodeHeader(b[:n])
}

// expectHeader reads the header and fails unless it is want.
func expectHeader(r io.ReaderAt, size int64, want Header) error {
	got, err := ReadHeader(r, size)
	if err == nil && got != want {
		err = fmt.Errorf("%w: found %v instead of %v", ErrWrongSegment, got, want)
	}
	return err
}

// identity is what a checksum in the segment starts from.
func (h Header) identity() uint32 {
	var b [24]byte
	copy(b[:], h.Store[:])
	binary.BigEndian.PutUint64(b[16:], h.ID)
	return crc32.Checksum(b[:], castagnoli)
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// readFull fills b from offset; the caller has checked that r has the bytes.
func readFull(r io.ReaderAt, b []byte, offset int64) error {
	n, err := r.ReadAt(b, offset)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read %d bytes of segment at offset %d: %w", len(b), offset, err)
}
