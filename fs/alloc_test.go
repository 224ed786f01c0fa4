package fs

import (
	"bytes"
	"runtime"
	"testing"
)

// TestAllocationBounds: a stored count or length is worth no memory by itself. What decodes takes some bytes for each of the
// record's, whatever they say.
func TestAllocationBounds(t *testing.T) {
	large := append(bytes.Repeat([]byte{0xff}, 8), 0x7f) // the largest number that there is
	for _, s := range samples {
		value := s.encode()
		hostile := [][]byte{bytes.Repeat([]byte{0xff}, 1000), append([]byte{value[0]}, bytes.Repeat([]byte{0xff}, 1000)...)}
		for i := range value {
			hostile = append(hostile, append(append(bytes.Clone(value[:i]), large...), value[i:]...),
				append(append(bytes.Clone(value[:i]), large...), value[i+1:]...))
		}
		for i, b := range hostile {
			if n := allocated(func() { _, _ = s.decodeLike(b) }); n > uint64(5000+100*len(b)) {
				t.Errorf("%s, input %d: %d bytes make it allocate %d", s.name, i, len(b), n)
			}
		}
	}
	for _, b := range [][]byte{bytes.Repeat([]byte{0xff}, 1000), append([]byte{2, 0, 0, 0}, bytes.Repeat([]byte{0xff}, 800)...)} {
		if n := allocated(func() { _, _ = decodeACL(b) }); n > 20_000 {
			t.Errorf("ACL: %d bytes make it allocate %d", len(b), n)
		}
	}
}

// allocated is how many bytes fn allocates.
func allocated(fn func()) uint64 {
	const runs = 10
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		fn()
	}
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) / runs
}
