package fuse

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// guard is a process that has the kernel give the mount up if this one is killed. The kernel does so by itself when the last
// descriptor of the device is closed; but a notification waits in a write to the device for pages that this
// process would have had to take, and holds it until then. What can run apart does not need this.
type guard struct {
	mu      sync.Mutex
	stopped bool
	quit    chan struct{} // nil if there is no process
	done    chan struct{}
}

// guardScript ends with the pipe on its input: after a line when the mount is done with, else when the writing end is closed.
const guardScript = `trap "" HUP INT TERM; read -r end || echo 1 >&3`

// start starts the process. There is none without the kernel's directory of FUSE connections, which root always has, without a
// shell, or before Linux 5.9.
func (g *guard) start(dev uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return
	}
	abort, err := openAbort(dev)
	if err != nil {
		return
	}
	defer abort.Close()
	var ends [2]int
	if unix.Pipe2(ends[:], unix.O_CLOEXEC) != nil {
		return
	}
	defer unix.Close(ends[1])
	r := os.NewFile(uintptr(ends[0]), "pipe")
	defer r.Close()
	quit, kept := make(chan struct{}), make(chan bool)
	go onThread(func() { keep(ends[1], kept, quit) })
	if !<-kept {
		return
	}
	cmd := exec.Command("/bin/sh", "-c", guardScript)
	cmd.Stdin, cmd.ExtraFiles = r, []*os.File{abort}
	cmd.Dir, cmd.Env = "/", []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if cmd.Start() != nil {
		close(quit)
		return
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	g.quit, g.done = quit, done
}

// openAbort opens the file by which the connection behind a mounted device can be given up; what is written to it does that. Where
// nobody has mounted the directory that it is in, it is mounted for this file alone; that takes root.
func openAbort(dev uint64) (*os.File, error) {
	name := fmt.Sprintf("%d/abort", unix.Minor(dev))
	if f, err := os.OpenFile("/sys/fs/fuse/connections/"+name, os.O_WRONLY, 0); err == nil {
		return f, nil
	}
	dir, err := mountDetached("fusectl")
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir)
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("fusectl: %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// mountDetached mounts a filesystem of the kernel's own where nobody else sees it. It lives as long as something in it is open.
func mountDetached(kind string) (dir int, err error) {
	fsfd, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("%s: %w", kind, err)
	}
	defer unix.Close(fsfd)
	if err = unix.FsconfigCreate(fsfd); err == nil {
		dir, err = unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, 0)
	}
	if err != nil {
		return -1, fmt.Errorf("%s: %w", kind, err)
	}
	return dir, nil
}

// keep has the writing end on a thread that has nothing else: it dies with the process at once, whatever other threads
// wait for, and the pipe with it.
func keep(end int, kept chan<- bool, quit <-chan struct{}) {
	if !leaveDescriptors(uint(end)) {
		kept <- false
		return
	}
	kept <- true
	<-quit
	_, _ = unix.Write(end, []byte("done\n"))
	_ = unix.Close(end)
}

// stop ends the process, once the kernel is done with the mount.
func (g *guard) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopped = true
	if g.quit != nil {
		close(g.quit)
		<-g.done
		g.quit = nil
	}
}
