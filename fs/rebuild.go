package fs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"salliefs/blockstore"
)

// Rebuilt tells what Rebuild has made.
type Rebuilt struct {
	Whole int // files of which each byte up to the size that is known is there
	Gaps  int // files with holes, where there may have been data
	Lost  int // of all these, files whose place or size is not known: they are in lost+found
}

// Rebuild makes files of what the segments of a store tell whose records are lost, in an empty tree. A file comes to the
// path that was known last when its newest blocks were written; where that is not known, to lost+found/#INODE. Of several
// blocks for the same bytes the youngest counts, also if it can not be read. It reports each file that it makes.
//
// What was only in the records is gone: files and parts of files of up to 4 KiB stored, what was synced a moment before, empty
// files, links, attributes. What was overwritten by such parts shows as it was before, and files that were removed lately may
// come back. The report in lost+found says so.
func (f *FS) Rebuild(ctx context.Context, from *blockstore.Remains, head string, progress func(done, total int64), report func(Problem)) (sum Rebuilt, err error) {
	spaces := from.Namespaces()
	b := &rebuild{f: f, from: from, sum: &sum, progress: progress, report: report}
	for _, d := range spaces {
		b.total += int64(len(from.Blocks(d.ID)))
	}
	now := f.clock()
	for _, d := range spaces {
		if err := b.space(ctx, d, head, now); err != nil {
			return sum, fmt.Errorf("namespace %q: %w", d.Name, err)
		}
	}
	return sum, f.Sync()
}

type rebuild struct {
	f           *FS
	from        *blockstore.Remains
	sum         *Rebuilt
	progress    func(done, total int64)
	report      func(Problem)
	done, total int64
}

// rebuiltSpace is a namespace being rebuilt.
type rebuiltSpace struct {
	*rebuild
	w     *repair // for lost+found
	old   NamespaceID
	files map[uint64]blockstore.RemainingFile
	dirs  map[uint64]Ino // directories that were made, by their old number
}

func (b *rebuild) space(ctx context.Context, d Namespace, head string, now time.Time) error {
	ns := RootIno
	if d.ID != blockstore.RootNamespace {
		name := d.Name
		for i := 1; ; i++ {
			err := b.f.CreateNamespace(numbered(name, i), d.Settings, Cred{})
			if errors.Is(err, ErrExist) {
				continue // one that was removed, and another of its name
			}
			if err != nil {
				return err
			}
			d.Name = numbered(name, i)
			break
		}
		a, err := b.f.Lookup(RootIno, d.Name)
		if err != nil {
			return err
		}
		ns = a.Ino
	}
	id := ns.Namespace()
	space, err := b.f.namespace(id)
	if err != nil {
		return err
	}
	fresh := Namespace{ID: id, Name: d.Name}
	s := &rebuiltSpace{
		rebuild: b, old: d.ID, files: b.from.Files(d.ID), dirs: map[uint64]Ino{1: ns},
		w: &repair{f: b.f, s: newSpaceRepairs(space, fresh), o: RepairOptions{Time: now, Head: head}},
	}
	space.repairing.Store(true)
	defer space.repairing.Store(false)
	if err := s.attributes(ns, 1); err != nil {
		return err
	}
	blocks := b.from.Blocks(d.ID)
	for len(blocks) > 0 {
		n := 1
		for n < len(blocks) && blocks[n].Number == blocks[0].Number {
			n++
		}
		if err := s.file(ctx, blocks[:n]); err != nil {
			return err
		}
		blocks = blocks[n:]
	}
	for _, old := range slices.Backward(slices.Sorted(maps.Keys(s.dirs))) { // their times moved with what came into them
		if err := s.attributes(s.dirs[old], old); err != nil {
			return err
		}
	}
	return s.w.report()
}

// attributes gives an inode what is known of the old one.
func (s *rebuiltSpace) attributes(ino Ino, old uint64) error {
	m, err := decodeSummary(s.files[old].Summary)
	if err != nil {
		return nil // nothing is known
	}
	a := SetAttr{Valid: SetMode | SetUID | SetGID | SetMtime, Mode: m.mode & modePerm, UID: m.uid, GID: m.gid, Mtime: m.mtime}
	_, err = s.f.SetAttr(ino, a)
	return err
}

