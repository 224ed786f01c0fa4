package fuse

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"
	"time"
	"unsafe"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"salliefs/fs"
)

// Server is a mounted filesystem.
type Server struct {
	mountpoint string
	bridge     *bridge
	raw        *gofuse.Server // answers the first request, sends notifications, and closes the device
	loop       *loop          // answers all others
	writeback  *writeback
	notifier   *notifier
	guard      guard
	log        *slog.Logger
	dev        atomic.Uint64 // of the mount; 0 while it is being made
	done       chan struct{} // closed when the kernel is done with us
}

// Mount mounts f. The mount answers when Mount returns.
//
// As root it calls mount(2), as another user fusermount3. The caller must Close f
// after the mount has ended; see the package's documentation.
func Mount(f *fs.FS, o Options) (*Server, error) { return mount(f, o) }

func mount(f filesystem, o Options) (*Server, error) {
	log := o.Log
	if log == nil {
		log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	root := os.Geteuid() == 0
	p, err := o.parse(root)
	if err != nil {
		return nil, err
	}
	mountpoint, err := checkMountpoint(o.Mountpoint, p.nonempty)
	if err != nil {
		return nil, err
	}
	if err := checkDevice(root); err != nil {
		return nil, err
	}
	b := newBridge(f, o.ACL, log)
	options := o.goFuse(p, root, log)
	fd, err := openDevice(mountpoint, options, root)
	if err != nil {
		return nil, mountError(mountpoint, root, err)
	}
	raw, server, err := handshake(b, fd, options)
	if err != nil {
		takeBack(mountpoint, options.FsName)
		return nil, fmt.Errorf("%s: the kernel's first request: %w", mountpoint, err)
	}
	s := &Server{
		mountpoint: mountpoint, bridge: b, raw: raw, log: log,
		loop:      newLoop(fd, server, b.replied, log),
		writeback: newWriteback(mountpoint, log),
		notifier:  newNotifier(raw, log),
		done:      make(chan struct{}),
	}
	f.SetObserver(s.notifier)
	go s.serve()
	if err := s.start(o, p.flags&unix.MS_RDONLY != 0); err != nil {
		Unmount(mountpoint, true)
		s.Wait()
		return nil, fmt.Errorf("%s: mounted, but does not answer: %w", mountpoint, err)
	}
	return s, nil
}

// handshake answers the first request, INIT, and prepares for all others: with a server that has the device, and one that
// only knows the protocol, and is told what was agreed on.
func handshake(b *bridge, fd int, o *gofuse.MountOptions) (*gofuse.Server, *gofuse.ProtocolServer, error) {
	raw, err := gofuse.NewServer(b, fmt.Sprintf("/dev/fd/%d", fd), o)
	if err != nil {
		return nil, nil, err
	}
	protocol := gofuse.NewProtocolServer(b, o)
	in := *raw.KernelSettings()
	in.Opcode, in.Length = opInit, uint32(unsafe.Sizeof(in))
	var out [256]byte // more than the reply takes
	_, status := protocol.HandleRequest([][]byte{unsafe.Slice((*byte)(unsafe.Pointer(&in)), in.Length)}, [][]byte{out[:]})
	if !status.Ok() {
		return nil, nil, fmt.Errorf("INIT: %v", status)
	}
	return raw, protocol, nil
}

// takeBack removes a mount that nobody answers for. Another process may have mounted over it, and its mount stays: it has
// another source, since a store is open in one process only.
func takeBack(mountpoint, source string) {
	if from, ok := Mounted(mountpoint); ok && from == source {
		Unmount(mountpoint, true)
	}
}

// serve answers requests until the kernel is done.
func (s *Server) serve() {
	s.loop.run()
	s.raw.Serve() // meets the end at once, and closes the device
	s.bridge.fs.SetObserver(nil)
	s.notifier.stop()
	s.writeback.stop()
	s.guard.stop()
	close(s.done)
}

// start makes the mount ready for use, and is the first to use it.
func (s *Server) start(o Options, readOnly bool) error {
	var st unix.Stat_t
	if err := apart(func() error {
		refusePoll(s.mountpoint)
		return unix.Stat(s.mountpoint, &st)
	}); err != nil {
		return err
	}
	s.dev.Store(st.Dev)
	tuneCache(st.Dev)
	s.guard.start(st.Dev)
	every := o.WritebackInterval
	if every <= 0 {
		every = writebackEvery
	}
	if readOnly {
		every = 0
	}
	s.writeback.start(st.Dev, every)
	return nil
}

// refusePoll has the kernel learn that poll(2) is not for us to answer: Go's runtime polls what it opens, and a process
// that uses its own mount would wait for itself. go-fuse answers for this name. It fails where the mounting user may not
// search the root directory, which harms nobody else.
func refusePoll(mountpoint string) {
	fd, err := unix.Open(filepath.Join(mountpoint, ".go-fuse-epoll-hack"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLPRI | unix.POLLOUT}}, 0)
}

