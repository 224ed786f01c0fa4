package fs

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pgregory.net/rapid"
)

func (m *model) create(kind string) {
	dir, name := m.dir(), m.name()
	since := m.now()
	var a Attr
	var err error
	mode := uint32(rapid.IntRange(0, 0o777).Draw(m.t, "mode"))
	target := strings.Repeat("t/", rapid.SampledFrom([]int{1, 20, 200}).Draw(m.t, "target"))
	switch kind {
	case "file":
		a, err = m.w.Mknod(dir.ino, name, ModeRegular|mode, 0, Cred{UID: 1, GID: 2, Umask: 0o022})
	case "fifo":
		a, err = m.w.Mknod(dir.ino, name, ModeFIFO|mode, 0, Cred{})
	case "device":
		a, err = m.w.Mknod(dir.ino, name, ModeChar|mode, 0x501, Cred{})
	case "dir":
		a, err = m.w.Mkdir(dir.ino, name, mode, Cred{UID: 1, GID: 2, Umask: 0o022})
	case "symlink":
		a, err = m.w.Symlink(dir.ino, name, target, Cred{})
	}
	var want error
	switch {
	case !m.inTree(dir):
		want = ErrNotExist
	case dir.children[name] != nil:
		want = ErrExist
	}
	if !m.want(kind, err, want) {
		return
	}
	n := m.add(a, nil)
	if kind == "symlink" {
		n.target = target
	}
	if kind == "file" || kind == "dir" {
		if a.UID != 1 || a.Mode&0o777 != mode&^0o022 {
			m.t.Fatalf("new %s has %+v", kind, a)
		}
	}
	dir.children[name] = n
	if n.isDir() {
		n.parent = dir
		dir.attr.Nlink++
	}
	m.times(since, moved{n: dir, mtime: true, ctime: true})
}

func (m *model) link() {
	n := m.pick("inode", func(n *mnode) bool { return !n.top() })
	dir, name := m.dir(), m.name()
	since := m.now()
	_, err := m.w.Link(n.ino, dir.ino, name)
	var want error
	switch {
	case n.ino.Namespace() != dir.ino.Namespace():
		want = ErrXDev
	case n.isDir():
		want = ErrPerm
	case !m.inTree(dir):
		want = ErrNotExist
	case dir.children[name] != nil:
		want = ErrExist
	}
	if m.want("link", err, want) {
		dir.children[name] = n
		n.attr.Nlink++
		m.times(since, moved{n: dir, mtime: true, ctime: true}, moved{n: n, ctime: true})
	}
}

// lose takes a name away from a node.
func (m *model) lose(n *mnode) {
	n.attr.Nlink--
	if n.isDir() {
		n.attr.Nlink = 0
	}
	m.forget(n)
}

// forget drops a node that has neither names nor references.
func (m *model) forget(n *mnode) {
	if n.attr.Nlink == 0 && n.refs == 0 {
		m.nodes = slices.DeleteFunc(m.nodes, func(x *mnode) bool { return x == n })
		if _, err := m.w.GetAttr(n.ino); !errors.Is(err, ErrNotExist) {
			m.t.Fatalf("inode %d should be gone: %v", n.ino, err)
		}
	}
}

func (m *model) remove() {
	dir := m.pick("dir", func(n *mnode) bool { return n.isDir() && n != m.root })
	if rapid.Bool().Draw(m.t, "root") {
		dir = m.root
	}
	name := m.name()
	n := dir.children[name]
	rmdir := rapid.Bool().Draw(m.t, "rmdir")
	since := m.now()
	var err, want error
	if rmdir {
		err = m.w.Rmdir(dir.ino, name)
	} else {
		err = m.w.Unlink(dir.ino, name)
	}
	switch {
	case n == nil:
		want = ErrNotExist
	case n.isDir() && !rmdir:
		want = ErrIsDir
	case !n.isDir() && rmdir:
		want = ErrNotDir
	case len(n.children) > 0:
		want = ErrNotEmpty
	case n.top() && m.hasOrphans(n) && n.refs == 0:
	}
	if !m.inTree(dir) {
		want = ErrNotExist
	}
	if !m.want("remove", err, want) {
		return
	}
	delete(dir.children, name)
	if n.isDir() {
		dir.attr.Nlink--
	}
	m.times(since, moved{n: dir, mtime: true, ctime: true})
	if n.top() {
		m.dropNamespace(n)
		return
	}
	if n.attr.Nlink > 1 && !n.isDir() {
		m.times(since, moved{n: n, ctime: true})
	} else if n.refs > 0 {
		n.attr.Ctime = m.w.attr(n.ino).Ctime
	}
	m.lose(n)
}

// hasOrphans reports whether there are files without names in the namespace of a top directory.
func (m *model) hasOrphans(top *mnode) bool {
	return slices.ContainsFunc(m.nodes, func(n *mnode) bool {
		return n.ino.Namespace() == top.ino.Namespace() && n != top && n.attr.Nlink == 0
	})
}

// dropNamespace follows the removal of a namespace: it lives on while there are files in it.
func (m *model) dropNamespace(top *mnode) {
	top.attr.Nlink = 0
	if m.hasOrphans(top) {
		top.attr.Ctime = m.w.attr(top.ino).Ctime
		return
	}
	m.nodes = slices.DeleteFunc(m.nodes, func(x *mnode) bool { return x == top })
}

