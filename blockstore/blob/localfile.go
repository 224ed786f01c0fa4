package blob

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// localFile lets goroutines read from a file that another one closes: not every
// vfs.File stands that.
type localFile struct {
	name string // the object's

	mu sync.RWMutex // held shared while reading, exclusively to close
	f  vfs.File     // nil once closed

	next  atomic.Int64 // where the last large read ended
	ahead atomic.Int64 // up to where the system was asked to read ahead
}

// Large reads that follow each other have the system read this many bytes ahead: its own read-ahead is shorter
// than one of them.
const (
	largeRead = 64 << 10
	readAhead = 4 << 20
)

// prefetch is called for each read, before it. Reads in a row may have gaps of up to a block.
func (l *localFile) prefetch(off int64, n int) {
	if n < largeRead {
		return
	}
	end := off + int64(n)
	last := l.next.Swap(end)
	if off < last || off > last+largeRead {
		return
	}
	if ahead := l.ahead.Load(); end+readAhead/2 > ahead || ahead > end+2*readAhead {
		from := max(end, min(ahead, end+readAhead))
		l.ahead.Store(end + readAhead)
		_ = l.f.Prefetch(from, end+readAhead-from) // a hint
	}
}

// ReadAt implements io.ReaderAt. io.EOF stays bare, as that interface wants it.
func (l *localFile) ReadAt(p []byte, off int64) (int, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.f == nil {
		return 0, wrap("read", l.name, ErrClosed)
	}
	l.prefetch(off, len(p))
	return readAt(l.f, l.name, p, off)
}

// Close closes the file; the second time it fails with ErrClosed.
func (l *localFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return wrap("close", l.name, ErrClosed)
	}
	err := l.f.Close()
	l.f = nil
	return wrap("close", l.name, err)
}

// readAt reads from r with errors that name the object.
func readAt(r io.ReaderAt, name string, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, wrap("read", name, errors.New("negative offset"))
	}
	n, err := r.ReadAt(p, off)
	if err == nil || err == io.EOF {
		return n, err
	}
	return n, wrap("read", name, err)
}

// localReader is the Reader of a Local.
type localReader struct {
	localFile
	size int64
}

func (r *localReader) Size() int64 { return r.size }
