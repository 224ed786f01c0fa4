package blockstore

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"salliefs/blockstore/record"
	"salliefs/crypto"
)

// Errors that callers tell apart, with errors.Is. They come wrapped with what they are about.
var (
	ErrNotFound    = errors.New("not found")
	ErrExists      = errors.New("exists already")
	ErrInvalid     = errors.New("invalid")
	ErrNotStore    = errors.New("not a SallieFS store")
	ErrNewerFormat = errors.New("made by a newer version of SallieFS")
	ErrIncomplete  = errors.New("an init that was not finished")
	ErrInUse       = errors.New("in use")
	ErrReadOnly    = errors.New("read-only")
	ErrNoSpace     = errors.New("no space left on the disk of the store")
	ErrCorrupt     = errors.New("damaged")
	ErrWrongKey    = errors.New("the key does not belong to this store")
	ErrFailed      = errors.New("the store stopped accepting writes after a failed write")
	ErrClosed      = errors.New("the store is closed")
)

// InUseError says who holds a store. It matches ErrInUse.
type InUseError struct {
	Dir    string
	Holder Holder
}

func (e *InUseError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is in use", PathName(e.Dir).Shown())
	if e.Holder.PID != 0 {
		fmt.Fprintf(&b, " by process %d on %s", e.Holder.PID, e.Holder.Host)
	}
	if e.Holder.Mount != "" {
		fmt.Fprintf(&b, ", mounted at %s", e.Holder.Mount.Shown())
	}
	return b.String()
}

func (e *InUseError) Is(target error) bool { return target == ErrInUse }

// BlockError names the block that could not be read.
type BlockError struct {
	Namespace NamespaceID
	Block     BlockID
	Err       error
}

func (e *BlockError) Error() string {
	return fmt.Sprintf("block %d of namespace %d: %v", e.Block, e.Namespace, e.Err)
}

func (e *BlockError) Unwrap() error { return e.Err }

// RecordError names the record that could not be read.
type RecordError struct {
	Key Key
	Err error
}

func (e *RecordError) Error() string { return fmt.Sprintf("%v: %v", e.Key, e.Err) }
func (e *RecordError) Unwrap() error { return e.Err }

// diskError turns "disk full" into ErrNoSpace and keeps everything else.
func diskError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

// engineError puts what the record engine says into this package's terms.
func engineError(err error) error {
	switch {
	case errors.Is(err, record.ErrNotFound):
		return ErrNotFound
	case errors.Is(err, record.ErrDamaged):
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// sealError makes ErrCorrupt of what does not open.
func sealError(err error) error {
	if errors.Is(err, crypto.ErrAuth) && !errors.Is(err, ErrCorrupt) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}
