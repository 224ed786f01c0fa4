package fuse

import (
	"bytes"
	"os"
	"strconv"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// followEvery is how many requests a worker answers between two looks at where they come from.
const followEvery = 64

// follower keeps a worker's thread on the CPU of the one program that asks, where there is only one and it waits for each
// answer: a wake on the same CPU costs a tenth of one on another.
type follower struct {
	requests int    // since the last look
	pid      uint32 // of the last one who asked
	others   int    // how many requests came from somebody else than the one before
	large    int    // how many carried much
	crowd    bool   // at the last look several asked
	cpu      int    // that the thread is bound to, and 1 more; 0: none
	all      unix.CPUSet
}

func (f *follower) note(h *gofuse.InHeader, in []byte) {
	if h.Pid != 0 { // 0: the kernel's own, such as write-back
		if h.Pid != f.pid {
			f.others++
		}
		f.pid = h.Pid
	}
	if isLarge(h, in) {
		f.large++
	}
	if f.requests++; f.requests >= followEvery {
		f.look()
	}
}

// many tells whether several programs ask by turns, so that others may be waiting while one is answered.
func (f *follower) many() bool { return f.crowd }

// look decides where the thread is to be.
func (f *follower) look() {
	f.crowd = f.others > followEvery/4
	cpu := 0
	if f.others <= followEvery/8 && f.large <= followEvery/8 {
		cpu = cpuOf(f.pid) + 1
	}
	f.requests, f.others, f.large = 0, 0, 0
	if cpu == f.cpu {
		return
	}
	if f.all.Count() == 0 && unix.SchedGetaffinity(0, &f.all) != nil {
		return
	}
	set := f.all
	if cpu > 0 {
		if !f.all.IsSet(cpu - 1) {
			return // it may be where we may not
		}
		set.Zero()
		set.Set(cpu - 1)
	}
	if unix.SchedSetaffinity(0, &set) == nil {
		f.cpu = cpu
	}
}

// cpuOf returns the CPU that a thread ran on last (proc(5), field 39 of stat); -1 when that is not known, as when the
// thread is in another PID namespace.
func cpuOf(pid uint32) int {
	if pid == 0 {
		return -1
	}
	f, err := os.Open("/proc/" + strconv.FormatUint(uint64(pid), 10) + "/stat")
	if err != nil {
		return -1
	}
	defer f.Close()
	var buf [1024]byte
	n, _ := f.Read(buf[:])
	return cpuInStat(buf[:n])
}

func cpuInStat(stat []byte) int {
	const first, wanted = 3, 39 // the first field after the name, which may hold blanks and parentheses
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) <= wanted-first {
		return -1
	}
	cpu, err := strconv.Atoi(string(fields[wanted-first]))
	if err != nil || cpu < 0 {
		return -1
	}
	return cpu
}
