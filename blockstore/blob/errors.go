package blob

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// What can go wrong on every back end. ErrNotExist and ErrExist are io/fs's
// own, so that either spelling serves errors.Is.
var (
	ErrNotExist = fs.ErrNotExist
	ErrExist    = fs.ErrExist
	ErrClosed   = fs.ErrClosed
	ErrNoSpace  = errors.New("no space left")
	ErrName     = errors.New("not a valid object name")
)

// Error tells which operation failed on which object.
type Error struct {
	Op   string // "create", "write", "sync", …
	Name string // the object's, or a prefix for "list"
	Err  error
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s object %q: %v", e.Op, e.Name, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// wrap names op and object, and makes ErrNoSpace of the system's several ways
// to say so. It returns nil for nil.
func wrap(op, name string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return &Error{Op: op, Name: name, Err: err}
}
