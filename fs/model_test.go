package fs

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// mnode is an inode of the model.
type mnode struct {
	ino      Ino
	attr     Attr // of which Size and Blocks are not used for directories and files
	data     []byte
	written  []byte // 1 for each byte of data that is none of a hole
	target   string
	xattrs   map[string]string
	children map[string]*mnode
	parent   *mnode // of a directory
	refs     int
}

func (n *mnode) isDir() bool { return n.children != nil }
func (n *mnode) top() bool   { return n.ino.Number() == 1 }

// model is a tree in plain memory that goes the way that the real one should.
type model struct {
	w     *world
	t     *rapid.T
	root  *mnode
	nodes []*mnode // all that exist, also those without a name
}

func newModel(t *rapid.T, w *world) *model {
	m := &model{w: w, t: t}
	m.root = m.add(w.attr(RootIno), nil)
	for _, name := range []string{"n1", "n2"} {
		top := m.add(w.attr(w.ns(name)), m.root)
		m.root.children[name] = top
	}
	m.root.attr = w.attr(RootIno)
	return m
}

func (m *model) add(a Attr, parent *mnode) *mnode {
	n := &mnode{ino: a.Ino, attr: a, parent: parent, xattrs: make(map[string]string)}
	if a.IsDir() {
		n.children = make(map[string]*mnode)
	}
	m.nodes = append(m.nodes, n)
	return n
}

func (m *model) pick(what string, ok func(n *mnode) bool) *mnode {
	var list []*mnode
	for _, n := range m.nodes {
		if ok(n) {
			list = append(list, n)
		}
	}
	if len(list) == 0 {
		m.t.Skip("nothing to choose from")
	}
	return list[rapid.IntRange(0, len(list)-1).Draw(m.t, what)]
}

func (m *model) dir() *mnode {
	return m.pick("dir", func(n *mnode) bool { return n.isDir() })
}

func (m *model) file() *mnode {
	return m.pick("file", func(n *mnode) bool { return n.attr.IsRegular() })
}

var modelNames = []string{"a", "b", "c", "d", "\xff\x01 odd", strings.Repeat("long", 63) + "abc"}

func (m *model) name() string { return rapid.SampledFrom(modelNames).Draw(m.t, "name") }

// want fails the test unless an operation went as it should; it reports whether that is a success.
func (m *model) want(op string, err, want error) bool {
	m.t.Helper()
	if !errors.Is(err, want) {
		m.t.Fatalf("%s: error %v, want %v", op, err, want)
	}
	return err == nil
}

// moved are the times of a node that an operation must have moved.
type moved struct {
	n            *mnode
	mtime, ctime bool
}

// times compares the attributes of nodes with the model; those times that moved must be after since.
func (m *model) times(since int64, list ...moved) {
	m.t.Helper()
	for _, x := range list {
		a := m.w.attr(x.n.ino)
		for _, t := range []struct {
			name  string
			moved bool
			p     *int64
			got   int64
		}{{"mtime", x.mtime, &x.n.attr.Mtime, a.Mtime}, {"ctime", x.ctime, &x.n.attr.Ctime, a.Ctime}} {
			if t.moved && t.got <= since {
				m.t.Fatalf("%s of inode %d did not move", t.name, x.n.ino)
			}
			if t.moved {
				*t.p = t.got
			}
		}
	}
}

func (m *model) now() int64 { return m.w.clock.ns.Load() }

func (m *model) inTree(n *mnode) bool { return n.attr.Nlink > 0 }

// t2 is the test as the helpers want it.
func (m *model) t2() testing.TB { return m.w.tb }

func (m *model) ref() {
	n := m.pick("inode", func(n *mnode) bool { return n != m.root && !n.top() })
	if rapid.Bool().Draw(m.t, "unlinked") { // the interesting ones
		n = m.pick("inode", func(n *mnode) bool { return n.refs > 0 })
	}
	if n.refs > 0 && rapid.Bool().Draw(m.t, "unref") {
		m.unref(n)
		return
	}
	m.w.Ref(n.ino)
	n.refs++
}

