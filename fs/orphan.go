package fs

import (
	"errors"
	"fmt"

	"salliefs/blockstore"
)

// An orphan is an inode without a name. Its record says so until it is deleted, so that one which a crash or the end of
// the process left is found again. The record of a file whose truncation takes more than one step is of the same kind.

func orphanKey(ino Ino) blockstore.Key {
	return blockstore.Key{Ino: blockstore.MakeIno(ino.Namespace(), 1), Kind: kindOrphan, Suffix: ino.Number()}
}

func (f *FS) putOrphan(tx *blockstore.Tx, ino Ino, what byte) {
	tx.Put(orphanKey(ino), encodeOrphan(orphan{what, f.run}))
}

// dropOrphan forgets that an inode is an orphan, unless it still is for another reason.
func (f *FS) dropOrphan(tx *blockstore.Tx, in *inode) {
	if in.rec.flags&isTruncating != 0 {
		f.putOrphan(tx, in.key, orphanTruncate)
		return
	}
	tx.Delete(orphanKey(in.key))
}

// adopted notes that an orphan has got a name.
func (f *FS) adopted(in *inode) {
	f.refs.adopted(in.ino)
	in.ns.orphans.Add(-1)
}

// bigFile is how many bytes of a file can be freed while somebody waits.
const bigFile = 64 << 20

// reap deletes an orphan to which nobody refers; a big one in the background.
func (f *FS) reap(ino Ino) {
	in, err := f.lock(ino)
	if err != nil {
		if !errors.Is(err, ErrNotExist) {
			f.log.Warn("a file without a name could not be deleted; the next start tries again", "err", err)
		}
		return
	}
	if in.rec.alloc <= bigFile {
		f.reapLocked(in)
		return
	}
	f.background.Add(1)
	go func() {
		defer f.background.Done()
		f.reapLocked(in)
	}()
}

// reapLocked deletes an orphan, which is locked, and unlocks it.
func (f *FS) reapLocked(in *inode) {
	ns := in.ns
	var err error
	deleted := false
	if in.rec.nlink == 0 && !f.refs.orphaned(in.ino, false) {
		err = f.deleteInode(in)
		deleted = err == nil
	}
	f.unlock(in)
	switch {
	case deleted:
		if ns.orphans.Add(-1) == 0 && ns.doomed.Load() {
			f.removeDoomed(ns)
		}
	case err != nil && !errors.Is(err, ErrNotExist) && !errors.Is(err, errClosing):
		f.log.Warn("a file without a name could not be deleted; the next start tries again", "inode", in.ino, "err", err)
	}
}

// deleteInode frees all that an inode has, and its record. It is locked.
func (f *FS) deleteInode(in *inode) error {
	if in.rec.flags&hasRegions != 0 {
		if err := f.freeRegions(in); err != nil {
			return err
		}
	}
	xattrs, err := f.xattrSuffixes(in)
	if err != nil {
		return err
	}
	err = f.update(in.ns, func(tx *blockstore.Tx) error {
		freeGone(tx, in.ns.id, in.ext, nil)
		for _, suffix := range xattrs {
			tx.Delete(blockstore.Key{Ino: in.key, Kind: kindXattr, Suffix: suffix})
		}
		if in.rec.flags&hasTarget != 0 {
			tx.Delete(blockstore.Key{Ino: in.key, Kind: kindTarget})
		}
		tx.Delete(in.record())
		tx.Delete(orphanKey(in.key))
		tx.Account(in.ns.id, -1, -sum(in.ext))
		return nil
	})
	if err != nil {
		return err
	}
	in.err, in.ext = ErrNotExist, nil
	f.dropInode(in)
	return nil
}

// errClosing ends background work.
var errClosing = errors.New("closing")

func (f *FS) closed() bool {
	select {
	case <-f.closing:
		return true
	default:
		return false
	}
}

// finishEarlierRuns deletes the orphans of earlier runs, and ends truncations that a crash cut short.
func (f *FS) finishEarlierRuns(spaces []Namespace) {
	defer f.background.Done()
	for _, d := range spaces {
		if f.closed() {
			return
		}
		ns, err := f.namespace(d.ID)
		if err == nil {
			err = f.finishNamespace(ns)
		}
		if err == nil && hidden(d.Name) {
			err = f.st.RemoveNamespace(d.Name, nil)
		}
		if err != nil && !errors.Is(err, ErrNotExist) && !errors.Is(err, errClosing) {
			f.log.Warn("what an earlier run left behind could not be cleaned up; the next start tries again", "namespace", d.Name, "err", err)
		}
	}
}

// orphanBatch is how many orphan records are looked at together.
const orphanBatch = 1024

func (f *FS) finishNamespace(ns *namespace) error {
	for from := uint64(0); ; {
		var list []Ino
		var bad error
		err := f.st.Scan(blockstore.Live, blockstore.MakeIno(ns.id, 1), kindOrphan, from, func(n uint64, value []byte) bool {
			from = n + 1
			o, err := decodeOrphan(value)
			if err != nil {
				bad = errors.Join(bad, fmt.Errorf("inode %d: %w", n, err))
			} else if o.run != f.run {
				list = append(list, blockstore.MakeIno(ns.id, n))
			}
			return len(list) < orphanBatch
		})
		if err = errors.Join(err, bad); err != nil {
			return err
		}
		for _, ino := range list {
			if f.closed() {
				return errClosing
			}
			if err := f.finishOrphan(ns, ino); err != nil {
				return err
			}
		}
		if len(list) < orphanBatch {
			return nil
		}
	}
}

// finishOrphan does what is left to do for an inode of an earlier run.
func (f *FS) finishOrphan(ns *namespace, ino Ino) error {
	if err := f.st.ThrottleMeta(); err != nil {
		return err
	}
	in, err := f.lock(ino)
	if errors.Is(err, ErrNotExist) {
		return f.update(ns, func(tx *blockstore.Tx) error {
			tx.Delete(orphanKey(ino))
			return nil
		})
	}
	if err != nil {
		return err
	}
	if in.rec.nlink == 0 && !f.refs.held(ino) {
		ns.orphans.Add(1) // which the deletion takes back
		f.reapLocked(in)
		return nil
	}
	defer f.unlock(in)
	return f.finishTruncate(in)
}
