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

// start starts the process. There is none without the kernel's directory of FUSE connections, without a shell, or before
// Linux 5.9.
func (g *guard) start(dev uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return
	}
	abort, err := os.OpenFile(fmt.Sprintf("/sys/fs/fuse/connections/%d/abort", unix.Minor(dev)), os.O_WRONLY, 0)
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
