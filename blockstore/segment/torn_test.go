package segment

import (
	"bytes"
	"errors"
	"testing"
)

// TestTornTrailer leaves what a power cut may leave of a segment that is being finished, with the trailer at each place in a
// sector: of what was not durable when it was written, each sector is there or zero, and the end is there or not. It has a
// sound footer, or none.
func TestTornTrailer(t *testing.T) {
	for n := range sectorSize {
		var buf bytes.Buffer
		durable := 0
		w := NewWriter(&buf, testHeader)
		_, err := w.Append(1, 1, make([]byte, 2000+n), nil)
		must(t, err)
		must(t, w.Finish(testSealer{}, func() error { durable = buf.Len(); return nil }))
		whole := buf.Bytes()
		must(t, CheckFooter(bytes.NewReader(whole), int64(len(whole)), testHeader))
		if durable != len(whole)-TrailerSize {
			t.Fatalf("%d bytes of %d were synced before the trailer was written", durable, len(whole))
		}
		border := durable/sectorSize*sectorSize + sectorSize // of the sector that the trailer begins in
		for lost := range 8 {
			seg := bytes.Clone(whole)
			if lost&1 != 0 {
				clear(seg[durable:min(border, len(seg))])
			}
			if lost&2 != 0 && border < len(seg) {
				clear(seg[border:])
			}
			if lost&4 != 0 {
				seg = seg[:min(border, len(seg))]
			}
			err := CheckFooter(bytes.NewReader(seg), int64(len(seg)), testHeader)
			if err != nil && !errors.Is(err, ErrNoFooter) {
				t.Fatalf("trailer at %d, %03b lost: %v", durable, lost, err)
			}
		}
	}
}
