package crypto

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"testing"
)

// Sum writes HMAC out by hand; the standard library's has to agree.
func TestNameHasherIsHMAC(t *testing.T) {
	key := pattern(KeySize)
	h := newNameHasher(key)
	for _, name := range []string{"", "a", "theme", "\x00", strings.Repeat("x", 255), strings.Repeat("x", 256), strings.Repeat("x", 5000)} {
		for _, parent := range []uint64{0, 1, 1<<64 - 1} {
			mac := hmac.New(sha256.New, key)
			binary.Write(mac, binary.BigEndian, parent)
			mac.Write([]byte(name))
			if got, want := h.Sum(parent, name), binary.BigEndian.Uint64(mac.Sum(nil)); got != want {
				t.Errorf("%d, %d bytes: %x, not %x", parent, len(name), got, want)
			}
		}
	}
}

func TestNameHasherDoesNotAllocate(t *testing.T) {
	h := newNameHasher(testKey(1))
	name := strings.Repeat("n", 255)
	if got := testing.AllocsPerRun(100, func() { h.Sum(1, name) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func BenchmarkNameHasher(b *testing.B) {
	h := newNameHasher(testKey(1))
	b.ReportAllocs()
	for b.Loop() {
		h.Sum(1, "conversation-2024-06-01.json")
	}
}
