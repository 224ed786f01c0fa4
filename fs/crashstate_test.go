package fs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
)

// state is what a store's tree holds at one moment, its snapshots included. What it points to does not change.
type state struct {
	step  int
	nodes map[Ino]*snode
	snaps map[string]uint64 // the sum of each snapshot's tree
	sum   uint64            // of all that a crash may leave; what has no name is not part of it
}

// snode is an inode of a state.
type snode struct {
	attr     Attr // without Ino
	data     []byte
	holes    string // the borders that SEEK_DATA and SEEK_HOLE tell
	target   string
	xattrs   map[string]string
	entries  map[string]Ino    // of a directory
	settings NamespaceSettings // of a top directory
	sum      uint64            // 0: not known yet
}

func isTop(ino Ino) bool { return ino.Number() == 1 }

func (s *state) clone() *state {
	return &state{step: s.step, nodes: maps.Clone(s.nodes), snaps: maps.Clone(s.snaps)}
}

// edit gives an inode that may be changed.
func (s *state) edit(ino Ino) *snode {
	n := *s.nodes[ino]
	n.sum = 0
	n.xattrs, n.entries = maps.Clone(n.xattrs), maps.Clone(n.entries)
	s.nodes[ino] = &n
	return &n
}

func newNode(a Attr) *snode {
	a.Ino = 0
	n := &snode{attr: a, xattrs: make(map[string]string)}
	if a.IsDir() {
		n.entries = make(map[string]Ino)
	}
	return n
}

// prune drops what has neither a name nor, as open tells, somebody who has it open.
func (s *state) prune(open func(Ino) bool) {
	named := map[Ino]bool{}
	s.walk(RootIno, func(_ string, ino Ino, _ *snode) { named[ino] = true })
	for ino, n := range s.nodes {
		if !named[ino] && (n.entries != nil || !open(ino) || !named[topOf(ino)]) {
			delete(s.nodes, ino)
		}
	}
}

func topOf(ino Ino) Ino { return Ino(uint64(ino.Namespace())<<44 | 1) }

// derive sets the attributes that follow from the tree.
func (s *state) derive() {
	links := make(map[Ino]uint32)
	for _, n := range s.nodes {
		for _, c := range n.entries {
			links[c]++
		}
	}
	set := func(ino Ino, nlink uint32, size int64) {
		if n := s.nodes[ino]; n.attr.Nlink != nlink || n.attr.Size != size {
			n = s.edit(ino)
			n.attr.Nlink, n.attr.Size = nlink, size
		}
	}
	for ino, n := range s.nodes {
		switch {
		case n.entries != nil:
			nlink, size := uint32(2), int64(0)
			for _, c := range n.entries {
				if s.nodes[c].entries != nil {
					nlink++
				}
				if !isTop(c) {
					size += direntSize
				}
			}
			set(ino, nlink, size)
		case n.attr.IsRegular():
			set(ino, links[ino], int64(len(n.data)))
		default:
			set(ino, links[ino], int64(len(n.target)))
		}
	}
}

// walk visits a tree, names in order.
func (s *state) walk(root Ino, visit func(path string, ino Ino, n *snode)) {
	var down func(path string, ino Ino)
	down = func(path string, ino Ino) {
		n := s.nodes[ino]
		visit(path, ino, n)
		for _, name := range slices.Sorted(maps.Keys(n.entries)) {
			down(path+"/"+name, n.entries[name])
		}
	}
	down("", root)
}

var sumSeed = maphash.MakeSeed()

func (n *snode) digest() uint64 {
	if n.sum == 0 {
		var h maphash.Hash
		h.SetSeed(sumSeed)
		fmt.Fprintf(&h, "%+v %q %q %d ", n.attr, n.target, n.holes, len(n.data))
		h.Write(n.data)
		for _, name := range slices.Sorted(maps.Keys(n.xattrs)) {
			fmt.Fprintf(&h, "%q=%q ", name, n.xattrs[name])
		}
		n.sum = h.Sum64() | 1
	}
	return n.sum
}

