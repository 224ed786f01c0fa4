package blockstore

import (
	"slices"
	"sync"
	"sync/atomic"
)

// rec is a record's newest value in a group; a nil value deletes it.
type rec struct{ value []byte }

// recOverhead is about what an entry of group.recs costs beside its value, in bytes.
const recOverhead = 96

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
	recs     map[Key]rec
	suffixes map[dirKey]*suffixSet // of records with Suffix ≠ 0, for scans
	blocks   map[BlockID]*pending
	order    []*pending // blocks in the order of their IDs
	freed    []freedBlock
	usage    map[NamespaceID]*usageDelta
	system   []func(*commit) // changes of the store's own records: namespaces, snapshots
	early    int             // of order, handed to the workers before the commit

	mem  atomic.Int64  // about the memory that all of it takes, in bytes
	done chan struct{} // closed when committed or failed
}

type freedBlock struct {
	ns NamespaceID
	id BlockID
	// shared: another extent may name the block; the sweep decides.
	shared bool
}

type usageDelta struct{ files, logical, stored, blocks int64 }

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

func (g *group) usageLocked(ns NamespaceID) *usageDelta {
	u := g.usage[ns]
	if u == nil {
		u = new(usageDelta)
		g.usage[ns] = u
	}
	return u
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

// appendSuffixes appends to dst the suffixes ≥ from of g's records of one kind of one inode, in order, at most limit.
func (g *group) appendSuffixes(dst []uint64, dk dirKey, from uint64, limit int) []uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if from == 0 {
		if _, ok := g.recs[Key{dk.ino, dk.kind, 0}]; ok {
			dst = append(dst, 0)
		}
	}
	set := g.suffixes[dk]
	if set == nil {
		return dst
	}
	sorted := set.ordered()
	i, _ := slices.BinarySearch(sorted, from)
	return append(dst, sorted[i:min(len(sorted), i+limit)]...)
}

// suffixSet collects suffixes, each added once, and sorts them when they are asked for.
type suffixSet struct {
	sorted, tail []uint64
}

func (s *suffixSet) add(x uint64) { s.tail = append(s.tail, x) }

func (s *suffixSet) ordered() []uint64 {
	if len(s.tail) == 0 {
		return s.sorted
	}
	slices.Sort(s.tail)
	if n := len(s.sorted); n == 0 || s.sorted[n-1] < s.tail[0] {
		s.sorted = append(s.sorted, s.tail...)
	} else {
		s.sorted = mergeSorted(s.sorted, s.tail)
	}
	s.tail = s.tail[:0]
	return s.sorted
}

// mergeSorted merges two sorted lists without common elements.
func mergeSorted(a, b []uint64) []uint64 {
	out := make([]uint64, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0] < b[0] {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}
