package fs

import (
	"sync"

	"salliefs/blockstore"
)

// WriteAt writes to a file at an offset. Without an error it writes all of data. With killPriv the file loses
// set-user-ID, and set-group-ID if the group may execute it.
func (f *FS) WriteAt(ino Ino, data []byte, off int64, killPriv bool) (int, error) {
	return f.writeAt(ino, data, off, writeMode{times: true, killPriv: killPriv})
}

// WriteBack is WriteAt for data that a kernel held back. That kernel also keeps the file's times and sets them with
// SetAttr, before or after, so they do not move.
func (f *FS) WriteBack(ino Ino, data []byte, off int64) (int, error) {
	return f.writeAt(ino, data, off, writeMode{})
}

// writeMode is what a write changes other than data.
type writeMode struct{ times, killPriv bool }

func (f *FS) writeAt(ino Ino, data []byte, off int64, mode writeMode) (int, error) {
	switch {
	case off < 0:
		return 0, ErrInvalid
	case off > MaxFileSize || int64(len(data)) > MaxFileSize-off:
		return 0, ErrTooBig
	}
	if err := f.begin(); err != nil {
		return 0, err
	}
	ahead := f.sealAhead(ino, data, off)
	defer ahead.discard()
	in, err := f.lock(ino)
	if err != nil {
		return 0, err
	}
	defer f.unlock(in)
	if err := in.isFile(); err != nil {
		return 0, err
	}
	if err := f.finishTruncate(in); err != nil {
		return 0, err
	}
	done := 0
	for done < len(data) {
		// Up to the border that mostWrite ends at.
		n := min(len(data)-done, mostWrite-int((off+int64(done))%RegionSize))
		if err := f.write(in, data[done:done+n], off+int64(done), mode, ahead); err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// mostWrite is how much one Update writes.
const mostWrite = 1 << 20

// write is a write in progress, kept to be used again.
type write struct {
	regions [mostWrite/RegionSize + 1]regionWrite
	n       int
}

// regionWrite is the part of a write that falls in one region.
type regionWrite struct {
	n         uint64
	from      uint32
	data      []byte
	old       []extent
	next      []extent // of put: one of lists, or the rewrite's
	lists     [2][]extent
	rewrite   *rewrite
	blockSize uint32
}

var writes = sync.Pool{New: func() any { return new(write) }}

func (w *write) release() {
	for i := range w.regions[:w.n] {
		r := &w.regions[i]
		*r = regionWrite{lists: r.lists}
	}
	w.n = 0
	writes.Put(w)
}

// write writes what fits in one Update. in is locked.
func (f *FS) write(in *inode, data []byte, off int64, mode writeMode, ahead *sealedAhead) error {
	w := writes.Get().(*write)
	defer w.release()
	more, err := f.plan(w, in, data, off)
	if err != nil {
		return err
	}
	if err := f.room(in.ns, more); err != nil {
		return err
	}
	rec := in.rec
	rec.alloc += more
	rec.size = max(rec.size, off+int64(len(data)))
	if mode.times {
		rec.mtime = f.now()
		rec.ctime = rec.mtime
	}
	if w.regions[w.n-1].n > 0 {
		rec.flags |= hasRegions
	}
	if mode.killPriv {
		rec.killPriv()
	}
	caps, err := f.removeCaps(in, &rec)
	if err != nil {
		return err
	}
	err = f.update(in.ns, func(tx *blockstore.Tx) error {
		ext := w.put(tx, in, ahead)
		tx.Put(in.record(), encodeInode(&rec, ext))
		caps.apply(tx)
		if more != 0 {
			tx.Account(in.ns.id, 0, more)
		}
		return nil
	})
	if err != nil {
		return err
	}
	in.rec = rec
	for i := range w.regions[:w.n] {
		w.regions[i].took(ahead)
		f.setExtents(in, w.regions[i].n, w.regions[i].next)
	}
	return nil
}

// plan reads what a write needs to know of its regions. It returns how many bytes more the file will cover.
func (f *FS) plan(w *write, in *inode, data []byte, off int64) (more int64, err error) {
	blockSize := uint32(in.ns.blockSize.Load())
	for len(data) > 0 {
		r := &w.regions[w.n]
		w.n++
		r.n, r.from, r.blockSize = uint64(off)>>regionBits, uint32(off%RegionSize), blockSize
		r.data = data[:min(len(data), RegionSize-int(r.from))]
		if r.old, err = f.extents(in, r.n); err != nil {
			return 0, err
		}
		to := r.from + uint32(len(r.data))
		blocks := int((to-1)/blockSize-r.from/blockSize) + 1
		if len(r.old)+2*blocks > maxExtents && len(r.old) > blocks {
			if err := f.planRewrite(in, r, to); err != nil {
				return 0, err
			}
			more += sum(r.rewrite.ext) - sum(r.old)
		} else {
			more += int64(len(r.data)) - covered(r.old, r.from, to)
		}
		data = data[len(r.data):]
		off += int64(len(r.data))
	}
	return more, nil
}

// planRewrite has a region rewritten, as one more write would leave it in too many pieces.
func (f *FS) planRewrite(in *inode, r *regionWrite, to uint32) (err error) {
	added := place(nil, r.old, extent{off: r.from, len: to - r.from, id: ^blockstore.BlockID(0)})
	r.rewrite, err = f.newRewrite(in, added, []newBlock{{r.from, r.data}})
	return err
}

// put makes the blocks of a write and puts the regions that changed. It returns region 0's list, which is for the inode
// record.
func (w *write) put(tx *blockstore.Tx, in *inode, ahead *sealedAhead) (ext []extent) {
	ext = in.ext
	for i := range w.regions[:w.n] {
		r := &w.regions[i]
		r.put(tx, in, ahead)
		freeGone(tx, in.ns.id, r.old, r.next)
		if r.n == 0 {
			ext = r.next
		} else {
			tx.Put(regionKey(in, r.n), encodeRegion(r.next))
		}
	}
	return ext
}

func (r *regionWrite) put(tx *blockstore.Tx, in *inode, ahead *sealedAhead) {
	if r.rewrite != nil {
		r.rewrite.put(tx, in, r.n)
		r.next = r.rewrite.ext
		return
	}
	r.next = r.old
	for from, data, i := r.from, r.data, 0; len(data) > 0; i++ {
		n := min(uint32(len(data)), r.blockSize-from%r.blockSize)
		if b := ahead.at(r.offset(from), int(n)); b != nil {
			id := tx.PutSealed(b, hintOf(in, r.n, from))
			r.lists[i%2] = place(r.lists[i%2][:0], r.next, extent{off: from, len: n, id: id})
		} else {
			r.lists[i%2] = r.putPiece(tx, in, r.lists[i%2][:0], from, data[:n])
		}
		r.next = r.lists[i%2]
		from, data = from+n, data[n:]
	}
}

// putPiece puts data into a block that is still open, or into a new one. It appends the list that results to dst.
func (r *regionWrite) putPiece(tx *blockstore.Tx, in *inode, dst []extent, from uint32, data []byte) []extent {
	to := from + uint32(len(data))
	for i := range r.next {
		e := &r.next[i]
		if e.id == 0 || e.shared || from < e.off || from > e.end() {
			continue
		}
		grown := *e
		grown.len = max(e.len, to-e.off)
		// Pieces of an unshared block are as far from each other as in the block, so growing over another keeps it right.
		if grown.len > e.len && grown.boff+grown.len > r.blockSize {
			continue
		}
		if tx.RewriteBlock(e.id, int(e.boff+from-e.off), data) {
			return place(dst, r.next, grown)
		}
	}
	return place(dst, r.next, extent{off: from, len: to - from, id: tx.PutFileBlock(in.ns.id, data, hintOf(in, r.n, from))})
}
