package fs

import (
	"salliefs/blockstore"
)

// CopyRange copies from one file to another of the same namespace, or to another place in the same file. What is large
// enough is shared instead. It returns how many bytes were copied: fewer than n at the end of the source.
func (f *FS) CopyRange(src Ino, srcOff int64, dst Ino, dstOff int64, n int64) (int64, error) {
	switch {
	case srcOff < 0 || dstOff < 0 || n < 0:
		return 0, ErrInvalid
	case dst.Namespace() == virtualNS:
		return 0, ErrReadOnly
	case src.Namespace() != dst.Namespace():
		return 0, ErrXDev
	}
	if err := f.begin(); err != nil {
		return 0, err
	}
	if n >= minShare {
		if err := f.noteSharing(src.Namespace()); err != nil {
			return 0, err
		}
	}
	from, to, unlock, err := f.lockPair(src, dst)
	if err != nil {
		return 0, err
	}
	defer unlock()
	n = min(n, max(from.rec.size-srcOff, 0))
	switch {
	case n == 0:
		return 0, nil
	case n > MaxFileSize-dstOff:
		return 0, ErrTooBig
	case from == to && srcOff < dstOff+n && dstOff < srcOff+n:
		return 0, ErrInvalid
	}
	for done := int64(0); done < n; {
		part := min(n-done, mostCopy)
		if err := f.copyPart(from, srcOff+done, to, dstOff+done, part); err != nil {
			return done, err
		}
		if done += part; done < n {
			if err := f.st.Throttle(); err != nil {
				return done, err
			}
		}
	}
	return n, nil
}

const (
	mostCopy = 2 << 20  // bytes that one Update copies
	minShare = 16 << 10 // bytes that are worth sharing: what is shared is freed later than what is not
)

// noteSharing notes in a namespace's top directory that blocks in it may be shared. Those wait for the sweep when they
// are freed, so not all of its blocks need to be in use from then on.
func (f *FS) noteSharing(id NamespaceID) error {
	ns, err := f.namespace(id)
	if err != nil || ns.shares.Load() {
		return err
	}
	top, err := f.lock(blockstore.MakeIno(id, 1))
	if err != nil {
		return err
	}
	defer f.unlock(top)
	if top.rec.flags&hasShared == 0 {
		if err := f.change(top, func(rec *inodeRec) { rec.flags |= hasShared }, nil); err != nil {
			return err
		}
	}
	ns.shares.Store(true)
	return nil
}

// lockPair locks two files, which may be the same, for changes.
func (f *FS) lockPair(a, b Ino) (x, y *inode, unlock func(), err error) {
	if a == b {
		x, err = f.lockFile(a)
		return x, x, func() { f.unlock(x) }, err
	}
	swap := a > b
	if swap {
		a, b = b, a
	}
	if x, err = f.lockFile(a); err != nil {
		return nil, nil, nil, err
	}
	if y, err = f.lockFile(b); err != nil {
		f.unlock(x)
		return nil, nil, nil, err
	}
	unlock = func() {
		f.unlock(x)
		f.unlock(y)
	}
	if swap {
		return y, x, unlock, nil
	}
	return x, y, unlock, nil
}

// lockFile locks a regular file whose last truncation is finished.
func (f *FS) lockFile(ino Ino) (*inode, error) {
	in, err := f.lock(ino)
	if err != nil {
		return nil, err
	}
	if err = in.isFile(); err == nil {
		err = f.finishTruncate(in)
	}
	if err != nil {
		f.unlock(in)
		return nil, err
	}
	return in, nil
}

// copyPart copies what fits in one Update.
func (f *FS) copyPart(src *inode, srcOff int64, dst *inode, dstOff int64, n int64) error {
	to := f.newEdit(dst)
	from := to
	if src != dst {
		from = f.newEdit(src)
	}
	for done := int64(0); done < n; {
		// A piece lies in one region of each file.
		s, d := srcOff+done, dstOff+done
		piece := min(n-done, RegionSize-s%RegionSize, RegionSize-d%RegionSize)
		if err := f.copyPiece(from, s, to, d, uint32(piece)); err != nil {
			return err
		}
		done += piece
	}
	to.rec.size = max(to.rec.size, dstOff+n)
	if from == to || len(from.regions) == 0 {
		return f.changeData(to)
	}
	// Both files change in one Update: the source's extents become shared.
	if err := from.settle(); err != nil {
		return err
	}
	to.with = from
	return f.changeData(to)
}

// copyPiece copies within one region of each file.
func (f *FS) copyPiece(from *edit, s int64, to *edit, d int64, n uint32) error {
	sn, so := uint64(s)>>regionBits, uint32(s%RegionSize)
	dn, do := uint64(d)>>regionBits, uint32(d%RegionSize)
	source, err := from.list(sn)
	if err != nil {
		return err
	}
	shared, marked := share(source, so, so+n)
	if marked != nil {
		if _, err := from.set(sn, marked); err != nil {
			return err
		}
	}
	target, err := to.list(dn)
	if err != nil {
		return err
	}
	next := cut(nil, target, do, do+n)
	var data []newBlock
	for _, e := range shared {
		moved := e
		moved.off = e.off - so + do
		if !e.shared && e.id != 0 { // too small to share
			b := newBlock{moved.off, make([]byte, e.len)}
			if err := f.st.ReadBlock(from.in.ns.id, e.id, int(e.boff), b.data); err != nil {
				return f.inodeError("read", from.in.key, err)
			}
			data = append(data, b)
			moved.id, moved.boff = copiedBlock, 0
		}
		next = place(nil, next, moved)
	}
	r, err := to.set(dn, next)
	if err != nil {
		return err
	}
	r.data = append(r.data, data...)
	return nil
}

// copiedBlock stands for the ID of a block that is yet to be made.
const copiedBlock = ^blockstore.BlockID(0)

// share cuts [from, to) out of a list and marks as shared what is worth it: in the result, and in a copy of the list,
// which is nil if nothing in it changed.
func share(list []extent, from, to uint32) (part, marked []extent) {
	for i, e := range list {
		a, b := max(e.off, from), min(e.end(), to)
		if a >= b {
			continue
		}
		if e.id != 0 && !e.shared && b-a >= minShare {
			if marked == nil {
				marked = append(marked, list...)
			}
			e.shared = true
			markShared(marked, list[i].id)
		}
		e.boff += a - e.off
		if e.id == 0 {
			e.boff = 0
		}
		e.off, e.len = a, b-a
		part = append(part, e)
	}
	return part, marked
}

// markShared marks all extents that name a block.
func markShared(list []extent, id blockstore.BlockID) {
	for i := range list {
		if list[i].id == id {
			list[i].shared = true
		}
	}
}
