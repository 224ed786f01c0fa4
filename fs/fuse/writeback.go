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
	log        *slog.Logger
	quit       chan struct{}
	rounds     sync.WaitGroup

	// mu is held while we have a descriptor of the mount, so that our own unmount
	// does not find the mount busy because of us.
	mu      sync.Mutex
	dev     uint64 // 0 while the mount is being made
	stopped bool
}

func newWriteback(mountpoint string, log *slog.Logger) *writeback {
	return &writeback{mountpoint: mountpoint, log: log, quit: make(chan struct{})}
}

// start says which device the mount is, and begins the rounds if every is not 0.
func (w *writeback) start(dev uint64, every time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dev = dev
	if every > 0 && !w.stopped {
		w.rounds.Go(func() { w.loop(every) })
	}
}

func (w *writeback) loop(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var trouble trouble
	for {
		select {
		case <-w.quit:
			return
		case <-tick.C:
		}
		if err := w.run(nil); trouble.worthALine(err, time.Now()) {
			w.log.Warn("the kernel could not be made to write back; data of open files may wait 30 s",
				slog.String("mountpoint", w.mountpoint), slog.Any("error", err))
		}
	}
}

// trouble says when failing rounds are worth a line in the log: once, and not while
// the mount may just be going away.
type trouble struct {
	since time.Time
	told  bool
}

const troublePatience = 5 * time.Second

func (t *trouble) worthALine(err error, now time.Time) bool {
	switch {
	case err == nil:
		*t = trouble{}
		return false
	case t.since.IsZero():
		t.since = now
	}
	if t.told || now.Sub(t.since) < troublePatience {
		return false
	}
	t.told = true
	return true
}

// stop is called once, when the kernel is done with the mount.
func (w *writeback) stop() {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	close(w.quit)
	w.rounds.Wait()
}

// exclude runs fn while no round is under way.
func (w *writeback) exclude(fn func() error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return fn()
}

// errElsewhere is the state after a lazy unmount: the path leads to something else.
var errElsewhere = errors.New("the mount point no longer leads to the mount")

// run has the kernel write back everything that it holds of the mount. For FUSE, syncfs(2) sends the WRITEs and does not
// wait for the replies; who needs to wait passes settle. For an inode whose times are the kernel's to know it also sends a
// SETATTR, and does wait for that.
func (w *writeback) run(settle func(barrier func() error) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped || w.dev == 0 {
		return nil
	}
	return apart(func() error {
		fd, err := w.openRoot()
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Syncfs(fd); err != nil || settle == nil {
			return err
		}
		return settle(func() error { var st unix.Statfs_t; return unix.Fstatfs(fd, &st) })
	})
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
