package fs

import (
	"errors"
	"fmt"
	"strings"

	"salliefs/blockstore"
)

// Errors that callers tell apart, with errors.Is. Operations return them bare where there is nothing to add, and inside
// an *Error otherwise.
var (
	ErrNotExist     = errors.New("no such file or directory")
	ErrExist        = errors.New("file exists")
	ErrNotDir       = errors.New("not a directory")
	ErrIsDir        = errors.New("is a directory")
	ErrNotEmpty     = errors.New("directory not empty")
	ErrXDev         = errors.New("a file can not be moved or linked between namespaces, only copied")
	ErrNameTooLong  = errors.New("name too long")
	ErrQuota        = errors.New("quota of the namespace exceeded")
	ErrInvalid      = errors.New("invalid argument")
	ErrNoAttr       = errors.New("no such attribute")
	ErrNotSupported = errors.New("operation not supported")
	ErrRange        = errors.New("buffer too small")
	ErrTooManyLinks = errors.New("too many links")
	ErrTooBig       = errors.New("file too large")
	ErrXattrTooBig  = errors.New("extended attribute too large")
	ErrPerm         = errors.New("operation not permitted")
	ErrNoData       = errors.New("no data or hole after this offset")
	ErrLocked       = errors.New("the namespace is locked")

	ErrNoSpace  = blockstore.ErrNoSpace
	ErrReadOnly = blockstore.ErrReadOnly
	ErrCorrupt  = blockstore.ErrCorrupt
	ErrFailed   = blockstore.ErrFailed
	ErrClosed   = blockstore.ErrClosed
)

// Error says which file an operation failed on.
type Error struct {
	Op        string
	Namespace string // "" for the root
	Path      string // below the namespace; "" if unknown
	Ino       Ino    // 0 if unknown
	Err       error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if where := e.where(); where != "" {
		b.WriteByte(' ')
		b.WriteString(where)
	}
	b.WriteString(": ")
	b.WriteString(e.Err.Error())
	return b.String()
}

func (e *Error) where() string {
	switch {
	case e.Path != "" && e.Namespace != "":
		return e.Namespace + "/" + e.Path
	case e.Path != "":
		return e.Path
	case e.Ino != 0 && e.Namespace != "":
		return fmt.Sprintf("inode %d in namespace %s", e.Ino.Number(), e.Namespace)
	case e.Ino != 0:
		return fmt.Sprintf("inode %d in namespace %d", e.Ino.Number(), e.Ino.Namespace())
	}
	return e.Namespace
}

func (e *Error) Unwrap() error { return e.Err }
