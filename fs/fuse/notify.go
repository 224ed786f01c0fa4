package fuse

import (
	"log/slog"
	"sync"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"

	"salliefs/fs"
)

// kernel is the part of a go-fuse server that tells the kernel of changes.
type kernel interface {
	EntryNotify(parent uint64, name string) gofuse.Status
	InodeNotify(node uint64, off, length int64) gofuse.Status
}

// notifier tells the kernel, which trusts what it knows for a day, of changes that
// did not come from it. It is an fs.Observer.
//
// A notification waits for locks that the kernel may hold while it waits for our
// reply to a request. So nothing that a request waits for may wait for a
// notification: changes are queued without limit, and one goroutine sends them.
type notifier struct {
	kernel kernel
	log    *slog.Logger
	ended  chan struct{}

	mu      sync.Mutex
	cond    *sync.Cond
	queue   []change
	queued  map[change]bool // what is in queue: the same change twice is told once
	added   uint64          // changes ever queued
	told    uint64          // changes ever sent
	stopped bool
}

// change is a name that changed (name is not empty), or an inode.
type change struct {
	ino  fs.Ino
	name string
}

var _ fs.Observer = (*notifier)(nil)

func newNotifier(k kernel, log *slog.Logger) *notifier {
	n := &notifier{kernel: k, log: log, queued: make(map[change]bool), ended: make(chan struct{})}
	n.cond = sync.NewCond(&n.mu)
	go n.run()
	return n
}

// EntryChanged is called when a name appeared, disappeared, or leads to another inode.
func (n *notifier) EntryChanged(parent fs.Ino, name string) { n.add(change{parent, name}) }

// InodeChanged is called when attributes or data of an inode changed. While the kernel
// has a regular file cached, it believes nobody but itself about size and mtime: who
// replaces a file's content must give the name a new inode.
func (n *notifier) InodeChanged(ino fs.Ino) { n.add(change{ino: ino}) }

func (n *notifier) add(c change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped || n.queued[c] {
		return
	}
	n.queued[c] = true
	n.queue = append(n.queue, c)
	n.added++
	n.cond.Broadcast()
}

func (n *notifier) run() {
	defer close(n.ended)
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		for len(n.queue) == 0 && !n.stopped {
			n.cond.Wait()
		}
		if n.stopped {
			return
		}
		batch := n.queue
		n.queue = nil
		clear(n.queued)
		n.mu.Unlock()
		for _, c := range batch {
			n.tell(c)
		}
		n.mu.Lock()
		n.told += uint64(len(batch))
		n.cond.Broadcast()
	}
}

// tell sends one change. ENOENT says that the kernel has none of it cached.
func (n *notifier) tell(c change) {
	if c.name != "" {
		// An unknown name does not make the kernel drop the cached list of names, nor
		// the directory's times and link count; the second notification does.
		n.report(c, n.kernel.EntryNotify(uint64(c.ino), c.name))
	}
	n.report(c, n.kernel.InodeNotify(uint64(c.ino), 0, 0))
}

func (n *notifier) report(c change, st gofuse.Status) {
	if st != gofuse.OK && st != gofuse.ENOENT {
		n.log.Debug("the kernel did not take a notification", slog.Uint64("inode", uint64(c.ino)),
			slog.String("name", c.name), slog.String("status", st.String()))
	}
}

// settle waits until all that was added before is told.
func (n *notifier) settle() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for target := n.added; n.told < target && !n.stopped; {
		n.cond.Wait()
	}
}

// stop drops what is left: there is nobody to tell any more.
func (n *notifier) stop() {
	n.mu.Lock()
	n.stopped = true
	n.cond.Broadcast()
	n.mu.Unlock()
	<-n.ended
}
