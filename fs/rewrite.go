package fs

import (
	"salliefs/blockstore"
)

// rewrite makes few extents of the many of a region. Pages of the region that hold any data become data as a whole, so
// that what is left is at most one extent for each page.
type rewrite struct {
	buf  []byte   // the region's bytes
	ext  []extent // without IDs yet
	data []bool   // which of ext are data
}

const pageSize = 4 << 10

// newRewrite reads what a list names, with some data that its blocks do not hold yet: those have IDs in it that stand for
// others.
func (f *FS) newRewrite(in *inode, list []extent, more []newBlock) (*rewrite, error) {
	rw := &rewrite{buf: make([]byte, RegionSize)}
	old := list
	for _, b := range more { // their extents have no block to read
		old = cut(nil, old, b.off, b.off+uint32(len(b.data)))
	}
	if err := f.readExtents(in, old, rw.buf, 0); err != nil {
		return nil, err
	}
	for _, b := range more {
		copy(rw.buf[b.off:], b.data)
	}
	rw.plan(list, uint32(in.ns.blockSize.Load()))
	return rw, nil
}

// plan lays out the extents: runs of pages with data, cut where blocks have to end, and runs without.
func (rw *rewrite) plan(list []extent, blockSize uint32) {
	const none, zeros, data = 0, 1, 2
	var pages [RegionSize / pageSize]byte
	var end uint32
	for i := range list {
		e := &list[i]
		what := byte(zeros)
		if e.id != 0 {
			what = data
		}
		for p := e.off / pageSize; p <= (e.end()-1)/pageSize; p++ {
			pages[p] = max(pages[p], what)
		}
		end = max(end, e.end())
	}
	for p, what := range pages {
		off := uint32(p) * pageSize
		if what == none || off >= end {
			continue
		}
		e := extent{off: off, len: min(pageSize, end-off)}
		if n := len(rw.ext); n > 0 && rw.ext[n-1].end() == off && rw.data[n-1] == (what == data) && (what == zeros || off%blockSize != 0) {
			rw.ext[n-1].len += e.len
			continue
		}
		rw.ext = append(rw.ext, e)
		rw.data = append(rw.data, what == data)
	}
}

// put makes the blocks.
func (rw *rewrite) put(tx *blockstore.Tx, in *inode, n uint64) {
	for i := range rw.ext {
		if e := &rw.ext[i]; rw.data[i] {
			e.id = tx.PutFileBlock(in.ns.id, rw.buf[e.off:e.end()], hintOf(in, n, e.off))
		}
	}
}