func (m *model) unref(n *mnode) {
	m.w.Unref(n.ino, uint64(n.refs))
	n.refs = 0
	m.forget(n)
	m.dropDoomed()
}

// dropDoomed drops removed namespaces from which the last file went.
func (m *model) dropDoomed() {
	for _, n := range slices.Clone(m.nodes) {
		if n.top() && n.attr.Nlink == 0 && !m.hasOrphans(n) {
			m.dropNamespace(n)
		}
	}
}

func (m *model) tmpfile() {
	dir := m.dir()
	a, err := m.w.Tmpfile(dir.ino, 0o600, Cred{})
	var want error
	if !m.inTree(dir) {
		want = ErrNotExist
	}
	if m.want("tmpfile", err, want) {
		m.w.Ref(a.Ino)
		m.add(a, nil).refs = 1
	}
}

func (m *model) setAttr() {
	n := m.pick("inode", func(n *mnode) bool { return true })
	since := m.now()
	s := SetAttr{Valid: Valid(rapid.IntRange(0, int(SetMode|SetUID|SetGID|SetAtime|SetMtime|KillPriv)).Draw(m.t, "valid"))}
	s.Valid &= SetMode | SetUID | SetGID | SetAtime | SetMtime
	s.Mode = uint32(rapid.IntRange(0, modePerm).Draw(m.t, "mode"))
	s.UID, s.GID, s.Atime, s.Mtime = 7, 1<<31+5, since-17, -5
	a, err := m.w.SetAttr(n.ino, s)
	if !m.want("setattr", err, nil) {
		return
	}
	x := &n.attr
	if s.Valid&(SetUID|SetGID) != 0 && !n.isDir() {
		x.Mode &^= ModeSetUID
		if x.Mode&0o010 != 0 {
			x.Mode &^= ModeSetGID
		}
	}
	if s.Valid&SetMode != 0 {
		x.Mode = x.Mode&ModeType | s.Mode
	}
	if s.Valid&SetUID != 0 {
		x.UID = s.UID
	}
	if s.Valid&SetGID != 0 {
		x.GID = s.GID
	}
	if s.Valid&SetAtime != 0 {
		x.Atime = s.Atime
	}
	if s.Valid&SetMtime != 0 {
		x.Mtime = s.Mtime
	}
	if a.Ctime <= since {
		m.t.Fatal("ctime did not move")
	}
	x.Ctime = a.Ctime
	m.compareAttr(n, a)
}

func (m *model) xattr() {
	n := m.pick("inode", func(n *mnode) bool { return true })
	name := rapid.SampledFrom([]string{"user.a", "user.b", "trusted.c", "security.d"}).Draw(m.t, "attribute")
	since := m.now()
	var err, want error
	_, there := n.xattrs[name]
	if rapid.Bool().Draw(m.t, "remove") {
		err = m.w.RemoveXattr(n.ino, name)
		if !there {
			want = ErrNoAttr
		}
		if m.want("removexattr", err, want) {
			delete(n.xattrs, name)
			m.times(since, moved{n: n, ctime: true})
		}
		return
	}
	value := strings.Repeat("v", rapid.SampledFrom([]int{0, 1, 100, 65536}).Draw(m.t, "length"))
	flags := rapid.SampledFrom([]uint32{0, XattrCreate, XattrReplace}).Draw(m.t, "flags")
	err = m.w.SetXattr(n.ino, name, []byte(value), flags)
	switch {
	case there && flags == XattrCreate:
		want = ErrExist
	case !there && flags == XattrReplace:
		want = ErrNoAttr
	}
	if m.want("setxattr", err, want) {
		n.xattrs[name] = value
		m.times(since, moved{n: n, ctime: true})
	}
}

