package blobtest

import (
	"context"
	"errors"
	"sync/atomic"

	"salliefs/blockstore/blob"
)

// ErrInjected is what the injectors of this package fail with.
var ErrInjected = errors.New("injected fault")

// Op is an operation that Faulty can fail.
type Op string

// The operations, each named like the method. OpRead is ReadAt of a Reader,
// OpWriterRead of a Writer.
const (
	OpCreate     Op = "create"
	OpPut        Op = "put"
	OpPutNew     Op = "put new"
	OpOpen       Op = "open"
	OpStat       Op = "stat"
	OpList       Op = "list"
	OpRemove     Op = "remove"
	OpWrite      Op = "write"
	OpSync       Op = "sync"
	OpClose      Op = "close" // of a Writer
	OpRead       Op = "read"
	OpWriterRead Op = "writer read"
)

// Call is one call into a Faulty.
type Call struct {
	Op   Op
	Name string // the object's, or List's prefix; the first name of Remove
}

// Faulty is a store that fails where Fault says so. A failed Write has written
// half of its data; a failed Sync or Close has made nothing durable, as far as
// the caller can know; a failed Remove has removed all but the last name. A
// failed Writer stays failed. Abort and the Close of a Reader do not fail.
type Faulty struct {
	blob.Store

	// Fault is called before each call, from any goroutine; the call fails with
	// what it returns, or goes on if that is nil.
	Fault func(Call) error
}

// FailNth returns a Fault that fails the nth call of op, counted from 1, with
// err, and each one after it too if sticky is set.
func FailNth(op Op, n int64, err error, sticky bool) func(Call) error {
	var count atomic.Int64
	return func(c Call) error {
		if c.Op != op {
			return nil
		}
		if i := count.Add(1); i == n || sticky && i > n {
			return err
		}
		return nil
	}
}

func (f *Faulty) fault(op Op, name string) error {
	if err := f.Fault(Call{op, name}); err != nil {
		return &blob.Error{Op: string(op), Name: name, Err: err}
	}
	return nil
}

// Create implements blob.Store.
func (f *Faulty) Create(ctx context.Context, name string) (blob.Writer, error) {
	if err := f.fault(OpCreate, name); err != nil {
		return nil, err
	}
	w, err := f.Store.Create(ctx, name)
	if err != nil {
		return nil, err
	}
	return &faultyWriter{Writer: w, f: f, name: name}, nil
}

// Put implements blob.Store.
func (f *Faulty) Put(ctx context.Context, name string, data []byte) error {
	if err := f.fault(OpPut, name); err != nil {
		return err
	}
	return f.Store.Put(ctx, name, data)
}

// PutNew implements blob.Store.
func (f *Faulty) PutNew(ctx context.Context, name string, data []byte) error {
	if err := f.fault(OpPutNew, name); err != nil {
		return err
	}
	return f.Store.PutNew(ctx, name, data)
}

// Open implements blob.Store.
func (f *Faulty) Open(ctx context.Context, name string) (blob.Reader, error) {
	if err := f.fault(OpOpen, name); err != nil {
		return nil, err
	}
	r, err := f.Store.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return &faultyReader{Reader: r, f: f, name: name}, nil
}

// Stat implements blob.Store.
func (f *Faulty) Stat(ctx context.Context, name string) (blob.Info, error) {
	if err := f.fault(OpStat, name); err != nil {
		return blob.Info{}, err
	}
	return f.Store.Stat(ctx, name)
}

// List implements blob.Store.
func (f *Faulty) List(ctx context.Context, prefix string, fn func(blob.Info) error) error {
	if err := f.fault(OpList, prefix); err != nil {
		return err
	}
	return f.Store.List(ctx, prefix, fn)
}

// Remove implements blob.Store.
func (f *Faulty) Remove(ctx context.Context, names ...string) error {
	if len(names) == 0 {
		return nil
	}
	if err := f.fault(OpRemove, names[0]); err != nil {
		return errors.Join(err, f.Store.Remove(ctx, names[:len(names)-1]...))
	}
	return f.Store.Remove(ctx, names...)
}

type faultyWriter struct {
	blob.Writer
	f    *Faulty
	name string
	err  error // the first fault
}

// fault is Faulty.fault, remembered.
func (w *faultyWriter) fault(op Op) error {
	if w.err == nil {
		w.err = w.f.fault(op, w.name)
	}
	return w.err
}

func (w *faultyWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if err := w.fault(OpWrite); err != nil {
		n, _ := w.Writer.Write(p[:len(p)/2])
		return n, err
	}
	return w.Writer.Write(p)
}

func (w *faultyWriter) ReadAt(p []byte, off int64) (int, error) {
	if err := w.f.fault(OpWriterRead, w.name); err != nil {
		return 0, err
	}
	return w.Writer.ReadAt(p, off)
}

func (w *faultyWriter) Sync() error {
	if err := w.fault(OpSync); err != nil {
		return err
	}
	return w.Writer.Sync()
}

func (w *faultyWriter) Close() error {
	if err := w.fault(OpClose); err != nil {
		return errors.Join(err, w.Writer.Abort())
	}
	return w.Writer.Close()
}

type faultyReader struct {
	blob.Reader
	f    *Faulty
	name string
}

func (r *faultyReader) ReadAt(p []byte, off int64) (int, error) {
	if err := r.f.fault(OpRead, r.name); err != nil {
		return 0, err
	}
	return r.Reader.ReadAt(p, off)
}
