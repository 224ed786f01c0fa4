package record

import (
	"bytes"
	"testing"
)

// TestSectors: what appendCommit makes is what decodeCommit takes, and no changed bit passes.
func TestSectors(t *testing.T) {
	for _, size := range []int{0, 1, 12, sectorPayload - commitHead - 1, sectorPayload - commitHead, sectorPayload - commitHead + 1, 3000, 5 * sectorPayload} {
		batch := make([]byte, size)
		for i := range batch {
			batch[i] = byte(i*7 + 1)
		}
		sectors := appendCommit([]byte("before"), 7, batch)[len("before"):]
		if len(sectors) != sectorsOf(size)*sectorSize {
			t.Fatalf("batch of %d bytes: %d bytes, want %d sectors", size, len(sectors), sectorsOf(size))
		}
		if got, ok := decodeCommit(bytes.Clone(sectors), 7); !ok || !bytes.Equal(got, batch) {
			t.Fatalf("batch of %d bytes: %d bytes, %v", size, len(got), ok)
		}
		if _, ok := decodeCommit(bytes.Clone(sectors), 8); ok {
			t.Errorf("batch of %d bytes: it passes for another commit", size)
		}
		if size > sectorPayload { // the last sector of another attempt
			other := bytes.Clone(batch)
			other[size-1]++
			mixed := appendCommit(nil, 7, other)
			copy(mixed, sectors[:sectorSize])
			if _, ok := decodeCommit(mixed, 7); ok {
				t.Errorf("batch of %d bytes: sectors of two batches pass for one", size)
			}
		}
		for bit := range 8 * len(sectors) {
			b := bytes.Clone(sectors)
			b[bit/8] ^= 1 << (bit % 8)
			if decodeSector(b[bit/8/sectorSize*sectorSize:][:sectorSize]).state != bad {
				t.Fatalf("batch of %d bytes, bit %d changed: the sector passes", size, bit)
			}
		}
	}
	if s := decodeSector(make([]byte, sectorSize)); s.state != blank {
		t.Errorf("zeros: %+v", s)
	}
}
