package blockstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Holder says which process has a store open. It is written for people and for commands that look for the daemon;
// the lock itself does not depend on it.
type Holder struct {
	Host   string    `json:"host"`
	PID    int       `json:"pid"`
	Mount  PathName  `json:"mount,omitempty"`  // mount point, when mounted
	Socket PathName  `json:"socket,omitempty"` // where it takes commands, when it does
	Since  time.Time `json:"since"`
}

// lock holds a store for one process.
type lock struct {
	fs     vfs.FS
	dir    string
	closer io.Closer
}

// glanceTime is longer than Inspect holds the lock to find out whether somebody else does.
const glanceTime = 300 * time.Millisecond

// acquire locks the store in dir, or fails with an *InUseError that names the holder. If that process is gone, the lock is
// held by who just asks about it, and soon free. On a disk that can not be written a reader goes without.
func acquire(fs vfs.FS, dir string, h Holder, readOnly bool) (*lock, error) {
	for end := time.Now().Add(glanceTime); ; time.Sleep(glanceTime / 50) {
		l, err := tryAcquire(fs, dir, h, readOnly)
		var used *InUseError
		if !errors.As(err, &used) || !used.Holder.gone(h.Host) || time.Now().After(end) {
			return l, err
		}
	}
}

// gone tells whether a process of this host does not exist any more.
func (h Holder) gone(host string) bool {
	return h.PID > 0 && h.Host == host && errors.Is(syscall.Kill(h.PID, 0), syscall.ESRCH)
}

func tryAcquire(fs vfs.FS, dir string, h Holder, readOnly bool) (*lock, error) {
	c, err := fs.Lock(fs.PathJoin(dir, lockFile))
	if err != nil {
		var open *os.PathError // the lock file could not be opened; a held lock gives a bare errno
		switch {
		case errors.As(err, &open) && readOnly && (errors.Is(err, syscall.EROFS) || errors.Is(err, os.ErrPermission)):
			return &lock{}, nil
		case errors.As(err, &open) && errors.Is(err, syscall.EROFS):
			return nil, fmt.Errorf("%s is on a %w disk: open it read-only (-o ro)", dir, ErrReadOnly)
		case errors.As(err, &open):
			return nil, fmt.Errorf("lock of %s: %w", dir, diskError(err))
		case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EAGAIN), isLockedHere(err):
			e := &InUseError{Dir: dir}
			if h := readHolder(fs, dir); h != nil {
				e.Holder = *h
			}
			return nil, e
		}
		return nil, fmt.Errorf("lock of %s: %w", dir, diskError(err))
	}
	l := &lock{fs: fs, dir: dir, closer: c}
	// Who holds a store is good to know; that it is held is what counts.
	if err := l.announce(h); err != nil && !readOnly && !errors.Is(err, ErrNoSpace) {
		return nil, errors.Join(err, c.Close())
	}
	return l, nil
}

// isLockedHere recognises the error of a lock that this very process holds, which Pebble gives no sentinel for.
func isLockedHere(err error) bool {
	var errno syscall.Errno
	return !errors.As(err, &errno)
}

// announce writes the holder file. It needs no sync: it is only worth something while the process lives. It comes in one
// piece, as others read it at any time.
func (l *lock) announce(h Holder) error {
	if l.closer == nil {
		return nil
	}
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	path := l.fs.PathJoin(l.dir, holderFile)
	f, err := createPrivate(l.fs, path+newSuffix)
	if err != nil {
		return diskError(err)
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = l.fs.Rename(path+newSuffix, path)
	}
	return diskError(err)
}

func (l *lock) release() error {
	if l.closer == nil {
		return nil
	}
	err := l.fs.Remove(l.fs.PathJoin(l.dir, holderFile))
	if isNotExist(err) {
		err = nil
	}
	err = errors.Join(err, l.closer.Close())
	l.closer = nil
	return err
}

func readHolder(fs vfs.FS, dir string) *Holder {
	b, err := readFile(fs, fs.PathJoin(dir, holderFile), maxHolder)
	if err != nil {
		return nil
	}
	return decodeHolder(b)
}

// maxHolder is the most of a holder file that is read, in bytes.
const maxHolder = 1 << 16

// decodeHolder reads a holder file; nil where it says nothing.
func decodeHolder(b []byte) *Holder {
	var h Holder
	if json.Unmarshal(b, &h) != nil || h.PID == 0 {
		return nil
	}
	return &h
}

// currentHolder is the process that holds the lock of dir now, as far as its holder file tells; nil for nobody. A
// holder file that a crash left behind does not count: the lock is what is asked.
func currentHolder(fs vfs.FS, dir string) *Holder {
	h := readHolder(fs, dir)
	if h == nil {
		return nil
	}
	c, err := fs.Lock(fs.PathJoin(dir, lockFile))
	if err == nil {
		_ = c.Close() // nobody holds it
		return nil
	}
	var open *os.PathError
	if errors.As(err, &open) {
		return nil // the lock can not be asked
	}
	return h
}

func isNotExist(err error) bool { return err != nil && errors.Is(err, os.ErrNotExist) }