// treeSum is a sum of a tree: of its names, of what they name, and of which name the same. With numbers, of the inode
// numbers and the settings of namespaces too, which a snapshot does not show.
func (s *state) treeSum(root Ino, numbers bool) uint64 {
	var h maphash.Hash
	h.SetSeed(sumSeed)
	var b [8]byte
	put := func(x uint64) {
		binary.LittleEndian.PutUint64(b[:], x)
		h.Write(b[:])
	}
	met := make(map[Ino]uint64)
	s.walk(root, func(path string, ino Ino, n *snode) {
		id, again := met[ino]
		if !again {
			id = uint64(len(met))
			if numbers {
				id = uint64(ino)
			}
			met[ino] = id
		}
		h.WriteString(path)
		put(id)
		if ino == root && !numbers { // in a snapshot, its links do not count namespaces
			top := *n
			top.sum, top.attr.Nlink = 0, 0
			n = &top
		}
		put(n.digest())
		if numbers && isTop(ino) {
			fmt.Fprintf(&h, "%+v", n.settings)
		}
	})
	return h.Sum64()
}

func (s *state) setSum() {
	var h maphash.Hash
	h.SetSeed(sumSeed)
	fmt.Fprint(&h, s.treeSum(RootIno, true))
	for _, name := range slices.Sorted(maps.Keys(s.snaps)) {
		fmt.Fprintf(&h, " %s %d", name, s.snaps[name])
	}
	s.sum = h.Sum64()
}

// loadState reads all that there is.
func loadState(f *FS) (*state, error) {
	s := &state{snaps: make(map[string]uint64)}
	var err error
	if s.nodes, err = loadTree(f, RootIno); err != nil {
		return nil, err
	}
	for _, sn := range f.Snapshots() {
		a, err := f.Lookup(snapshotsIno, sn.Name)
		if err != nil {
			return nil, fmt.Errorf("snapshot %s: %w", sn.Name, err)
		}
		nodes, err := loadTree(f, a.Ino)
		if err != nil {
			return nil, fmt.Errorf("snapshot %s: %w", sn.Name, err)
		}
		s.snaps[sn.Name] = (&state{nodes: nodes}).treeSum(a.Ino, false)
	}
	s.setSum()
	return s, nil
}

func loadTree(f *FS, root Ino) (map[Ino]*snode, error) {
	nodes := make(map[Ino]*snode)
	var down func(path string, ino Ino) error
	down = func(path string, ino Ino) error {
		if nodes[ino] != nil {
			return nil
		}
		n, err := loadNode(f, ino)
		if err != nil {
			return fmt.Errorf("%q: %w", path, err)
		}
		nodes[ino] = n
		if isTop(ino) && ino.Namespace() != virtualNS {
			ns, err := f.NamespaceStats(strings.TrimPrefix(path, "/"))
			if err != nil {
				return err
			}
			n.settings = ns.Settings
		}
		for name, c := range n.entries {
			if err := down(path+"/"+name, c); err != nil {
				return err
			}
		}
		return nil
	}
	return nodes, down("", root)
}

func loadNode(f *FS, ino Ino) (*snode, error) {
	a, err := f.GetAttr(ino)
	if err != nil {
		return nil, err
	}
	n := newNode(a)
	switch a.Mode & ModeType {
	case ModeDir:
		err = f.ReadDir(ino, 0, false, func(e *DirEntry) bool {
			if e.Name != "." && e.Name != ".." {
				n.entries[e.Name] = e.Ino
			}
			return true
		})
	case ModeSymlink:
		n.target, err = f.Readlink(ino)
	case ModeRegular:
		if n.data, err = loadData(f, ino, a.Size); err == nil {
			n.holes, err = loadHoles(f, ino, n.data)
		}
	}
	if err == nil {
		err = loadXattrs(f, ino, n.xattrs)
	}
	return n, err
}

