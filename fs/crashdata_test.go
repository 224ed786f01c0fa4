package fs

import (
	"fmt"
	"math/rand/v2"
)

// What operations of a history change in files, and of attributes.

// span draws a place in a file and a length: many at the borders of pages and regions, most not far.
func (h *history) span(n *snode, most int) (off, length int) {
	switch h.draw(6) {
	case 0:
		off = h.draw(300 << 10)
	case 1, 2:
		off = len(n.data)
	case 3:
		off = pageSize * h.draw(20)
	case 4:
		off = h.draw(len(n.data) + 1)
	default:
		off = RegionSize*h.draw(3) + h.draw(7) - 3
	}
	switch h.draw(4) {
	case 0:
		length = 1 + h.draw(200)
	case 1:
		length = pageSize
	case 2:
		length = pageSize * (1 + h.draw(10))
	default:
		length = 1 + h.draw(most)
	}
	return max(off, 0), length
}

// bytes draws data, of which half shrinks.
func (h *history) bytes(n int) []byte {
	data := make([]byte, n)
	src := rand.NewPCG(h.rnd.Uint64(), 1)
	shrinks := h.draw(2) == 0
	for i := 0; i < n; i += 8 {
		x := src.Uint64() | 1
		for j := i; j < min(i+8, n); j++ {
			data[j] = byte(x) | 1
			if x >>= 8; shrinks {
				x &= 0x0101010101010101
			}
		}
	}
	return data
}

// put writes to a file of a state.
func (n *snode) put(data []byte, off int) {
	next := make([]byte, max(len(n.data), off+len(data)))
	copy(next, n.data)
	copy(next[off:], data)
	n.data = next
}

func (h *history) opWrite() error      { return h.write(60 << 10) }
func (h *history) opWriteSmall() error { return h.write(300) }

func (h *history) write(most int) error {
	ino := h.pickFile()
	if ino == 0 {
		return nil
	}
	off, length := h.span(h.now.nodes[ino], most)
	if h.draw(20) == 0 {
		length *= 5
	}
	data := h.bytes(length)
	h.note("%x: %d bytes at %d", uint64(ino), length, off)
	return h.change(func(next *state) error { next.edit(ino).put(data, off); return nil }, func(*state) error {
		if h.draw(4) == 0 {
			_, err := h.WriteBack(ino, data, int64(off))
			return err
		}
		_, err := h.WriteAt(ino, data, int64(off), h.draw(2) == 0)
		return err
	})
}

// opRead reads, which may move an access time.
func (h *history) opRead() error {
	ino := h.pickAny()
	h.note("%x", uint64(ino))
	return h.change(func(next *state) error { next.edit(ino); return nil }, func(next *state) error {
		_, err := loadNode(h.FS, ino)
		return err
	})
}

func (h *history) opTruncate() error {
	ino := h.pickFile()
	if ino == 0 {
		return nil
	}
	size, _ := h.span(h.now.nodes[ino], 1)
	if h.draw(4) == 0 {
		size = 0
	}
	h.note("%x to %d", uint64(ino), size)
	return h.change(func(next *state) error {
		n := next.edit(ino)
		data := make([]byte, size)
		copy(data, n.data)
		n.data = data
		return nil
	}, func(*state) error {
		_, err := h.SetAttr(ino, SetAttr{Valid: SetSize, Size: int64(size)})
		return err
	})
}

func (h *history) opFallocate() error {
	ino := h.pickFile()
	if ino == 0 {
		return nil
	}
	off, length := h.span(h.now.nodes[ino], 100<<10)
	modes := [...]uint32{
		0, FallocKeepSize, FallocPunchHole | FallocKeepSize, FallocPunchHole | FallocKeepSize, FallocZeroRange,
		FallocZeroRange | FallocKeepSize,
	}
	mode := modes[h.draw(len(modes))]
	h.note("%x: mode %#x, %d bytes at %d", uint64(ino), mode, length, off)
	return h.change(func(next *state) error {
		n := next.edit(ino)
		if mode&FallocKeepSize == 0 {
			n.put(nil, off+length)
		}
		if mode&(FallocPunchHole|FallocZeroRange) != 0 && off < len(n.data) {
			n.put(make([]byte, min(length, len(n.data)-off)), off)
		}
		return nil
	}, func(*state) error { return h.Fallocate(ino, mode, int64(off), int64(length)) })
}

