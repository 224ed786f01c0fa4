package blockstore

import (
	"fmt"
	"time"
)

// Tx collects the changes of one Update. It is only valid during the call that it is given to.
type Tx struct {
	changes
	s       *Store
	g       *group // the open one
	rewrote bool
	grew    int64 // bytes that rewritten blocks take more
}

type txRec struct {
	key   Key
	value []byte
}

type txUsage struct {
	ns    NamespaceID
	delta usageDelta
}

// Put sets a record. The value is the store's from now on; it may not be empty.
func (tx *Tx) Put(k Key, value []byte) {
	if len(value) == 0 {
		panic(fmt.Sprintf("blockstore: Put of an empty value for %v", k)) // it would read as a deletion
	}
	tx.recs = append(tx.recs, txRec{k, value})
}

// Delete removes a record; one that does not exist is fine.
func (tx *Tx) Delete(k Key) { tx.recs = append(tx.recs, txRec{key: k}) }

// PutBlock makes a block of data, which is copied: 1 to MaxBlockSize bytes. It is compressed and sealed later.
func (tx *Tx) PutBlock(ns NamespaceID, data []byte) BlockID {
	return tx.PutFileBlock(ns, data, BlockHint{})
}

// PutFileBlock is PutBlock for data of a file, whose inode has a record from this group on.
func (tx *Tx) PutFileBlock(ns NamespaceID, data []byte, hint BlockHint) BlockID {
	if len(data) == 0 || len(data) > MaxBlockSize {
		panic(fmt.Sprintf("blockstore: block of %d bytes", len(data)))
	}
	n := tx.s.nsByID(ns)
	if n == nil {
		panic(fmt.Sprintf("blockstore: block for unknown namespace %d", ns))
	}
	p := newPending(BlockID(tx.s.nextBlock.Add(1)-1), n)
	p.hint = hint
	p.data = append(newBuffer(len(data)), data...)
	p.measureLocked()
	tx.blocks = append(tx.blocks, p)
	return p.id
}

// PutLost makes a block that stands for data which is gone: to read any of its MaxBlockSize bytes fails with ErrLost.
func (tx *Tx) PutLost(ns NamespaceID) BlockID {
	p := newLostPending(BlockID(tx.s.nextBlock.Add(1)-1), tx.s.nsByID(ns))
	tx.blocks = append(tx.blocks, p)
	return p.id
}

// RewriteBlock overwrites or extends, at off, a block that the open group made and that is not sealed yet. It reports
// false, and changes nothing, when it is too late for that, or when the block would pass MaxBlockSize or get a gap.
// Unlike all else, its change stays when the function given to Update fails.
func (tx *Tx) RewriteBlock(id BlockID, off int, data []byte) bool {
	p := tx.g.block(id)
	if p == nil {
		return false
	}
	grew, ok := p.rewrite(off, data)
	tx.rewrote = true
	tx.grew += grew
	return ok
}

// FreeBlock says that the last extent which names a block is gone.
func (tx *Tx) FreeBlock(ns NamespaceID, id BlockID) {
	tx.freed = append(tx.freed, freedBlock{ns: ns, id: id})
}

// FreeShared says that an extent is gone of a block that others may name too. The sweep finds out.
func (tx *Tx) FreeShared(ns NamespaceID, id BlockID) {
	tx.freed = append(tx.freed, freedBlock{ns: ns, id: id, shared: true})
}

// Account adds to what a namespace holds: inodes, and bytes of data.
func (tx *Tx) Account(ns NamespaceID, files, logical int64) {
	tx.usage = append(tx.usage, txUsage{ns, usageDelta{files: files, logical: logical}})
}

// NewIno gives out an inode number. It is never given out again, even if this Update fails.
func (tx *Tx) NewIno(ns NamespaceID) Ino {
	return MakeIno(ns, tx.s.nextIno.Add(1)-1)
}

// Now is the store's clock.
func (tx *Tx) Now() time.Time { return tx.s.clock() }

func (tx *Tx) reset() {
	c := &tx.changes
	clear(c.recs)
	clear(c.blocks)
	clear(c.system)
	*tx = Tx{changes: changes{c.recs[:0], c.blocks[:0], c.freed[:0], c.usage[:0], c.system[:0]}}
}
