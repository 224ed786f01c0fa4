package blockstore

import (
	"math/bits"
	"sync"
	"sync/atomic"
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
	id   BlockID
	ns   *nsState
	g    *group       // whose memory it counts in
	size atomic.Int64 // bytes of plaintext or, later, of sealed bytes

	mu     sync.Mutex
	cond   sync.Cond // broadcast when state leaves blockSealing
	state  blockState
	data   []byte // plaintext, from bufferPool
	sealed []byte
	meta   blockMeta
	err    error
}

func newPending(id BlockID, ns *nsState, data []byte) *pending {
	p := &pending{id: id, ns: ns, data: append(newBuffer(len(data)), data...)}
	p.cond.L = &p.mu
	p.size.Store(int64(len(data)))
	return p
}

// rewrite overwrites or extends the plaintext at off. It reports false when the block can not take the change any more.
func (p *pending) rewrite(off int, data []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != blockOpen || off > len(p.data) || off+len(data) > MaxBlockSize {
		return false
	}
	if end := off + len(data); end > len(p.data) {
		p.g.mem.Add(int64(end - len(p.data)))
		p.size.Store(int64(end))
		if end > cap(p.data) {
			bigger := append(newBuffer(end), p.data...)
			freeBuffer(p.data)
			p.data = bigger
		}
		p.data = p.data[:end]
	}
	copy(p.data[off:], data)
	return true
}

// discard drops a block that nothing names any more.
func (p *pending) discard() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.state == blockSealing {
		p.cond.Wait()
	}
	p.g.mem.Add(-p.size.Swap(0))
	freeBuffer(p.data)
	freeBuffer(p.sealed)
	p.data, p.sealed, p.state = nil, nil, blockGone
}

// release drops the bytes of a block that is committed: from now on it is read from the disk.
func (p *pending) release() {
	p.mu.Lock()
	freeBuffer(p.sealed)
	p.sealed, p.state = nil, blockGone
	p.mu.Unlock()
}

// The buffers of blocks come in sizes of powers of two from 1 KiB to 256 KiB (a sealed block of MaxBlockSize is a
// little longer than MaxBlockSize). Smaller ones are left to the garbage collector.
const (
	minBufferBits = 10
	maxBufferBits = 18
)

var bufferPools [maxBufferBits + 1]sync.Pool

// newBuffer returns an empty buffer with room for n bytes.
func newBuffer(n int) []byte {
	b := bits.Len(uint(n - 1))
	if n <= 1<<minBufferBits || b > maxBufferBits {
		return make([]byte, 0, n)
	}
	if v := bufferPools[b].Get(); v != nil {
		return (*v.(*[]byte))[:0]
	}
	return make([]byte, 0, 1<<b)
}

// freeBuffer gives a buffer of newBuffer back. Nobody may use it any more.
func freeBuffer(buf []byte) {
	c := cap(buf)
	if c <= 1<<minBufferBits || c&(c-1) != 0 {
		return
	}
	if b := bits.Len(uint(c - 1)); b <= maxBufferBits {
		bufferPools[b].Put(&buf)
	}
}
