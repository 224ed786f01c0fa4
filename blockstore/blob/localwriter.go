package blob

import (
	"context"
	"errors"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// localWriter writes a file under its final name. The file's data is synced by
// SyncData, which includes its length; its directory once, by the first Sync.
type localWriter struct {
	l    *Local
	ctx  context.Context
	name string
	f    vfs.File
	file localFile // f again, for ReadAt and Close

	size    int64
	started int64 // up to where writeback was started
	synced  int64 // up to where data is durable; -1 before the directory entry is
	err     error // what made the Writer fail, or ErrClosed
	closed  bool
}

// Create implements Store.
func (l *Local) Create(ctx context.Context, name string) (Writer, error) {
	w, err := l.create(ctx, name)
	if err != nil {
		return nil, wrap("create", name, err)
	}
	return w, nil
}

func (l *Local) create(ctx context.Context, name string) (*localWriter, error) {
	if err := begin(ctx, name); err != nil {
		return nil, err
	}
	if err := l.names.reserve(name, false); err != nil {
		return nil, err
	}
	f, err := l.createFile(name)
	if err != nil {
		l.names.release(name)
		return nil, err
	}
	return &localWriter{l: l, ctx: ctx, name: name, f: f, file: localFile{name: name, f: f}, synced: -1}, nil
}

// createFile creates the file of an object that is reserved. vfs.FS has no
// exclusive creation, hence the look before; reserve keeps out the rest of this
// process.
func (l *Local) createFile(name string) (vfs.File, error) {
	switch _, err := l.fs.Stat(l.path(name)); {
	case err == nil:
		return nil, ErrExist
	case !errors.Is(err, ErrNotExist):
		return nil, err
	}
	if err := l.ensureDir(name); err != nil {
		return nil, err
	}
	return l.fs.Create(l.path(name), writeCategory)
}

// Write implements Writer. It hands p to the file as it is.
func (w *localWriter) Write(p []byte) (int, error) {
	if err := w.ready(); err != nil {
		return 0, err
	}
	n, err := w.f.Write(p)
	w.size += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err == nil {
		err = w.startWriteback()
	}
	return n, w.fail("write", err)
}

// startWriteback asks the system to begin writing to disk when enough has
// come together. Where vfs can not just ask but would wait for the disk, it is
// not done again by any Writer of the Store.
func (w *localWriter) startWriteback() error {
	every := w.l.writeback.Load()
	if every == 0 || w.size-w.started < every {
		return nil
	}
	full, err := w.f.SyncTo(w.size)
	if full {
		w.l.writeback.Store(0)
	}
	w.started = w.size
	return err
}

// ReadAt implements Writer.
func (w *localWriter) ReadAt(p []byte, off int64) (int, error) {
	return w.file.ReadAt(p, off)
}

// Size implements Writer.
func (w *localWriter) Size() int64 { return w.size }

// Sync implements Writer.
func (w *localWriter) Sync() error {
	if err := w.ready(); err != nil {
		return err
	}
	return w.fail("sync", w.sync())
}

func (w *localWriter) sync() error {
	if w.synced == w.size {
		return nil
	}
	if err := w.f.SyncData(); err != nil {
		return err
	}
	if w.synced < 0 {
		if err := SyncDir(w.l.fs, w.l.fs.PathDir(w.l.path(w.name))); err != nil {
			return err
		}
	}
	w.synced = w.size
	return nil
}

// Close implements Writer.
func (w *localWriter) Close() error {
	if w.closed {
		return w.err
	}
	err := w.Sync()
	if endErr := w.end(); err == nil {
		err = endErr
	}
	return err
}

// Abort implements Writer.
func (w *localWriter) Abort() error {
	if w.closed {
		return w.err
	}
	return w.end()
}

// end releases the Writer, and removes the file if it was never synced.
func (w *localWriter) end() error {
	err := w.file.Close()
	if w.synced < 0 {
		err = errors.Join(err, wrap("abort", w.name, w.l.fs.Remove(w.l.path(w.name))))
	}
	w.closed, w.err = true, wrap("use", w.name, ErrClosed)
	w.l.names.release(w.name)
	return err
}

// ready is the check that each write and sync starts with.
func (w *localWriter) ready() error {
	if w.err != nil {
		return w.err
	}
	return w.fail("write", w.ctx.Err())
}

// fail makes the Writer fail for good if err is not nil, and returns it with the
// object's name.
func (w *localWriter) fail(op string, err error) error {
	if err != nil {
		w.err = wrap(op, w.name, err)
	}
	return w.err
}
