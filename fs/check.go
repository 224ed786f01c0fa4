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
// not go on. It takes about 64 bytes of memory for each inode of the largest namespace.
//
// That records and blocks are whole is for the store's own check. What that found out about blocks is reported here with
// the names of the files, if o.Block tells it.
func (f *FS) Check(ctx context.Context, o CheckOptions, report func(Problem)) error {
	_, err := f.CheckForRepair(ctx, o, report)
	return err
}

// CheckForRepair is Check that gives what Repair can do something about.
func (f *FS) CheckForRepair(ctx context.Context, o CheckOptions, report func(Problem)) (*Repairs, error) {
	c := &check{f: f, ctx: ctx, o: o, report: report}
	all := f.st.Namespaces()
	for _, d := range all {
		c.total += d.Usage.Files
	}
	repairs := new(Repairs)
	for _, d := range all {
		r, err := c.namespace(d)
		if err != nil {
			return nil, err
		}
		if r != nil {
			repairs.spaces = append(repairs.spaces, r)
		}
	}
	if o.Progress != nil {
		o.Progress(c.done, c.done)
	}
	return repairs, nil
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
	entryDir     uint64 // the directory where its first name is
	size         int64  // of a file
	rest         int64  // allocated bytes of a file, entries of a directory
	links        int32  // names of a file, subdirectories of a directory
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
	foundTop     // the way up leads to the top directory
	foundOnWay   // it is on the way that is walked now
	foundBad     // its record can not be read, or is missing
	foundRegions // of a bad one
	foundDirents // of a bad one
	foundDamage  // of its data
)

func (x *checkedInode) isDir() bool { return x.mode&ModeType == ModeDir }
func (x *checkedInode) isBad() bool { return x.found&foundBad != 0 }

// checkedSpace is a namespace being checked.
type checkedSpace struct {
	*check
	ns       *namespace
	d        Namespace
	inodes   []checkedInode // by number
	dangling []dangling
	badNames map[uint64][]dangling // of inodes that can not be read
	files    blockSet              // blocks that extents name
	blocks   int64
	bytes    int64
	failed   bool // some records could not be taken into account
	unread   bool // nobody knows which
	damage   *damage
	repairs  *spaceRepairs
}

// dangling is an entry of which there was no inode.
type dangling struct {
	dir, suffix, n uint64
	name           string
	typ            uint8
}

// damage are bytes of a file that can not be read, until it is known how far they go.
type damage struct {
	n        uint64
	from, to int64
	err      error
}

func (c *check) namespace(d Namespace) (*spaceRepairs, error) {
	ns, err := c.f.namespace(d.ID)
	if errors.Is(err, ErrNotExist) {
		return nil, nil // removed meanwhile
	}
	if err != nil {
		return nil, err
	}
	s := &checkedSpace{check: c, ns: ns, d: d, files: make(blockSet), badNames: make(map[uint64][]dangling), repairs: newSpaceRepairs(ns, d)}
	before, _ := c.f.st.NamespaceByID(d.ID)
	if err := c.f.st.Sync(); err != nil && !errors.Is(err, ErrFailed) {
		return nil, err
	}
	var usage Namespace
	started := false
	err = c.f.st.ScanNamespace(blockstore.Live, d.ID, blockstore.Scanned{
		Record: func(k blockstore.Key, value []byte) error {
			if !started { // the state that is looked at is fixed from here on
				started = true
				usage, _ = c.f.st.NamespaceByID(d.ID)
			}
			return s.record(k, value)
		},
		Damaged: func(k blockstore.Key, err error) error {
			s.badRecord(k, err)
			return c.ctx.Err()
		},
		Unread: func(_, _ blockstore.Key, err error) error {
			s.failed, s.unread = true, true
			s.problem(0, nothing, "not all of its records can be read, and nothing in it is repaired: %v", err)
			return c.ctx.Err()
		},
	})
	switch {
	case c.ctx.Err() != nil:
		return nil, c.ctx.Err()
	case errors.Is(err, blockstore.ErrNotFound):
		return nil, nil // removed meanwhile
	case err != nil:
		return nil, err
	}
	s.endDamage()
	s.finish()
	if started && !s.failed && before.Usage.Files == usage.Usage.Files && before.Usage.Logical == usage.Usage.Logical {
		s.counters(usage.Usage)
	}
	if s.unread || s.repairs.empty() {
		return nil, nil
	}
	return s.repairs, nil
}