// compareAttr compares attributes with the model.
func (m *model) compareAttr(n *mnode, got Attr) {
	m.t.Helper()
	want := n.attr
	want.Size, want.Blocks = got.Size, got.Blocks
	if got != want {
		m.t.Fatalf("inode %d has\n%+v, want\n%+v", n.ino, got, want)
	}
	switch {
	case n.isDir():
		entries := len(n.children)
		for _, c := range n.children {
			if c.top() {
				entries--
			}
		}
		if got.Size != int64(entries*direntSize) {
			m.t.Fatalf("directory %d has size %d with %d entries", n.ino, got.Size, entries)
		}
	case n.attr.IsRegular():
		if got.Size != int64(len(n.data)) {
			m.t.Fatalf("file %d has size %d, want %d", n.ino, got.Size, len(n.data))
		}
	case n.target != "" && got.Size != int64(len(n.target)):
		m.t.Fatalf("symbolic link %d has size %d", n.ino, got.Size)
	}
}

// compare compares everything.
func (m *model) compare() {
	m.t.Helper()
	for _, n := range m.nodes {
		a, err := m.w.GetAttr(n.ino)
		if err != nil {
			m.t.Fatalf("inode %d: %v", n.ino, err)
		}
		m.compareAttr(n, a)
		if n.target != "" {
			if got, err := m.w.Readlink(n.ino); err != nil || got != n.target {
				m.t.Fatalf("target %q, %v, want %q", got, err, n.target)
			}
		}
		if n.attr.IsRegular() {
			m.compareData(n)
		}
		m.compareXattrs(n)
		for name, c := range n.children {
			if a, err := m.w.Lookup(n.ino, name); err != nil || a.Ino != c.ino {
				m.t.Fatalf("lookup of %q: %d, %v, want %d", name, a.Ino, err, c.ino)
			}
		}
	}
}

func (m *model) compareXattrs(n *mnode) {
	m.t.Helper()
	buf := make([]byte, MaxXattr)
	k, err := m.w.ListXattr(n.ino, buf)
	if err != nil {
		m.t.Fatal(err)
	}
	got := strings.Split(strings.TrimSuffix(string(buf[:k]), "\x00"), "\x00")
	if k == 0 {
		got = nil
	}
	slices.Sort(got)
	if want := slices.Sorted(maps.Keys(n.xattrs)); !slices.Equal(got, want) {
		m.t.Fatalf("attributes %q, want %q", got, want)
	}
	for name, value := range n.xattrs {
		if k, err := m.w.GetXattr(n.ino, name, buf); err != nil || string(buf[:k]) != value {
			m.t.Fatalf("attribute %q has %d bytes, %v, want %d", name, k, err, len(value))
		}
	}
}

// compareData compares a file's bytes, and its holes as far as they are sure.
func (m *model) compareData(n *mnode) {
	m.t.Helper()
	got := make([]byte, len(n.data)+1)
	k, err := m.w.ReadAt(n.ino, got, 0)
	if err != nil || !bytes.Equal(got[:k], n.data) {
		at := 0
		for at < min(k, len(n.data)) && got[at] == n.data[at] {
			at++
		}
		m.t.Fatalf("file %d: %d bytes, %v, want %d; the first that differs is %d", n.ino, k, err, len(n.data), at)
	}
	size := int64(len(n.data))
	for at := int64(0); at < size; {
		data, err := m.w.Seek(n.ino, at, SeekData)
		if errors.Is(err, ErrNoData) {
			data, err = size, nil
		}
		if err != nil || data < at || data > size {
			m.t.Fatalf("SEEK_DATA from %d of %d: %d, %v", at, size, data, err)
		}
		if i := bytes.IndexByte(n.written[at:data], 1); i >= 0 {
			m.t.Fatalf("byte %d is data, and in a hole from %d to %d", int(at)+i, at, data)
		}
		if data == size {
			return
		}
		hole, err := m.w.Seek(n.ino, data, SeekHole)
		if err != nil || hole <= data || hole > size {
			m.t.Fatalf("SEEK_HOLE from %d of %d: %d, %v", data, size, hole, err)
		}
		for p := data &^ (pageSize - 1); p < hole; p += pageSize {
			if page := n.written[p:min(p+pageSize, size)]; bytes.Count(page, []byte{0}) == len(page) {
				m.t.Fatalf("page %d is a hole, and in data from %d to %d", p, data, hole)
			}
		}
		at = hole
	}
}

