package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore"
	"salliefs/crypto"
	"salliefs/fs"
	"salliefs/fs/control"
)

// patience is how long a command waits for another that has the store open for a moment, and how often it looks.
const (
	patience = 5 * time.Second
	glance   = 50 * time.Millisecond
)

// Options say how a command wants a store.
type Options struct {
	// Write is for commands that change something; the others open the store read-only, so that they work on a disk
	// that can not be written.
	Write bool
	// Unlock gets the master key. It is not asked when a daemon has the store.
	Unlock func(ctx context.Context, dir string) (*crypto.Master, error)
	Log    *slog.Logger
}

// Open returns the store that path names as a Target: through the daemon that has it mounted, or opened by this process
// until the Target is closed.
func Open(ctx context.Context, path string, o Options) (control.Target, error) {
	place, err := Find(path)
	if err != nil {
		return nil, err
	}
	var m *crypto.Master
	var t control.Target
	err = Patiently(ctx, func() error {
		t, err = open(ctx, place.Dir, o, &m)
		return err
	})
	if err != nil && m != nil {
		m.Wipe()
	}
	return t, err
}

// Patiently tries to get at a store again and again while a command that is likely to end soon has it open.
func Patiently(ctx context.Context, try func() error) error {
	for deadline := time.Now().Add(patience); ; {
		err := try()
		var used *blockstore.InUseError
		if !errors.As(err, &used) || !brief(used.Holder) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-time.After(glance):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// brief says whether a store's holder is likely to be a command that ends soon.
func brief(h blockstore.Holder) bool {
	host, _ := os.Hostname()
	return h.PID == 0 || h.Mount == "" && h.Host == host
}

// open tries once. m stays between tries, so that nobody is asked for a passphrase twice.
func open(ctx context.Context, dir string, o Options, m **crypto.Master) (control.Target, error) {
	h, err := blockstore.Inspect(vfs.Default, dir)
	if err != nil {
		return nil, err
	}
	if c, err := dial(ctx, dir, h); c != nil || err != nil {
		return c, err
	}
	if *m == nil {
		if *m, err = o.Unlock(ctx, dir); err != nil {
			return nil, err
		}
	}
	opened, err := OpenStore(dir, *m, StoreOptions{ReadOnly: !o.Write, ACL: true, Log: o.Log})
	if err != nil {
		return nil, err
	}
	return control.NewLocal(opened.Local(control.LocalOptions{Close: opened.Close})), nil
}

// dial reaches the daemon that holds a store; nil for none.
func dial(ctx context.Context, dir string, h blockstore.HeaderInfo) (control.Target, error) {
	c, err := dialClient(ctx, dir, h)
	if c == nil {
		return nil, err // and not a Target that holds a nil
	}
	return c, err
}

func dialClient(ctx context.Context, dir string, h blockstore.HeaderInfo) (*control.Client, error) {
	if h.Holder == nil {
		return search(ctx, dir, h), nil
	}
	inUse := &blockstore.InUseError{Dir: dir, Holder: *h.Holder}
	if h.Holder.Socket == "" {
		return nil, inUse
	}
	c, err := control.Dial(ctx, string(h.Holder.Socket))
	if errors.Is(err, control.ErrNoDaemon) {
		return nil, inUse
	}
	if err != nil {
		return nil, fmt.Errorf("%v: %w", inUse, err) // not to be waited for: it is for another user
	}
	if c.Store() != h.StoreID.String() {
		return nil, errors.Join(inUse, c.Close())
	}
	return c, nil
}

// Dial reaches the daemon that has the store in dir mounted. It fails with blockstore.ErrInUse when someone holds the
// store who takes no commands, and gives nil when nobody holds it.
func Dial(ctx context.Context, dir string) (*control.Client, error) {
	h, err := blockstore.Inspect(vfs.Default, dir)
	if err != nil {
		return nil, err
	}
	return dialClient(ctx, dir, h)
}

// search looks for a daemon that could not write down that it holds the store, as on a disk that can not be written.
func search(ctx context.Context, dir string, h blockstore.HeaderInfo) *control.Client {
	at, err := control.RuntimeDir()
	if err != nil {
		return nil
	}
	for _, socket := range control.Sockets(at, h.StoreID) {
		c, err := control.Dial(ctx, socket)
		if err != nil {
			continue
		}
		if c.Dir() == dir {
			return c
		}
		_ = c.Close()
	}
	return nil
}

// StoreOptions say how OpenStore opens.
type StoreOptions struct {
	ReadOnly bool
	Holder   blockstore.Holder
	ACL      bool
	Relatime bool
	Log      *slog.Logger
}

// Opened is a store that this process has open, with its tree.
type Opened struct {
	Store  *blockstore.Store
	Tree   *fs.FS
	Master *crypto.Master
}

// OpenStore opens a store, and takes the master over if that succeeds.
func OpenStore(dir string, m *crypto.Master, o StoreOptions) (*Opened, error) {
	st, err := blockstore.Open(dir, m, blockstore.Options{ReadOnly: o.ReadOnly, Holder: o.Holder, Log: o.Log})
	if err != nil {
		return nil, err
	}
	tree, err := fs.Open(st, fs.Options{
		Log: o.Log, ReadOnly: o.ReadOnly, ACL: o.ACL, Relatime: o.Relatime,
		RootUID: uint32(os.Geteuid()), RootGID: uint32(os.Getegid()),
	})
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return &Opened{Store: st, Tree: tree, Master: m}, nil
}

// Close makes everything durable and forgets the keys.
func (o *Opened) Close() error {
	err := errors.Join(o.Tree.Close(), o.Store.Close())
	o.Master.Wipe()
	return err
}

// Local fills in what a control.Local needs of the store.
func (o *Opened) Local(l control.LocalOptions) control.LocalOptions {
	l.Dir, l.Disk = o.Store.Dir(), vfs.Default
	l.Store, l.Tree, l.Master = o.Store, o.Tree, o.Master
	l.Cred = fs.Cred{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), Umask: umask()}
	return l
}

// umask reads the process's file mode creation mask; umask(2) could only do so by changing it.
func umask() uint32 {
	const safe = 0o077
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return safe
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "Umask:"); ok {
			if n, err := strconv.ParseUint(strings.TrimSpace(value), 8, 32); err == nil {
				return uint32(n)
			}
		}
	}
	return safe
}
