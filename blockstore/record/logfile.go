package record

import (
	"errors"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A file of the log is filled with zeros in pieces of this many bytes, before commits come there.
const (
	zeroAhead         = 1 << 20
	zeroAheadInMemory = 64 << 10 // for a file without a descriptor: no disk has a journal to commit for it
)

// minLogFile is what each file of the log has from its beginning, at least.
const minLogFile = min(zeroAhead, zeroAheadInMemory)

// logFile is a file of the log. Its syncs are cheap: one of bytes that lie where the file already has written blocks is one
// flush of the disk; where it has none, or only allocated ones, the filesystem commits its journal as well, which takes twice
// as long. So a file is filled with zeros piece by piece, each once for many syncs.
//
// The zeros are also how reserve knows that a commit will not meet a full disk: their blocks are there.
type logFile struct {
	f      vfs.File
	d      *disk
	piece  int64
	at     int64  // where the next commit begins
	zeroed int64  // end of what has written blocks
	last   uint64 // the largest number of a commit in it
}

// openLogFile opens, or makes, a file of the log.
func openLogFile(d *disk, path string, create bool) (*logFile, error) {
	var f vfs.File
	var err error
	if create {
		f, err = d.FS.Create(path, vfs.WriteCategoryUnspecified)
	} else if f, err = d.FS.Open(path); err == nil { // it must be there
		if err = f.Close(); err == nil {
			f, err = d.FS.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
		}
	}
	if err != nil {
		return nil, err
	}
	l := &logFile{f: f, d: d, piece: zeroAhead}
	if f.Fd() == vfs.InvalidFd {
		l.piece = zeroAheadInMemory
	}
	if l.zeroed, err = fileSize(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return l, nil
}

// reserve makes sure that n more bytes have blocks on the disk, and most of the time that there is half a piece left for
// when the disk is full.
func (l *logFile) reserve(n int64) error {
	need := l.at + n
	if l.zeroed >= need+l.piece/2 {
		return nil
	}
	if n > l.piece/2 && need > l.zeroed && !l.d.hasRoom(2*(need-l.zeroed)) {
		return syscall.ENOSPC // before zeros take what blocks and tables need
	}
	err := l.fill((need+l.piece/2)/l.piece*l.piece + l.piece)
	if l.zeroed >= need {
		return nil
	}
	return err
}

// fill writes zeros from the end of what has blocks to a new end. While there is space enough, the next commit syncs them.
func (l *logFile) fill(to int64) error {
	if err := l.d.failure(); err != nil {
		return err
	}
	end, err := writeZeros(l.f, l.zeroed, to)
	if room, known := l.d.tableRoom(); known && !room {
		// The disk may have promised the room to others as well.
		if serr := l.f.SyncData(); serr != nil {
			if !isFull(serr) {
				l.d.fail(serr)
			}
			return serr
		}
	}
	l.zeroed = max(l.zeroed, end)
	if err != nil && !isFull(err) {
		l.d.fail(err)
	}
	return err
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

// append writes the sectors of a commit, and makes them durable unless the disk fails. Where there is no room, it waits.
func (l *logFile) append(sectors []byte, number uint64) {
	done := 0
	l.d.must(func() error {
		n, err := l.f.WriteAt(sectors[done:], l.at+int64(done))
		done += n // what is written stays written when the disk turns out to be full
		return err
	})
	l.d.mustSync(l.f.SyncData)
	l.at += int64(len(sectors))
	l.last = number
	l.zeroed = max(l.zeroed, l.at)
}

func fileSize(f vfs.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
