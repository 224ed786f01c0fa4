package fs

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"salliefs/blockstore"
	"salliefs/crypto"
)

// namespace is what operations need to know of one.
type namespace struct {
	id      NamespaceID
	f       *FS
	hasher  *crypto.NameHasher
	retired bool // only snapshots see it

	blockSize atomic.Int64
	quota     atomic.Int64 // logical bytes; 0 for none
	orphans   atomic.Int64 // inodes without a name that are still there

	gate      sync.RWMutex // held shared by each Update; see FS.update
	dead      atomic.Bool  // removed; set with gate held
	doomed    atomic.Bool  // to be removed with its last orphan
	repairing atomic.Bool  // what a repair adds is not held against the quota
	shares    atomic.Bool  // its top directory has the flag hasShared; false: perhaps
}

// subdirs is how many namespaces the root directory shows.
func (ns *namespace) subdirs() uint32 { return uint32(ns.f.spaces.visible.Load()) }

// suffix is where the entries of a name are in a directory's records.
func (ns *namespace) suffix(dir Ino, name string) uint64 {
	return ns.hasher.Sum(uint64(dir), name) >> (64 - hashBits)
}

// spaceTable knows the namespaces that were used.
type spaceTable struct {
	mu      sync.RWMutex
	m       map[NamespaceID]*namespace
	limit   int                      // of m, at which those that were removed are let go
	visible atomic.Int64             // namespaces in the root directory
	listing atomic.Pointer[[]listed] // the root directory's namespaces in the order of cookies; nil: to be made
}

// namespace finds one of the present, or one that only snapshots see.
func (f *FS) namespace(id NamespaceID) (*namespace, error) {
	t := &f.spaces
	t.mu.RLock()
	ns := t.m[id]
	t.mu.RUnlock()
	if ns != nil {
		return ns, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if ns := t.m[id]; ns != nil {
		return ns, nil
	}
	ns = &namespace{id: id, f: f, hasher: f.st.NameHasher(id)}
	d, ok := f.st.NamespaceByID(id)
	switch {
	case ok && ns.hasher == nil:
		return nil, ErrLocked
	case !ok && ns.hasher == nil:
		return nil, ErrNotExist
	case !ok:
		ns.retired = true
		ns.dead.Store(true)
	}
	ns.configure(d.Settings)
	if len(t.m) >= t.limit {
		f.forgetSpacesLocked()
	}
	t.m[id] = ns
	return ns, nil
}

// leastSpaces is the least limit of a spaceTable.
const leastSpaces = 256

// forgetSpacesLocked lets go of namespaces that were removed. What still refers to one finds it dead; those that
// snapshots see come back when they are asked for.
func (f *FS) forgetSpacesLocked() {
	t := &f.spaces
	for id, ns := range t.m {
		if _, ok := f.st.NamespaceByID(id); !ok && ns.dead.Load() {
			delete(t.m, id)
		}
	}
	t.limit = max(leastSpaces, 2*len(t.m))
}

func (ns *namespace) configure(st NamespaceSettings) {
	size := int64(st.BlockSize)
	if size == 0 {
		size = blockstore.MaxBlockSize
	}
	ns.blockSize.Store(min(size, RegionSize))
	ns.quota.Store(st.Quota)
}

// room fails when a namespace's quota does not leave room for more logical bytes.
func (f *FS) room(ns *namespace, more int64) error {
	quota := ns.quota.Load()
	if quota == 0 || more <= 0 || ns.repairing.Load() {
		return nil
	}
	if d, ok := f.st.NamespaceByID(ns.id); ok && d.Usage.Logical+more > quota {
		return ErrQuota
	}
	return nil
}

// update runs fn in an Update, unless the namespace has been removed.
func (f *FS) update(ns *namespace, fn func(tx *blockstore.Tx) error) error {
	ns.gate.RLock()
	defer ns.gate.RUnlock()
	if ns.dead.Load() {
		return ErrNotExist
	}
	return f.st.Update(fn)
}

// hiddenPrefix starts the names of namespaces that wait for their last orphans to go.
const hiddenPrefix = ".salliefs-removed-"

func hidden(name string) bool { return strings.HasPrefix(name, hiddenPrefix) }

// findSpace finds a namespace in the root directory.
func (f *FS) findSpace(name string) (Namespace, bool) {
	if name == "" || hidden(name) {
		return Namespace{}, false
	}
	return f.st.NamespaceByName(name)
}

// rootListing lists the namespaces in the root directory as its entries.
func (f *FS) rootListing(root *inode) ([]listed, error) {
	if root.live() {
		if p := f.spaces.listing.Load(); p != nil {
			return *p, nil
		}
	}
	all, err := f.st.NamespacesAt(root.epoch)
	if err != nil {
		return nil, f.inodeError("readdir", root.key, err)
	}
	list := make([]listed, 0, len(all))
	for i := range all {
		if all[i].ID == blockstore.RootNamespace || hidden(all[i].Name) {
			continue
		}
		list = append(list, listed{
			pos:  position(root.ns.suffix(RootIno, all[i].Name), maxSlots-1),
			name: all[i].Name, ino: blockstore.MakeIno(all[i].ID, 1), typ: ModeDir >> typeShift,
		})
	}
	slices.SortFunc(list, byPosition)
	if root.live() {
		f.spaces.listing.Store(&list)
	}
	return list, nil
}

// spacesChanged has the list of namespaces made anew. The root directory is locked for changes.
func (f *FS) spacesChanged(root *inode, more int64) {
	root.dir.listing.Store(nil)
	f.spaces.visible.Add(more)
	f.spaces.listing.Store(nil)
}

// spaceError turns what the store says about a namespace into this package's words.
func spaceError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, blockstore.ErrExists):
		return ErrExist
	case errors.Is(err, blockstore.ErrNotFound):
		return ErrNotExist
	case errors.Is(err, blockstore.ErrInvalid):
		return errors.Join(ErrInvalid, err)
	}
	return err
}
