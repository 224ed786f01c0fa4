package fs

import (
	"maps"
	"slices"
	"strings"
)

// What operations of a history change of names.

func free(s *state, dir Ino, name string) error {
	if _, ok := s.nodes[dir].entries[name]; ok {
		return ErrExist
	}
	return nil
}

// add enters a new inode under a name.
func (h *history) add(next *state, dir Ino, name string, a Attr, mode uint32) *snode {
	n := newNode(a)
	n.attr.Mode = mode
	next.nodes[a.Ino] = n
	if dir != 0 {
		next.edit(dir).entries[name] = a.Ino
	}
	return n
}

func (h *history) opCreate() error {
	dir, name := h.pickDir(), h.name()
	mode := uint32(ModeRegular | h.draw(0o1000))
	if h.draw(8) == 0 {
		mode = ModeFIFO | 0o600
	}
	h.note("%x/%.10q mode %o", uint64(dir), name, mode)
	return h.change(func(next *state) error { return free(next, dir, name) }, func(next *state) error {
		a, err := h.Mknod(dir, name, mode, 0, Cred{UID: 1, GID: 2})
		if err == nil {
			h.add(next, dir, name, a, mode)
		}
		return err
	})
}

func (h *history) opMkdir() error {
	dir, name := h.pickDir(), h.name()
	if dir == RootIno {
		return h.opCreateNamespace()
	}
	mode := uint32(h.draw(0o1000))
	h.note("%x/%.10q", uint64(dir), name)
	return h.change(func(next *state) error { return free(next, dir, name) }, func(next *state) error {
		a, err := h.Mkdir(dir, name, mode, Cred{UID: 1, GID: 2})
		if err == nil {
			h.add(next, dir, name, a, ModeDir|mode)
		}
		return err
	})
}

func (h *history) opSymlink() error {
	dir, name := h.pickDir(), h.name()
	target := strings.Repeat("t/", 1+h.draw(200))
	h.note("%x/%.10q", uint64(dir), name)
	return h.change(func(next *state) error { return free(next, dir, name) }, func(next *state) error {
		a, err := h.Symlink(dir, name, target, Cred{})
		if err == nil {
			h.add(next, dir, name, a, ModeSymlink|0o777).target = target
		}
		return err
	})
}

func (h *history) opTmpfile() error {
	dir := h.pickDir()
	h.note("in %x", uint64(dir))
	return h.change(func(*state) error { return nil }, func(next *state) error {
		a, err := h.Tmpfile(dir, 0o600, Cred{})
		if err == nil {
			h.ref(a.Ino)
			h.add(next, 0, "", a, ModeRegular|0o600)
		}
		return err
	})
}

func (h *history) opLink() error {
	ino := h.pick(func(_ Ino, n *snode) bool { return n.entries == nil })
	if ino == 0 {
		return nil
	}
	dir := h.pick(func(d Ino, n *snode) bool { return n.entries != nil && d.Namespace() == ino.Namespace() })
	name := h.name()
	h.note("%x as %x/%.10q", uint64(ino), uint64(dir), name)
	return h.change(func(next *state) error {
		if err := free(next, dir, name); err != nil {
			return err
		}
		next.edit(ino)
		next.edit(dir).entries[name] = ino
		return nil
	}, func(*state) error {
		_, err := h.Link(ino, dir, name)
		return err
	})
}

// lose takes a name away.
func (s *state) lose(dir Ino, name string) {
	d := s.edit(dir)
	s.edit(d.entries[name])
	delete(d.entries, name)
}

func (h *history) opUnlink() error {
	dir := h.pickDir()
	name := h.entry(dir)
	h.note("%x/%.10q", uint64(dir), name)
	return h.change(func(next *state) error {
		ino, ok := next.nodes[dir].entries[name]
		switch {
		case !ok:
			return ErrNotExist
		case next.nodes[ino].entries != nil:
			return ErrIsDir
		}
		next.lose(dir, name)
		return nil
	}, func(*state) error { return h.Unlink(dir, name) })
}

func (h *history) opRmdir() error {
	dir := h.pickDir()
	name := h.entry(dir)
	h.note("%x/%.10q", uint64(dir), name)
	return h.change(func(next *state) error {
		ino, ok := next.nodes[dir].entries[name]
		switch {
		case !ok:
			return ErrNotExist
		case next.nodes[ino].entries == nil:
			return ErrNotDir
		case len(next.nodes[ino].entries) > 0:
			return ErrNotEmpty
		}
		next.lose(dir, name)
		return nil
	}, func(*state) error { return h.Rmdir(dir, name) })
}

func (h *history) opRename() error {
	from := h.pickDir()
	to := from
	if h.draw(2) == 0 {
		to = h.pick(func(d Ino, n *snode) bool { return n.entries != nil && d.Namespace() == from.Namespace() })
	}
	old, name := h.entry(from), h.name()
	if h.draw(2) == 0 {
		name = h.entry(to)
	}
	flags := [...]uint32{0, 0, 0, RenameNoReplace, RenameExchange}[h.draw(5)]
	return h.rename(from, old, to, name, flags)
}

