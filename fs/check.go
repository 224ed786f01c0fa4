package fs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"salliefs/blockstore"
)

// Check compares all that the records of the namespaces say with each other: entries with inodes, both ways; links,
// sizes of directories and allocated bytes with what there is; the counters of the namespaces with all of it. It may run
// beside writers, as it looks at one committed state. It calls report for all that is wrong, and fails only if it can
// not go on. It takes about 56 bytes of memory for each inode of the largest namespace.
//
// That records and blocks are whole is for the store's own check. What that found out about blocks is reported here with
// the names of the files, if o.Block tells it.
func (f *FS) Check(ctx context.Context, o CheckOptions, report func(Problem)) error {
	c := &check{f: f, ctx: ctx, o: o, report: report}
	all := f.st.Namespaces()
	for _, d := range all {
		c.total += d.Usage.Files
	}
	for _, d := range all {
		if err := c.namespace(d); err != nil {
			return err
		}
	}
	if o.Progress != nil {
		o.Progress(c.done, c.done)
	}
	return nil
}

type check struct {
	f           *FS
	ctx         context.Context
	o           CheckOptions
	report      func(Problem)
	done, total int64
}

// checkedInode is what is known of an inode. What records say is counted down to 0 by what is found.
type checkedInode struct {
	n, parent    uint64
	size         int64 // of a file
	rest         int64 // allocated bytes of a file, entries of a directory
	links        int32 // names of a file, subdirectories of a directory
	xattrs       int32
	mode         uint16
	flags, found uint16
}

// Bits of checkedInode.found.
const (
	foundEntry = 1 << iota
	foundTarget
	foundDelete
	foundTruncate
	foundTop // the way up leads to the top directory
)

func (x *checkedInode) isDir() bool { return x.mode&ModeType == ModeDir }

// checkedSpace is a namespace being checked.
type checkedSpace struct {
	*check
	ns     *namespace
	d      Namespace
	inodes []checkedInode // by number
	files  blockSet       // blocks that extents name
	blocks int64
	bytes  int64
	failed bool // some records could not be taken into account
}

func (c *check) namespace(d Namespace) error {
	ns, err := c.f.namespace(d.ID)
	if err != nil {
		return err
	}
	s := &checkedSpace{check: c, ns: ns, d: d, files: make(blockSet)}
	before, _ := c.f.st.NamespaceByID(d.ID)
	if err := c.f.st.Sync(); err != nil && !errors.Is(err, ErrFailed) {
		return err
	}
	var usage Namespace
	started := false
	err = c.f.st.ScanNamespace(blockstore.Live, d.ID, func(k blockstore.Key, value []byte) error {
		if !started { // the state that is looked at is fixed from here on
			started = true
			usage, _ = c.f.st.NamespaceByID(d.ID)
		}
		return s.record(k, value)
	})
	switch {
	case c.ctx.Err() != nil:
		return c.ctx.Err()
	case errors.Is(err, blockstore.ErrNotFound):
		return nil // removed meanwhile
	case err != nil:
		s.problem(0, "its records can not be read further, so nothing more is checked: %v", err)
		return nil
	}
	s.finish()
	if started && !s.failed && before.Usage.Files == usage.Usage.Files && before.Usage.Logical == usage.Usage.Logical {
		s.counters(usage.Usage)
	}
	return nil
}

// problem reports something about an inode, or the namespace itself if n is 0.
func (s *checkedSpace) problem(n uint64, format string, args ...any) {
	p := Problem{Namespace: s.d.Name, What: fmt.Sprintf(format, args...)}
	if n != 0 {
		p.Ino = blockstore.MakeIno(s.d.ID, n)
		_, p.Path = s.f.pathOf(p.Ino)
	}
	s.report(p)
}

// inode finds an inode of the table; nil if there is none.
func (s *checkedSpace) inode(n uint64) *checkedInode {
	i, ok := slices.BinarySearchFunc(s.inodes, n, func(x checkedInode, n uint64) int { return cmp.Compare(x.n, n) })
	if !ok {
		return nil
	}
	return &s.inodes[i]
}

// record takes a record into account. They come by kind, inode and suffix.
func (s *checkedSpace) record(k blockstore.Key, value []byte) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	n := k.Ino.Number()
	if k.Kind == kindInode {
		s.addInode(n, value)
		return nil
	}
	x := s.inode(n)
	if x == nil {
		if k.Kind >= kindInode && k.Kind <= kindOrphan {
			s.problem(n, "there is a record of kind %#02x, and no inode", uint8(k.Kind))
		}
		return nil
	}
	var err error
	switch k.Kind {
	case kindDirent:
		err = s.dirents(x, k.Suffix, value)
	case kindRegion:
		err = s.region(x, k.Suffix, value)
	case kindXattr:
		err = s.xattrs(x, k.Suffix, value)
	case kindTarget:
		x.found |= foundTarget
		_, err = decodeTarget(value)
	case kindOrphan:
		err = s.orphan(k.Suffix, value)
	}
	if err != nil {
		s.failed = true
		s.problem(n, "%v", err)
	}
	return nil
}

