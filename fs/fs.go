package fs

import (
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore"
)

// FS is the tree of one open store. Its methods may be called at the same time.
type FS struct {
	st       *blockstore.Store
	clock    func() time.Time
	log      *slog.Logger
	readOnly bool
	relatime bool
	acl      bool
	run      uint64 // tells this run's orphans from those of earlier ones

	aheadFrom int // aheadWrite, or less in tests

	inodes      inodeCache
	regionUnits atomic.Int64 // what the caches of regions take
	names       nameCache
	nameUnits   atomic.Int64 // what the sets of names take
	refs        refTable
	spaces      spaceTable
	virtual     virtualTable
	listings    listingRing
	observer    atomic.Pointer[Observer]

	renames sync.Mutex // one move of a name to another directory at a time

	closing    chan struct{}
	background sync.WaitGroup
}

// defaultCache is how many inodes are kept in memory.
const defaultCache = 1 << 16

// Open opens the tree of st, which stays the caller's, to be closed after FS.Close. It makes the root directory when
// there is none yet, and has what an earlier run left half done finished in the background.
func Open(st *blockstore.Store, o Options) (*FS, error) {
	f := &FS{
		st: st, clock: o.Clock, log: o.Log, readOnly: o.ReadOnly || st.ReadOnly(), relatime: o.Relatime, acl: o.ACL,
		closing: make(chan struct{}), aheadFrom: aheadWrite,
	}
	if f.clock == nil {
		f.clock = time.Now
	}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	if o.CacheInodes == 0 {
		o.CacheInodes = defaultCache
	}
	f.inodes.init(o.CacheInodes)
	f.refs.init()
	f.names.seed = maphash.MakeSeed()
	f.virtual.init(f.refs.held)
	f.spaces.m = make(map[NamespaceID]*namespace)
	st.SetBlockRefs(blockRefs)
	st.SetDescriptions(descriptions())
	f.run = uint64(f.now())
	if err := f.openRoot(Cred{UID: o.RootUID, GID: o.RootGID}); err != nil {
		return nil, fmt.Errorf("root directory: %w", err)
	}
	spaces := st.Namespaces()
	for _, d := range spaces {
		if d.ID != blockstore.RootNamespace && !hidden(d.Name) {
			f.spaces.visible.Add(1)
		}
	}
	if !f.readOnly {
		f.background.Add(1)
		go f.finishEarlierRuns(spaces)
	}
	return f, nil
}

// openRoot makes the root directory's inode if the store is new.
func (f *FS) openRoot(c Cred) error {
	ns, err := f.namespace(blockstore.RootNamespace)
	if errors.Is(err, ErrNotExist) {
		err = fmt.Errorf("%w: the record of namespace %d is missing", ErrCorrupt, blockstore.RootNamespace)
	}
	if err != nil {
		return err
	}
	_, err = f.GetAttr(RootIno)
	if !errors.Is(err, ErrNotExist) {
		return err
	}
	root := f.topDir(0o755, c)
	if f.readOnly { // nothing can be in it
		in := &inode{ino: RootIno, key: RootIno, epoch: blockstore.Live, ns: ns, rec: root, dir: new(dirState)}
		in.pins.Add(1) // for ever: it can not be read again
		f.addInode(in)
		return nil
	}
	return f.update(ns, func(tx *blockstore.Tx) error {
		tx.Put(blockstore.Key{Ino: RootIno, Kind: kindInode}, encodeInode(&root, nil))
		return nil
	})
}

// topDir is the inode of a namespace's top directory.
func (f *FS) topDir(mode uint32, c Cred) inodeRec {
	now := f.now()
	return inodeRec{
		mode: ModeDir | mode&modePerm, uid: c.UID, gid: c.GID, nlink: 2, parent: 1,
		atime: now, mtime: now, ctime: now, btime: now,
	}
}

// Close ends background work, and lets go of all references that are still counted: what has no name is deleted. It
// makes nothing durable; closing the store does.
func (f *FS) Close() error {
	close(f.closing)
	f.background.Wait()
	if f.readOnly {
		return nil
	}
	for _, ino := range f.refs.takeOrphans() {
		f.reap(ino)
	}
	f.background.Wait() // for those that were too big to wait for, and are left to the next start
	return nil
}

// Store is what f stands on.
func (f *FS) Store() *blockstore.Store { return f.st }

// SetObserver has o told of the changes that commands make: those through the methods that take namespaces and paths.
func (f *FS) SetObserver(o Observer) { f.observer.Store(&o) }

func (f *FS) entryChanged(parent Ino, name string) {
	if o := f.observer.Load(); o != nil && *o != nil {
		(*o).EntryChanged(parent, name)
		(*o).InodeChanged(parent)
	}
}

func (f *FS) inodeChanged(ino Ino) {
	if o := f.observer.Load(); o != nil && *o != nil {
		(*o).InodeChanged(ino)
	}
}

func (f *FS) now() int64 { return f.clock().UnixNano() }

// begin is called first by what changes something, with no locks held: it waits while memory is full.
func (f *FS) begin() error {
	if f.readOnly {
		return ErrReadOnly
	}
	return f.st.Throttle()
}

// beginFreeing is begin for what frees space, or takes next to none: it can be done on a full disk.
func (f *FS) beginFreeing() error {
	if f.readOnly {
		return ErrReadOnly
	}
	return f.st.ThrottleMeta()
}

// Fsync makes a file durable, with all that was changed before.
func (f *FS) Fsync(ino Ino) error { return f.Sync() }

// Sync makes everything durable that was changed before.
func (f *FS) Sync() error { return f.st.Sync() }

// SyncAhead is Sync for who expects it to be asked for in a moment. It leaves to Settle what can wait.
func (f *FS) SyncAhead() error { return f.st.SyncAhead() }

// Settle does what SyncAhead has left.
func (f *FS) Settle() { f.st.Settle() }

// StatFS shows the disk that the store is on.
func (f *FS) StatFS() (StatFS, error) {
	s := StatFS{BlockSize: statBlockSize, NameMax: MaxName}
	total, free, reserve, err := f.st.DiskFree()
	if errors.Is(err, vfs.ErrUnsupported) {
		total, free, reserve = 1<<40, 1<<40, 0
	} else if err != nil {
		return s, err
	}
	s.Blocks, s.Free = uint64(total)/statBlockSize, uint64(free)/statBlockSize
	s.Avail = uint64(max(free-reserve, 0)) / statBlockSize
	for _, d := range f.st.Namespaces() {
		s.Files += uint64(max(d.Usage.Files, 0)) + 1
	}
	const room = 1 << 40 // as many as there are numbers is more than some programs can print
	s.FilesFree = room
	s.Files += room
	return s, nil
}

// blockRefs tells the store which blocks a record names.
func blockRefs(kind blockstore.Kind, value []byte, visit func(blockstore.BlockID)) error {
	var list []extent
	var err error
	switch kind {
	case kindInode:
		var rec inodeRec
		list, err = decodeInode(value, &rec, nil)
	case kindRegion:
		list, err = decodeRegion(value)
	}
	for i := range list {
		if list[i].id != 0 {
			visit(list[i].id)
		}
	}
	return err
}