// nothing is the remedy of what can not be repaired.
const nothing = ""

// problem reports something about an inode, or the namespace itself if n is 0, with what Repair does about it.
func (s *checkedSpace) problem(n uint64, remedy, format string, args ...any) {
	s.tell(n, Problem{Remedy: remedy, What: fmt.Sprintf(format, args...)})
}

func (s *checkedSpace) tell(n uint64, p Problem) {
	p.Namespace = s.d.Name
	if n != 0 {
		p.Ino = blockstore.MakeIno(s.d.ID, n)
		_, p.Path = s.f.pathOf(p.Ino)
	}
	if s.unread {
		p.Remedy = nothing
	}
	if p.Remedy != nothing {
		s.repairs.told = append(s.repairs.told, p)
	}
	s.report(p)
}

// inode finds an inode of the table; nil if there is none.
func (s *checkedSpace) inode(n uint64) *checkedInode {
	i, ok := s.search(n)
	if !ok {
		return nil
	}
	return &s.inodes[i]
}

func (s *checkedSpace) search(n uint64) (int, bool) {
	return slices.BinarySearchFunc(s.inodes, n, func(x checkedInode, n uint64) int { return cmp.Compare(x.n, n) })
}

// missing enters an inode that has records, and none of its own.
func (s *checkedSpace) missing(n uint64) *checkedInode {
	i, _ := s.search(n)
	s.inodes = slices.Insert(s.inodes, i, checkedInode{n: n, found: foundBad})
	return &s.inodes[i]
}

// badRecord takes notice of a record that can not be read, or does not decode.
func (s *checkedSpace) badRecord(k blockstore.Key, err error) {
	s.failed = true
	n := k.Ino.Number()
	if k.Kind == kindInode {
		s.problem(n, remedyInode, "its inode can not be read: %v", err)
		s.inodes = append(s.inodes, checkedInode{n: n, found: foundBad})
		return
	}
	x := s.inode(n)
	if x == nil && k.Kind <= kindOrphan {
		x = s.missing(n)
	}
	switch k.Kind {
	case kindDirent:
		x.found |= foundDirents
		s.repairs.dirent(n, k.Suffix)
		s.problem(n, remedyDirent, "names in it can not be read: %v", err)
	case kindRegion:
		x.found |= foundRegions
		s.lostRegion(x, k.Suffix, err)
	case kindXattr:
		s.repairs.xattr(n, k.Suffix)
		s.problem(n, remedyTake, "attributes of it can not be read: %v", err)
	case kindTarget:
		x.found |= foundTarget
		s.repairs.drop[n] = struct{}{}
		s.problem(n, remedyLink, "the target of the symbolic link can not be read: %v", err)
	case kindOrphan:
		s.repairs.orphans = append(s.repairs.orphans, k.Suffix)
		s.problem(k.Suffix, remedyTake, "it can not be read whether it is left over: %v", err)
	default:
		s.problem(n, nothing, "%v", err)
	}
}

func (s *checkedSpace) lostRegion(x *checkedInode, region uint64, err error) {
	s.repairs.region(x.n, region)
	at := int64(region) << regionBits
	end := at + RegionSize
	if !x.isBad() {
		end = min(end, x.size)
	}
	if at < end {
		s.damaged(x, at, end, err)
	}
	s.endDamage()
}

