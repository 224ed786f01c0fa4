package fs

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"path"
	"slices"
	"strings"
)

// seen is what reading says of one file, or of one directory. What could not be read has an error in its place.
type seen struct {
	attr                       Attr
	content                    uint64
	holes, target, list        string
	xattrs                     map[string]string
	attrErr, dataErr, xattrErr error
}

// tree is what reading says of a store, by path.
type tree struct {
	files  map[string]*seen
	errs   []error
	spaces string
}

// reader reads all that there is to read, through everything that reads it.
type reader struct {
	*FS
	t    *tree
	deep int
	buf  []byte
	most int // errors after which no more is read
}

// errEnough stands for what was not read after many errors.
var errEnough = errors.New("not read")

// contents tells contents apart, within one process.
var contents = maphash.MakeSeed()

// readTree reads all, or until there were more than so many errors.
func readTree(f *FS, most int) *tree {
	r := &reader{FS: f, t: &tree{files: make(map[string]*seen)}, buf: make([]byte, maxRead), most: most}
	r.file("", RootIno)
	if a, err := f.Lookup(RootIno, SnapshotDir); err != nil {
		r.failed(err)
	} else {
		r.file("/"+SnapshotDir, a.Ino)
	}
	for _, n := range f.Namespaces() {
		r.t.spaces += fmt.Sprintf("%+v\n", n)
	}
	for _, s := range f.Snapshots() {
		r.t.spaces += fmt.Sprintf("%+v\n", s)
	}
	return r.t
}

func (r *reader) failed(err error) { r.t.errs = append(r.t.errs, err) }

func (r *reader) file(p string, ino Ino) {
	s := &seen{xattrs: make(map[string]string)}
	r.t.files[p] = s
	if len(r.t.errs) > r.most {
		s.attrErr = errEnough
		return
	}
	if s.attr, s.attrErr = r.GetAttr(ino); s.attrErr != nil {
		r.failed(s.attrErr)
		return
	}
	if strings.HasPrefix(p, "/"+SnapshotDir) {
		s.attr.Ino = 0 // it is made up when it is met
	}
	s.xattrErr = r.xattrs(s, ino)
	switch s.attr.Mode & ModeType {
	case ModeRegular:
		s.dataErr = r.content(s, ino)
	case ModeSymlink:
		s.target, s.dataErr = r.Readlink(ino)
	case ModeDir:
		s.dataErr = r.dir(s, p, ino)
	}
	for _, err := range []error{s.dataErr, s.xattrErr} {
		if err != nil {
			r.failed(err)
		}
	}
}

func (r *reader) xattrs(s *seen, ino Ino) error {
	buf, value := r.buf[:MaxXattr], r.buf[MaxXattr:]
	n, err := r.ListXattr(ino, buf)
	if err != nil {
		return err
	}
	for name := range bytes.SplitSeq(bytes.TrimSuffix(buf[:n], []byte{0}), []byte{0}) {
		if len(name) == 0 {
			continue
		}
		n, err := r.GetXattr(ino, string(name), value)
		if err != nil {
			return err
		}
		s.xattrs[string(name)] = string(value[:n])
	}
	return nil
}

// maxRead is more than any file of the store has.
const maxRead = 2 << 20

// content reads a file, and where its holes are.
func (r *reader) content(s *seen, ino Ino) error {
	size := s.attr.Size
	if size >= maxRead {
		return nil // the size says it
	}
	n, err := r.ReadAt(ino, r.buf[:size+1], 0)
	if err != nil {
		return err
	}
	s.content = maphash.Bytes(contents, r.buf[:n])
	for off := int64(0); off < size; {
		data, err := r.Seek(ino, off, SeekData)
		if errors.Is(err, ErrNoData) {
			break
		} else if err != nil {
			return err
		}
		if off, err = r.Seek(ino, data, SeekHole); err != nil {
			return err
		}
		s.holes += fmt.Sprintf(" %d-%d", data, off)
	}
	return nil
}

