package fs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"salliefs/blockstore"
)

// What Repair does about a Problem.
const (
	remedyInode    = "its inode is made anew from what else there is of it; if there is nothing, its names are taken out"
	remedyDirent   = "they are taken out; what they named gets a name in lost+found if it has no other"
	remedyEntry    = "that entry is taken out"
	remedyTake     = "that is taken out"
	remedyLink     = "it is taken out"
	remedyType     = "the entry takes the type of the inode"
	remedyCount    = "that is counted anew"
	remedyShared   = "it is marked as shared"
	remedyData     = "they are noted as lost; a copy of the rest is made in lost+found"
	remedyPlace    = "it gets a name in lost+found"
	remedyNotLeft  = "it is not noted so any more"
	remedyTruncate = "it is noted, and ended"
	remedyParent   = "it says where it is"
	remedySweep    = "blocks that nothing names are freed"
)

// Repairs are what CheckForRepair found that Repair can do something about.
type Repairs struct{ spaces []*spaceRepairs }

// Empty tells whether there is nothing to do.
func (r *Repairs) Empty() bool { return len(r.spaces) == 0 }

// Sweep tells whether there are blocks that nothing names.
func (r *Repairs) Sweep() bool {
	return slices.ContainsFunc(r.spaces, func(s *spaceRepairs) bool { return s.sweep })
}

// EachMissing visits the blocks that files name and that are not there.
func (r *Repairs) EachMissing(visit func(ns NamespaceID, id blockstore.BlockID)) {
	for _, s := range r.spaces {
		for _, id := range s.missing {
			visit(s.d.ID, id)
		}
	}
}

// remake is an inode that is to be made anew.
type remake struct {
	mode, links uint32
	parent      uint64
}

// spaceRepairs is what is to be repaired in a namespace. All numbers are those of inodes.
type spaceRepairs struct {
	ns   *namespace
	d    Namespace
	told []Problem

	dirents     map[uint64]map[uint64]struct{} // records of directories of which entries are to be looked at, by suffix
	apart       map[uint64]map[uint64]struct{} // entries of directories that name these are to go
	regions     map[uint64]map[uint64]struct{} // records of regions that can not be read
	ends        map[uint64]map[uint64]struct{} // regions that reach past their file's end
	attrs       map[uint64]map[uint64]struct{} // records of attributes, by suffix
	remake      map[uint64]remake
	drop        map[uint64]struct{} // inodes of which nothing is left that is of use
	settle      map[uint64]struct{} // inodes that are to be counted anew
	links       map[uint64]int32    // how many names more files have than they count
	parents     map[uint64]uint64
	place       []uint64 // inodes without a name
	copies      []uint64 // files of which bytes are lost
	orphans     []uint64 // whose records are to go
	truncations []uint64
	shared      map[blockstore.BlockID]struct{}
	missing     []blockstore.BlockID
	files       int64 // that the counters are off
	bytes       int64
	sweep       bool
}

func newSpaceRepairs(ns *namespace, d Namespace) *spaceRepairs {
	type table = map[uint64]map[uint64]struct{}
	return &spaceRepairs{
		ns: ns, d: d, dirents: make(table), apart: make(table), regions: make(table), ends: make(table), attrs: make(table),
		remake: make(map[uint64]remake), drop: make(map[uint64]struct{}), settle: make(map[uint64]struct{}),
		links: make(map[uint64]int32), parents: make(map[uint64]uint64), shared: make(map[blockstore.BlockID]struct{}),
	}
}

func (r *spaceRepairs) empty() bool { return len(r.told) == 0 }

func note(table map[uint64]map[uint64]struct{}, n, x uint64) {
	if table[n] == nil {
		table[n] = make(map[uint64]struct{})
	}
	table[n][x] = struct{}{}
}

func (r *spaceRepairs) dirent(n, suffix uint64) { note(r.dirents, n, suffix) }
func (r *spaceRepairs) away(dir, n uint64)      { note(r.apart, dir, n) }
func (r *spaceRepairs) region(n, region uint64) { note(r.regions, n, region) }
func (r *spaceRepairs) past(n, region uint64)   { note(r.ends, n, region) }
func (r *spaceRepairs) xattr(n, suffix uint64)  { note(r.attrs, n, suffix) }

// RepairOptions say how Repair works.
type RepairOptions struct {
	// Block tells what can not be read of a block, as that of CheckOptions.
	Block func(ns NamespaceID, id blockstore.BlockID, off, n int) error
	Time  time.Time // in the name of the report
	Head  string    // the first lines of the report
	// Silent makes no report: it is for what becomes apart only when all else is repaired.
	Silent bool
}

// Repair does what r says: it works on what has been proven to be wrong, and leaves alone what others have changed since.
// What it can save without knowing where it belongs, and copies of files that have lost some of their bytes, come into the
// directory lost+found of their namespace; at the root, which has no directories but namespaces, they get names that begin
// with "lost+found-". A report beside them tells all that was found and done. It makes nothing durable.
func (f *FS) Repair(ctx context.Context, r *Repairs, o RepairOptions) error {
	if err := f.begin(); err != nil {
		return err
	}
	for _, s := range r.spaces {
		s.ns.repairing.Store(true)
		err := f.repairSpace(ctx, s, o)
		s.ns.repairing.Store(false)
		if err != nil && !errors.Is(err, ErrNotExist) {
			return fmt.Errorf("namespace %q: %w", s.d.Name, err)
		}
	}
	return nil
}

func (f *FS) repairSpace(ctx context.Context, s *spaceRepairs, o RepairOptions) error {
	w := &repair{f: f, s: s, o: o, paths: make(map[uint64]string)}
	for _, n := range slices.Concat(s.copies, s.place) { // before names go
		_, w.paths[n] = f.pathOf(w.ino(n))
	}
	f.renames.Lock()
	err := w.structure(ctx)
	f.renames.Unlock()
	if err == nil && !o.Silent {
		err = w.report()
	}
	if err == nil {
		err = w.save(ctx)
	}
	if err == nil && (s.files != 0 || s.bytes != 0) {
		err = f.update(s.ns, func(tx *blockstore.Tx) error {
			tx.Account(s.d.ID, s.files, s.bytes)
			return nil
		})
	}
	return err
}

// repair is the repair of a namespace.
type repair struct {
	f      *FS
	s      *spaceRepairs
	o      RepairOptions
	paths  map[uint64]string
	lost   Ino    // the directory for what is saved
	prefix string // of names in it
}

func (w *repair) ino(n uint64) Ino { return blockstore.MakeIno(w.s.d.ID, n) }

func (w *repair) update(fn func(tx *blockstore.Tx)) error {
	return w.f.update(w.s.ns, func(tx *blockstore.Tx) error { fn(tx); return nil })
}
