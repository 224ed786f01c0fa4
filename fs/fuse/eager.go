package fuse

import (
	"sync"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"salliefs/fs"
)

// eager begins a commit before it is asked for. A database or a log that syncs each write makes the kernel send WRITE, at
// times SETATTR with the time of the write, and FSYNC, one after the other's reply. Once a file has been written so for a
// while, the commit begins as soon as what comes before FSYNC is answered, and the trip of FSYNC costs nothing beside it.
// A wrong guess is a commit that nobody needed.
type eager struct {
	mu     sync.Mutex
	ino    fs.Ino // the file that was synced last
	writes int    // since then, of that file
	streak int    // how often just one small WRITE came before FSYNC
	mtime  int64  // that the kernel last sent for it, in nanoseconds
	due    bool   // the commit may begin after the reply
}

const (
	// eagerStreak is after how many syncs of one write each the next one is guessed.
	eagerStreak = 8
	// eagerWrite is the most that such a write has, in bytes: more than that arrives in several WRITEs, or makes a
	// commit that takes longer than the trip.
	eagerWrite = 64 << 10
)

// wrote takes notice of a WRITE that succeeded.
func (e *eager) wrote(ino fs.Ino, size int, cached bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if ino != e.ino {
		return
	}
	e.writes++
	if e.writes > 1 || size > eagerWrite {
		e.streak = 0
	}
	// The kernel has a new time for the file if its clock has gone on since; then SETATTR comes first.
	e.due = e.streak >= eagerStreak && !(cached && coarseNow() != e.mtime)
}

// setTimes takes notice of a SETATTR that succeeded.
func (e *eager) setTimes(in *gofuse.SetAttrIn) {
	if in.Valid&gofuse.FATTR_MTIME == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if fs.Ino(in.NodeId) == e.ino {
		e.mtime = nanoseconds(in.Mtime, in.Mtimensec)
		e.due = e.streak >= eagerStreak && e.writes == 1
	}
}

// synced takes notice of an FSYNC.
func (e *eager) synced(ino fs.Ino) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if ino != e.ino {
		e.ino, e.streak, e.mtime, e.writes = ino, 0, 0, 0
	}
	if e.writes == 1 {
		e.streak++
	} else {
		e.streak = 0
	}
	e.writes, e.due = 0, false
}

// take tells, once, whether a commit is to begin.
func (e *eager) take() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	due := e.due
	e.due = false
	return due
}

// coarseNow is the clock that the kernel takes the times of files from, in nanoseconds.
func coarseNow() int64 {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &t) != nil {
		return time.Now().UnixNano()
	}
	return t.Nano()
}
