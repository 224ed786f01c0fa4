package blockstore

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// sealBlock compresses and seals a pending block, unless someone else has done it. With fast, time counts more than
// space.
func (s *Store) sealBlock(p *pending, fast bool) {
	p.mu.Lock()
	for p.state == blockSealing {
		p.cond.Wait()
	}
	if p.state != blockOpen {
		p.mu.Unlock()
		return
	}
	p.state = blockSealing
	data := p.data // not changed any more: rewrite looks at state
	p.mu.Unlock()

	m, sealed := s.sealData(p.ns, p.id, data, fast)

	p.mu.Lock()
	p.meta, p.sealed, p.data, p.state = m, sealed, nil, blockSealed
	p.measureLocked()
	p.cond.Broadcast()
	p.mu.Unlock()
	freeBuffer(data)
}

// sealData gives the stored form of a block's plaintext, in a buffer of newBuffer.
func (s *Store) sealData(ns *nsState, id BlockID, data []byte, fast bool) (blockMeta, []byte) {
	payload, codec := s.compressor.compress(data, ns.settings().Compression, fast)
	m := blockMeta{codec: codec, plainLen: len(data), payloadLen: len(payload)}
	var ad [64]byte
	sealed := ns.key.Blocks().SealBlock(newBuffer(m.storedLen()), payload, blockAD(ad[:0], s.id, ns.id, id, m))
	if codec != CodecNone {
		freeBuffer(payload)
	}
	return m, sealed
}

// openBlock gives the plaintext of a stored block, appended to dst, which should have room for it.
func (s *Store) openBlock(dst []byte, ns *nsState, id BlockID, m blockMeta, sealed []byte) ([]byte, error) {
	var ad [64]byte
	a := blockAD(ad[:0], s.id, ns.id, id, m)
	if m.codec == CodecNone {
		return ns.key.Blocks().OpenBlock(dst, sealed, m.payloadLen, a)
	}
	payload, err := ns.key.Blocks().OpenBlock(newBuffer(m.payloadLen), sealed, m.payloadLen, a)
	if err != nil {
		return dst, err
	}
	defer freeBuffer(payload)
	return s.compressor.decompress(dst, payload, m.codec, m.plainLen)
}

// sealWorker seals blocks of the open group early, so that a commit finds most of its work done.
func (s *Store) sealWorker() {
	defer s.background.Done()
	for {
		select {
		case p := <-s.sealQueue:
			s.sealBlock(p, p.crowded())
		case <-s.closing:
			return
		}
	}
}

// parallelSeal is the number of unsealed bytes from which a commit seals on all CPUs: below it, waking another one
// costs more than it saves.
const parallelSeal = 256 << 10

// sealAll seals all blocks of a sealed group.
func (s *Store) sealAll(blocks []*pending, fast bool) {
	var todo []*pending
	var bytes int64
	for _, p := range blocks {
		p.mu.Lock()
		if p.state == blockOpen || p.state == blockSealing {
			todo = append(todo, p)
			bytes += int64(len(p.data))
		}
		p.mu.Unlock()
	}
	workers := runtime.GOMAXPROCS(0)
	if bytes < parallelSeal || workers == 1 {
		for _, p := range todo {
			s.sealBlock(p, fast)
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(workers, len(todo)) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(todo) {
					return
				}
				s.sealBlock(todo[i], fast)
			}
		})
	}
	wg.Wait()
}
