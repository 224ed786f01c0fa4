package blockstore

import (
	"context"
	"errors"
	"fmt"
	"io"

	"salliefs/blockstore/blob"
	"salliefs/blockstore/segment"
)

// errMoved says that a block is not where it was: its segment was reclaimed in the meantime.
var errMoved = errors.New("the block has moved")

// segmentReader is shared by all who read a segment.
type segmentReader struct {
	r    blob.Reader
	refs int  // mu of the set
	dead bool // to be closed by the last who leaves
}

// maxReaders is how many segments are kept open for reading.
const maxReaders = 128

// readAt fills dst from a segment. errMoved: the segment is gone.
func (ss *segmentSet) readAt(seg uint64, id BlockID, dst []byte, off int64) error {
	ss.mu.RLock()
	if cur := ss.cur; cur != nil && cur.id == seg {
		_, err := cur.w.ReadAt(dst, off)
		ss.mu.RUnlock()
		return segmentError(seg, err)
	}
	ss.mu.RUnlock()
	r, err := ss.acquire(seg)
	if err != nil {
		return err
	}
	_, err = r.r.ReadAt(dst, off)
	ss.release(r)
	return segmentError(seg, err)
}

// isCurrent tells whether a segment is the one that is written to.
func (ss *segmentSet) isCurrent(seg uint64) bool {
	ss.mu.RLock()
	defer ss.mu.RUnlock()
	return ss.cur != nil && ss.cur.id == seg
}

func segmentError(seg uint64, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, segment.ErrDamaged):
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("%w: it is too short", ErrCorrupt)
	}
	return fmt.Errorf("segment %s: %w", segmentName(seg), err)
}

func (ss *segmentSet) acquire(seg uint64) (*segmentReader, error) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if r := ss.readers[seg]; r != nil {
		r.refs++
		return r, nil
	}
	if ss.table[seg] == nil {
		return nil, errMoved
	}
	br, err := ss.blobs.Open(context.Background(), segmentName(seg))
	if errors.Is(err, blob.ErrNotExist) {
		return nil, fmt.Errorf("segment %s: %w: the file is missing", segmentName(seg), ErrCorrupt)
	}
	if err != nil {
		return nil, err
	}
	if len(ss.readers) >= maxReaders {
		for old := range ss.readers { // any will do
			ss.retireLocked(old)
			break
		}
	}
	r := &segmentReader{r: br, refs: 1}
	ss.readers[seg] = r
	return r, nil
}

func (ss *segmentSet) release(r *segmentReader) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if r.refs--; r.refs == 0 && r.dead {
		_ = r.r.Close() // it was only read
	}
}

func (ss *segmentSet) retireLocked(seg uint64) {
	r := ss.readers[seg]
	if r == nil {
		return
	}
	delete(ss.readers, seg)
	if r.dead = true; r.refs == 0 {
		_ = r.r.Close() // it was only read
	}
}