// file makes one file of its blocks, the oldest first.
func (s *rebuiltSpace) file(ctx context.Context, blocks []blockstore.RemainingBlock) error {
	number := blocks[0].Number
	known, err := decodeSummary(s.files[number].Summary)
	hasSize := err == nil && known.mode&ModeType == ModeRegular
	a, path, placed, err := s.make(number)
	if err != nil {
		return err
	}
	var there []stretch
	end, read := int64(0), blockstore.BlockID(0)
	for _, b := range blocks {
		if b.ID == read {
			continue // a copy that was moved, or left behind by that
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.done++; s.progress != nil && s.done%16 == 0 {
			s.progress(s.done, s.total)
		}
		at := stretch{b.Offset, b.Offset + int64(b.Len)}
		if at.to > MaxFileSize {
			continue
		}
		end = max(end, at.to)
		data, err := s.from.Read(s.old, b)
		if err == nil {
			_, err = s.f.WriteAt(a.Ino, data, b.Offset, false)
			there, read = union(there, at), b.ID
			if err != nil {
				return err
			}
			continue
		}
		there = without(there, at) // what an older block has there is not what was there last
		if err := s.f.Fallocate(a.Ino, FallocPunchHole|FallocKeepSize, at.from, at.to-at.from); err != nil {
			return err
		}
	}
	size := end
	if hasSize {
		size = known.size
	}
	if _, err := s.f.SetAttr(a.Ino, SetAttr{Valid: SetSize, Size: size}); err != nil {
		return err
	}
	if err := s.attributes(a.Ino, number); err != nil {
		return err
	}
	s.tell(path, number, without([]stretch{{0, size}}, there...), hasSize, placed)
	return nil
}

// tell reports what became of a file.
func (s *rebuiltSpace) tell(path string, number uint64, gaps []stretch, hasSize, placed bool) {
	p := Problem{Namespace: s.w.s.d.Name, Path: path}
	var what []string
	if !placed {
		what = append(what, fmt.Sprintf("where inode %d was is not known", number))
	}
	if !hasSize {
		what = append(what, "how long it was is not known")
	}
	for _, g := range gaps {
		what = append(what, fmt.Sprintf("nothing is known of bytes %d to %d", g.from, g.to))
	}
	switch {
	case len(gaps) > 0:
		s.sum.Gaps++
	case hasSize:
		s.sum.Whole++
		what = append(what, "all of it is there")
	default:
		s.sum.Gaps++
	}
	if !placed || !hasSize {
		s.sum.Lost++
	}
	p.What = strings.Join(what, "; ")
	s.w.s.told = append(s.w.s.told, p)
	s.report(p)
}

// make makes an empty file where the old one was, or in lost+found.
func (s *rebuiltSpace) make(number uint64) (a Attr, path string, placed bool, err error) {
	old := s.files[number]
	dir, above, placed, err := s.dir(old.Parent, 0)
	name := old.Name
	if err != nil {
		return a, "", false, err
	}
	if !placed || name == "" {
		placed, name = false, fmt.Sprintf("#%d", number)
		if err := s.w.open(); err != nil {
			return a, "", false, err
		}
		if dir, above = s.w.lost, ""; s.w.prefix == "" {
			above = lostAndFound + "/"
		}
	}
	a, err = s.w.make(dir, name, func(free string) (Attr, error) {
		path = above + free
		return s.f.Mknod(dir, free, ModeRegular|0o600, 0, Cred{})
	})
	return a, path, placed, err
}

// dir makes a directory where the old one was, with those above it; ok tells whether that is known.
func (s *rebuiltSpace) dir(number uint64, depth int) (ino Ino, path string, ok bool, err error) {
	if number == 1 {
		return s.dirs[1], "", true, nil
	}
	old, known := s.files[number]
	if !known || old.Name == "" || depth > maxDepth || s.w.s.d.ID == blockstore.RootNamespace {
		return 0, "", false, nil
	}
	above, path, ok, err := s.dir(old.Parent, depth+1)
	if err != nil || !ok {
		return 0, "", ok, err
	}
	path += old.Name + "/"
	if ino, made := s.dirs[number]; made {
		return ino, path, true, nil
	}
	a, err := s.f.Mkdir(above, old.Name, 0o700, Cred{})
	if errors.Is(err, ErrExist) { // one that was removed, and another of its name: their files come together
		if a, err = s.f.Lookup(above, old.Name); err == nil && !a.IsDir() {
			return 0, "", false, nil
		}
	}
	if err != nil {
		return 0, "", false, err
	}
	s.dirs[number] = a.Ino
	return a.Ino, path, true, nil
}

// union is list with one more stretch; it is in order, and nothing in it touches.
func union(list []stretch, x stretch) (out []stretch) {
	for _, y := range list {
		if y.to < x.from || y.from > x.to {
			out = append(out, y)
			continue
		}
		x.from, x.to = min(x.from, y.from), max(x.to, y.to)
	}
	i := 0
	for i < len(out) && out[i].from < x.from {
		i++
	}
	return slices.Insert(out, i, x)
}

// without is list less some stretches.
func without(list []stretch, less ...stretch) []stretch {
	for _, x := range less {
		var out []stretch
		for _, y := range list {
			if a := (stretch{y.from, min(y.to, x.from)}); a.from < a.to {
				out = append(out, a)
			}
			if b := (stretch{max(y.from, x.to), y.to}); b.from < b.to {
				out = append(out, b)
			}
		}
		list = out
	}
	return list
}
