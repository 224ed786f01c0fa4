package daemon

import (
	"errors"
	"fmt"

	"salliefs/fs/control"
	"salliefs/fs/fuse"
)

// serve waits for the end of the mount, which it brings about when it is told to, and ends everything in order. The
// error is what could not be made durable.
func (d *daemon) serve() error {
	ended := make(chan struct{})
	go func() {
		d.mount.Wait()
		close(ended)
	}()
	var waiting []ask // for everything to be durable
	for told := 0; ; {
		select {
		case sig := <-d.signals:
			told++
			d.log.Info("signal", "signal", sig.String())
			d.obey(told > 1)
		case a := <-d.asks:
			if err := d.unmount(a.lazy); err != nil {
				a.outcome <- err
				continue
			}
			waiting = append(waiting, a)
		case <-ended:
			return d.finish(waiting)
		}
	}
}

// unmount takes the mount away, or says why not. It does not wait for the programs that use it when it is lazy.
func (d *daemon) unmount(lazy bool) error {
	if lazy {
		d.log.Warn("detached: programs that use the mount go on, the store is closed after the last of them", "at", d.c.Mountpoint)
		return ignoreGone(d.mount.Detach())
	}
	err := ignoreGone(d.mount.Unmount())
	switch {
	case errors.Is(err, fuse.ErrBusy):
		return fmt.Errorf("%s: %w", d.c.Mountpoint, control.ErrBusy)
	case errors.Is(err, fuse.ErrElsewhere):
		return fmt.Errorf("%s: %w", d.c.Mountpoint, control.ErrElsewhere)
	}
	return err
}

// ignoreGone is for a mount that somebody else has taken away just now.
func ignoreGone(err error) error {
	if errors.Is(err, fuse.ErrNotMounted) {
		return nil
	}
	return err
}

// obey acts on a signal. The first one does not take the mount away from programs that use it: it commits what there is
// and the daemon goes on. The second one detaches the mount.
func (d *daemon) obey(again bool) {
	err := d.unmount(again)
	if err == nil {
		return
	}
	what := "the mount could not be taken away and stays: everything until now is being made durable"
	switch {
	case errors.Is(err, control.ErrBusy):
		what = "the mount is in use and stays: everything until now is being made durable; a second signal detaches it"
	case errors.Is(err, control.ErrElsewhere):
		what = "another mount namespace still has the mount: the store is closed when that lets go of it"
	}
	d.log.Warn(what, "at", d.c.Mountpoint, "err", err)
	if err := errors.Join(d.mount.Writeback(), d.opened.Tree.Sync()); err != nil {
		d.log.Error("not everything could be made durable", "store", d.c.Store, "err", err)
		return
	}
	d.log.Info("everything until now is durable", "store", d.c.Store)
}

// finish commits, closes and answers those who wait for it.
func (d *daemon) finish(waiting []ask) error {
	d.control.Drain()
	err := d.opened.Close()
	outcome := err
	if err != nil {
		outcome = fmt.Errorf("%w: %w", control.ErrNotDurable, err)
	}
	for _, a := range waiting {
		a.outcome <- outcome
	}
	d.outcome = outcome
	close(d.over) // before the connections: requests that came too late for serve get the outcome as well
	if cerr := d.control.Close(); cerr != nil {
		d.log.Warn("control socket", "err", cerr)
	}
	return err
}
