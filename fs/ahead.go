package fs

import "salliefs/blockstore"

// aheadWrite is from how many bytes on a write has its blocks sealed before it takes the file's lock: several writes to one file
// then do so at once, and none has to be copied to be sealed later. What is shorter is likely to be written again soon.
const aheadWrite = 256 << 10

// sealedAhead is the blocks of a write that were sealed before it; nil: none.
type sealedAhead struct {
	start  int64 // of the first one, in the file
	size   int   // of each, in bytes
	blocks []*blockstore.SealedBlock
}

// sealAhead seals those blocks of a write that it fills.
func (f *FS) sealAhead(ino Ino, data []byte, off int64) *sealedAhead {
	if len(data) < f.aheadFrom {
		return nil
	}
	ns, err := f.namespace(ino.Namespace())
	if err != nil {
		return nil // the write will say so
	}
	size := int(ns.blockSize.Load())
	skip := (size - int(off%int64(size))) % size
	a := &sealedAhead{start: off + int64(skip), size: size}
	for data = data[min(skip, len(data)):]; len(data) >= size; data = data[size:] {
		b := f.st.SealAhead(ns.id, data[:size])
		if b == nil {
			break
		}
		a.blocks = append(a.blocks, b)
	}
	return a
}

// at is the block of n bytes at an offset of the file; nil if it is not there. Blocks lie at multiples of their size, which is a
// power of two, so only a whole one has as many bytes.
func (a *sealedAhead) at(off int64, n int) *blockstore.SealedBlock {
	if a == nil || n != a.size || off < a.start {
		return nil
	}
	if i := (off - a.start) / int64(a.size); i < int64(len(a.blocks)) {
		return a.blocks[i]
	}
	return nil
}

// took takes notice of blocks that are the store's now.
func (r *regionWrite) took(a *sealedAhead) {
	if a == nil || r.rewrite != nil {
		return
	}
	from := r.offset(r.from)
	for i := range a.blocks {
		if off := a.start + int64(i*a.size); off >= from && off+int64(a.size) <= from+int64(len(r.data)) {
			a.blocks[i] = nil
		}
	}
}

// offset is that of a place in the region, in the file.
func (r *regionWrite) offset(at uint32) int64 { return int64(r.n)<<regionBits + int64(at) }

// discard drops what no Update has put.
func (a *sealedAhead) discard() {
	if a == nil {
		return
	}
	for _, b := range a.blocks {
		if b != nil {
			b.Discard()
		}
	}
}
