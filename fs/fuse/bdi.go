package fuse

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	// readAheadKiB is how much the kernel reads ahead of a sequential reader; its default
	// is an eighth of it.
	readAheadKiB = 1024

	// The kernel lets a FUSE mount have 1 % of the memory for dirty pages go unwritten,
	// and slows writers down to our pace from half of that on. We ask for more: a
	// sixteenth of the machine's memory, 1 GiB at most. That stays far from the limit
	// where the kernel would slow down our own writes because of pages that wait for us.
	maxDirty      = 1 << 30
	maxDirtyShare = 16
)

// bdiDir is where the kernel shows how it reads ahead and writes back for a device.
func bdiDir(dev uint64) string {
	return fmt.Sprintf("/sys/class/bdi/%d:%d", unix.Major(dev), unix.Minor(dev))
}

// inUse says whether a device is mounted in any mount namespace, false if there is no
// sysfs to tell.
func inUse(dev uint64) bool {
	_, err := os.Stat(bdiDir(dev))
	return err == nil
}

// tuneCache raises the kernel's read-ahead and its limit for dirty pages of this mount.
// It takes root and a mounted sysfs, and is no loss without.
func tuneCache(dev uint64) {
	dir := bdiDir(dev)
	set := func(name string, value uint64) {
		_ = os.WriteFile(filepath.Join(dir, name), []byte(strconv.FormatUint(value, 10)), 0)
	}
	set("read_ahead_kb", readAheadKiB)
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		set("max_bytes", min(maxDirty, uint64(info.Totalram)*uint64(info.Unit)/maxDirtyShare))
	}
}
