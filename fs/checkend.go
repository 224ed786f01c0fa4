package fs

import "salliefs/blockstore"

// finish compares what was found with what the inodes say.
func (s *checkedSpace) finish() {
	if s.neverUsed() {
		s.failed = true // its counters count nothing
		return
	}
	for _, e := range s.dangling {
		x := s.inode(e.dir)
		if y := s.inode(e.n); y != nil {
			s.entry(x, y, e.suffix, e.typ, e.name)
			continue
		}
		x.rest--
		if e.typ == ModeDir>>typeShift {
			x.links--
		}
		s.repairs.dirent(e.dir, e.suffix)
		s.problem(e.dir, remedyEntry, "entry %q names inode %d, which does not exist", e.name, e.n)
	}
	if x := s.inode(1); x == nil {
		s.failed = true
		s.problem(0, remedyInode, "its top directory is missing")
		s.missing(1).found |= foundDirents
	} else if x.isBad() {
		x.found |= foundDirents
	} else if !x.isDir() {
		s.problem(0, nothing, "its top directory is none")
	}
	for i := range s.inodes {
		x := &s.inodes[i]
		if x.isBad() {
			s.finishBad(x)
			continue
		}
		if x.rest != 0 {
			s.finishRest(x)
		}
		if x.xattrs != 0 {
			s.repairs.settle[x.n] = struct{}{}
			s.problem(x.n, remedyCount, "its inode says that it has %d attributes more than there are", x.xattrs)
		}
		if x.flags&hasTarget != 0 && x.found&foundTarget == 0 {
			s.repairs.drop[x.n] = struct{}{}
			s.problem(x.n, remedyLink, "the target of the symbolic link is missing")
		}
		if _, gone := s.repairs.drop[x.n]; gone {
			s.repairs.away(x.entryDir, x.n)
			continue
		}
		if x.flags&isTruncating != 0 && x.found&(foundTruncate|foundDelete) == 0 {
			s.repairs.truncations = append(s.repairs.truncations, x.n)
			s.problem(x.n, remedyTruncate, "an unfinished truncation is not noted")
		}
		s.finishLinks(x)
	}
	for i := range s.inodes {
		if x := &s.inodes[i]; x.isDir() && x.found&(foundEntry|foundTop) == foundEntry && x.n != 1 {
			s.wayUp(x)
		}
	}
}

// finishBad decides what becomes of an inode that can not be read: what its other records tell.
func (s *checkedSpace) finishBad(x *checkedInode) {
	r := remake{mode: ModeRegular | 0o600, parent: x.entryDir}
	switch {
	case x.found&foundDirents != 0 || x.isDir():
		x.mode = ModeDir
		r.mode = ModeDir | 0o700
	case x.found&foundRegions == 0:
		s.repairs.drop[x.n] = struct{}{}
		for _, name := range s.badNames[x.n] {
			s.repairs.dirent(name.dir, name.suffix)
		}
		return
	default:
		r.links = uint32(len(s.badNames[x.n]))
		s.repairs.copies = append(s.repairs.copies, x.n)
	}
	s.repairs.remake[x.n] = r
	s.repairs.settle[x.n] = struct{}{}
	if x.n != 1 && x.found&foundEntry == 0 {
		s.repairs.place = append(s.repairs.place, x.n)
	}
}

func (s *checkedSpace) finishRest(x *checkedInode) {
	what := "allocated bytes"
	if x.isDir() {
		what = "entries"
	}
	s.repairs.settle[x.n] = struct{}{}
	s.problem(x.n, remedyCount, "its inode says that it has %d %s more than there are", x.rest, what)
}

func (s *checkedSpace) finishLinks(x *checkedInode) {
	orphan := x.found&foundDelete != 0
	named := x.found&foundEntry != 0
	switch {
	case x.isDir() && orphan && x.links == -2 && !named: // removed, and still open
	case orphan && (x.links != 0 || named):
		s.problem(x.n, remedyNotLeft, "it is noted as left over, and has names, or counts them")
		s.repairs.orphans = append(s.repairs.orphans, x.n)
		s.fixLinks(x, named)
	case x.isDir() && x.n == 1 && s.d.ID == RootIno.Namespace() && x.links == 0:
	case x.isDir() && x.n == 1 && hidden(s.d.Name): // removed, and files in it still open
	case x.links != 0 && x.isDir():
		s.problem(x.n, remedyCount, "it counts %d subdirectories more than there are", x.links)
		s.fixLinks(x, named || x.n == 1)
	case x.links != 0 && !named:
		s.problem(x.n, remedyPlace, "it counts %d names, and has none", x.links)
		s.fixLinks(x, named)
	case x.links != 0:
		s.problem(x.n, remedyCount, "it counts %d names more than there are", x.links)
		s.fixLinks(x, named)
	case x.n == 1 || orphan:
	case !named:
		s.problem(x.n, remedyPlace, "it has no name, and is not noted as left over")
		s.fixLinks(x, named)
	}
	if x.isDir() && named && x.parent != x.entryDir {
		s.repairs.parents[x.n] = x.entryDir
		s.problem(x.n, remedyParent, "it is in the directory of inode %d, and says that it is in that of %d", x.entryDir, x.parent)
	}
}

func (s *checkedSpace) fixLinks(x *checkedInode, named bool) {
	switch {
	case !named:
		s.repairs.place = append(s.repairs.place, x.n)
	case x.isDir():
		s.repairs.settle[x.n] = struct{}{}
	default:
		s.repairs.links[x.n] = -x.links
	}
}

// wayUp reports directories from which no way leads up to the top, as they lie in each other.
func (s *checkedSpace) wayUp(x *checkedInode) {
	var way []*checkedInode
	for x != nil && x.n != 1 && x.found&(foundTop|foundOnWay) == 0 && x.found&foundEntry != 0 {
		x.found |= foundOnWay
		way = append(way, x)
		x = s.inode(x.entryDir)
	}
	if x != nil && x.found&foundOnWay != 0 {
		s.repairs.away(x.entryDir, x.n)
		s.repairs.place = append(s.repairs.place, x.n)
		s.problem(x.n, remedyPlace, "no way leads from it up to the top directory")
	}
	for _, x := range way {
		x.found = x.found&^foundOnWay | foundTop
	}
}

// neverUsed says that nothing was written yet: who first opens a store for writing makes the root directory, and all else
// comes later.
func (s *checkedSpace) neverUsed() bool {
	return s.d.ID == blockstore.RootNamespace && len(s.inodes) == 0 && len(s.dangling) == 0 && s.d.Usage.Files == 0 && len(s.f.st.Namespaces()) == 1
}
