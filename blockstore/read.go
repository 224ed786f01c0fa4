package blockstore

import (
	"errors"
	"fmt"
	"sync/atomic"

	"salliefs/blockstore/record"
	"salliefs/crypto"
)

// Get returns the present value of a record: from the open group, the one being committed, or the engine. It fails with
// ErrNotFound. The value may not be changed.
func (s *Store) Get(k Key) ([]byte, error) {
	v := s.view.Load()
	for _, g := range [...]*group{v.open, v.committing} {
		if g == nil {
			continue
		}
		if value, ok := g.lookup(k); ok {
			if value == nil {
				return nil, ErrNotFound
			}
			return value, nil
		}
	}
	return s.getAt(s.engine, Live, k)
}

// GetAt returns the value of a record at an epoch.
func (s *Store) GetAt(e Epoch, k Key) ([]byte, error) {
	if e == Live {
		return s.Get(k)
	}
	return s.getAt(s.engine, e, k)
}

func physicalKey(k Key, e Epoch) record.Key {
	return record.Key{Namespace: uint32(k.Ino.Namespace()), Kind: uint8(k.Kind), Inode: uint64(k.Ino), Suffix: k.Suffix, Epoch: uint64(e)}
}

// getAt reads committed state.
func (s *Store) getAt(r record.Reader, e Epoch, k Key) ([]byte, error) {
	ns := s.readableNS(k.Ino.Namespace())
	if ns == nil {
		return nil, ErrNotFound
	}
	v, err := s.getVersion(r, ns.key.Records(), e, physicalKey(k, 0))
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, &RecordError{k, err}
	}
	return v, err
}

// getVersion reads the newest version of a record that is no younger than e.
func (s *Store) getVersion(r record.Reader, sealer *crypto.Sealer, e Epoch, k record.Key) ([]byte, error) {
	if !s.versioned.Load() {
		v, err := s.getOnly(r, sealer, e, k)
		// A snapshot that was taken meanwhile makes a record's version of the first epoch one of several.
		if !errors.Is(err, ErrNotFound) || !s.versioned.Load() {
			return v, err
		}
	}
	k.Epoch = min(uint64(e), maxEpoch)
	it, err := r.NewIter(nil, nil)
	if err != nil {
		return nil, engineError(err)
	}
	v, err := s.firstVersion(it, sealer, k)
	if cerr := it.Close(); err == nil {
		err = cerr
	}
	return v, engineError(err)
}

// getOnly reads a record where no snapshot was ever taken: all versions are of the first epoch.
func (s *Store) getOnly(r record.Reader, sealer *crypto.Sealer, e Epoch, k record.Key) (v []byte, err error) {
	if e < firstEpoch {
		return nil, ErrNotFound
	}
	k.Epoch = uint64(firstEpoch)
	var buf [record.KeySize]byte
	physical := k.Append(buf[:0])
	err = r.Get(physical, func(sealed []byte) error {
		v, err = s.openRecord(sealer, physical, sealed)
		return err
	})
	return v, engineError(err)
}

func (s *Store) firstVersion(it record.Iterator, sealer *crypto.Sealer, k record.Key) ([]byte, error) {
	var buf [record.KeySize]byte
	if !it.SeekVersion(k.Append(buf[:0])) {
		if err := it.Err(); err != nil {
			return nil, err
		}
		return nil, ErrNotFound
	}
	sealed, err := it.Value()
	if err != nil {
		return nil, err
	}
	v, err := s.openRecord(sealer, it.Key(), sealed)
	if err == nil && len(v) == 0 {
		return nil, ErrNotFound // a tombstone
	}
	return v, err
}

// maxEpoch leaves room in the inverted form.
const maxEpoch = 1<<63 - 1

// ReadBlock fills dst with a block's plaintext from off on. Errors are *BlockError: ErrNotFound, ErrCorrupt for bytes
// that do not authenticate or are missing, or what the disk said.
func (s *Store) ReadBlock(ns NamespaceID, id BlockID, off int, dst []byte) error {
	if err := s.readBlock(ns, id, off, dst); err != nil {
		return &BlockError{ns, id, sealError(err)}
	}
	return nil
}

