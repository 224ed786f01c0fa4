package blockstore

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"salliefs/blockstore/segment"
)

// blockState is how far a pending block has come.
type blockState uint8

const (
	blockOpen    blockState = iota // plaintext, may be rewritten while its group is open
	blockSealing                   // a worker has it: plaintext, fixed
	blockSealed                    // sealed; the plaintext is gone
	blockGone                      // freed in the group that made it, or committed
)

// pending is a block of a group that is not committed yet.
type pending struct {
	id    BlockID
	ns    *nsState
	hint  BlockHint
	ahead bool         // it was sealed before it came into its group
	size  atomic.Int64 // bytes of memory, about

	mu     sync.Mutex
	cond   sync.Cond // broadcast when state leaves blockSealing
	state  blockState
	g      *group // whose memory it counts in; nil until its transaction is applied
	data   []byte // plaintext, of newBuffer
	sealed []byte // of newBuffer
	meta   blockMeta
}

func newPending(id BlockID, ns *nsState) *pending {
	p := &pending{id: id, ns: ns}
	p.cond.L = &p.mu
	return p
}

// newLostPending is a block of which nothing is known but that there was one.
func newLostPending(id BlockID, ns *nsState) *pending {
	p := newPending(id, ns)
	p.state = blockSealed
	p.meta = blockMeta{codec: CodecNone, plainLen: MaxBlockSize, lost: allLost(MaxBlockSize)}
	p.measureLocked()
	return p
}

// measureLocked counts what the block takes in its group.
func (p *pending) measureLocked() (grew int64) {
	size := int64(0)
	if p.state != blockGone {
		size = blockOverhead + int64(cap(p.data)+cap(p.sealed))
	}
	grew = size - p.size.Swap(size)
	if p.g != nil {
		p.g.mem.Add(grew)
	}
	return grew
}

// join makes the block one of g, and says how much of it is to be sealed.
func (p *pending) join(g *group) (unsealed int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.g = g
	size := p.size.Load()
	g.mem.Add(size)
	if p.ahead {
		return 0
	}
	return size
}

// crowded tells whether the block's group has grown so large that time counts more than space.
func (p *pending) crowded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.g.mem.Load() > groupLimit
}

// rewrite overwrites or extends the plaintext at off. It reports false when the block can not take the change any more.
func (p *pending) rewrite(off int, data []byte) (grew int64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != blockOpen || off > len(p.data) || off+len(data) > MaxBlockSize {
		return 0, false
	}
	if end := off + len(data); end > len(p.data) {
		if end > cap(p.data) {
			bigger := append(newBuffer(end), p.data...)
			freeBuffer(p.data)
			p.data = bigger
			grew = p.measureLocked()
		}
		p.data = p.data[:end]
	}
	copy(p.data[off:], data)
	return grew, true
}

// discard drops a block that nothing names any more.
func (p *pending) discard() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.state == blockSealing {
		p.cond.Wait()
	}
	freeBuffer(p.data)
	freeBuffer(p.sealed)
	p.data, p.sealed, p.state = nil, nil, blockGone
	p.measureLocked()
}

// release drops the bytes of a block that is committed: from now on it is read from the disk.
func (p *pending) release() {
	p.mu.Lock()
	freeBuffer(p.sealed)
	p.sealed, p.state = nil, blockGone
	p.mu.Unlock()
}

// The buffers of blocks come in sizes of powers of two from 1 KiB to 256 KiB, but for those of 128 KiB, which have room for the
// largest sealed block: what held a block before it was sealed holds another one after. Smaller ones are left to the garbage
// collector.
const (
	minBufferBits = 10
	maxBufferBits = 18
	sealedBuffer  = segment.MaxSealedSize
)

// bufferPools has the pool of each power of two at its exponent, and that of sealedBuffer at 0.
var bufferPools [maxBufferBits + 1]sync.Pool

// bufferClass gives the pool for buffers of n bytes and their capacity; ok is false when there is none.
func bufferClass(n int) (pool, capacity int, ok bool) {
	if n > MaxBlockSize/2 && n <= sealedBuffer {
		return 0, sealedBuffer, true
	}
	b := bits.Len(uint(n - 1))
	return b, 1 << b, n > 1<<minBufferBits && b <= maxBufferBits
}

// newBuffer returns an empty buffer with room for n bytes.
func newBuffer(n int) []byte {
	pool, capacity, ok := bufferClass(n)
	if !ok {
		return make([]byte, 0, n)
	}
	if v := bufferPools[pool].Get(); v != nil {
		return (*v.(*[]byte))[:0]
	}
	return make([]byte, 0, capacity)
}

// freeBuffer gives a buffer of newBuffer back. Nobody may use it any more.
func freeBuffer(buf []byte) {
	if pool, capacity, ok := bufferClass(cap(buf)); ok && capacity == cap(buf) {
		bufferPools[pool].Put(&buf)
	}
}
