package segment

import (
	"encoding/binary"
	"hash/crc32"
)

// Sizes and limits, in bytes. They are part of the format.
const (
	HeaderSize    = 64
	EntryOverhead = 24 // the entry header before each sealed block
	TrailerSize   = 32

	MaxSize       = 64 << 20        // of a whole segment
	MaxSealedSize = 128<<10 + 4<<10 // of one sealed block: the largest block and its sealing
	MaxHintSize   = 4 << 10         // of one hint
	MaxFooterSize = 16 << 20        // of the sealed footer
	sealOverhead  = 64              // room kept for what sealing adds to the footer
	tableHeader   = 4               // of the footer's plaintext: the count
	tableEntry    = 22              // of it per block, before the hint
	maxTableSize  = MaxFooterSize - sealOverhead
	sectorSize    = 512 // what a disk writes whole, at the least
)

// Version is the format version that this package writes. It reads no other.
const Version = 1

const (
	headerMagic  = "SallieSG"
	entryMagic   = "BLCK"
	trailerMagic = "SallieFT"
	footerLabel  = "salliefs segment footer"
)

// castagnoli is CRC-32C (RFC 3720, appendix B.4), which amd64 and arm64 compute
// in hardware.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is CRC-32C over the segment's identity, an offset in it, and parts.
func checksum(identity uint32, offset int64, parts ...[]byte) uint32 {
	var place [8]byte
	binary.BigEndian.PutUint64(place[:], uint64(offset))
	crc := crc32.Update(identity, castagnoli, place[:])
	for _, p := range parts {
		crc = crc32.Update(crc, castagnoli, p)
	}
	return crc
}