func (s *Store) readBlock(nsID NamespaceID, id BlockID, off int, dst []byte) error {
	if len(dst) == 0 {
		return nil
	}
	v := s.view.Load()
	for _, g := range [...]*group{v.open, v.committing} {
		if g == nil {
			continue
		}
		if p := g.block(id); p != nil && p.ns.id == nsID {
			if done, err := s.readPending(p, off, dst); done {
				return err
			}
		}
	}
	ns := s.readableNS(nsID)
	if ns == nil {
		return ErrNotFound
	}
	// A block may move while it is read; then its new place is looked up.
	for range 8 {
		err := s.readStored(ns, id, off, dst)
		if !errors.Is(err, errMoved) {
			return err
		}
		s.metas.drop(id)
	}
	return fmt.Errorf("%w: its segment is missing", ErrCorrupt)
}

// readPending reads a block that is not committed yet. done is false when it has been in the meantime.
func (s *Store) readPending(p *pending, off int, dst []byte) (done bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch p.state {
	case blockGone:
		return false, nil
	case blockSealed:
		if err := p.meta.missing(off, len(dst)); err != nil {
			return true, err
		}
		data, err := s.openBlock(newBuffer(p.meta.plainLen), p.ns, p.id, p.meta, p.sealed)
		if err != nil {
			return true, err
		}
		defer freeBuffer(data)
		return true, copyFrom(dst, data, off)
	default:
		return true, copyFrom(dst, p.data, off)
	}
}

func copyFrom(dst, data []byte, off int) error {
	if err := checkRange(len(dst), off, len(data)); err != nil {
		return err
	}
	copy(dst, data[off:])
	return nil
}

// checkRange fails for bytes that a block of size bytes does not have: the record that names them is wrong.
func checkRange(n, off, size int) error {
	if off < 0 || off > size || n > size-off {
		return fmt.Errorf("%w: bytes %d to %d of a block of %d", ErrCorrupt, off, off+n, size)
	}
	return nil
}

// HasBlock says whether a committed block has n bytes from off on, by its record: the bytes are not read. It fails as
// ReadBlock does.
func (s *Store) HasBlock(ns NamespaceID, id BlockID, off, n int) error {
	m, err := s.storedMeta(ns, id)
	if err == nil {
		err = checkRange(n, off, m.plainLen)
	}
	if err == nil {
		err = m.missing(off, n)
	}
	if err != nil {
		return &BlockError{ns, id, sealError(err)}
	}
	return nil
}

// readStored reads a committed block.
func (s *Store) readStored(ns *nsState, id BlockID, off int, dst []byte) error {
	if data := s.plain.get(ns.id, id); data != nil {
		return copyFrom(dst, data, off)
	}
	m, ok := s.metas.get(id)
	if !ok {
		var done bool
		var err error
		if m, done, err = s.readInline(ns, id, off, dst); done {
			return err
		}
		s.metas.put(id, m)
	}
	if err := checkRange(len(dst), off, m.plainLen); err != nil {
		return err
	}
	if err := m.missing(off, len(dst)); err != nil {
		return err
	}
	if m.codec == CodecNone && m.plainLen > crypto.FrameSize && len(dst) < m.plainLen {
		return s.readFrames(ns, id, m, off, dst)
	}
	sealed := newBuffer(m.storedLen())[:m.storedLen()]
	defer freeBuffer(sealed)
	if err := s.segments.readAt(m.segment, id, sealed, m.offset); err != nil {
		return err
	}
	return s.deliver(ns, id, m, sealed, off, dst)
}

// deliver opens a whole sealed block and copies what was asked for. What is asked for in parts is kept for the next
// part.
func (s *Store) deliver(ns *nsState, id BlockID, m blockMeta, sealed []byte, off int, dst []byte) error {
	if err := checkRange(len(dst), off, m.plainLen); err != nil {
		return err
	}
	if err := m.missing(off, len(dst)); err != nil {
		return err
	}
	if off == 0 && len(dst) == m.plainLen {
		_, err := s.openBlock(dst[:0], ns, id, m, sealed)
		return err
	}
	data, err := s.openBlock(make([]byte, 0, m.plainLen), ns, id, m, sealed)
	if err != nil {
		return err
	}
	if m.lost == nil {
		s.plain.put(ns.id, id, data)
	}
	return copyFrom(dst, data, off)
}

// framedBlock is what is remembered of a large uncompressed block, of which only parts are read.
type framedBlock struct {
	ns     NamespaceID // whose key opens it
	opener *crypto.FrameOpener
	read   atomic.Uint64 // one bit for each window that was read as a whole
}

