package segment

import (
	"encoding/binary"
	"io"
)

// trailer is the last TrailerSize bytes of a finished segment. It is plain: it
// finds the footer and tells damage, no more.
type trailer struct {
	footerOffset int64
	footerLength int64  // of the sealed footer
	footerCRC    uint32 // of it
}

func appendTrailer(dst []byte, identity uint32, t trailer) []byte {
	start := len(dst)
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.footerOffset))
	dst = binary.BigEndian.AppendUint32(dst, uint32(t.footerLength))
	dst = binary.BigEndian.AppendUint32(dst, t.footerCRC)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, checksum(identity, t.footerOffset+t.footerLength, dst[start:]))
	return append(dst, trailerMagic...)
}

// decodeTrailer reads the trailer of a segment of size bytes from its last
// TrailerSize bytes.
func decodeTrailer(b []byte, identity uint32, size int64) (trailer, error) {
	if len(b) != TrailerSize {
		return trailer{}, ErrNoFooter
	}
	at := size - TrailerSize
	magic := string(b[24:]) == trailerMagic
	switch sum := checksum(identity, at, b[:20]) == binary.BigEndian.Uint32(b[20:]); {
	case !magic && !sum, !(magic && sum) && torn(b, at):
		return trailer{}, ErrNoFooter
	case !magic:
		return trailer{}, damaged("trailer", at, "no magic number")
	case !sum:
		return trailer{}, damaged("trailer", at, "checksum does not match")
	}
	offset, length := binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:])
	if offset < HeaderSize || offset > MaxSize || length > MaxFooterSize || int64(offset)+int64(length) != at {
		return trailer{}, damaged("trailer", at, "footer of %d bytes at offset %d does not fit", length, offset)
	}
	if !zero(b[16:20]) {
		return trailer{}, damaged("trailer", at, "reserved bytes are not zero")
	}
	return trailer{int64(offset), int64(length), binary.BigEndian.Uint32(b[12:])}, nil
}

// torn tells whether a power cut may have left a trailer so: it lies in two
// sectors, and one of them did not come to the disk.
func torn(b []byte, at int64) bool {
	k := sectorSize - at%sectorSize // bytes in the first one
	return k < TrailerSize && (zero(b[:k]) || zero(b[k:]))
}

func readTrailer(r io.ReaderAt, size int64, identity uint32) (trailer, error) {
	if size < HeaderSize+TrailerSize {
		return trailer{}, ErrNoFooter
	}
	var b [TrailerSize]byte
	if err := readFull(r, b[:], size-TrailerSize); err != nil {
		return trailer{}, err
	}
	return decodeTrailer(b[:], identity, size)
}

// readSealedFooter reads the footer that t finds, and checks its checksum.
func readSealedFooter(r io.ReaderAt, identity uint32, t trailer) ([]byte, error) {
	sealed := make([]byte, t.footerLength)
	if err := readFull(r, sealed, t.footerOffset); err != nil {
		return nil, err
	}
	if checksum(identity, t.footerOffset, sealed) != t.footerCRC {
		return nil, damaged("footer", t.footerOffset, "checksum does not match")
	}
	return sealed, nil
}

// ReadFooter reads and opens the footer of segment h, of size bytes. What it
// returns was sealed for this segment by s. Errors: ErrNoFooter when the segment
// was not finished, ErrDamaged, ErrWrongSegment, ErrNewerFormat.
func ReadFooter(r io.ReaderAt, size int64, h Header, s Sealer) (Table, error) {
	if err := expectHeader(r, size, h); err != nil {
		return nil, err
	}
	t, err := readTrailer(r, size, h.identity())
	if err != nil {
		return nil, err
	}
	sealed, err := readSealedFooter(r, h.identity(), t)
	if err != nil {
		return nil, err
	}
	plain, err := s.Open(nil, sealed, footerAD(h, t.footerOffset))
	if err != nil {
		return nil, &DamageError{Part: "footer", Offset: t.footerOffset, Why: "does not open", Err: err}
	}
	return decodeTable(plain, t.footerOffset)
}

// CheckFooter is ReadFooter without the key: it returns nil when header, trailer
// and the sealed footer's checksum are sound.
func CheckFooter(r io.ReaderAt, size int64, h Header) error {
	if err := expectHeader(r, size, h); err != nil {
		return err
	}
	t, err := readTrailer(r, size, h.identity())
	if err != nil {
		return err
	}
	_, err = readSealedFooter(r, h.identity(), t)
	return err
}
