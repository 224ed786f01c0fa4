package blob

import (
	"context"
	"errors"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// localWriter writes a file under its final name. What is written is collected in pieces, see pieces.go. The file's data is
// synced by SyncData, which includes its length; its directory once, by the first Sync.
type localWriter struct {
	l      *Local
	ctx    context.Context
	name   string
	f      directFile
	file   localFile // for ReadAt
	opened bool      // file was opened for itself

	pieces pieces

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
	w := &localWriter{l: l, ctx: ctx, name: name, f: newDirectFile(f), synced: -1}
	w.file = localFile{name: name, f: f}
	w.pieces.init(w.put, w.f.able)
	if w.f.able { // then f may not read what lies anywhere
		r, err := l.fs.Open(l.path(name))
		if err != nil {
			return nil, errors.Join(err, w.end())
		}
		w.file.f, w.opened = r, true
	}
	return w, nil
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

// Write implements Writer.
func (w *localWriter) Write(p []byte) (int, error) {
	if err := w.ready(); err != nil {
		return 0, err
	}
	n, err := w.pieces.collect(p)
	return n, w.fail("write", err)
}

// put writes a part of the file, which ends at off. It overwrites b if the vfs.File does.
func (w *localWriter) put(b []byte, off int64) error {
	n, around, err := w.f.append(b, off)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return err
	}
	end := off + int64(n)
	if around {
		w.started = end
	}
	return w.startWriteback(end)
}

// startWriteback asks the system to begin writing to disk when enough has
// come together. Where vfs can not just ask but would wait for the disk, it is
// not done again by any Writer of the Store.
func (w *localWriter) startWriteback(end int64) error {
	every := w.l.writeback.Load()
	if every == 0 || end-w.started < every {
		return nil
	}
	full, err := w.f.f.SyncTo(end)
	if full {
		w.l.writeback.Store(0)
	}
	w.started = end
	return err
}

// ReadAt implements Writer.
func (w *localWriter) ReadAt(p []byte, off int64) (int, error) {
	return w.pieces.readAt(p, off, &w.file)
}

// Size implements Writer.
func (w *localWriter) Size() int64 { return w.pieces.size }

// Sync implements Writer.
func (w *localWriter) Sync() error {
	if err := w.ready(); err != nil {
		return err
	}
	if err := w.fail("write", w.pieces.flush()); err != nil {
		return err
	}
	return w.fail("sync", w.sync())
}

func (w *localWriter) sync() error {
	if w.synced == w.Size() {
		return nil
	}
	if err := w.f.f.SyncData(); err != nil {
		return err
	}
	if w.synced < 0 {
		if err := SyncDir(w.l.fs, w.l.fs.PathDir(w.l.path(w.name))); err != nil {
			return err
		}
	}
	w.synced = w.Size()
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
	w.pieces.end()
	err := w.file.Close()
	if w.opened {
		err = errors.Join(err, wrap("close", w.name, w.f.f.Close()))
	}
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
