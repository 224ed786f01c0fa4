package crypto

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// ProtectProcess keeps keys from leaving the process: no core dump is written, and no other process of the same user
// can attach to it or read its memory. Programs that hold masters call it once, first thing. Debuggers then need root.
func ProtectProcess() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("making the process non-dumpable: %w", err)
	}
	return nil
}
