package fs

import "sync"

// refTable counts the kernel's references to inodes, and remembers which of those have no name any more.
type refTable struct {
	shards [64]struct {
		mu   sync.Mutex
		m    map[Ino]uint64 // count, and orphanBit
		peak int
		_    [40]byte // keep shards on cache lines of their own
	}
}

const orphanBit = 1 << 63

func (t *refTable) init() {
	for i := range t.shards {
		t.shards[i].m = make(map[Ino]uint64)
	}
}

// ref adds a reference.
func (t *refTable) ref(ino Ino) {
	s := &t.shards[uint64(ino)%64]
	s.mu.Lock()
	s.m[ino]++
	s.peak = max(s.peak, len(s.m))
	s.mu.Unlock()
}

// unref takes n references away. It reports whether they were the last to an inode, and whether that has no name.
func (t *refTable) unref(ino Ino, n uint64) (last, orphan bool) {
	s := &t.shards[uint64(ino)%64]
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.m[ino]
	if !ok {
		return false, false
	}
	if count := v &^ orphanBit; count > n {
		s.m[ino] = v - n
		return false, false
	}
	delete(s.m, ino)
	if len(s.m) == 0 && s.peak > 1024 { // maps do not shrink
		s.m, s.peak = make(map[Ino]uint64), 0
	}
	return true, v&orphanBit != 0
}

// orphaned notes that an inode lost its last name. It reports whether somebody still refers to it; otherwise nothing is
// noted. With keep, it is as if somebody did.
func (t *refTable) orphaned(ino Ino, keep bool) (held bool) {
	s := &t.shards[uint64(ino)%64]
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.m[ino]
	if !ok && !keep {
		return false
	}
	s.m[ino] = v | orphanBit
	return true
}

// adopted notes that an orphan got a name.
func (t *refTable) adopted(ino Ino) {
	s := &t.shards[uint64(ino)%64]
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.m[ino] &^ orphanBit; v == 0 {
		delete(s.m, ino)
	} else {
		s.m[ino] = v
	}
}

// held reports whether there are references to an inode.
func (t *refTable) held(ino Ino) bool {
	s := &t.shards[uint64(ino)%64]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[ino] != 0
}

// takeOrphans forgets all references and returns the orphans among the inodes.
func (t *refTable) takeOrphans() (list []Ino) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for ino, v := range s.m {
			if v&orphanBit != 0 {
				list = append(list, ino)
			}
		}
		s.m = make(map[Ino]uint64)
		s.mu.Unlock()
	}
	return list
}

// Ref counts a reference that the kernel holds to an inode.
func (f *FS) Ref(ino Ino) { f.refs.ref(ino) }

// Unref takes back n references. With the last, an inode without a name is deleted.
func (f *FS) Unref(ino Ino, n uint64) {
	last, orphan := f.refs.unref(ino, n)
	switch {
	case orphan:
		f.reap(ino)
	case last && ino.Namespace() == virtualNS:
		f.virtual.release(ino)
	}
}
