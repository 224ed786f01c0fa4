package record

import "sync"

// defaultZeroAhead is the size of the pieces in which a log's file is written with zeros before records come there, in
// bytes.
const defaultZeroAhead = 1 << 20

// logFile makes the log's syncs cheap. A sync of bytes that lie where the file already has written blocks is one flush of
// the disk; where it has none, or only allocated ones, the filesystem commits its journal as well, which takes twice as
// long. So a log is filled with zeros piece by piece, each once for many syncs. Pebble reads zeros as the end of a log, as
// it must for what Preallocate gives. Logs that it uses again have their blocks already.
//
// The zeros are also how reserve knows that a batch will not meet a full disk: their blocks are there.
type logFile struct {
	*mustFile

	mu     sync.Mutex
	size   int64 // bytes written
	zeroed int64 // end of what has written blocks
}

// Preallocate does nothing: allocated blocks are what logFile avoids.
func (f *logFile) Preallocate(offset, length int64) error { return nil }

func (f *logFile) Write(p []byte) (int, error) {
	f.mu.Lock()
	end := f.size + int64(len(p))
	if end > f.zeroed {
		// A disk too full for zeros may have room for the records themselves.
		_ = f.fill((end/f.d.zeroAhead + 1) * f.d.zeroAhead)
		f.zeroed = max(f.zeroed, end)
	}
	f.size = end
	f.mu.Unlock()
	return f.mustFile.Write(p)
}

// reserve makes sure that n more bytes have blocks on the disk, and most of the time that there is half a piece left for
// when the disk is full.
func (f *logFile) reserve(n int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	need := f.size + n
	ahead := f.d.zeroAhead
	if f.zeroed >= need+ahead/2 {
		return nil
	}
	err := f.fill((need+ahead/2)/ahead*ahead + ahead)
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
	zeros := make([]byte, min(to-f.size, 128<<10))
	for from := max(f.size, f.zeroed); from < to; {
		n, err := f.mustFile.File.WriteAt(zeros[:min(int64(len(zeros)), to-from)], from)
		from += int64(n)
		f.zeroed = max(f.zeroed, from)
		if err != nil {
			if !isFull(err) {
				f.d.fail(err)
			}
			return err
		}
	}
	return nil
}