func (s *checkedSpace) addInode(n uint64, value []byte) {
	if s.done++; s.o.Progress != nil && s.done%1024 == 0 {
		s.o.Progress(s.done, max(s.done, s.total))
	}
	var r inodeRec
	ext, err := decodeInode(value, &r, nil)
	if err != nil {
		s.failed = true
		s.problem(n, "%v", err)
		return
	}
	x := checkedInode{
		n: n, parent: r.parent, size: r.size, rest: r.alloc, links: int32(r.nlink), xattrs: int32(r.xattrs),
		mode: uint16(r.mode), flags: uint16(r.flags),
	}
	if r.isDir() {
		x.rest = r.size
		x.links -= 2
	}
	s.extents(&x, 0, ext)
	s.inodes = append(s.inodes, x)
}

func (s *checkedSpace) dirents(x *checkedInode, suffix uint64, value []byte) error {
	if !x.isDir() {
		s.problem(x.n, "it has entries, and is no directory")
		return nil
	}
	return eachDirent(value, func(e dirent, name []byte, _, _ int) {
		x.rest--
		if s.ns.suffix(blockstore.MakeIno(s.d.ID, x.n), string(name)) != suffix {
			s.problem(x.n, "entry %q is not where it would be looked for", name)
		}
		y := s.inode(e.n)
		switch {
		case y == nil:
			s.problem(x.n, "entry %q names inode %d, which does not exist", name, e.n)
			return
		case uint8(y.mode>>typeShift) != e.typ:
			s.problem(x.n, "entry %q is of another type than inode %d", name, e.n)
		case y.isDir() && y.parent != x.n:
			s.problem(x.n, "entry %q is a directory that has inode %d above it", name, y.parent)
		case y.isDir() && y.found&foundEntry != 0:
			s.problem(x.n, "entry %q is one more name of a directory", name)
		}
		y.found |= foundEntry
		if y.isDir() {
			x.links--
		} else {
			y.links--
		}
	})
}

func (s *checkedSpace) region(x *checkedInode, n uint64, value []byte) error {
	list, err := decodeRegion(value)
	if err != nil {
		return err
	}
	if x.flags&hasRegions == 0 {
		s.problem(x.n, "it has a record of region %d that its inode does not know of", n)
	}
	s.extents(x, n, list)
	return nil
}

// extents takes the extents of a region into account.
func (s *checkedSpace) extents(x *checkedInode, region uint64, list []extent) {
	x.rest -= sum(list)
	s.bytes += sum(list)
	for i := range list {
		e := &list[i]
		if e.id == 0 {
			continue
		}
		// A page that was rewritten as a whole may reach past the end, with zeros.
		if last := (x.size + pageSize - 1) &^ (pageSize - 1); int64(region)<<regionBits+int64(e.end()) > last && x.flags&isTruncating == 0 {
			s.problem(x.n, "there is data past its end, in region %d", region)
		}
		if s.files.add(e.id) {
			s.blocks++
		} else if !e.shared && !names(list[:i], e.id) {
			s.problem(x.n, "block %d in region %d has another place too, and is not marked as shared", e.id, region)
		}
		if s.o.Block != nil {
			s.data(x, region, e)
		}
	}
}

// data asks about what an extent names.
func (s *checkedSpace) data(x *checkedInode, region uint64, e *extent) {
	err := s.o.Block(s.d.ID, e.id, int(e.boff), int(e.len))
	if err == nil || !s.stillNamed(x.n, region, e.id) {
		return // or freed meanwhile
	}
	at := int64(region)<<regionBits + int64(e.off)
	s.problem(x.n, "bytes %d to %d: %v", at, at+int64(e.len), err)
}

func (s *checkedSpace) stillNamed(n, region uint64, id blockstore.BlockID) bool {
	k := blockstore.Key{Ino: blockstore.MakeIno(s.d.ID, n), Kind: kindInode}
	if region > 0 {
		k.Kind, k.Suffix = kindRegion, region
	}
	value, err := s.f.st.Get(k)
	if err != nil {
		return false
	}
	named := false
	err = blockRefs(k.Kind, value, func(b blockstore.BlockID) { named = named || b == id })
	return err == nil && named
}

func (s *checkedSpace) xattrs(x *checkedInode, suffix uint64, value []byte) error {
	list, err := decodeXattrs(value)
	if err != nil {
		return err
	}
	for i := range list {
		x.xattrs--
		if s.ns.hasher.Sum(uint64(blockstore.MakeIno(s.d.ID, x.n)), list[i].name) != suffix {
			s.problem(x.n, "attribute %q is not where it would be looked for", list[i].name)
		}
		if flag := xattrFlag(list[i].name); uint32(x.flags)&flag != flag {
			s.problem(x.n, "its inode does not know of attribute %q", list[i].name)
		}
	}
	return nil
}