func (h *history) rename(from Ino, old string, to Ino, name string, flags uint32) error {
	h.note("%x/%.10q to %x/%.10q flags %d", uint64(from), old, uint64(to), name, flags)
	return h.change(func(next *state) error {
		if err := next.renameError(from, old, to, name, flags); err != nil {
			return err
		}
		a, b := next.nodes[from].entries[old], next.nodes[to].entries[name]
		if a == b {
			return nil
		}
		next.edit(a)
		if b != 0 {
			next.edit(b)
		}
		delete(next.edit(from).entries, old)
		next.edit(to).entries[name] = a
		if flags == RenameExchange {
			next.edit(from).entries[old] = b
		}
		return nil
	}, func(*state) error { return h.Rename(from, old, to, name, flags) })
}

// below tells whether an inode is a directory or in the tree of it.
func (s *state) below(dir, ino Ino) (is bool) {
	s.walk(dir, func(_ string, x Ino, _ *snode) { is = is || x == ino })
	return is
}

func (s *state) renameError(from Ino, old string, to Ino, name string, flags uint32) error {
	a, b := s.nodes[from].entries[old], s.nodes[to].entries[name]
	isDir := func(ino Ino) bool { return s.nodes[ino].entries != nil }
	switch {
	case a == 0:
		return ErrNotExist
	case flags == RenameNoReplace && b != 0:
		return ErrExist
	case flags == RenameExchange && b == 0:
		return ErrNotExist
	case flags == RenameExchange && isTop(a) != isTop(b):
		return ErrInvalid
	case a == b:
		return nil
	case s.below(a, to), flags == RenameExchange && s.below(b, from):
		return ErrInvalid
	case flags == RenameExchange || b == 0:
		return nil
	case s.below(b, from):
		return ErrNotEmpty
	case isDir(a) && !isDir(b):
		return ErrNotDir
	case !isDir(a) && isDir(b):
		return ErrIsDir
	case len(s.nodes[b].entries) > 0:
		return ErrNotEmpty
	}
	return nil
}

// opSave is what editors and mail spools do: a new file, then its name in place of the old one's.
func (h *history) opSave() error {
	dir := h.pickDir()
	if h.now.nodes[dir].entries["tmp"] != 0 {
		return nil
	}
	h.note("in %x", uint64(dir))
	err := h.change(func(*state) error { return nil }, func(next *state) error {
		a, err := h.Mknod(dir, "tmp", ModeRegular|0o644, 0, Cred{})
		if err == nil {
			h.add(next, dir, "tmp", a, ModeRegular|0o644)
		}
		return err
	})
	if err != nil {
		return err
	}
	ino := h.now.nodes[dir].entries["tmp"]
	data := h.bytes(1 + h.draw(20000))
	err = h.change(func(next *state) error { next.edit(ino).put(data, 0); return nil }, func(*state) error {
		_, err := h.WriteAt(ino, data, 0, false)
		return err
	})
	if err == nil && h.draw(3) == 0 {
		err = h.opSync()
	}
	if err != nil {
		return err
	}
	return h.rename(dir, "tmp", dir, h.name(), 0)
}

// opSetKey sets a key as commands do: the old value or the new is there, no half of one.
func (h *history) opSetKey() error {
	top := h.pick(func(ino Ino, _ *snode) bool { return isTop(ino) })
	var ns string
	for name, ino := range h.now.nodes[RootIno].entries {
		if ino == top {
			ns = name
		}
	}
	name, data := h.entry(top), h.bytes(h.draw(40000))
	old := h.now.nodes[top].entries[name]
	h.note("%.10q of %.10q: %d bytes", name, ns, len(data))
	return h.change(func(next *state) error {
		switch {
		case old != 0 && next.nodes[old].entries != nil:
			return ErrIsDir
		case old != 0 && !next.nodes[old].attr.IsRegular():
			return ErrInvalid
		case old != 0:
			next.lose(top, name)
		}
		return nil
	}, func(next *state) error {
		err := h.SetKey(ns, name, data, Cred{UID: 1, GID: 2})
		if err != nil {
			return err
		}
		a, err := h.Lookup(top, name)
		if err != nil {
			return err
		}
		n := h.add(next, top, name, a, a.Mode)
		if was := h.now.nodes[old]; was != nil && was.attr.IsRegular() {
			n.attr.Mode, n.attr.UID, n.attr.GID = was.attr.Mode, was.attr.UID, was.attr.GID
			n.xattrs = maps.Clone(was.xattrs)
		}
		n.data = data
		return nil
	})
}

func (h *history) opOpen() error {
	ino := h.pickFile()
	if ino == 0 {
		return nil
	}
	h.note("%x", uint64(ino))
	h.ref(ino)
	return nil
}

func (h *history) ref(ino Ino) {
	h.Ref(ino)
	h.refs[ino]++
}

func (h *history) opClose() error {
	list := slices.Sorted(maps.Keys(h.refs))
	if len(list) == 0 {
		return nil
	}
	ino := list[h.draw(len(list))]
	h.note("%x", uint64(ino))
	return h.change(func(*state) error { return nil }, func(*state) error {
		h.Unref(ino, uint64(h.refs[ino]))
		delete(h.refs, ino)
		return nil
	})
}
