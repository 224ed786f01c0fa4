package fs

import (
	"slices"
	"sync"

	"salliefs/blockstore"
)

// The tree of a snapshot is below .snapshots/NAME in the root directory, and can not be changed. Its inodes have numbers
// that are made up when they are first met: those of the records are taken by the present.

const (
	snapshotsIno Ino = Ino(uint64(virtualNS)<<44 | 1) // the directory of all snapshots

	// snapshotsEpoch is the epoch of that directory, which is of none.
	snapshotsEpoch blockstore.Epoch = 0
)

// Snapshots lists the snapshots, oldest first.
func (f *FS) Snapshots() []Snapshot { return f.st.Snapshots() }

// Snapshot fixes the present state under a name, durably.
func (f *FS) Snapshot(name string) (Snapshot, error) {
	if err := f.begin(); err != nil {
		return Snapshot{}, err
	}
	sn, err := f.st.Snapshot(name)
	if err != nil {
		return sn, &Error{Op: "snapshot", Path: name, Err: spaceError(err)}
	}
	f.reloadSnapshots()
	f.entryChanged(snapshotsIno, name)
	return sn, nil
}

// DeleteSnapshot forgets a snapshot.
func (f *FS) DeleteSnapshot(name string) error {
	if err := f.beginFreeing(); err != nil {
		return err
	}
	if err := f.st.DeleteSnapshot(name); err != nil {
		return &Error{Op: "delete snapshot", Path: name, Err: spaceError(err)}
	}
	f.reloadSnapshots()
	f.entryChanged(snapshotsIno, name)
	return nil
}

// reloadSnapshots makes the directory of snapshots anew, if it is in memory.
func (f *FS) reloadSnapshots() {
	in := f.get(snapshotsIno)
	in.mu.Lock()
	in.err = f.loadSnapshots(in)
	f.unlock(in)
}

func (f *FS) loadSnapshots(in *inode) error {
	in.epoch = snapshotsEpoch
	in.dir = new(dirState)
	list := f.st.Snapshots()
	in.rec = inodeRec{mode: ModeDir | 0o555, nlink: uint32(2 + len(list)), size: int64(len(list))}
	for _, sn := range list {
		in.rec.mtime = max(in.rec.mtime, sn.Created.UnixNano())
	}
	in.rec.atime, in.rec.ctime = in.rec.mtime, in.rec.mtime
	return nil
}

func (f *FS) lookupSnapshot(name string) (Ino, error) {
	for _, sn := range f.st.Snapshots() {
		if sn.Name == name {
			return f.virtual.ino(sn.Epoch, RootIno), nil
		}
	}
	return 0, ErrNotExist
}

// listSnapshots lists the snapshots whose positions, which are their epochs, come after one.
func (f *FS) listSnapshots(after uint64) *listing {
	l := &listing{after: after, upTo: lastPosition}
	for _, sn := range f.st.Snapshots() {
		if pos := uint64(sn.Epoch); pos > after {
			l.entries = append(l.entries, listed{pos: pos, name: sn.Name, ino: f.virtual.ino(sn.Epoch, RootIno), typ: ModeDir >> typeShift})
		}
	}
	slices.SortFunc(l.entries, byPosition)
	return l
}

// virtualTable gives numbers to the inodes of snapshots. A number stays for as long as the kernel refers to it, and
// some time longer.
type virtualTable struct {
	mu    sync.Mutex
	next  uint64
	byIno map[Ino]virtualInode
	byKey map[virtualInode]Ino
	idle  []Ino // those that nobody referred to when they were made or released, oldest first
	held  func(Ino) bool
}

type virtualInode struct {
	epoch blockstore.Epoch
	key   Ino
}

// mostIdle is how many numbers are remembered that nobody refers to, about.
const mostIdle = 1 << 16

func (t *virtualTable) init(held func(Ino) bool) {
	t.held = held
	t.next = snapshotsIno.Number() + 1
	t.byIno = make(map[Ino]virtualInode)
	t.byKey = make(map[virtualInode]Ino)
}

// ino is the number of an inode at an epoch.
func (t *virtualTable) ino(epoch blockstore.Epoch, key Ino) Ino {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := virtualInode{epoch, key}
	if ino, ok := t.byKey[v]; ok {
		return ino
	}
	ino := blockstore.MakeIno(virtualNS, t.next)
	t.next++
	t.byIno[ino], t.byKey[v] = v, ino
	t.idle = append(t.idle, ino)
	t.trimLocked()
	return ino
}

// real is what a number stands for.
func (t *virtualTable) real(ino Ino) (blockstore.Epoch, Ino, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v, ok := t.byIno[ino]
	return v.epoch, v.key, ok
}

// release notes that the kernel no longer refers to a number.
func (t *virtualTable) release(ino Ino) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.byIno[ino]; ok {
		t.idle = append(t.idle, ino)
		t.trimLocked()
	}
}

// trimLocked forgets the oldest numbers that nobody refers to, if there are many.
func (t *virtualTable) trimLocked() {
	if len(t.idle) < 2*mostIdle {
		return
	}
	old := t.idle[:len(t.idle)-mostIdle]
	for _, ino := range old {
		if v, ok := t.byIno[ino]; ok && !t.held(ino) {
			delete(t.byIno, ino)
			delete(t.byKey, v)
		}
	}
	t.idle = append([]Ino(nil), t.idle[len(old):]...)
}
