package segment

import (
	"errors"
	"fmt"
)

var (
	// ErrDamaged says that stored bytes are not what was written. The error
	// that carries it is a DamageError.
	ErrDamaged = errors.New("segment damaged")
	// ErrNoFooter says that a segment does not end in a trailer: its writer did
	// not finish it, or its end is lost. Scan reads what there is.
	ErrNoFooter = errors.New("segment has no footer")
	// ErrNewerFormat says that a later version of this program wrote the segment.
	ErrNewerFormat = errors.New("segment has a newer format")
	// ErrWrongSegment says that the header is whole but names another store or
	// segment than the caller asked for.
	ErrWrongSegment = errors.New("wrong segment")

	// ErrFull says that a block does not fit into the segment any more. The
	// Writer is unchanged and can be finished.
	ErrFull = errors.New("segment is full")
	// ErrTooLarge says that a sealed block or a hint is empty where it must not
	// be, or above its limit.
	ErrTooLarge = errors.New("size out of range")
	// ErrFinished says that the Writer was finished.
	ErrFinished = errors.New("segment is finished")
)

// DamageError says where a segment is damaged. It wraps ErrDamaged, and Err if
// there is one.
type DamageError struct {
	Part   string // "header", "entry", "footer" or "trailer"
	Offset int64  // of the part in the segment, in bytes
	Why    string
	Err    error // what the Sealer said, or nil
}

func (e *DamageError) Error() string {
	s := fmt.Sprintf("segment damaged: %s at offset %d: %s", e.Part, e.Offset, e.Why)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *DamageError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrDamaged}
	}
	return []error{ErrDamaged, e.Err}
}

func damaged(part string, offset int64, format string, args ...any) error {
	return &DamageError{Part: part, Offset: offset, Why: fmt.Sprintf(format, args...)}
}