func loadData(f *FS, ino Ino, size int64) ([]byte, error) {
	data := make([]byte, size+1)
	k, err := f.ReadAt(ino, data, 0)
	if err == nil && int64(k) != size {
		err = fmt.Errorf("%d bytes of %d", k, size)
	}
	return data[:k], err
}

// loadHoles gives the borders of data and holes. What is a hole reads as zeros.
func loadHoles(f *FS, ino Ino, data []byte) (string, error) {
	var b strings.Builder
	size := int64(len(data))
	for at := int64(0); at < size; {
		from, err := f.Seek(ino, at, SeekData)
		if errors.Is(err, ErrNoData) {
			from, err = size, nil
		}
		if err != nil || from < at || from > size {
			return "", fmt.Errorf("SEEK_DATA from %d of %d: %d, %w", at, size, from, err)
		}
		if len(bytes.Trim(data[at:from], "\x00")) > 0 {
			return "", fmt.Errorf("there is data in the hole from %d to %d", at, from)
		}
		if from == size {
			break
		}
		if at, err = f.Seek(ino, from, SeekHole); err != nil || at <= from || at > size {
			return "", fmt.Errorf("SEEK_HOLE from %d of %d: %d, %w", from, size, at, err)
		}
		fmt.Fprintf(&b, "%d-%d ", from, at)
	}
	return b.String(), nil
}

func loadXattrs(f *FS, ino Ino, xattrs map[string]string) error {
	buf := make([]byte, MaxXattr)
	k, err := f.ListXattr(ino, buf)
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:k]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		k, err := f.GetXattr(ino, name, buf)
		if err != nil {
			return err
		}
		xattrs[name] = string(buf[:k])
	}
	return nil
}

// compare says in what a tree differs from another; nothing if in nothing.
func (s *state) compare(want *state) (list []string) {
	note := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	have := make(map[string]Ino)
	s.walk(RootIno, func(path string, ino Ino, _ *snode) { have[path] = ino })
	want.walk(RootIno, func(path string, ino Ino, w *snode) {
		got, ok := have[path]
		delete(have, path)
		switch {
		case !ok:
			note("%.40q is missing", path)
		case got != ino:
			note("%.40q is inode %x, want %x", path, uint64(got), uint64(ino))
		default:
			if what := s.nodes[got].differs(w); what != "" {
				note("%.40q: %s", path, what)
			}
		}
	})
	for path := range have {
		note("%.40q should not be there", path)
	}
	for name := range s.snaps {
		if sum, ok := want.snaps[name]; !ok || sum != s.snaps[name] {
			note("snapshot %s holds something else, or should not be there", name)
		}
	}
	for name := range want.snaps {
		if _, ok := s.snaps[name]; !ok {
			note("snapshot %s is missing", name)
		}
	}
	return list
}

func (n *snode) differs(want *snode) string {
	switch {
	case n.attr != want.attr:
		return fmt.Sprintf("attributes %+v, want %+v", n.attr, want.attr)
	case !bytes.Equal(n.data, want.data):
		at := 0
		for at < min(len(n.data), len(want.data)) && n.data[at] == want.data[at] {
			at++
		}
		return fmt.Sprintf("%d bytes, want %d, the first that differs is %d", len(n.data), len(want.data), at)
	case n.holes != want.holes:
		return fmt.Sprintf("data at %s, want %s", n.holes, want.holes)
	case n.target != want.target:
		return fmt.Sprintf("target %q, want %q", n.target, want.target)
	case !maps.Equal(n.xattrs, want.xattrs):
		return fmt.Sprintf("attributes %.100q, want %.100q", fmt.Sprint(n.xattrs), fmt.Sprint(want.xattrs))
	case n.settings != want.settings:
		return fmt.Sprintf("settings %+v, want %+v", n.settings, want.settings)
	}
	return ""
}
