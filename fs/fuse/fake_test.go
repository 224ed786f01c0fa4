package fuse

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"salliefs/fs"
)

// fakeFS is a filesystem in memory, just good enough to see what the kernel asks and
// what the bridge makes of it. Nothing in it is clever.
type fakeFS struct {
	mu       sync.Mutex
	before   func(op string, ino fs.Ino) error
	nodes    map[fs.Ino]*fakeNode
	next     fs.Ino
	observer fs.Observer
	// dropped counts references taken back that were never given.
	dropped uint64
}

type fakeNode struct {
	attr     fs.Attr
	parent   fs.Ino
	children map[string]fs.Ino
	cookies  map[string]uint64
	data     []byte
	target   string
	xattrs   map[string][]byte
	refs     uint64
}

func newFakeFS() *fakeFS {
	f := &fakeFS{nodes: make(map[fs.Ino]*fakeNode), next: 2}
	f.nodes[fs.RootIno] = f.node(fs.RootIno, fs.ModeDir|0o755, fs.Cred{})
	return f
}

// setHook has fn called with each operation's name and inode, outside the lock; an
// error that it returns is the operation's result.
func (f *fakeFS) setHook(fn func(op string, ino fs.Ino) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = fn
}

func (f *fakeFS) hook(op string, ino fs.Ino) error {
	f.mu.Lock()
	before := f.before
	f.mu.Unlock()
	if before == nil {
		return nil
	}
	return before(op, ino)
}

func (f *fakeFS) node(ino fs.Ino, mode uint32, c fs.Cred) *fakeNode {
	now := time.Now().UnixNano()
	n := &fakeNode{xattrs: make(map[string][]byte), attr: fs.Attr{Ino: ino, Mode: mode &^ c.Umask, Nlink: 1,
		UID: c.UID, GID: c.GID, BlockSize: 4096, Atime: now, Mtime: now, Ctime: now, Btime: now}}
	if n.attr.IsDir() {
		n.attr.Nlink, n.children, n.cookies = 2, make(map[string]fs.Ino), make(map[string]uint64)
	}
	return n
}

// refs is the number of the kernel's references to ino, 0 also if it is gone.
func (f *fakeFS) refs(ino fs.Ino) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.nodes[ino]; n != nil {
		return n.refs
	}
	return 0
}

func (f *fakeFS) exists(ino fs.Ino) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.nodes[ino] != nil
}

func (f *fakeFS) content(path string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[fs.RootIno]
	for _, name := range strings.Split(spaceName+"/"+path, "/") {
		if n = f.nodes[n.children[name]]; n == nil {
			return nil
		}
	}
	return bytes.Clone(n.data)
}

func (f *fakeFS) SetObserver(o fs.Observer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.observer = o
}

func (f *fakeFS) Ref(ino fs.Ino) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes[ino].refs++
}

func (f *fakeFS) Unref(ino fs.Ino, n uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	node := f.nodes[ino]
	if node == nil || node.refs < n {
		f.dropped++
		return
	}
	node.refs -= n
	f.reapLocked(node)
}

func (f *fakeFS) reapLocked(n *fakeNode) {
	if n.attr.Nlink == 0 && n.refs == 0 {
		delete(f.nodes, n.attr.Ino)
	}
}

func (f *fakeFS) getLocked(ino fs.Ino) (*fakeNode, error) {
	if n := f.nodes[ino]; n != nil {
		return n, nil
	}
	return nil, fs.ErrNotExist
}

