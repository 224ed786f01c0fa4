package blockstore

import (
	"sync"
	"sync/atomic"
	"time"
)

// rec is a record's newest value in a group; a nil value deletes it.
type rec struct{ value []byte }

// What things take in memory beside their bytes, about, in bytes.
const (
	recOverhead   = 96
	blockOverhead = 256
	freedOverhead = 32
)

// dirKey names the records that a scan walks: those of one kind of one inode.
type dirKey struct {
	ino  Ino
	kind Kind
}

// group is a commit group: everything between two commits. Updates fill it while it is the open one, under mu; once
// sealed it does not change any more, other than by its blocks being sealed.
type group struct {
	id    uint64
	epoch Epoch

	mu       sync.RWMutex
	since    time.Time // of the first change
	recs     map[Key]rec
	suffixes map[dirKey]*suffixSet // of records with Suffix ≠ 0, for scans
	blocks   map[BlockID]*pending
	order    []*pending // blocks in the order of their Updates; those that are not in blocks any more were freed
	freed    []freedBlock
	usage    map[NamespaceID]*usageDelta
	system   []func(*commit) // changes of the store's own records: namespaces, snapshots
	early    int             // of order, handed to the workers before the commit
	unsealed int64           // about the bytes of the others

	mem  atomic.Int64  // about the memory that all of it takes, in bytes
	done chan struct{} // closed when committed, failed, or made part of another group
}

type freedBlock struct {
	ns NamespaceID
	id BlockID
	// shared: another extent may name the block; the sweep decides.
	shared bool
}

type usageDelta struct{ files, logical, stored, blocks int64 }

// changes is what enters a group at once: those of a transaction, or of another group.
type changes struct {
	recs   []txRec
	blocks []*pending
	freed  []freedBlock
	usage  []txUsage
	system []func(*commit)
}

func newGroup(id uint64, epoch Epoch) *group {
	return &group{
		id:       id,
		epoch:    epoch,
		recs:     make(map[Key]rec),
		suffixes: make(map[dirKey]*suffixSet),
		blocks:   make(map[BlockID]*pending),
		usage:    make(map[NamespaceID]*usageDelta),
		done:     make(chan struct{}),
	}
}

func (g *group) emptyLocked() bool {
	return len(g.recs) == 0 && len(g.blocks) == 0 && len(g.freed) == 0 && len(g.usage) == 0 && len(g.system) == 0
}

// addLocked puts changes on top of those that g has. It returns the blocks that are gone with that, to be discarded.
func (g *group) addLocked(c *changes) (gone []*pending) {
	for _, r := range c.recs {
		g.putLocked(r.key, r.value)
	}
	for _, p := range c.blocks {
		g.blocks[p.id] = p
		g.order = append(g.order, p)
		g.unsealed += p.join(g)
	}
	for _, f := range c.freed {
		// A block that the same group made never reaches the disk, unless something else may name it.
		if p := g.blocks[f.id]; p != nil && !f.shared {
			delete(g.blocks, f.id)
			gone = append(gone, p)
			continue
		}
		g.freed = append(g.freed, f)
		g.mem.Add(freedOverhead)
	}
	for _, u := range c.usage {
		d := g.usage[u.ns]
		if d == nil {
			d = new(usageDelta)
			g.usage[u.ns] = d
		}
		d.files += u.delta.files
		d.logical += u.delta.logical
	}
	g.system = append(g.system, c.system...)
	return gone
}

// changes gives all that g holds, as changes of another group.
func (g *group) changes() *changes {
	c := &changes{blocks: g.live(), freed: g.freed, system: g.system}
	for k, r := range g.recs {
		c.recs = append(c.recs, txRec{k, r.value})
	}
	for ns, d := range g.usage {
		c.usage = append(c.usage, txUsage{ns, *d})
	}
	return c
}

// live lists the blocks that were not freed again, in the order of their Updates.
func (g *group) live() []*pending {
	live := make([]*pending, 0, len(g.blocks))
	for _, p := range g.order {
		if g.blocks[p.id] == p {
			live = append(live, p)
		}
	}
	return live
}

func (g *group) putLocked(k Key, value []byte) {
	old, ok := g.recs[k]
	g.recs[k] = rec{value}
	if ok {
		g.mem.Add(int64(len(value)) - int64(len(old.value)))
		return
	}
	g.mem.Add(int64(len(value)) + recOverhead)
	if k.Suffix == 0 {
		return
	}
	dk := dirKey{k.Ino, k.Kind}
	set := g.suffixes[dk]
	if set == nil {
		set = new(suffixSet)
		g.suffixes[dk] = set
	}
	set.add(k.Suffix)
}

// lookup finds the newest value of k in g. A found nil value is a deletion.
func (g *group) lookup(k Key) (value []byte, found bool) {
	g.mu.RLock()
	r, ok := g.recs[k]
	g.mu.RUnlock()
	return r.value, ok
}

func (g *group) block(id BlockID) *pending {
	g.mu.RLock()
	p := g.blocks[id]
	g.mu.RUnlock()
	return p
}

// takeEarlyLocked picks the oldest unsealed blocks, when there are many, so that sealing does not all wait for the
// commit. Young blocks may still be rewritten or freed.
func (g *group) takeEarlyLocked() []*pending {
	if g.unsealed < 2*eagerLimit {
		return nil
	}
	var waiting int64
	from := len(g.order)
	for ; from > g.early && waiting < eagerLimit; from-- {
		if p := g.order[from-1]; !p.ahead {
			waiting += p.size.Load()
		}
	}
	start := g.early
	g.early, g.unsealed = from, waiting
	return g.order[start:from]
}
