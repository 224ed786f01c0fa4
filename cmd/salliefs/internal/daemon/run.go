package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore"
	"salliefs/cmd/salliefs/internal/secret"
	"salliefs/cmd/salliefs/internal/session"
	"salliefs/fs/control"
	"salliefs/fs/fuse"
)

// daemon is a store that is mounted.
type daemon struct {
	c       *Config
	log     *slog.Logger
	opened  *session.Opened
	mount   *fuse.Server
	control *control.Server
	signals chan os.Signal
	asks    chan ask      // to unmount
	over    chan struct{} // closed when outcome is there
	outcome error         // of the end, for those who asked for it
}

// Run mounts the store, calls ready when the mount answers, and serves until it is unmounted. An error before ready is
// why there is no mount; one after it is what could not be made durable.
func Run(c *Config, ready func()) error {
	defer clear(c.Passphrase)
	// The kernel took the name of the file that was executed, exe, for top and pgrep. It may keep it.
	_ = os.WriteFile("/proc/self/comm", []byte("salliefs"), 0)
	if err := secret.ProtectProcess(); err != nil {
		return err
	}
	setRuntime()
	d := &daemon{c: c, signals: make(chan os.Signal, 8), asks: make(chan ask), over: make(chan struct{})}
	signal.Ignore(syscall.SIGPIPE)
	ends := []os.Signal{syscall.SIGTERM, syscall.SIGINT}
	if c.Foreground {
		ends = append(ends, syscall.SIGHUP)
	} else {
		signal.Ignore(syscall.SIGHUP)
	}
	// A signal that comes before the mount is for the start, a later one for serve.
	starting, started := signal.NotifyContext(context.Background(), ends...)
	defer started()
	signal.Notify(d.signals, ends...)
	h, err := blockstore.Inspect(vfs.Default, c.Store)
	if err != nil {
		return err
	}
	log, closer, err := openLog(c, h.StoreID.String())
	if err != nil {
		return err
	}
	defer closer.Close()
	d.log = log
	slog.SetDefault(log) // for libraries
	if err := d.open(starting); err != nil {
		return err
	}
	started()
	d.log.Info("mounted", "store", c.Store, "at", c.Mountpoint, "read_only", c.ReadOnly)
	debug.FreeOSMemory()
	ready()
	if !c.Foreground {
		if err := quiet(); err != nil {
			d.log.Warn("standard error", "err", err)
		}
	}
	if err := d.serve(); err != nil {
		d.log.Error("unmounted, but not all is durable", "store", c.Store, "err", err)
		return fmt.Errorf("%w: %w", control.ErrNotDurable, err)
	}
	d.log.Info("unmounted, and everything is durable", "store", c.Store)
	return nil
}

// open unlocks, opens and mounts the store, and takes commands. It mounts nothing once ctx has ended.
func (d *daemon) open(ctx context.Context) (err error) {
	var undo []io.Closer
	defer func() {
		if err == nil {
			return
		}
		for i := len(undo) - 1; i >= 0; i-- {
			err = errors.Join(err, undo[i].Close())
		}
	}()
	master, err := session.Unlock(d.c.Store, d.c.Passphrase)
	clear(d.c.Passphrase)
	if err != nil {
		return err
	}
	undo = append(undo, closeFunc(func() error { master.Wipe(); return nil }))
	if !master.Locked() {
		d.log.Warn("the master key may be swapped out to the disk: raise the limit on locked memory (RLIMIT_MEMLOCK), or encrypt the swap",
			"store", d.c.Store)
	}
	dir, err := control.RuntimeDir()
	if err != nil {
		return err
	}
	h, err := blockstore.Inspect(vfs.Default, d.c.Store)
	if err != nil {
		return err
	}
	listener, err := control.Listen(dir, h.StoreID)
	if err != nil {
		return err
	}
	undo = append(undo, listener)
	err = session.Patiently(ctx, func() (err error) {
		d.opened, err = session.OpenStore(d.c.Store, master, session.StoreOptions{
			ReadOnly: d.c.ReadOnly, ACL: d.c.ACL, Relatime: !d.c.NoAtime && !d.c.ReadOnly, Log: d.log,
			Holder: blockstore.Holder{Mount: control.Name(d.c.Mountpoint), Socket: control.Name(listener.Addr().String())},
		})
		return err
	})
	if err != nil {
		return err
	}
	undo = append(undo, d.opened)
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mount, err = fuse.Mount(d.opened.Tree, fuse.Options{
		Mountpoint: d.c.Mountpoint, FSName: d.c.Store,
		AllowOther: d.c.AllowOther, ReadOnly: d.c.ReadOnly, NoAtime: d.c.NoAtime, ACL: d.c.ACL, NoXattr: d.c.NoXattr,
		Debug: d.c.Debug, Extra: d.c.Extra, Log: d.log,
	})
	if err != nil {
		return err
	}
	target := control.NewLocal(d.opened.Local(control.LocalOptions{
		Mounted: true, Requests: d.requests, Writeback: d.mount.Writeback, Settle: d.mount.Settle,
	}))
	d.control = control.NewServer(listener, control.ServerOptions{
		Target: target, Store: h.StoreID, Dir: d.c.Store, Mount: d.c.Mountpoint, Unmount: d.ask, Log: d.log,
	})
	d.control.Serve()
	return nil
}

func (d *daemon) requests(reset bool) map[string]uint64 {
	counts := d.mount.Requests()
	if reset {
		d.mount.ResetRequests()
	}
	return counts
}

type closeFunc func() error

func (f closeFunc) Close() error { return f() }

// ask is a request to unmount, and where its outcome goes.
type ask struct {
	lazy    bool
	outcome chan error // with room for one
}

// ask has the daemon unmount, and waits until everything is durable. It serves the command.
func (d *daemon) ask(ctx context.Context, lazy bool) error {
	a := ask{lazy: lazy, outcome: make(chan error, 1)}
	select {
	case d.asks <- a:
	case <-d.over:
		return d.outcome
	case <-ctx.Done():
		return d.outcomeOr(ctx.Err())
	}
	select {
	case err := <-a.outcome:
		return err
	case <-ctx.Done():
	}
	select { // the outcome may have come just before the end of the connection
	case err := <-a.outcome:
		return err
	default:
		return ctx.Err()
	}
}

// outcomeOr is the outcome, if it came just before the end of the connection.
func (d *daemon) outcomeOr(err error) error {
	select {
	case <-d.over:
		return d.outcome
	default:
		return err
	}
}
