package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"

	"salliefs/blockstore"
	"salliefs/cmd/salliefs/internal/session"
	"salliefs/fs/control"
	"salliefs/fs/fuse"
)

// endTimeout is how long a daemon may take to end after it has said that everything is durable.
const endTimeout = 30 * time.Second

// errDead says that there was no daemon any more that could have committed anything.
var errDead = fmt.Errorf("%w: the process that served the mount had ended before; the dead mount is removed, and the store is at its last commit", control.ErrNotDurable)

// Stop unmounts the store that path names, by its mount point or its directory. It returns when everything is durable
// and the daemon has ended. A mount that is in use stays, and the error names who uses it, unless lazy: then it is out
// of sight at once, and Stop waits for the last program that uses it.
func Stop(ctx context.Context, path string, lazy bool) error {
	p, err := session.Find(path)
	if errors.Is(err, blockstore.ErrNotStore) {
		return fmt.Errorf("%s: %w", path, fuse.ErrNotMounted)
	}
	if err != nil {
		return err
	}
	c, err := session.Dial(ctx, p.Dir)
	if c == nil {
		return stopWithout(ctx, path, p, lazy, err)
	}
	defer c.Close()
	ended := watch(c.PID())
	defer ended.close()
	if hasCopy(p, c) { // out of the daemon's reach
		if err := fuse.Unmount(c.Mount(), lazy); err != nil {
			return err
		}
	}
	if err := c.Unmount(ctx, lazy); err != nil {
		return explain(err, c)
	}
	return ended.wait(endTimeout)
}

// hasCopy says whether this process is in another mount namespace than the daemon, and has the mount there, too.
func hasCopy(p session.Place, c *control.Client) bool {
	mine, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return false
	}
	daemons, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", c.PID()))
	if err != nil || daemons == mine {
		return false
	}
	source, ok := fuse.Mounted(c.Mount())
	return ok && source == p.Dir
}

// explain adds to why a daemon did not unmount.
func explain(err error, c *control.Client) error {
	switch {
	case errors.Is(err, control.ErrBusy):
		users := strings.Join(Users(c.Mount()), ", ")
		if users == "" {
			users = "a program of another user or an open file"
		}
		return fmt.Errorf("%s: %w: %s: close it and try again, or detach the mount with --lazy", c.Mount(), control.ErrBusy, users)
	case errors.Is(err, control.ErrLost):
		return fmt.Errorf("%w: %w: look into the daemon's log, then run salliefs check", control.ErrNotDurable, err)
	}
	return err
}

// stopWithout unmounts where no daemon takes commands. why is what came of looking for it.
func stopWithout(ctx context.Context, path string, p session.Place, lazy bool, why error) error {
	mount := p.Mount
	var used *blockstore.InUseError
	if mount == "" && errors.As(why, &used) {
		mount = string(used.Holder.Mount)
	}
	if mount == "" {
		if why != nil && !errors.As(why, &used) && !errors.Is(why, blockstore.ErrNotStore) {
			return why
		}
		return fmt.Errorf("%s: %w", path, fuse.ErrNotMounted)
	}
	dead := why == nil // nobody holds the store: the mount only looks busy
	if err := fuse.Unmount(mount, lazy || dead); err != nil {
		return err
	}
	switch {
	case dead:
		return errDead
	case !errors.As(why, &used):
		return fmt.Errorf("%w, or it can not be told: %w", control.ErrNotDurable, why)
	}
	return released(ctx, p.Dir) // its daemon does not talk to us, but notices
}

// released waits until nobody holds a store.
func released(ctx context.Context, dir string) error {
	for {
		h, err := blockstore.Inspect(vfs.Default, dir)
		if err != nil || h.Holder == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// process is another process whose end can be waited for; -1 for one that is gone.
type process int

func watch(pid int) process {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1
	}
	return process(fd)
}

func (p process) close() {
	if p >= 0 {
		_ = unix.Close(int(p))
	}
}

func (p process) wait(most time.Duration) error {
	if p < 0 {
		return nil
	}
	for deadline := time.Now().Add(most); ; {
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("everything is durable, but the daemon has not ended after %v", most)
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(p), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if n > 0 {
			return nil
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
