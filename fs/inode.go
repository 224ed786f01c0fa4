package fs

import (
	"errors"
	"sync"
	"sync/atomic"

	"salliefs/blockstore"
)

// inode is an inode in memory. The store always has its newest record, so it may be dropped whenever nobody has it
// pinned.
type inode struct {
	ino   Ino              // as the callers know it
	key   Ino              // as the records know it; differs in snapshots
	epoch blockstore.Epoch // Live outside snapshots
	ns    *namespace       // nil for the list of snapshots

	pins atomic.Int32 // raised under the shard's mutex only, so that dropping can rely on 0
	used atomic.Bool  // since the clock's hand last passed
	slot int          // in the shard's ring; shard.mu

	mu  sync.RWMutex // guards what follows
	err error        // why there is nothing: it does not exist, or could not be read
	rec inodeRec
	ext []extent // region 0
	dir *dirState

	regionMu   sync.Mutex // guards the table, not the lists: those change under mu
	regions    map[uint64]*region
	regionCost int
}

// live reports whether in is of the present, not of a snapshot.
func (in *inode) live() bool { return in.epoch == blockstore.Live }

// attr is in as the callers see it; in.mu is held.
func (in *inode) attr() Attr {
	r := &in.rec
	a := Attr{
		Ino: in.ino, Mode: r.mode, Nlink: r.nlink, UID: r.uid, GID: r.gid, Rdev: r.rdev, BlockSize: statBlockSize,
		Size: r.size, Blocks: (r.alloc + 511) / 512, Atime: r.atime, Mtime: r.mtime, Ctime: r.ctime, Btime: r.btime,
	}
	if r.isDir() {
		a.Size *= direntSize
		if in.key == RootIno && in.live() {
			a.Nlink += in.ns.subdirs()
		}
	}
	return a
}

const (
	statBlockSize = 4096
	direntSize    = 32 // bytes that a directory's size counts for each entry
)

// record is the key of in's inode record.
func (in *inode) record() blockstore.Key { return blockstore.Key{Ino: in.key, Kind: kindInode} }

// inodeCache holds the inodes in use and the most recently used others.
type inodeCache struct {
	shards [cacheShards]cacheShard
}

const cacheShards = 64

type cacheShard struct {
	mu    sync.Mutex
	m     map[Ino]*inode
	ring  []*inode
	hand  int
	limit int
	_     [64]byte // keep shards on cache lines of their own
}

func (c *inodeCache) init(limit int) {
	for i := range c.shards {
		c.shards[i].m = make(map[Ino]*inode)
		c.shards[i].limit = max(limit/cacheShards, 1)
	}
}

func (c *inodeCache) shard(ino Ino) *cacheShard {
	return &c.shards[(uint64(ino)^uint64(ino)>>44)%cacheShards]
}

// addLocked enters a new inode and drops an old one for it, if need be.
func (s *cacheShard) addLocked(in *inode) (old *inode) {
	s.m[in.ino] = in
	for tries := 2 * len(s.ring); len(s.ring) >= s.limit && tries > 0; tries-- {
		if s.hand >= len(s.ring) {
			s.hand = 0
		}
		old = s.ring[s.hand]
		if old.pins.Load() > 0 || old.used.Swap(false) {
			s.hand++
			continue
		}
		delete(s.m, old.ino)
		in.slot = s.hand
		s.ring[s.hand] = in
		s.hand++
		return old
	}
	in.slot = len(s.ring) // all are pinned
	s.ring = append(s.ring, in)
	return nil
}

func (s *cacheShard) removeLocked(slot int) {
	last := len(s.ring) - 1
	s.ring[slot] = s.ring[last]
	s.ring[slot].slot = slot
	s.ring[last] = nil
	s.ring = s.ring[:last]
}

// addInode enters an inode that was just made.
func (f *FS) addInode(in *inode) {
	s := f.inodes.shard(in.ino)
	s.mu.Lock()
	old := s.addLocked(in)
	s.mu.Unlock()
	f.evicted(old)
}

