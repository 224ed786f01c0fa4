package crypto

import (
	"errors"
	"testing"
	"time"
)

func TestKDFBounds(t *testing.T) {
	for _, c := range []struct {
		kdf KDF
		ok  bool
	}{
		{FloorKDF(), true},
		{KDF{MinPasses, MinMemoryKiB, 1}, true},
		{KDF{MaxPasses, MaxMemoryKiB, MaxLanes}, true},
		{KDF{MinPasses - 1, MinMemoryKiB, 1}, false},
		{KDF{MaxPasses + 1, MinMemoryKiB, 1}, false},
		{KDF{MinPasses, MinMemoryKiB - 1, 1}, false},
		{KDF{MinPasses, MaxMemoryKiB + 1, 1}, false},
		{KDF{MinPasses, MinMemoryKiB, 0}, false},
		{KDF{MinPasses, MinMemoryKiB, MaxLanes + 1}, false},
		{KDF{1<<32 - 1, 1<<32 - 1, 255}, false},
		{KDF{}, false},
	} {
		if err := c.kdf.Check(); (err == nil) != c.ok || (!c.ok && !errors.Is(err, ErrKDF)) {
			t.Errorf("%v: %v", c.kdf, err)
		}
	}
	mustPanic(t, "weak parameters", func() { KDF{}.key([]byte("x"), make([]byte, saltSize)) })
}

func TestKDFScale(t *testing.T) {
	floor := KDF{MinPasses, MinMemoryKiB, 2}
	for _, c := range []struct {
		took, target time.Duration
		want         KDF
	}{
		{time.Second, time.Second, floor},
		{time.Second, time.Millisecond, floor},
		{time.Second, 0, floor},
		{time.Second, -time.Second, floor},
		{150 * time.Millisecond, 300 * time.Millisecond, KDF{3, 128 << 10, 2}},
		{100 * time.Millisecond, 400 * time.Millisecond, KDF{3, 256 << 10, 2}},
		{100 * time.Millisecond, time.Second, KDF{8, 256 << 10, 2}},
		{time.Microsecond, time.Hour, KDF{MaxPasses, 256 << 10, 2}},
		{0, time.Hour, KDF{MaxPasses, 256 << 10, 2}},
	} {
		got := floor.scale(c.took, c.target)
		if got != c.want {
			t.Errorf("%v for %v: %v, not %v", c.took, c.target, got, c.want)
		}
		if err := got.Check(); err != nil {
			t.Error(err)
		}
	}
}

func TestCalibrateKDF(t *testing.T) {
	// A target below any machine's floor: calibration gives the floor and takes no longer than one derivation.
	if got := CalibrateKDF(time.Millisecond); got != FloorKDF() {
		t.Errorf("%v, not the floor %v", got, FloorKDF())
	}
}

func BenchmarkKDFFloor(b *testing.B) {
	for b.Loop() {
		FloorKDF().key([]byte("x"), make([]byte, saltSize))
	}
}
