package fuse

import (
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// apart runs fn on a thread that has no descriptors of this process, and returns when fn does. What waits for our own mount
// runs so. The kernel gives up a filesystem when the last descriptor of its device is closed; a thread that waits within the
// kernel for an answer of ours does not die before it gets one, and would keep the device open if this process is
// killed: then nobody who uses the mount, and nobody who waits for the end of the process, would ever go on.
//
// fn opens, uses and closes descriptors by raw system calls; it must not touch those of the rest of the process.
func apart(fn func() error) error {
	done := make(chan error)
	go onThread(func() {
		leaveDescriptors()
		done <- fn()
	})
	return <-done
}

// onThread runs fn on a thread that ends with it. That is not the first one, as /proc/self/fd shows the descriptors of that.
func onThread(fn func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		fn()
		return // locked, so that the thread ends with the goroutine
	}
	defer runtime.UnlockOSThread()
	done := make(chan struct{})
	go func() { // elsewhere, as this thread is taken
		defer close(done)
		onThread(fn)
	}()
	<-done
}

// runtimeDescriptors are those by which Go's runtime waits. It may use them from any thread, and has them for good.
var runtimeDescriptors = sync.OnceValue(func() []uint {
	if r, w, err := os.Pipe(); err == nil { // by then it has them
		r.Close()
		w.Close()
	}
	var fds []uint
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		link, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || !strings.HasPrefix(link, "anon_inode:[event") { // eventpoll, eventfd
			continue
		}
		if fd, err := strconv.ParseUint(e.Name(), 10, 31); err == nil {
			fds = append(fds, uint(fd))
		}
	}
	slices.Sort(fds)
	return fds
})

// leaveDescriptors gives the calling thread a table of descriptors of its own that holds only those of the runtime, and also.
// Where the kernel is older than 5.9, or a sandbox forbids it, the thread keeps what it shares, and it says false.
func leaveDescriptors(also ...uint) bool {
	keep := runtimeDescriptors()
	if len(keep) == 0 { // without /proc we do not know them
		return false
	}
	keep = append(slices.Clone(keep), also...)
	slices.Sort(keep)
	// The end of the table first: the kernel then copies only what is before it.
	if unix.CloseRange(keep[len(keep)-1]+1, math.MaxUint32, unix.CLOSE_RANGE_UNSHARE) != nil {
		return false
	}
	var from uint
	for _, fd := range keep {
		if fd > from {
			_ = unix.CloseRange(from, fd-1, 0)
		}
		from = fd + 1
	}
	return true
}
