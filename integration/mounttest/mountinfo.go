package mounttest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// FSType is how a mounted store calls itself in /proc/self/mountinfo.
const FSType = "fuse.salliefs"

// Mount is one line of /proc/self/mountinfo.
type Mount struct {
	Point, Type, Source string
	Device              string // MAJOR:MINOR
	Options             []string
}

// Mounts lists what is mounted in this process's mount namespace.
func Mounts() ([]Mount, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []Mount
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		m, err := parseMount(lines.Text())
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, lines.Err()
}

// parseMount reads one line as proc_pid_mountinfo(5) describes it: six fields, any
// number of optional ones, a dash, then type, source and superblock options.
func parseMount(line string) (Mount, error) {
	left, right, ok := strings.Cut(line, " - ")
	l, r := strings.Fields(left), strings.Fields(right)
	if !ok || len(l) < 6 || len(r) < 2 {
		return Mount{}, fmt.Errorf("mountinfo: unexpected line %q", line)
	}
	m := Mount{Point: unescape(l[4]), Type: r[0], Source: unescape(r[1]), Device: l[2]}
	m.Options = strings.Split(l[5], ",")
	if len(r) > 2 {
		m.Options = append(m.Options, strings.Split(r[2], ",")...)
	}
	return m, nil
}

// unescape undoes the \040 that mountinfo writes for a space.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// MountAt returns the topmost mount at a path, if there is one.
func MountAt(path string) (Mount, bool) {
	all, err := Mounts()
	if err != nil {
		return Mount{}, false
	}
	slices.Reverse(all)
	for _, m := range all {
		if m.Point == path {
			return m, true
		}
	}
	return Mount{}, false
}

// detach takes a mount out of the tree even when it is in use or its daemon dead.
func detach(point string) error {
	if os.Geteuid() == 0 {
		return unix.Unmount(point, unix.MNT_DETACH)
	}
	out, err := exec.Command("fusermount3", "-u", "-z", point).CombinedOutput()
	if err != nil {
		return fmt.Errorf("fusermount3 -u -z %s: %w: %s", point, err, out)
	}
	return nil
}

// abort has the kernel answer all requests of a mount with errors, whatever its daemon does. It takes root.
func abort(point string) error {
	if err := unix.Unmount(point, unix.MNT_FORCE); err != nil && err != unix.EBUSY {
		return fmt.Errorf("umount -f %s: %w", point, err)
	}
	return nil // aborted, and unmounted unless it is in use
}

// processesOf lists the processes that run the given binary.
func processesOf(binary string) []int {
	if binary == "" {
		return nil
	}
	links, _ := filepath.Glob("/proc/[0-9]*/exe")
	var pids []int
	for _, link := range links {
		if exe, err := os.Readlink(link); err == nil && exe == binary {
			if pid, err := strconv.Atoi(strings.Split(link, "/")[2]); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// commandLine is what a process was started with.
func commandLine(pid int) []string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimRight(string(raw), "\x00"), "\x00")
}

// DaemonArguments are the command lines of all processes of the binary under test.
func DaemonArguments() []string {
	var all []string
	for _, pid := range processesOf(run.binary) {
		all = append(all, strings.Join(commandLine(pid), " "))
	}
	return all
}
