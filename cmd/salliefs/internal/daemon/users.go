package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Users names the processes that have files or directories of a mount open, as far as this user may know.
func Users(mountpoint string) []string {
	const most = 5
	var users []string
	for _, pid := range processes() {
		if !uses(pid, mountpoint) {
			continue
		}
		if len(users) == most {
			return append(users, "…")
		}
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)) // gone by now, or named
		users = append(users, fmt.Sprintf("%s (process %d)", strings.TrimSpace(string(name)), pid))
	}
	return users
}

func processes() []int {
	names, _ := filepath.Glob("/proc/[0-9]*")
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(filepath.Base(name)); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

func uses(pid int, mountpoint string) bool {
	dir := fmt.Sprintf("/proc/%d", pid)
	links := []string{dir + "/cwd", dir + "/root", dir + "/exe"}
	// Not its mappings: looking at them waits for a process that itself waits for a file of the mount.
	open, _ := filepath.Glob(dir + "/fd/*")
	return slices.ContainsFunc(append(links, open...), func(link string) bool {
		to, err := os.Readlink(link)
		return err == nil && within(to, mountpoint)
	})
}
