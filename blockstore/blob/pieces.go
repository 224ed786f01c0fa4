package blob

import (
	"io"
	"sync"
)

// pieceSize is how much is collected before it is written, in bytes. That fits into a processor's cache, so that collecting
// costs no second trip to memory, and keeps a disk busy for far longer than asking it takes.
const pieceSize = 1 << 20

// maxPieces is how many pieces there are at the most: one is collected while one is written and another one waits for that.
const maxPieces = 3

// pieces is what is written to a file and not there yet. Pieces begin at multiples of their size, and each is written when
// it is full; by a goroutine, where the disk is worth it, so that whoever makes the next one need not wait.
type pieces struct {
	put    func(b []byte, off int64) error // writes b at off, where the file ends
	behind bool                            // it is done by a goroutine

	size int64 // including what is collected; changed by who collects, under mu

	mu      sync.Mutex
	changed sync.Cond // of mu: a piece was filled or written, or the end has come
	waiting []*piece  // in order; only the last one is not full
	written int64     // where the file ends
	running bool      // there is a goroutine
	ended   bool
	err     error // what put has said
}

// piece is a part of a file. It keeps what was written of it already, so that its place in memory goes with that in the file.
type piece struct {
	b       []byte // as far as it was collected
	written int    // of b
}

var piecePool = sync.Pool{New: func() any { return &piece{b: make([]byte, 0, pieceSize)} }}

func (ps *pieces) init(put func(b []byte, off int64) error, behind bool) {
	ps.put, ps.behind = put, behind
	ps.changed.L = &ps.mu
}

// collect adds p. The error may be that of an earlier piece.
func (ps *pieces) collect(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		ps.mu.Lock()
		last := ps.lastLocked()
		k := min(len(p)-n, pieceSize-len(last.b))
		last.b = append(last.b, p[n:n+k]...)
		n += k
		ps.size += int64(k)
		full := len(last.b) == pieceSize
		err = ps.err
		ps.mu.Unlock()
		if full && err == nil {
			err = ps.filled()
		}
	}
	return n, err
}

func (ps *pieces) lastLocked() *piece {
	if n := len(ps.waiting); n > 0 && len(ps.waiting[n-1].b) < pieceSize {
		return ps.waiting[n-1]
	}
	last := piecePool.Get().(*piece)
	ps.waiting = append(ps.waiting, last)
	return last
}

// filled sees to it that full pieces are written.
func (ps *pieces) filled() error {
	if !ps.behind {
		return ps.flush()
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if !ps.running {
		ps.running = true
		go ps.writeBehind()
	}
	ps.changed.Broadcast()
	for len(ps.waiting) >= maxPieces && ps.err == nil {
		ps.changed.Wait()
	}
	return ps.err
}

// fullLocked is the piece that is to be written next; nil if there is none.
func (ps *pieces) fullLocked() *piece {
	if len(ps.waiting) > 0 && len(ps.waiting[0].b) == pieceSize {
		return ps.waiting[0]
	}
	return nil
}

// writeBehind writes full pieces until the end, or an error.
func (ps *pieces) writeBehind() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for ps.err == nil && !ps.ended {
		if p := ps.fullLocked(); p != nil {
			ps.writeLocked(p)
		} else {
			ps.changed.Wait()
		}
	}
	ps.running = false
	ps.changed.Broadcast()
}

// writeLocked writes what is not written of the first piece. While that is done behind, others may read it, and add to its end;
// else they wait, as it may be overwritten (vfs.File).
func (ps *pieces) writeLocked(p *piece) {
	b, off := p.b[p.written:], ps.written
	var err error
	if ps.behind {
		ps.mu.Unlock()
		err = ps.put(b, off)
		ps.mu.Lock()
	} else {
		err = ps.put(b, off)
	}
	if ps.err = err; err == nil {
		p.written += len(b)
		ps.written += int64(len(b))
		if p.written == pieceSize {
			ps.waiting = ps.waiting[1:]
			p.free()
		}
	}
	ps.changed.Broadcast()
}

func (p *piece) free() {
	p.b, p.written = p.b[:0], 0
	piecePool.Put(p)
}

// flush writes all that was collected.
func (ps *pieces) flush() error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for ps.running && ps.fullLocked() != nil && ps.err == nil {
		ps.changed.Wait()
	}
	for ps.err == nil && ps.written < ps.size {
		ps.writeLocked(ps.waiting[0])
	}
	return ps.err
}

// end drops what was not written.
func (ps *pieces) end() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.ended = true
	ps.changed.Broadcast()
	for ps.running {
		ps.changed.Wait()
	}
	for _, p := range ps.waiting {
		p.free()
	}
	ps.waiting = nil
}

// readAt reads what was collected, of which some is in file.
func (ps *pieces) readAt(p []byte, off int64, file io.ReaderAt) (int, error) {
	ps.mu.Lock()
	inFile := int64(len(p))
	asked := ps.ended || off < 0 // then the file says what is wrong
	if !asked {
		inFile = min(inFile, max(0, ps.written-off))
	}
	n := inFile // of p, when the part of the file is there
	at := ps.written
	for _, w := range ps.waiting {
		b := w.b[w.written:]
		if skip := off + n - at; n < int64(len(p)) && skip < int64(len(b)) {
			n += int64(copy(p[n:], b[skip:]))
		}
		at += int64(len(b))
	}
	ps.mu.Unlock()
	if inFile > 0 || asked {
		if k, err := file.ReadAt(p[:inFile], off); err != nil {
			return k, err
		}
	}
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}