func (m *model) above(dir, n *mnode) bool {
	for ; dir != nil; dir = dir.parent {
		if dir == n {
			return true
		}
	}
	return false
}

func (m *model) rename() {
	from, to := m.dir(), m.dir()
	if rapid.Bool().Draw(m.t, "same dir") {
		to = from
	}
	oldName, newName := m.name(), m.name()
	if from == m.root && rapid.Bool().Draw(m.t, "namespace") {
		oldName = "n1"
	}
	flags := rapid.SampledFrom([]uint32{0, 0, RenameNoReplace, RenameExchange}).Draw(m.t, "flags")
	since := m.now()
	a, b := from.children[oldName], to.children[newName]
	err := m.w.Rename(from.ino, oldName, to.ino, newName, flags)
	want := m.renameError(from, to, a, b, flags)
	if !m.want(fmt.Sprintf("rename %q to %q with %d", oldName, newName, flags), err, want) {
		return
	}
	if a == b {
		return
	}
	if flags == RenameExchange {
		m.exchange(since, from, to, a, b, oldName, newName)
		return
	}
	delete(from.children, oldName)
	to.children[newName] = a
	if a.isDir() {
		from.attr.Nlink--
		to.attr.Nlink++
		a.parent = to
	}
	if b != nil && b.isDir() {
		to.attr.Nlink--
	}
	m.times(since, moved{n: from, mtime: true, ctime: true}, moved{n: to, mtime: true, ctime: true}, moved{n: a, ctime: !a.top()})
	switch {
	case b == nil:
	case b.top():
		m.dropNamespace(b)
	default:
		if b.refs > 0 || b.attr.Nlink > 1 && !b.isDir() {
			b.attr.Ctime = m.w.attr(b.ino).Ctime
		}
		m.lose(b)
	}
}

func (m *model) exchange(since int64, from, to, a, b *mnode, oldName, newName string) {
	from.children[oldName], to.children[newName] = b, a
	for _, x := range []struct{ n, was, is *mnode }{{a, from, to}, {b, to, from}} {
		if x.n.isDir() {
			x.was.attr.Nlink--
			x.is.attr.Nlink++
			x.n.parent = x.is
		}
	}
	m.times(since, moved{n: from, mtime: true, ctime: true}, moved{n: to, mtime: true, ctime: true},
		moved{n: a, ctime: !a.top()}, moved{n: b, ctime: !b.top()})
}

func (m *model) renameError(from, to, a, b *mnode, flags uint32) error {
	switch {
	case from.ino.Namespace() != to.ino.Namespace() && a == nil:
		return ErrNotExist
	case from.ino.Namespace() != to.ino.Namespace():
		return ErrXDev
	case !m.inTree(from) || !m.inTree(to) || a == nil:
		return ErrNotExist
	case flags == RenameNoReplace && b != nil:
		return ErrExist
	case flags == RenameExchange && b == nil:
		return ErrNotExist
	case flags == RenameExchange && (a.top() != b.top()):
		return ErrInvalid
	case a == b:
		return nil
	case m.above(to, a):
		return ErrInvalid
	case flags == RenameExchange && m.above(from, b):
		return ErrInvalid
	case flags == RenameExchange || b == nil:
		return nil
	case m.above(from, b):
		if !a.isDir() {
			return errDirOverFile
		}
		return ErrNotEmpty
	case a.isDir() && !b.isDir():
		return ErrNotDir
	case !a.isDir() && b.isDir():
		return ErrIsDir
	case len(b.children) > 0:
		return ErrNotEmpty
	}
	return nil
}

// errDirOverFile is ErrNotEmpty where ErrIsDir would do too.
var errDirOverFile = ErrNotEmpty

func (m *model) listDir() {
	dir := m.dir()
	step := rapid.IntRange(1, 5).Draw(m.t, "step")
	plus := rapid.Bool().Draw(m.t, "plus")
	if rapid.Bool().Draw(m.t, "stop early") { // what was read ahead must not be taken for the truth later
		must(m.t2(), m.w.ReadDir(dir.ino, 0, plus, func(e *DirEntry) bool {
			step--
			return step >= 0
		}))
		return
	}
	got := make(map[string]Ino)
	for cookie, n := uint64(0), 1; n > 0; {
		n = 0
		must(m.t2(), m.w.ReadDir(dir.ino, cookie, plus, func(e *DirEntry) bool {
			if n == step {
				return false
			}
			n++
			if _, ok := got[e.Name]; ok {
				m.t.Fatalf("%q comes twice", e.Name)
			}
			got[e.Name] = e.Ino
			if c := dir.children[e.Name]; c != nil && (e.Type != c.attr.Mode&ModeType || plus && e.Attr.Mode != c.attr.Mode) {
				m.t.Fatalf("entry %+v, want mode %o", e, c.attr.Mode)
			}
			cookie = e.Cookie
			return true
		}))
	}
	if got["."] != dir.ino {
		m.t.Fatalf(". is %d", got["."])
	}
	delete(got, ".")
	delete(got, "..")
	for name, n := range dir.children {
		if got[name] != n.ino {
			m.t.Fatalf("%q is %d, want %d", name, got[name], n.ino)
		}
	}
	if len(got) != len(dir.children) {
		m.t.Fatalf("%v in a directory of %v", got, slices.Collect(maps.Keys(dir.children)))
	}
}
