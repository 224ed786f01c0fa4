package fs

import (
	"salliefs/blockstore"
)

// edit collects changes to the extents of a file, to be put in one Update. The file is locked for changes. Its results
// are only taken over by done, so that an Update may fail or run again.
type edit struct {
	f       *FS
	in      *inode
	rec     inodeRec // as it will be
	regions []editedRegion
	with    *edit // of another file, put in the same Update; may be nil
}

type editedRegion struct {
	n         uint64
	old, next []extent
	rewrite   *rewrite // of the region into few blocks; its lists come from putting it
	data      []newBlock
}

// newBlock is data for a block that an extent of next names already, by off; it gets its ID in the Update.
type newBlock struct {
	off  uint32
	data []byte
}

func (f *FS) newEdit(in *inode) *edit { return &edit{f: f, in: in, rec: in.rec} }

// list is the present list of a region.
func (e *edit) list(n uint64) ([]extent, error) {
	if r := e.find(n); r != nil {
		return r.next, nil
	}
	return e.f.extents(e.in, n)
}

func (e *edit) find(n uint64) *editedRegion {
	for i := len(e.regions) - 1; i >= 0; i-- {
		if e.regions[i].n == n {
			return &e.regions[i]
		}
	}
	return nil
}

// set changes the list of a region. next is the edit's from now on.
func (e *edit) set(n uint64, next []extent) (*editedRegion, error) {
	r := e.find(n)
	if r == nil {
		old, err := e.f.extents(e.in, n)
		if err != nil {
			return nil, err
		}
		e.regions = append(e.regions, editedRegion{n: n, old: old, next: old})
		r = &e.regions[len(e.regions)-1]
	}
	e.rec.alloc += sum(next) - sum(r.next)
	r.next = next
	if n > 0 && len(next) > 0 {
		e.rec.flags |= hasRegions
	}
	return r, nil
}

// settle rewrites the regions that have come to have too many extents. It is the last step before put.
func (e *edit) settle() error {
	for i := range e.regions {
		r := &e.regions[i]
		if len(r.next) <= 2*maxExtents {
			continue
		}
		rw, err := e.f.newRewrite(e.in, r.next, r.data)
		if err != nil {
			return err
		}
		r.rewrite, r.data = rw, nil
		e.rec.alloc += sum(rw.ext) - sum(r.next)
		r.next = rw.ext
	}
	return nil
}

// put enters the changes into an Update.
func (e *edit) put(tx *blockstore.Tx) {
	ns := e.in.ns.id
	ext := e.in.ext
	for i := range e.regions {
		r := &e.regions[i]
		if r.rewrite != nil {
			r.rewrite.put(tx, e.in, r.n)
		}
		for _, b := range r.data {
			id := tx.PutFileBlock(ns, b.data, hintOf(e.in, r.n, b.off))
			for j := range r.next {
				if r.next[j].off == b.off {
					r.next[j].id = id
				}
			}
		}
		freeGone(tx, ns, r.old, r.next)
		switch {
		case r.n == 0:
			ext = r.next
		case len(r.next) == 0:
			tx.Delete(regionKey(e.in, r.n))
		default:
			tx.Put(regionKey(e.in, r.n), encodeRegion(r.next))
		}
	}
	tx.Put(e.in.record(), encodeInode(&e.rec, ext))
	if more := e.rec.alloc - e.in.rec.alloc; more != 0 {
		tx.Account(ns, 0, more)
	}
}

// done takes the changes over.
func (e *edit) done() {
	for i := range e.regions {
		r := &e.regions[i]
		if r.n > 0 && len(r.next) == 0 {
			e.f.dropRegion(e.in, r.n)
		} else {
			e.f.setExtents(e.in, r.n, r.next)
		}
	}
	e.in.rec = e.rec
}

// run puts the changes, with what also puts.
func (e *edit) run(also func(tx *blockstore.Tx)) error {
	if err := e.settle(); err != nil {
		return err
	}
	if err := e.f.room(e.in.ns, e.rec.alloc-e.in.rec.alloc); err != nil {
		return err
	}
	err := e.f.update(e.in.ns, func(tx *blockstore.Tx) error {
		e.put(tx)
		if e.with != nil {
			e.with.put(tx)
		}
		if also != nil {
			also(tx)
		}
		return nil
	})
	if err != nil {
		return err
	}
	e.done()
	if e.with != nil {
		e.with.done()
	}
	return nil
}
