package disktest

import (
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// media is what a disk holds: files and directories in memory that know what of them was synced.
type media struct {
	mu      sync.Mutex // guards all below, and all nodes
	root    *node
	changes []change // of directories, oldest first, that no sync has made durable
}

// node is a file or a directory.
type node struct {
	entries map[string]*node // of a directory; nil for a file
	durable map[string]*node // of a directory, what a power cut leaves

	data     []byte
	synced   []byte // what a power cut leaves
	unsynced bitset // the sectors of data that were written since
	mod      time.Time
}

// change is one operation on directories, which a power cut leaves done or not done.
type change []entry

// entry is what a change does to a name.
type entry struct {
	dir  *node
	name string
	node *node // nil: the name goes
}

func newDir() *node { return &node{entries: make(map[string]*node), durable: make(map[string]*node)} }

func newMedia() *media { return &media{root: newDir()} }

// split takes a path apart.
func split(name string) []string {
	return strings.FieldsFunc(name, func(r rune) bool { return r == '/' })
}

// find gives what has a name; nil if nothing has.
func (m *media) find(name string) *node {
	n := m.root
	for _, part := range split(name) {
		if n = n.entries[part]; n == nil {
			return nil
		}
	}
	return n
}

// parent gives the directory that a name is in, and the last part of the name.
func (m *media) parent(op, name string) (*node, string, error) {
	dir := m.find(path.Dir(name))
	base := path.Base(name)
	if dir == nil || dir.entries == nil || base == "/" || base == "." {
		return nil, "", pathError(op, name, os.ErrNotExist)
	}
	return dir, base, nil
}

func pathError(op, name string, err error) error { return &os.PathError{Op: op, Path: name, Err: err} }

// do makes a change.
func (m *media) do(c ...entry) {
	for _, e := range c {
		e.apply(e.dir.entries)
	}
	m.changes = append(m.changes, c)
}

func (e *entry) apply(entries map[string]*node) {
	if e.node == nil {
		delete(entries, e.name)
	} else {
		entries[e.name] = e.node
	}
}

func (c change) touches(dirs []*node) bool {
	return slices.ContainsFunc(c, func(e entry) bool { return slices.Contains(dirs, e.dir) })
}

// syncDir makes the changes of a directory durable, and those that came before in other directories that they touch.
func (m *media) syncDir(dir *node) {
	dirs := []*node{dir}
	done := make([]bool, len(m.changes))
	for i := len(m.changes) - 1; i >= 0; i-- {
		if done[i] = m.changes[i].touches(dirs); done[i] {
			for _, e := range m.changes[i] {
				dirs = append(dirs, e.dir)
			}
		}
	}
	var left []change
	for i, c := range m.changes {
		if !done[i] {
			left = append(left, c)
			continue
		}
		for _, e := range c {
			e.apply(e.dir.durable)
		}
	}
	m.changes = left
}

func (m *media) create(name string) (*node, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parent("create", name)
	if err != nil {
		return nil, err
	}
	if dir.entries[base] != nil { // as os.Remove and os.OpenFile: two changes
		m.do(entry{dir, base, nil})
	}
	n := &node{mod: time.Now()}
	m.do(entry{dir, base, n})
	return n, nil
}

func (m *media) open(name string) (*node, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.find(name)
	if n == nil {
		return nil, pathError("open", name, os.ErrNotExist)
	}
	return n, nil
}

func (m *media) link(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.find(from)
	dir, base, err := m.parent("link", to)
	switch {
	case n == nil:
		err = os.ErrNotExist
	case err == nil && dir.entries[base] != nil:
		err = os.ErrExist
	}
	if err != nil {
		return &os.LinkError{Op: "link", Old: from, New: to, Err: err}
	}
	m.do(entry{dir, base, n})
	return nil
}

func (m *media) rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, oldBase, err := m.parent("rename", from)
	if err != nil {
		return err
	}
	dir, base, err := m.parent("rename", to)
	if err != nil {
		return err
	}
	n := old.entries[oldBase]
	if n == nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: os.ErrNotExist}
	}
	if dir.entries[base] != n {
		m.do(entry{old, oldBase, nil}, entry{dir, base, n})
	}
	return nil
}

func (m *media) remove(name string, all bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parent("remove", name)
	if err == nil && dir.entries[base] == nil {
		err = pathError("remove", name, os.ErrNotExist)
	}
	switch {
	case err != nil && all:
		return nil
	case err != nil:
		return err
	case len(dir.entries[base].entries) > 0 && !all:
		return pathError("remove", name, syscall.ENOTEMPTY)
	}
	m.do(entry{dir, base, nil})
	return nil
}

func (m *media) mkdirAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir := m.root
	for _, part := range split(name) {
		next := dir.entries[part]
		if next == nil {
			next = newDir()
			m.do(entry{dir, part, next})
		}
		if next.entries == nil {
			return pathError("mkdir", name, syscall.ENOTDIR)
		}
		dir = next
	}
	return nil
}

func (m *media) list(name string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.find(name)
	if n == nil || n.entries == nil {
		return nil, pathError("open", name, os.ErrNotExist)
	}
	return slices.Collect(maps.Keys(n.entries)), nil
}

func (m *media) stat(name string) (vfs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.find(name)
	if n == nil {
		return nil, pathError("stat", name, os.ErrNotExist)
	}
	return n.info(path.Base(name)), nil
}

func (n *node) info(name string) vfs.FileInfo {
	return info{name: name, size: int64(len(n.data)), mod: n.mod, dir: n.entries != nil}
}

type info struct {
	name string
	size int64
	mod  time.Time
	dir  bool
}

func (i info) Name() string           { return i.name }
func (i info) Size() int64            { return i.size }
func (i info) ModTime() time.Time     { return i.mod }
func (i info) IsDir() bool            { return i.dir }
func (i info) Sys() any               { return nil }
func (i info) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }

func (i info) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o755
	}
	return 0o644
}