// Mountpoint is the mount's absolute path.
func (s *Server) Mountpoint() string { return s.mountpoint }

// Wait returns when the kernel is done with the mount, however it ended, and all
// requests are answered. The store is then still to be closed.
func (s *Server) Wait() { <-s.done }

// Unmount takes the mount away and waits until the kernel is done. It gives ErrBusy,
// and changes nothing, while files are open or a program's directory is inside. It gives
// ErrElsewhere when the mount is gone from here, but not from another mount namespace:
// then it goes on until it is gone there as well, and Wait tells; and ErrNotMounted when it
// was detached and is still in use.
func (s *Server) Unmount() error {
	err := s.writeback.exclude(func() error { return Unmount(s.mountpoint, false) })
	if errors.Is(err, ErrNotMounted) {
		select {
		case <-s.done: // somebody else was faster
			return nil
		case <-time.After(elsewhereAfter): // detached, and in use
			return err
		}
	}
	if err != nil {
		select {
		case <-s.done:
			return nil
		default:
			return err
		}
	}
	for {
		select {
		case <-s.done:
			return nil
		case <-time.After(elsewhereAfter):
		}
		// The kernel ends the filesystem within umount(2) if that was its last mount.
		if inUse(s.dev.Load()) {
			return fmt.Errorf("%s: %w", s.mountpoint, ErrElsewhere)
		}
	}
}

// elsewhereAfter is how long Unmount waits before it looks for a reason.
const elsewhereAfter = 2 * time.Second

// Detach takes the mount out of sight at once. Programs that use it go on doing so;
// Wait returns when the last of them has finished. Until then the kernel writes back
// at its own pace, every 30 s or so, and at each close.
func (s *Server) Detach() error { return Unmount(s.mountpoint, true) }

// Writeback has the kernel hand over what it holds of open files, and waits for it.
// A snapshot that is to show what programs have written wants this first.
func (s *Server) Writeback() error { return s.writeback.run(s.bridge.writes.settle) }

// Settle waits until the kernel knows of the changes that commands have made so far.
// The caller must hold no lock of fs.
func (s *Server) Settle() { s.notifier.settle() }

// Requests counts the requests since the mount or ResetRequests, by the kernel's
// names of them.
func (s *Server) Requests() map[string]uint64 { return s.bridge.requests.snapshot() }

// ResetRequests sets the counters to 0.
func (s *Server) ResetRequests() { s.bridge.requests.reset() }

// panicHandler makes a panic in the handling of one request that request's EIO.
func panicHandler(log *slog.Logger) func(any) gofuse.Status {
	return func(v any) gofuse.Status {
		log.Error("panic while answering a request; it got EIO",
			slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
		return gofuse.EIO
	}
}

// settlePause is between two attempts to unmount what was busy a moment ago.
const settlePause = 20 * time.Millisecond
