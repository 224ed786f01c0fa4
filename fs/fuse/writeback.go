package fuse

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// writeback has the kernel hand over, every few seconds, the data of files that stay
// open. See "The writeback cache" in doc.go for why it works the way it does.
type writeback struct {
	mountpoint string
	dev        uint64
	log        *slog.Logger
	quit       chan struct{}
	ended      chan struct{} // nil while no goroutine runs
	stopOnce   sync.Once

	// mu is held while we have a descriptor of the mount, so that our own unmount
	// does not find the mount busy because of us.
	mu sync.Mutex
}

func newWriteback(mountpoint string, dev uint64, log *slog.Logger) *writeback {
	return &writeback{mountpoint: mountpoint, dev: dev, log: log, quit: make(chan struct{})}
}

// start begins the rounds. Not for read-only mounts.
func (w *writeback) start(every time.Duration) {
	w.ended = make(chan struct{})
	go func() {
		defer close(w.ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		var last string
		for {
			select {
			case <-w.quit:
				return
			case <-tick.C:
			}
			// One line for an error that stays, not one every round.
			msg := ""
			if err := w.run(); err != nil {
				msg = err.Error()
			}
			if msg != "" && msg != last {
				w.log.Warn("the kernel could not be made to write back; data of open files may wait 30 s",
					slog.String("mountpoint", w.mountpoint), slog.String("error", msg))
			}
			last = msg
		}
	}()
}

// stop is called when the kernel is done with the mount.
func (w *writeback) stop() {
	w.stopOnce.Do(func() { close(w.quit) })
	if w.ended != nil {
		<-w.ended
	}
}

// exclude runs fn while no round is under way.
func (w *writeback) exclude(fn func() error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return fn()
}

// errElsewhere is the state after a lazy unmount: the path leads to something else.
var errElsewhere = errors.New("the mount point no longer leads to the mount")

// run has the kernel write back everything it holds of the mount, and returns when we
// have got it.
func (w *writeback) run() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.quit:
		return nil
	default:
	}
	fd, err := w.openRoot()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Syncfs(fd)
}

// openRoot opens the root directory through a mount of its own that nobody else sees:
// a file that is open there does not make umount(2) of the visible one fail with
// EBUSY. Only root may make one; others open the visible one, for the short time.
//
// The system calls are raw ones, for os.File would have the runtime poll them.
func (w *writeback) openRoot() (int, error) {
	const dirFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC
	tree, err := unix.OpenTree(unix.AT_FDCWD, w.mountpoint,
		unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT)
	if err == nil {
		defer unix.Close(tree)
		if err := w.check(tree); err != nil {
			return -1, err
		}
		return unix.Openat(tree, ".", dirFlags, 0)
	}
	fd, err := unix.Open(w.mountpoint, dirFlags|unix.O_NOFOLLOW, 0)
	if err != nil {
		return -1, err
	}
	if err := w.check(fd); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// check makes sure that fd belongs to our mount: to sync whatever disk the mount
// point lies on would be slow and of no use. It asks for no attributes.
func (w *writeback) check(fd int) error {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, 0, &st); err != nil {
		return err
	}
	if unix.Mkdev(st.Dev_major, st.Dev_minor) != w.dev {
		return errElsewhere
	}
	return nil
}
