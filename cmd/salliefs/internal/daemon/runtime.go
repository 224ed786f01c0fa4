package daemon

import (
	"os"
	"runtime"
	"runtime/debug"
)

const (
	// gcPercent keeps garbage to half of what lives: an idle daemon should be small, and a busy one spends its time in
	// encryption rather than in collecting.
	gcPercent = 50
	// memoryLimit is where the collector starts to work harder, in bytes. It is no hard limit.
	memoryLimit = 320 << 20
	// minProcs is how many goroutines run at once even on one CPU, as the runtime sees it: it is slow to notice that one waits
	// in the kernel for the disk, and has no other run meanwhile.
	minProcs = 2
)

// setRuntime bounds the daemon's memory, and has it run while it waits, except where the environment of the Go runtime says
// otherwise.
func setRuntime() {
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) < minProcs {
		runtime.GOMAXPROCS(minProcs)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}
