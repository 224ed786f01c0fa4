package record

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"slices"
)

// A commit in the log is a row of sectors; FORMAT.md draws them.
const (
	sectorSize    = 512
	sectorHead    = 4 + 4 + 8
	sectorPayload = sectorSize - sectorHead
	commitHead    = 4 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sectorsOf is how many sectors a batch of size bytes takes.
func sectorsOf(size int) int { return (commitHead + size + sectorPayload - 1) / sectorPayload }

// appendCommit appends the sectors of a commit to dst.
func appendCommit(dst []byte, number uint64, batch []byte) []byte {
	n, start := sectorsOf(len(batch)), len(dst)
	dst = slices.Grow(dst, n*sectorSize)[:start+n*sectorSize]
	size, sum := uint32(len(batch)), crc32.Checksum(batch, castagnoli)
	for part := range n {
		s := dst[start+part*sectorSize:][:sectorSize]
		payload := s[sectorHead:]
		if part == 0 {
			binary.LittleEndian.PutUint32(payload, size)
			binary.LittleEndian.PutUint32(payload[4:], sum)
			payload = payload[commitHead:]
		}
		k := copy(payload, batch)
		batch = batch[k:]
		clear(payload[k:])
		binary.LittleEndian.PutUint32(s[4:], uint32(part))
		binary.LittleEndian.PutUint64(s[8:], number)
		binary.LittleEndian.PutUint32(s, crc32.Checksum(s[4:], castagnoli))
	}
	return dst
}

// sectorState is what a sector of the log is.
type sectorState uint8

const (
	blank   sectorState = iota // zeros
	written                    // a part of a commit
	bad                        // neither
)

// sector is what a sector says of itself.
type sector struct {
	state  sectorState
	part   uint32
	number uint64 // of the commit
	size   uint32 // of the batch, in bytes; in part 0
	sum    uint32 // of the batch; in part 0
}

// decodeSector decodes sectorSize bytes.
func decodeSector(b []byte) sector {
	b = b[:sectorSize]
	sum := binary.LittleEndian.Uint32(b)
	switch {
	case sum == crc32.Checksum(b[4:], castagnoli):
		s := sector{state: written, part: binary.LittleEndian.Uint32(b[4:]), number: binary.LittleEndian.Uint64(b[8:])}
		if s.number == 0 {
			return sector{state: bad}
		}
		if s.part == 0 {
			s.size = binary.LittleEndian.Uint32(b[sectorHead:])
			s.sum = binary.LittleEndian.Uint32(b[sectorHead+4:])
		}
		return s
	case sum == 0 && len(bytes.TrimLeft(b[4:], "\x00")) == 0:
		return sector{}
	default:
		return sector{state: bad}
	}
}

// decodeCommit gives the batch of a whole commit, in place of its sectors. It reports false when they are not what
// appendCommit makes.
func decodeCommit(sectors []byte, number uint64) (batch []byte, ok bool) {
	head := decodeSector(sectors[:sectorSize])
	if head.state != written || len(sectors) != sectorsOf(int(head.size))*sectorSize {
		return nil, false
	}
	end := 0
	for part := 0; part*sectorSize < len(sectors); part++ {
		s := sectors[part*sectorSize:][:sectorSize]
		if d := decodeSector(s); d.state != written || d.part != uint32(part) || d.number != number {
			return nil, false
		}
		payload := s[sectorHead:]
		if part == 0 {
			payload = payload[commitHead:]
		}
		end += copy(sectors[end:], payload)
	}
	batch = sectors[:head.size]
	for _, b := range sectors[head.size:end] {
		if b != 0 {
			return nil, false
		}
	}
	return batch, crc32.Checksum(batch, castagnoli) == head.sum
}