func (h *history) opCopy() error {
	a := h.pickFile()
	if a == 0 {
		return nil
	}
	b := h.pick(func(ino Ino, n *snode) bool { return n.attr.IsRegular() && ino.Namespace() == a.Namespace() })
	srcOff, length := h.span(h.now.nodes[a], 150<<10)
	dstOff, _ := h.span(h.now.nodes[b], 1)
	if h.draw(2) == 0 { // all of it, as a reflink
		srcOff, dstOff, length = 0, 0, 1<<20
	}
	src := h.now.nodes[a].data
	n := max(min(length, len(src)-srcOff), 0)
	h.note("%d bytes at %d of %x to %d of %x", n, srcOff, uint64(a), dstOff, uint64(b))
	return h.change(func(next *state) error {
		switch {
		case n == 0:
		case a == b && srcOff < dstOff+n && dstOff < srcOff+n:
			return ErrInvalid
		default:
			next.edit(b).put(src[srcOff:srcOff+n], dstOff)
		}
		return nil
	}, func(*state) error {
		k, err := h.CopyRange(a, int64(srcOff), b, int64(dstOff), int64(length))
		if err == nil && k != int64(n) {
			err = fmt.Errorf("%d bytes were copied, want %d", k, n)
		}
		return err
	})
}

var crashXattrs = []string{"user.a", "user.b", "trusted.c"}

func (h *history) opSetXattr() error {
	ino, name := h.pickAny(), crashXattrs[h.draw(len(crashXattrs))]
	value := string(h.bytes([...]int{0, 1, 100, 10000}[h.draw(4)]))
	h.note("%x: %s", uint64(ino), name)
	return h.change(func(next *state) error { next.edit(ino).xattrs[name] = value; return nil }, func(*state) error {
		return h.SetXattr(ino, name, []byte(value), 0)
	})
}

func (h *history) opRemoveXattr() error {
	ino, name := h.pickAny(), crashXattrs[h.draw(len(crashXattrs))]
	h.note("%x: %s", uint64(ino), name)
	return h.change(func(next *state) error {
		if _, ok := next.nodes[ino].xattrs[name]; !ok {
			return ErrNoAttr
		}
		delete(next.edit(ino).xattrs, name)
		return nil
	}, func(*state) error { return h.RemoveXattr(ino, name) })
}

// setAttr changes attributes. set does it to those of the state.
func (h *history) setAttr(s SetAttr, set func(a *Attr)) error {
	ino := h.pickAny()
	h.note("%x", uint64(ino))
	return h.change(func(next *state) error { set(&next.edit(ino).attr); return nil }, func(*state) error {
		_, err := h.SetAttr(ino, s)
		return err
	})
}

func (h *history) opChmod() error {
	mode := uint32(h.draw(0o1000))
	return h.setAttr(SetAttr{Valid: SetMode, Mode: mode}, func(a *Attr) { a.Mode = a.Mode&ModeType | mode })
}

func (h *history) opUtimes() error {
	at, mt := h.rnd.Int64N(1<<60), -h.rnd.Int64N(1<<60)
	return h.setAttr(SetAttr{Valid: SetAtime | SetMtime, Atime: at, Mtime: mt}, func(a *Attr) { a.Atime, a.Mtime = at, mt })
}

func (h *history) opChown() error {
	uid, gid := uint32(h.draw(1<<31)), uint32(h.draw(9))
	return h.setAttr(SetAttr{Valid: SetUID | SetGID, UID: uid, GID: gid}, func(a *Attr) { a.UID, a.GID = uid, gid })
}