func (s *checkedSpace) orphan(n uint64, value []byte) error {
	o, err := decodeOrphan(value)
	if err != nil {
		return err
	}
	x := s.inode(n)
	switch {
	case x == nil:
		s.problem(n, "it is noted as left over, and does not exist")
	case o.what == orphanDelete:
		x.found |= foundDelete
	default:
		x.found |= foundTruncate
	}
	return nil
}

// neverUsed says that nothing was written yet: who first opens a store for writing makes the root directory, and all else
// comes later.
func (s *checkedSpace) neverUsed() bool {
	return s.d.ID == blockstore.RootNamespace && len(s.inodes) == 0 && s.d.Usage.Files == 0 && len(s.f.st.Namespaces()) == 1
}

// finish compares what was found with what the inodes say.
func (s *checkedSpace) finish() {
	if x := s.inode(1); (x == nil || !x.isDir()) && !s.neverUsed() {
		s.problem(0, "its top directory is missing")
	}
	for i := range s.inodes {
		x := &s.inodes[i]
		if x.rest != 0 {
			s.finishRest(x)
		}
		if x.xattrs != 0 {
			s.problem(x.n, "its inode says that it has %d attributes more than there are", x.xattrs)
		}
		if x.flags&hasTarget != 0 && x.found&foundTarget == 0 {
			s.problem(x.n, "the target of the symbolic link is missing")
		}
		if x.flags&isTruncating != 0 && x.found&(foundTruncate|foundDelete) == 0 {
			s.problem(x.n, "an unfinished truncation is not noted")
		}
		s.finishLinks(x)
	}
}

func (s *checkedSpace) finishRest(x *checkedInode) {
	what := "allocated bytes"
	if x.isDir() {
		what = "entries"
	}
	s.problem(x.n, "its inode says that it has %d %s more than there are", x.rest, what)
}

func (s *checkedSpace) finishLinks(x *checkedInode) {
	orphan := x.found&foundDelete != 0
	switch {
	case x.isDir() && orphan && x.links == -2 && x.found&foundEntry == 0: // removed, and still open
	case orphan && (x.links != 0 || x.found&foundEntry != 0):
		s.problem(x.n, "it is noted as left over, and has names")
	case x.isDir() && x.n == 1 && s.d.ID == blockstore.RootNamespace && x.links == 0:
	case x.isDir() && x.n == 1 && hidden(s.d.Name): // removed, and files in it still open
	case x.links != 0 && x.isDir():
		s.problem(x.n, "it counts %d subdirectories more than there are", x.links)
	case x.links != 0:
		s.problem(x.n, "it counts %d names more than there are", x.links)
	case x.n == 1 || orphan:
	case x.found&foundEntry == 0:
		s.problem(x.n, "it has no name, and is not noted as left over")
	case x.isDir():
		s.wayUp(x)
	}
}

// wayUp reports directories from which no way leads up to the top.
func (s *checkedSpace) wayUp(x *checkedInode) {
	first := x.n
	var way []*checkedInode
	for range maxDepth {
		if x == nil || x.n == 1 || x.found&foundTop != 0 {
			break
		}
		way = append(way, x)
		x = s.inode(x.parent)
	}
	if x == nil || x.n != 1 && x.found&foundTop == 0 {
		s.problem(first, "no way leads from it up to the top directory")
	}
	for _, x := range way {
		x.found |= foundTop
	}
}

// counters compares the namespace's counters with what was found.
func (s *checkedSpace) counters(u blockstore.Usage) {
	if files := int64(len(s.inodes)) - 1; u.Files != files {
		s.problem(0, "its counters say %d files, there are %d", u.Files, files)
	}
	if u.Logical != s.bytes {
		s.problem(0, "its counters say %d bytes of data, there are %d", u.Logical, s.bytes)
	}
	// Blocks that a snapshot holds or that were shared need not be in use by files of the present.
	top := s.inode(1)
	exact := s.f.st.Stats().Epoch == firstEpoch && top != nil && top.flags&hasShared == 0
	if u.Blocks < s.blocks || exact && u.Blocks > s.blocks {
		s.problem(0, "it has %d blocks, of which %d are in use", u.Blocks, s.blocks)
	}
}

// firstEpoch is the epoch of a store of which no snapshot was taken yet.
const firstEpoch = 1

// blockSet is a set of blocks, of one bit each where there are any.
type blockSet map[blockstore.BlockID]*[512]uint64

// add reports whether id is new.
func (s blockSet) add(id blockstore.BlockID) bool {
	const bits = 512 * 64
	page := s[id/bits]
	if page == nil {
		page = new([512]uint64)
		s[id/bits] = page
	}
	word, bit := &page[id%bits/64], uint64(1)<<(id%64)
	old := *word&bit != 0
	*word |= bit
	return !old
}