// readWindow is how much is read around the first bytes that are asked for, in bytes: little more work for a disk than
// one page, and likely to save it others, because the system keeps what was read. Only what is asked for is opened.
const readWindow = 16 << 10

// framesOf gives what is needed to open frames of a block, from memory or the disk.
func (s *Store) framesOf(ns *nsState, id BlockID, m blockMeta) (*framedBlock, error) {
	if b, ok := s.framed.get(id); ok && b.ns == ns.id {
		return b, nil
	}
	var nonce [crypto.NonceSize]byte
	if err := s.segments.readAt(m.segment, id, nonce[:], m.offset); err != nil {
		return nil, err
	}
	o, err := ns.key.Blocks().FrameOpener(nonce[:])
	return &framedBlock{ns: ns.id, opener: o}, err
}

// readFrames reads a part of a large uncompressed block, and opens only the frames that hold it.
func (s *Store) readFrames(ns *nsState, id BlockID, m blockMeta, off int, dst []byte) error {
	b, err := s.framesOf(ns, id, m)
	if err != nil {
		return err
	}
	start, end, first, skip := crypto.FrameSpan(m.payloadLen, off, len(dst))
	from, to := start, end // what is read
	window := off / readWindow
	bit := uint64(1) << (window % 64)
	if b.read.Load()&bit == 0 {
		at := window * readWindow
		a, z, _, _ := crypto.FrameSpan(m.payloadLen, at, min(readWindow, m.payloadLen-at))
		from, to = min(from, a), max(to, z)
	}
	sealed := newBuffer(to - from)[:to-from]
	defer freeBuffer(sealed)
	if err := s.segments.readAt(m.segment, id, sealed, m.offset+int64(crypto.NonceSize+from)); err != nil {
		return err
	}
	var ad [64]byte
	data, err := b.opener.Open(newBuffer(end-start), sealed[start-from:end-from], first, m.payloadLen, blockAD(ad[:0], s.id, ns.id, id, m))
	if err != nil {
		return err
	}
	defer freeBuffer(data)
	if b.read.Or(bit) == 0 {
		s.framed.put(id, b)
	}
	return copyFrom(dst, data, skip)
}

// readInline looks up a block's record. An inline block is delivered at once (done); for another one its place is
// returned.
func (s *Store) readInline(ns *nsState, id BlockID, off int, dst []byte) (m blockMeta, done bool, err error) {
	err = s.withBlockRecord(ns.id, id, func(meta blockMeta, inline []byte) error {
		m = meta
		if meta.segment != 0 {
			return nil
		}
		done = true
		return s.deliver(ns, id, meta, inline, off, dst)
	})
	return m, done || err != nil, err
}

// withBlockRecord calls fn with what a block's record says, and the sealed bytes of an inline block.
func (s *Store) withBlockRecord(ns NamespaceID, id BlockID, fn func(m blockMeta, inline []byte) error) error {
	var buf [record.KeySize]byte
	physical := systemKey(kindBlock, uint64(ns), uint64(id)).Append(buf[:0])
	err := s.engine.Get(physical, func(v []byte) error {
		m, inline, err := s.decodeBlockRecord(physical, v)
		if err != nil {
			return err
		}
		return fn(m, inline)
	})
	return engineError(err)
}

func (s *Store) decodeBlockRecord(physical, v []byte) (m blockMeta, inline []byte, err error) {
	sealedMeta, inline, err := splitBlockRecord(v)
	if err != nil {
		return m, nil, err
	}
	b, err := s.openRecord(s.sealer, physical, sealedMeta)
	if err != nil {
		return m, nil, err
	}
	if m, err = decodeBlockMeta(b); err != nil {
		return m, nil, err
	}
	want := 0
	if m.segment == 0 {
		want = m.storedLen()
	}
	if len(inline) != want {
		return m, nil, fmt.Errorf("%w: block record with %d inline bytes, want %d", ErrCorrupt, len(inline), want)
	}
	return m, inline, nil
}

// storedMeta tells how and where a committed block is stored, as its record says now. The cache of places may still
// hold what was true when someone read the block.
func (s *Store) storedMeta(ns NamespaceID, id BlockID) (m blockMeta, err error) {
	err = s.withBlockRecord(ns, id, func(meta blockMeta, _ []byte) error {
		m = meta
		return nil
	})
	return m, err
}
