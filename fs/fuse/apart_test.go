package fuse

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestApart: what runs apart has none of the descriptors, whichever thread it was begun on, and all that the runtime does goes
// on there; outside they stay as they were.
func TestApart(t *testing.T) {
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	open := func() error { _, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); return err }
	var wait sync.WaitGroup
	for range 50 {
		wait.Go(func() {
			if err := apart(func() error {
				if unix.Gettid() == unix.Getpid() {
					return errors.New("this is the first thread")
				}
				if err := open(); err != unix.EBADF {
					return fmt.Errorf("a descriptor of the process: %v, want EBADF", err)
				}
				fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
				if err != nil {
					return err
				}
				defer unix.Close(fd)
				runtime.GC()
				tick := time.After(time.Millisecond)
				time.Sleep(time.Millisecond)
				<-tick
				return open()
			}); err != unix.EBADF {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if err := open(); err != nil {
		t.Errorf("outside: %v", err)
	}
	if err := apart(func() error { return unix.EBUSY }); err != unix.EBUSY {
		t.Errorf("%v, want what the function gave", err)
	}
}
