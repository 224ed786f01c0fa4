package daemon

import (
	"os"
	"runtime/debug"
)

const (
	// gcPercent keeps garbage to half of what lives: an idle daemon should be small, and a busy one spends its time in
	// encryption rather than in collecting.
	gcPercent = 50
	// memoryLimit is where the collector starts to work harder, in bytes. It is no hard limit.
	memoryLimit = 320 << 20
)

// setMemory bounds the daemon's memory, except where the environment of the Go runtime says otherwise.
func setMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}
