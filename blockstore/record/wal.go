package record

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// zeroAhead is how far a log's file is written with zeros before records come there, in bytes.
const zeroAhead = 1 << 20

// logFS makes the log's syncs cheap. A sync of bytes that lie where the file already has written blocks is one flush of
// the disk; where it has none, or only allocated ones, the filesystem commits its journal as well, which takes twice as
// long. So a new log is filled with zeros piece by piece, each once for many syncs. Pebble reads zeros as the end of a
// log, as it must for what Preallocate gives. Logs that it uses again have their blocks already.
type logFS struct{ vfs.FS }

func (l logFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := l.FS.Create(name, category)
	if err != nil || !strings.HasSuffix(name, ".log") {
		return f, err
	}
	return &logFile{File: f}, nil
}

func (l logFS) Unwrap() vfs.FS { return l.FS }

type logFile struct {
	vfs.File
	size   int64 // bytes written
	zeroed int64 // end of what has written blocks
}

// Preallocate does nothing: allocated blocks are what logFile avoids.
func (f *logFile) Preallocate(offset, length int64) error { return nil }

func (f *logFile) Write(p []byte) (int, error) {
	if end := f.size + int64(len(p)); end > f.zeroed {
		to := (end/zeroAhead + 1) * zeroAhead
		// A disk too full for zeros may have room for the records themselves.
		if _, err := f.File.WriteAt(zeros[:to-end], end); err == nil {
			f.zeroed = to
		} else {
			f.zeroed = end
		}
	}
	n, err := f.File.Write(p)
	f.size += int64(n)
	return n, err
}

var zeros [zeroAhead]byte
