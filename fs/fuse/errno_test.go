package fuse

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"salliefs/fs"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// lockedBuffer is a log that tests read while a server writes.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSuffix(l.b.String(), "\n"), "\n")
}

// TestErrno: each sentinel has its number, wrapped or bare, and no log line.
func TestErrno(t *testing.T) {
	var log lockedBuffer
	b := newBridge(newFakeFS(), false, slog.New(slog.NewTextHandler(&log, nil)))
	h := &gofuse.InHeader{Opcode: 16, NodeId: 5}
	for err, want := range map[error]unix.Errno{
		fs.ErrNotExist: unix.ENOENT, fs.ErrExist: unix.EEXIST, fs.ErrNotDir: unix.ENOTDIR, fs.ErrIsDir: unix.EISDIR,
		fs.ErrNotEmpty: unix.ENOTEMPTY, fs.ErrXDev: unix.EXDEV, fs.ErrNameTooLong: unix.ENAMETOOLONG,
		fs.ErrNoSpace: unix.ENOSPC, fs.ErrQuota: unix.EDQUOT, fs.ErrReadOnly: unix.EROFS, fs.ErrInvalid: unix.EINVAL,
		fs.ErrNoAttr: unix.ENODATA, fs.ErrNotSupported: unix.EOPNOTSUPP, fs.ErrRange: unix.ERANGE,
		fs.ErrTooManyLinks: unix.EMLINK, fs.ErrTooBig: unix.EFBIG, fs.ErrXattrTooBig: unix.E2BIG,
		fs.ErrPerm: unix.EPERM, fs.ErrNoData: unix.ENXIO, fs.ErrLocked: unix.EACCES,
	} {
		for _, e := range []error{err, &fs.Error{Op: "write", Path: "a", Err: err}, fmt.Errorf("more: %w", err)} {
			if got := b.status(h, e); got != gofuse.Status(want) {
				t.Errorf("%v: got %v, want %v", e, got, want)
			}
		}
	}
	if b.status(h, nil) != gofuse.OK || b.nodeStatus(h, nil) != gofuse.OK {
		t.Error("no error is not OK")
	}
	if got := b.nodeStatus(h, fs.ErrNotExist); got != gofuse.Status(unix.ESTALE) {
		t.Errorf("absent inode: %v, want ESTALE", got)
	}
	if got := log.lines(); got[0] != "" {
		t.Errorf("logged: %q", got)
	}
}

// TestUnknownError: damage is EIO for the program, and the log names the object.
func TestUnknownError(t *testing.T) {
	f := newFakeFS()
	var log lockedBuffer
	s := mountFor(t, f, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	path := s.Mountpoint() + "/file"
	must(t, os.WriteFile(path, []byte("x"), 0o644))
	ino := fs.Ino(stat(t, path).Ino)
	f.setHook(func(op string, i fs.Ino) error {
		if op == "read" && i == ino {
			return &fs.Error{Op: "read", Namespace: "ns", Path: "file", Err: fs.ErrCorrupt}
		}
		return nil
	})
	s.bridge.drop(ino, 0, 0)
	h, err := os.Open(path)
	must(t, err)
	defer h.Close()
	_, err = h.Read(make([]byte, 1))
	wantErr(t, "read of a damaged file", err, unix.EIO)
	lines := log.lines()
	if len(lines) != 1 || !strings.Contains(lines[0], "ns/file") || !strings.Contains(lines[0], "request=READ") {
		t.Errorf("the log has %q, want one line that names ns/file and READ", lines)
	}
}

// TestPanic: a panic costs the request that caused it, and nothing else.
func TestPanic(t *testing.T) {
	f := newFakeFS()
	var log lockedBuffer
	s := mountFor(t, f, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	f.setHook(func(op string, _ fs.Ino) error {
		if op == "mkdir" {
			panic("for the test")
		}
		return nil
	})
	for range 3 {
		wantErr(t, "mkdir", os.Mkdir(s.Mountpoint()+"/dir", 0o755), unix.EIO)
	}
	if lines := log.lines(); len(lines) != 3 || !strings.Contains(lines[0], "for the test") || !strings.Contains(lines[0], "Mkdir") {
		t.Errorf("the log has %q, want a line with the stack for each panic", lines)
	}
	must(t, os.WriteFile(s.Mountpoint()+"/file", []byte("alive"), 0o644))
	wantContent(t, s.Mountpoint()+"/file", "alive")
}
