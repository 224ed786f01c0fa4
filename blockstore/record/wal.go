package record

import (
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A log's file is written with zeros, in pieces of this many bytes, before records come there.
const (
	zeroAhead         = 1 << 20
	zeroAheadInMemory = 64 << 10 // for a file without a descriptor: no disk has a journal to commit for it
)

// logFile makes the log's syncs cheap. A sync of bytes that lie where the file already has written blocks is one flush of
// the disk; where it has none, or only allocated ones, the filesystem commits its journal as well, which takes twice as
// long. So a log is filled with zeros piece by piece, each once for many syncs. Pebble reads zeros as the end of a log, as
// it must for what Preallocate gives. Logs that it uses again have their blocks already.
//
// The zeros are also how reserve knows that a batch will not meet a full disk: their blocks are there.
type logFile struct {
	*mustFile
	ahead int64 // zeroAhead or less

	mu     sync.Mutex
	size   int64 // bytes written
	zeroed int64 // end of what has written blocks
}

// pieceOf is the size of the pieces of zeros for a log.
func pieceOf(f vfs.File) int64 {
	if f.Fd() == vfs.InvalidFd {
		return zeroAheadInMemory
	}
	return zeroAhead
}

// writeZeros fills a part of a file. It returns the end of what it wrote.
func writeZeros(f vfs.File, from, to int64) (end int64, err error) {
	zeros := make([]byte, max(0, min(to-from, 128<<10)))
	for end = from; end < to && err == nil; {
		var n int
		n, err = f.WriteAt(zeros[:min(int64(len(zeros)), to-end)], end)
		end += int64(n)
	}
	return end, err
}

// Preallocate does nothing: allocated blocks are what logFile avoids.
func (f *logFile) Preallocate(offset, length int64) error { return nil }

func (f *logFile) Write(p []byte) (int, error) {
	f.mu.Lock()
	end := f.size + int64(len(p))
	if end > f.zeroed {
		// A disk too full for zeros may have room for the records themselves.
		_ = f.fill((end/f.ahead + 1) * f.ahead)
		f.zeroed = max(f.zeroed, end)
	}
	f.size = end
	f.mu.Unlock()
	return f.mustFile.Write(p)
}

func (f *logFile) written() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.size
}

// reserve makes sure that n more bytes have blocks on the disk, and most of the time that there is half a piece left for
// when the disk is full.
func (f *logFile) reserve(n int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	need := f.size + n
	if f.zeroed >= need+f.ahead/2 {
		return nil
	}
	err := f.fill((need+f.ahead/2)/f.ahead*f.ahead + f.ahead)
	if f.zeroed >= need {
		return nil
	}
	return err
}

// fill writes zeros from the end of what has blocks to a new end. mu is held.
func (f *logFile) fill(to int64) error {
	if f.d.dead() {
		return nil
	}
	end, err := writeZeros(f.mustFile.File, max(f.size, f.zeroed), to)
	f.zeroed = max(f.zeroed, end)
	if err != nil && !isFull(err) {
		f.d.fail(err)
	}
	return err
}
