package crypto

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/crypto/argon2"
)

// KDF holds the cost parameters of Argon2id (RFC 9106).
type KDF struct {
	Passes    uint32 // over the memory
	MemoryKiB uint32
	Lanes     uint8 // that fill the memory in parallel
}

// The floor keeps a guess expensive whatever the machine that made the slot. The ceiling keeps a keyring that somebody
// tampered with from taking more than a gigabyte or about half a minute.
const (
	MinPasses    = 3
	MaxPasses    = 32
	MinMemoryKiB = 64 << 10
	MaxMemoryKiB = 1 << 20
	MaxLanes     = 8
)

// Calibration goes no further than this, so that a slot made on a large machine opens on a small one.
const calibrationMemoryKiB = 256 << 10

// FloorKDF returns the cheapest parameters that are accepted.
func FloorKDF() KDF {
	return KDF{Passes: MinPasses, MemoryKiB: MinMemoryKiB, Lanes: uint8(min(2, runtime.NumCPU()))}
}

// CalibrateKDF returns parameters with which a derivation takes about target on this machine: never less than the
// floor, and at most 256 MiB and MaxPasses. It first spends time on memory, then on passes. It runs one derivation.
func CalibrateKDF(target time.Duration) KDF {
	floor := FloorKDF()
	begin := time.Now()
	clear(floor.key([]byte("calibration"), make([]byte, saltSize)))
	return floor.scale(time.Since(begin), target)
}

// scale returns parameters that take about target if k takes took.
func (k KDF) scale(took, target time.Duration) KDF {
	// Argon2's time is proportional to passes × memory.
	work := float64(k.Passes) * float64(k.MemoryKiB) * float64(target) / float64(max(took, 1))
	k.MemoryKiB = uint32(min(max(work/float64(k.Passes), MinMemoryKiB), calibrationMemoryKiB)) &^ 1023
	k.Passes = uint32(min(max(work/float64(k.MemoryKiB)+0.5, MinPasses), MaxPasses))
	return k
}

// Check returns an error that wraps ErrKDF if a parameter is below the floor or above the ceiling. It costs nothing.
func (k KDF) Check() error {
	switch {
	case k.Passes < MinPasses || k.Passes > MaxPasses:
		return fmt.Errorf("%w: %d passes, not %d to %d", ErrKDF, k.Passes, MinPasses, MaxPasses)
	case k.MemoryKiB < MinMemoryKiB || k.MemoryKiB > MaxMemoryKiB:
		return fmt.Errorf("%w: %d KiB of memory, not %d to %d", ErrKDF, k.MemoryKiB, MinMemoryKiB, MaxMemoryKiB)
	case k.Lanes < 1 || k.Lanes > MaxLanes:
		return fmt.Errorf("%w: %d lanes, not 1 to %d", ErrKDF, k.Lanes, MaxLanes)
	}
	return nil
}

// String returns the parameters for people.
func (k KDF) String() string {
	return fmt.Sprintf("argon2id, %d MiB, %d passes, %d lanes", k.MemoryKiB>>10, k.Passes, k.Lanes)
}

// key derives KeySize bytes from a passphrase. It takes about as long as calibrated.
func (k KDF) key(passphrase, salt []byte) []byte {
	if err := k.Check(); err != nil {
		panic("crypto: unchecked: " + err.Error())
	}
	key := argon2.IDKey(passphrase, salt, k.Passes, k.MemoryKiB, k.Lanes, KeySize)
	// Argon2's memory is large and tells about the passphrase: give it back to the system, which erases it, rather than
	// keep it as garbage for minutes.
	debug.FreeOSMemory()
	return key
}
