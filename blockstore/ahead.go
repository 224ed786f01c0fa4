package blockstore

// SealedBlock is a block that was sealed before an Update puts it. It is the caller's until that Update has succeeded.
type SealedBlock struct{ p *pending }

// SealAhead compresses and seals a block of data for a namespace, which is what PutBlock leaves for later: who has much to write
// does so while it has the data at hand, on its own CPU, and outside of Update. data, 1 to MaxBlockSize bytes, is not kept. nil:
// there is no such namespace.
func (s *Store) SealAhead(ns NamespaceID, data []byte) *SealedBlock {
	n := s.nsByID(ns)
	if n == nil {
		return nil
	}
	p := newPending(BlockID(s.nextBlock.Add(1)-1), n)
	p.ahead, p.state = true, blockSealed
	p.meta, p.sealed = s.sealData(n, p.id, data, s.view.Load().open.mem.Load() > groupLimit)
	p.measureLocked()
	return &SealedBlock{p}
}

// Discard drops a block that no Update has put.
func (b *SealedBlock) Discard() { b.p.discard() }

// PutSealed makes a block of a file of what was sealed for its namespace.
func (tx *Tx) PutSealed(b *SealedBlock, hint BlockHint) BlockID {
	b.p.hint = hint
	tx.blocks = append(tx.blocks, b.p)
	return b.p.id
}