func (r *reader) dir(s *seen, p string, ino Ino) error {
	type entry struct {
		name string
		e    DirEntry
	}
	var list []entry
	err := r.ReadDir(ino, 0, false, func(e *DirEntry) bool {
		if e.Name != "." && e.Name != ".." {
			list = append(list, entry{e.Name, *e})
			s.list += fmt.Sprintf("%q %o\n", e.Name, e.Type)
		}
		return len(list) < 10_000
	})
	if r.deep++; r.deep > 20 {
		return fmt.Errorf("no end of directories")
	}
	defer func() { r.deep-- }()
	for _, x := range list {
		r.file(p+"/"+x.name, x.e.Ino)
	}
	return err
}

// lookups looks all names of the true tree up, which other records answer than those that list them, and adds a mistake for
// each wrong answer.
func (r *tree) lookups(f *FS, most int, want *tree) (wrong []string) {
	inos := map[string]Ino{"": RootIno}
	for _, p := range want.paths() {
		if p == "" || len(r.errs) > most {
			continue
		}
		dir, ok := inos[path.Dir(p)]
		if path.Dir(p) == "/" {
			dir, ok = RootIno, true
		}
		if !ok {
			continue // there was an error on the way
		}
		a, err := f.Lookup(dir, path.Base(p))
		switch {
		case errors.Is(err, ErrNotExist):
			wrong = append(wrong, fmt.Sprintf("%q: lookup finds nothing", short(p)))
		case err != nil:
			r.errs = append(r.errs, err)
		default:
			inos[p] = a.Ino
			if strings.HasPrefix(p, "/"+SnapshotDir) {
				a.Ino = 0
			}
			if a != want.files[p].attr {
				wrong = append(wrong, fmt.Sprintf("%q: lookup gives %+v", short(p), a))
			}
		}
	}
	return wrong
}

// differs lists the wrong answers: what is neither that of the true tree nor an error.
func (t *tree) differs(want *tree) (wrong []string) {
	bad := func(p, format string, args ...any) {
		wrong = append(wrong, fmt.Sprintf("%q: ", short(p))+fmt.Sprintf(format, args...))
	}
	for _, p := range want.paths() {
		a, b := t.files[p], want.files[p]
		switch {
		case a == nil:
			if !t.excused(p) {
				bad(p, "it is missing")
			}
		case errors.Is(a.attrErr, ErrNotExist):
			bad(p, "it is said not to exist")
		case a.attrErr != nil:
		case a.attr != b.attr:
			bad(p, "attributes %+v, want %+v", a.attr, b.attr)
		default:
			if a.dataErr == nil && (a.content != b.content || a.holes != b.holes || a.target != b.target || a.list != b.list) {
				bad(p, "other content")
			}
			for name, v := range a.xattrs {
				if w, ok := b.xattrs[name]; !ok || v != w {
					bad(p, "attribute %s is another", short(name))
				}
			}
			if a.xattrErr == nil && len(a.xattrs) != len(b.xattrs) {
				bad(p, "%d extended attributes, want %d", len(a.xattrs), len(b.xattrs))
			}
		}
	}
	for p := range t.files {
		if want.files[p] == nil {
			bad(p, "it should not be there")
		}
	}
	if t.spaces != want.spaces {
		bad("", "namespaces %s, want %s", t.spaces, want.spaces)
	}
	return wrong
}

// excused tells whether a directory above a path said that it can not be read.
func (t *tree) excused(p string) bool {
	for p != "" && p != "/" {
		if p = path.Dir(p); p == "/" {
			p = ""
		}
		if d := t.files[p]; d != nil && (d.attrErr != nil || d.dataErr != nil) {
			return true
		}
	}
	return false
}

// paths lists the paths, directories before what is in them.
func (t *tree) paths() []string { return slices.Sorted(maps.Keys(t.files)) }

func short(s string) string { return s[:min(len(s), 60)] }
