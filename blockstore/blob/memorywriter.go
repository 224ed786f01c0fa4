package blob

import (
	"context"
	"io"
	"sync/atomic"
)

// memoryWriter is the Writer of a Memory.
type memoryWriter struct {
	m      *Memory
	ctx    context.Context
	name   string
	o      *memoryObject
	r      memoryReader // of the same object
	synced bool
	err    error
	closed bool
}

func (w *memoryWriter) Write(p []byte) (int, error) {
	if err := w.ready(); err != nil {
		return 0, err
	}
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	if err := w.m.chargeLocked(int64(len(p))); err != nil {
		w.err = wrap("write", w.name, err)
		return 0, w.err
	}
	w.o.mu.Lock()
	defer w.o.mu.Unlock()
	w.o.data = append(w.o.data, p...)
	return len(p), nil
}

func (w *memoryWriter) ReadAt(p []byte, off int64) (int, error) {
	return w.r.ReadAt(p, off)
}

func (w *memoryWriter) Size() int64 { return w.o.size() }

func (w *memoryWriter) Sync() error {
	if err := w.ready(); err != nil {
		return err
	}
	w.synced = true
	return nil
}

func (w *memoryWriter) Close() error {
	if w.closed {
		return w.err
	}
	err := w.Sync()
	w.end()
	return err
}

func (w *memoryWriter) Abort() error {
	if w.closed {
		return w.err
	}
	w.end()
	return nil
}

// end releases the Writer, and removes the object if it was never synced.
func (w *memoryWriter) end() {
	_ = w.r.Close()
	if !w.synced {
		w.m.remove(w.name)
	}
	w.closed, w.err = true, wrap("use", w.name, ErrClosed)
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	w.o.writing = false
}

func (w *memoryWriter) ready() error {
	if w.err == nil {
		w.err = wrap("write", w.name, w.ctx.Err())
	}
	return w.err
}

type memoryReader struct {
	o      *memoryObject
	name   string
	size   int64
	closed atomic.Bool
}

func (r *memoryReader) ReadAt(p []byte, off int64) (int, error) {
	if r.closed.Load() {
		return 0, wrap("read", r.name, ErrClosed)
	}
	return readAt(r.o, r.name, p, off)
}

func (r *memoryReader) Size() int64 { return r.size }

func (r *memoryReader) Close() error {
	if r.closed.Swap(true) {
		return wrap("close", r.name, ErrClosed)
	}
	return nil
}

// ReadAt implements io.ReaderAt.
func (o *memoryObject) ReadAt(p []byte, off int64) (int, error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if off >= int64(len(o.data)) {
		return 0, io.EOF
	}
	n := copy(p, o.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (o *memoryObject) size() int64 {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return int64(len(o.data))
}