// dropInode takes out an inode that no longer exists.
func (f *FS) dropInode(in *inode) {
	s := f.inodes.shard(in.ino)
	s.mu.Lock()
	if s.m[in.ino] == in {
		delete(s.m, in.ino)
		s.removeLocked(in.slot)
	}
	s.mu.Unlock()
	f.evicted(in)
}

// evicted takes what an inode's caches took from the counts; in may be nil.
func (f *FS) evicted(in *inode) {
	if in == nil {
		return
	}
	f.regionUnits.Add(-in.dropRegions())
	if d := in.dir; d != nil && d.names.places != nil {
		f.nameUnits.Add(-int64(len(d.names.places)))
	}
}

// pin finds an inode, or enters one that the caller must fill in and unlock: fresh tells.
func (f *FS) pin(ino Ino) (in *inode, fresh bool) {
	s := f.inodes.shard(ino)
	s.mu.Lock()
	if in = s.m[ino]; in != nil {
		in.pins.Add(1)
		s.mu.Unlock()
		if !in.used.Load() {
			in.used.Store(true)
		}
		return in, false
	}
	in = &inode{ino: ino}
	in.mu.Lock()
	in.pins.Store(1)
	old := s.addLocked(in)
	s.mu.Unlock()
	f.evicted(old)
	return in, true
}

// get pins an inode, which is read if need be.
func (f *FS) get(ino Ino) *inode {
	in, fresh := f.pin(ino)
	if fresh {
		in.err = f.load(in)
		if in.err != nil {
			f.dropInode(in)
		}
		in.mu.Unlock()
	}
	return in
}

// lock pins an inode and locks it for changes. Those of snapshots can not be changed.
func (f *FS) lock(ino Ino) (*inode, error) {
	if ino.Namespace() == virtualNS {
		return nil, ErrReadOnly
	}
	in := f.get(ino)
	in.mu.Lock()
	if err := in.usable(); err != nil {
		f.unlock(in)
		return nil, err
	}
	return in, nil
}

// rlock pins an inode and locks it for reading.
func (f *FS) rlock(ino Ino) (*inode, error) {
	in := f.get(ino)
	in.mu.RLock()
	if err := in.usable(); err != nil {
		f.runlock(in)
		return nil, err
	}
	return in, nil
}

func (in *inode) usable() error {
	if in.err != nil {
		return in.err
	}
	if in.ns != nil && in.ns.dead.Load() && in.live() {
		return ErrNotExist
	}
	return nil
}

func (f *FS) unlock(in *inode) {
	in.mu.Unlock()
	in.pins.Add(-1)
}

func (f *FS) runlock(in *inode) {
	in.mu.RUnlock()
	in.pins.Add(-1)
}

// load reads an inode's record. in.mu is held.
func (f *FS) load(in *inode) error {
	in.key, in.epoch = in.ino, blockstore.Live
	if in.ino.Namespace() == virtualNS {
		if in.ino == snapshotsIno {
			return f.loadSnapshots(in)
		}
		var ok bool
		if in.epoch, in.key, ok = f.virtual.real(in.ino); !ok {
			return ErrNotExist
		}
	}
	var err error
	if in.ns, err = f.namespace(in.key.Namespace()); err != nil {
		return err
	}
	value, err := f.st.GetAt(in.epoch, in.record())
	if errors.Is(err, blockstore.ErrNotFound) {
		return ErrNotExist
	}
	if err == nil {
		in.ext, err = decodeInode(value, &in.rec, nil)
	}
	if err != nil {
		return f.inodeError("read", in.key, err)
	}
	if in.rec.isDir() {
		in.dir = new(dirState)
	}
	return nil
}

// read gets a record that belongs to in; nil when there is none.
func (f *FS) read(in *inode, kind blockstore.Kind, suffix uint64) ([]byte, error) {
	v, err := f.st.GetAt(in.epoch, blockstore.Key{Ino: in.key, Kind: kind, Suffix: suffix})
	if err != nil {
		if errors.Is(err, blockstore.ErrNotFound) {
			return nil, nil
		}
		return nil, f.inodeError("read", in.key, err)
	}
	return v, nil
}