func (m *model) remount() {
	for _, n := range slices.Clone(m.nodes) {
		if n.refs > 0 {
			m.unref(n)
		}
	}
	m.compare()
	m.w.remount()
	m.compare()
	m.w.check()
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rapidTB{t, rt}, Options{CacheInodes: rapid.SampledFrom([]int{1, 1 << 16}).Draw(rt, "cache")})
		w.ahead = rapid.SampledFrom([]int{1, aheadWrite}).Draw(rt, "sealed ahead from")
		w.aheadFrom = w.ahead
		defer w.close()
		m := newModel(rt, w)
		if rapid.Bool().Draw(rt, "small blocks") {
			must(w.tb, w.SetNamespace("n1", NamespaceSettings{BlockSize: 4096}))
		}
		for _, n := range []string{"x", "y"} { // so that there is something to begin with
			a, err := w.Mknod(m.root.children["n1"].ino, n, ModeRegular|0o600, 0, Cred{})
			must(w.tb, err)
			m.root.children["n1"].children[n] = m.add(a, nil)
		}
		m.root.children["n1"].attr = w.attr(m.root.children["n1"].ino)
		rt.Repeat(map[string]func(*rapid.T){
			"file":     func(*rapid.T) { m.create("file") },
			"fifo":     func(*rapid.T) { m.create("fifo") },
			"device":   func(*rapid.T) { m.create("device") },
			"dir":      func(*rapid.T) { m.create("dir") },
			"symlink":  func(*rapid.T) { m.create("symlink") },
			"link":     func(*rapid.T) { m.link() },
			"remove":   func(*rapid.T) { m.remove() },
			"rename":   func(*rapid.T) { m.rename() },
			"rename 2": func(*rapid.T) { m.rename() },
			"readdir":  func(*rapid.T) { m.listDir() },
			"ref":      func(*rapid.T) { m.ref() },
			"tmpfile":  func(*rapid.T) { m.tmpfile() },
			"setattr":  func(*rapid.T) { m.setAttr() },
			"xattr":    func(*rapid.T) { m.xattr() },
			"write":    func(*rapid.T) { m.write() },
			"write 2":  func(*rapid.T) { m.write() },
			"write 3":  func(*rapid.T) { m.write() },
			"truncate": func(*rapid.T) { m.truncate() },
			"falloc":   func(*rapid.T) { m.fallocate() },
			"copy":     func(*rapid.T) { m.copyRange() },
			"read":     func(*rapid.T) { m.compareData(m.file()) },
			"sync":     func(*rapid.T) { must(w.tb, w.Sync()) },
			"remount":  func(*rapid.T) { m.remount() },
		})
		m.remount()
	})
}

// rapidTB fails through rapid, and otherwise is the test.
type rapidTB struct {
	testing.TB
	rt *rapid.T
}

func (t rapidTB) Cleanup(f func())             { t.rt.Cleanup(f) }
func (t rapidTB) Fatal(args ...any)            { t.rt.Fatal(args...) }
func (t rapidTB) Fatalf(f string, args ...any) { t.rt.Fatalf(f, args...) }
func (t rapidTB) Error(args ...any)            { t.rt.Error(args...) }
func (t rapidTB) Errorf(f string, args ...any) { t.rt.Errorf(f, args...) }
