package blob

import (
	"context"
	"io"
)

// Store holds named objects, each written once. The package documentation
// states what it guarantees.
type Store interface {
	// Create starts a new object. It fails with ErrExist if the name is taken.
	// ctx bounds the life of the Writer, not just this call.
	Create(ctx context.Context, name string) (Writer, error)

	// Put stores a small object whole, durably and atomically, in place of an
	// object of that name if there is one. It fails with ErrExist if that
	// object's Writer is not closed.
	Put(ctx context.Context, name string, data []byte) error

	// PutNew is Put that fails with ErrExist if the name is taken.
	PutNew(ctx context.Context, name string, data []byte) error

	// Open opens an object for reading, or fails with ErrNotExist. An object
	// whose Writer is not closed may give ErrNotExist too; read it through
	// the Writer.
	Open(ctx context.Context, name string) (Reader, error)

	// Stat describes an object, or fails with ErrNotExist.
	Stat(ctx context.Context, name string) (Info, error)

	// List calls fn for each object whose name starts with prefix, in the
	// order of the names' bytes, until fn returns an error, which it returns.
	// An object that comes or goes meanwhile may be listed or not. fn may call
	// any method of the Store.
	List(ctx context.Context, prefix string, fn func(Info) error) error

	// Remove removes objects, durably when it returns nil. A name that does not
	// exist is no error, so that an interrupted removal can be repeated. If one
	// can not be removed the others are all the same; the first error is
	// returned. Open Readers of a removed object may go on or fail. An object
	// whose Writer is not closed must not be removed; that is what Abort does.
	Remove(ctx context.Context, names ...string) error
}

// Writer writes one object from front to back.
//
// It is used by one goroutine at a time, except for ReadAt. After the first
// error each further Write, Sync and Close returns that error. Every Writer must
// end in Close or Abort; after either, all calls but Size return ErrClosed.
type Writer interface {
	// Write appends data, which may be in small pieces: they are collected. An
	// error of what was written may come with a later call.
	io.Writer

	// ReadAt reads what has been written so far, synced or not. It may run at
	// the same time as any other call; once the Writer is closed it fails.
	io.ReaderAt

	// Size is the number of bytes written so far.
	Size() int64

	// Sync makes durable everything written so far, and the object's name.
	Sync() error

	// Close is Sync and the end of the object. When it fails it is like Abort:
	// the Writer is released in any case.
	Close() error

	// Abort releases the Writer without making anything durable. An object that
	// was never synced is removed; one that was keeps at least what was synced.
	Abort() error
}

// Reader reads one object, from any number of goroutines.
type Reader interface {
	io.ReaderAt

	// Size is the object's size when it was opened, in bytes.
	Size() int64

	// Close waits for running ReadAts and releases the Reader. Any call but Size
	// that follows returns ErrClosed.
	Close() error
}

// Info describes an object.
type Info struct {
	Name string
	Size int64 // in bytes
}