// record takes a record into account. They come by kind, inode and suffix.
func (s *checkedSpace) record(k blockstore.Key, value []byte) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	n := k.Ino.Number()
	if k.Kind == kindInode {
		s.addInode(k, value)
		return nil
	}
	x := s.inode(n)
	if x == nil {
		if k.Kind < kindInode || k.Kind > kindOrphan {
			return nil
		}
		s.failed = true
		s.problem(n, remedyInode, "there are records of it, and no inode")
		x = s.missing(n)
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
		s.badRecord(k, err)
	}
	return nil
}

func (s *checkedSpace) addInode(k blockstore.Key, value []byte) {
	if s.done++; s.o.Progress != nil && s.done%1024 == 0 {
		s.o.Progress(s.done, max(s.done, s.total))
	}
	var r inodeRec
	ext, err := decodeInode(value, &r, nil)
	if err != nil {
		s.badRecord(k, err)
		return
	}
	x := checkedInode{
		n: k.Ino.Number(), parent: r.parent, size: r.size, rest: r.alloc, links: int32(r.nlink), xattrs: int32(r.xattrs),
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
	if x.isBad() {
		x.found |= foundDirents
	} else if !x.isDir() {
		s.repairs.dirent(x.n, suffix)
		s.problem(x.n, remedyTake, "it has entries, and is no directory")
		return nil
	}
	return eachDirent(value, func(e dirent, name []byte, _, _ int) {
		if s.ns.suffix(blockstore.MakeIno(s.d.ID, x.n), string(name)) != suffix {
			s.repairs.dirent(x.n, suffix)
			s.problem(x.n, remedyEntry, "entry %q is not where it would be looked for", name)
			x.rest--
			return
		}
		y := s.inode(e.n)
		if y == nil { // but there may be other records of it
			s.dangling = append(s.dangling, dangling{x.n, suffix, e.n, string(name), e.typ})
			return
		}
		s.entry(x, y, suffix, e.typ, string(name))
	})
}

// entry takes an entry of the directory x into account that names y.
func (s *checkedSpace) entry(x, y *checkedInode, suffix uint64, typ uint8, name string) {
	x.rest--
	switch {
	case y.isBad():
		y.mode = uint16(typ) << typeShift // as nothing else says so
		s.badNames[y.n] = append(s.badNames[y.n], dangling{dir: x.n, suffix: suffix})
	case uint8(y.mode>>typeShift) != typ:
		s.repairs.dirent(x.n, suffix)
		s.problem(x.n, remedyType, "entry %q is of another type than inode %d", name, y.n)
	}
	if !y.isDir() {
		y.links--
	} else if x.links--; y.found&foundEntry != 0 {
		away := x.n
		if y.parent == x.n && y.entryDir != x.n {
			away, y.entryDir = y.entryDir, x.n
		}
		s.repairs.away(away, y.n)
		s.problem(away, remedyEntry, "inode %d is a directory, and has one more name", y.n)
		return
	}
	if y.found&foundEntry == 0 {
		y.entryDir = x.n
	}
	y.found |= foundEntry
}

func (s *checkedSpace) region(x *checkedInode, n uint64, value []byte) error {
	list, err := decodeRegion(value)
	if err != nil {
		return err
	}
	switch {
	case x.isBad():
		x.found |= foundRegions
		return nil
	case x.mode&ModeType != ModeRegular:
		s.repairs.region(x.n, n)
		s.problem(x.n, remedyTake, "it has a record of region %d, and is no file", n)
		return nil
	case x.flags&hasRegions == 0:
		s.repairs.settle[x.n] = struct{}{}
		s.problem(x.n, remedyCount, "it has a record of region %d that its inode does not know of", n)
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
			s.repairs.past(x.n, region)
			s.problem(x.n, remedyTake, "there is data past its end, in region %d", region)
		}
		if s.files.add(e.id) {
			s.blocks++
		} else if !e.shared && !names(list[:i], e.id) {
			s.repairs.shared[e.id] = struct{}{}
			s.problem(x.n, remedyShared, "block %d in region %d has another place too, and is not marked as shared", e.id, region)
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
	if errors.Is(err, blockstore.ErrNotFound) {
		s.repairs.missing = append(s.repairs.missing, e.id)
	}
	at := int64(region)<<regionBits + int64(e.off)
	for _, r := range badParts(err, e.boff, e.len) {
		if from := at + int64(r.Off) - int64(e.boff); from < x.size {
			s.damaged(x, from, min(from+int64(r.Len), x.size), err)
		}
	}
}

// badParts are the parts of n bytes of a block, from off on, that an error is about.
func badParts(err error, off, n uint32) (parts []blockstore.Range) {
	var d *blockstore.DamageError
	if !errors.As(err, &d) || d.Bad == nil {
		return []blockstore.Range{{Off: int(off), Len: int(n)}}
	}
	for _, r := range d.Bad {
		if a, b := max(r.Off, int(off)), min(r.Off+r.Len, int(off)+int(n)); a < b {
			parts = append(parts, blockstore.Range{Off: a, Len: b - a})
		}
	}
	return parts
}

// damaged notes bytes of a file that can not be read. Those that follow on each other are told as one.
func (s *checkedSpace) damaged(x *checkedInode, from, to int64, err error) {
	if d := s.damage; d != nil && d.n == x.n && d.to == from && errors.Is(d.err, blockstore.ErrLost) == errors.Is(err, blockstore.ErrLost) {
		d.to = to
		return
	}
	s.endDamage()
	s.damage = &damage{x.n, from, to, err}
}

func (s *checkedSpace) endDamage() {
	d := s.damage
	s.damage = nil
	if d == nil {
		return
	}
	p := Problem{What: fmt.Sprintf("bytes %d to %d: %v", d.from, d.to, d.err), From: d.from, To: d.to, Err: d.err}
	if p.Lost = errors.Is(d.err, blockstore.ErrLost); !p.Lost && errors.Is(d.err, blockstore.ErrCorrupt) || errors.Is(d.err, blockstore.ErrNotFound) {
		p.Remedy = remedyData
		s.repairs.copies = append(s.repairs.copies, d.n)
	}
	s.tell(d.n, p)
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
	if err != nil || x.isBad() {
		return err
	}
	for i := range list {
		x.xattrs--
		if s.ns.hasher.Sum(uint64(blockstore.MakeIno(s.d.ID, x.n)), list[i].name) != suffix {
			s.repairs.xattr(x.n, suffix)
			s.problem(x.n, remedyTake, "attribute %q is not where it would be looked for", list[i].name)
		}
		if flag := xattrFlag(list[i].name); uint32(x.flags)&flag != flag {
			s.repairs.settle[x.n] = struct{}{}
			s.problem(x.n, remedyCount, "its inode does not know of attribute %q", list[i].name)
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
		s.repairs.orphans = append(s.repairs.orphans, n)
		s.problem(n, remedyTake, "it is noted as left over, and does not exist")
	case o.what == orphanDelete:
		x.found |= foundDelete
	default:
		x.found |= foundTruncate
	}
	return nil
}

// counters compares the namespace's counters with what was found.
func (s *checkedSpace) counters(u blockstore.Usage) {
	if files := int64(len(s.inodes)) - 1; u.Files != files {
		s.repairs.files = files - u.Files
		s.problem(0, remedyCount, "its counters say %d files, there are %d", u.Files, files)
	}
	if u.Logical != s.bytes {
		s.repairs.bytes = s.bytes - u.Logical
		s.problem(0, remedyCount, "its counters say %d bytes of data, there are %d", u.Logical, s.bytes)
	}
	// Blocks that a snapshot holds or that were shared need not be in use by files of the present.
	top := s.inode(1)
	exact := s.f.st.Stats().Epoch == firstEpoch && top != nil && top.flags&hasShared == 0
	if u.Blocks < s.blocks || exact && u.Blocks > s.blocks {
		s.problem(0, remedySweep, "it has %d blocks, of which %d are in use", u.Blocks, s.blocks)
		s.repairs.sweep = true
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