func (f *fakeFS) Lookup(parent fs.Ino, name string) (fs.Attr, error) {
	if err := f.hook("lookup", parent); err != nil {
		return fs.Attr{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	dir, err := f.getLocked(parent)
	if err != nil {
		return fs.Attr{}, err
	}
	if len(name) > fs.MaxName {
		return fs.Attr{}, fs.ErrNameTooLong
	}
	n, err := f.getLocked(dir.children[name])
	if err != nil {
		return fs.Attr{}, err
	}
	return n.attr, nil
}

func (f *fakeFS) GetAttr(ino fs.Ino) (fs.Attr, error) {
	if err := f.hook("getattr", ino); err != nil {
		return fs.Attr{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.getLocked(ino)
	if err != nil {
		return fs.Attr{}, err
	}
	return n.attr, nil
}

func (f *fakeFS) SetAttr(ino fs.Ino, in fs.SetAttr) (fs.Attr, error) {
	if err := f.hook("setattr", ino); err != nil {
		return fs.Attr{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.getLocked(ino)
	if err != nil {
		return fs.Attr{}, err
	}
	has := func(v fs.Valid) bool { return in.Valid&v != 0 }
	if has(fs.KillPriv) || has(fs.SetUID|fs.SetGID) && !n.attr.IsDir() {
		n.killPriv()
	}
	if has(fs.SetMode) {
		n.attr.Mode = n.attr.Mode&fs.ModeType | in.Mode
	}
	if has(fs.SetUID) {
		n.attr.UID = in.UID
	}
	if has(fs.SetGID) {
		n.attr.GID = in.GID
	}
	if has(fs.SetSize) {
		n.resize(in.Size)
		n.attr.Mtime = time.Now().UnixNano()
	}
	n.attr.Ctime = time.Now().UnixNano()
	for _, t := range []struct {
		valid fs.Valid
		to    *int64
		from  int64
	}{{fs.SetAtime, &n.attr.Atime, in.Atime}, {fs.SetMtime, &n.attr.Mtime, in.Mtime}, {fs.SetCtime, &n.attr.Ctime, in.Ctime}} {
		if has(t.valid) {
			*t.to = t.from
		}
	}
	return n.attr, nil
}

func (n *fakeNode) killPriv() {
	n.attr.Mode &^= fs.ModeSetUID
	if n.attr.Mode&0o010 != 0 {
		n.attr.Mode &^= fs.ModeSetGID
	}
}

func (n *fakeNode) resize(size int64) {
	if size <= int64(len(n.data)) {
		n.data = n.data[:size]
	} else {
		n.data = append(n.data, make([]byte, size-int64(len(n.data)))...)
	}
	n.attr.Size, n.attr.Blocks = size, (size+511)/512
}

func (f *fakeFS) StatFS() (fs.StatFS, error) {
	return fs.StatFS{BlockSize: 4096, Blocks: 1000, Free: 500, Avail: 400, Files: 100, FilesFree: 50, NameMax: 255}, nil
}

// add gives a node a name.
func (f *fakeFS) add(op string, parent fs.Ino, name string, make func() *fakeNode) (fs.Attr, error) {
	if err := f.hook(op, parent); err != nil {
		return fs.Attr{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	dir, err := f.getLocked(parent)
	if err != nil {
		return fs.Attr{}, err
	}
	if dir.children[name] != 0 {
		return fs.Attr{}, fs.ErrExist
	}
	n := make()
	if n == nil {
		return fs.Attr{}, fs.ErrNotExist
	}
	f.nodes[n.attr.Ino] = n
	f.enterLocked(dir, name, n)
	return n.attr, nil
}

func (f *fakeFS) enterLocked(dir *fakeNode, name string, n *fakeNode) {
	dir.children[name] = n.attr.Ino
	f.next++
	dir.cookies[name] = uint64(f.next)
	if n.attr.IsDir() {
		dir.attr.Nlink++
		n.parent = dir.attr.Ino
	}
	dir.attr.Mtime = time.Now().UnixNano()
	dir.attr.Ctime = dir.attr.Mtime
}

// leaveLocked takes a name away; link counts of what it named are the caller's.
func (f *fakeFS) leaveLocked(dir *fakeNode, name string, n *fakeNode) {
	delete(dir.children, name)
	delete(dir.cookies, name)
	if n.attr.IsDir() {
		dir.attr.Nlink--
	}
	dir.attr.Mtime = time.Now().UnixNano()
	dir.attr.Ctime = dir.attr.Mtime
}

func (f *fakeFS) Mknod(parent fs.Ino, name string, mode, rdev uint32, c fs.Cred) (fs.Attr, error) {
	return f.add("mknod", parent, name, func() *fakeNode {
		f.next++
		n := f.node(f.next, mode, c)
		n.attr.Rdev = rdev
		return n
	})
}

func (f *fakeFS) Mkdir(parent fs.Ino, name string, mode uint32, c fs.Cred) (fs.Attr, error) {
	return f.add("mkdir", parent, name, func() *fakeNode {
		f.next++
		return f.node(f.next, fs.ModeDir|mode&0o7777, c)
	})
}

func (f *fakeFS) Symlink(parent fs.Ino, name, target string, c fs.Cred) (fs.Attr, error) {
	return f.add("symlink", parent, name, func() *fakeNode {
		f.next++
		n := f.node(f.next, fs.ModeSymlink|0o777, c)
		n.target, n.attr.Size = target, int64(len(target))
		return n
	})
}

func (f *fakeFS) Link(ino, parent fs.Ino, name string) (fs.Attr, error) {
	return f.add("link", parent, name, func() *fakeNode {
		n := f.nodes[ino]
		if n != nil {
			n.attr.Nlink++
		}
		return n
	})
}

func (f *fakeFS) Tmpfile(_ fs.Ino, mode uint32, c fs.Cred) (fs.Attr, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	n := f.node(f.next, mode, c)
	n.attr.Nlink = 0
	f.nodes[f.next] = n
	return n.attr, nil
}

func (f *fakeFS) Readlink(ino fs.Ino) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.getLocked(ino)
	if err != nil {
		return "", err
	}
	return n.target, nil
}

func (f *fakeFS) Unlink(parent fs.Ino, name string) error {
	if err := f.hook("unlink", parent); err != nil {
		return err
	}
	return f.remove(parent, name)
}

func (f *fakeFS) Rmdir(parent fs.Ino, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir, n, err := f.findLocked(parent, name)
	if err != nil {
		return err
	}
	return f.unlinkLocked(dir, name, n)
}

func (f *fakeFS) remove(parent fs.Ino, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir, n, err := f.findLocked(parent, name)
	if err != nil {
		return err
	}
	return f.unlinkLocked(dir, name, n)
}

func (f *fakeFS) findLocked(parent fs.Ino, name string) (dir, n *fakeNode, err error) {
	if dir, err = f.getLocked(parent); err != nil {
		return nil, nil, err
	}
	n, err = f.getLocked(dir.children[name])
	return dir, n, err
}

func (f *fakeFS) unlinkLocked(dir *fakeNode, name string, n *fakeNode) error {
	if len(n.children) > 0 {
		return fs.ErrNotEmpty
	}
	f.leaveLocked(dir, name, n)
	n.attr.Nlink--
	if n.attr.IsDir() {
		n.attr.Nlink = 0
	}
	n.attr.Ctime = time.Now().UnixNano()
	f.reapLocked(n)
	return nil
}

func (f *fakeFS) Rename(oldParent fs.Ino, oldName string, newParent fs.Ino, newName string, flags uint32) error {
	if err := f.hook("rename", oldParent); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	from, n, err := f.findLocked(oldParent, oldName)
	if err != nil {
		return err
	}
	to, other, err := f.findLocked(newParent, newName)
	switch {
	case to == nil:
		return err
	case other == nil && flags&unix.RENAME_EXCHANGE != 0:
		return fs.ErrNotExist
	case other == n:
		return nil
	case other != nil && flags&unix.RENAME_NOREPLACE != 0:
		return fs.ErrExist
	case flags&unix.RENAME_EXCHANGE != 0:
		f.leaveLocked(from, oldName, n)
		f.leaveLocked(to, newName, other)
		f.enterLocked(from, oldName, other)
		f.enterLocked(to, newName, n)
		return nil
	case other != nil:
		if err := f.unlinkLocked(to, newName, other); err != nil {
			return err
		}
	}
	f.leaveLocked(from, oldName, n)
	f.enterLocked(to, newName, n)
	return nil
}

func (f *fakeFS) ReadDir(dir fs.Ino, cookie uint64, plus bool, fn func(e *fs.DirEntry) bool) error {
	if err := f.hook("readdir", dir); err != nil {
		return err
	}
	f.mu.Lock()
	d, err := f.getLocked(dir)
	if err != nil {
		f.mu.Unlock()
		return err
	}
	entries := []fs.DirEntry{
		{Name: ".", Ino: dir, Type: fs.ModeDir, Cookie: 1},
		{Name: "..", Ino: max(d.parent, fs.RootIno), Type: fs.ModeDir, Cookie: 2}}
	for name, ino := range d.children {
		a := f.nodes[ino].attr
		entries = append(entries, fs.DirEntry{Name: name, Ino: ino, Type: a.Mode & fs.ModeType, Cookie: d.cookies[name], Attr: a})
	}
	f.mu.Unlock()
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return int(a.Cookie) - int(b.Cookie) })
	for i := range entries {
		if entries[i].Cookie > cookie && !fn(&entries[i]) {
			break
		}
	}
	return nil
}
