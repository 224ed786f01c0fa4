package blockstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"salliefs/blockstore/blob"
	"salliefs/blockstore/segment"
)

// errMoved says that a block is not where it was: its segment was reclaimed in the meantime.
var errMoved = errors.New("the block has moved")

// segmentReader is shared by all who read a segment.
type segmentReader struct {
	r    blob.Reader
	refs atomic.Int32 // those who read, and one for being in the set; taken only from the set, under its mu
}

// maxReaders is how many segments are kept open for reading.
const maxReaders = 128

// readAt fills dst from a segment. errMoved: the segment is gone. No lock is held while the disk is waited for.
func (ss *segmentSet) readAt(seg uint64, id BlockID, dst []byte, off int64) error {
	ss.mu.RLock()
	cur := ss.cur
	ss.mu.RUnlock()
	if cur != nil && cur.id == seg {
		_, err := cur.w.ReadAt(dst, off)
		if !errors.Is(err, blob.ErrClosed) {
			return segmentError(seg, err)
		}
		<-cur.ended // just now: it is read like the others
	}
	r, err := ss.acquire(seg)
	if err != nil {
		return err
	}
	_, err = r.r.ReadAt(dst, off)
	r.release()
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

// acquire opens a segment for reading, until release.
func (ss *segmentSet) acquire(seg uint64) (*segmentReader, error) {
	ss.mu.RLock()
	r := ss.readers[seg]
	if r != nil {
		r.refs.Add(1)
	}
	known := ss.table[seg] != nil
	ss.mu.RUnlock()
	switch {
	case r != nil:
		return r, nil
	case !known:
		return nil, errMoved
	}
	br, err := ss.blobs.Open(context.Background(), segmentName(seg))
	if err != nil {
		if _, ok := ss.info(seg); !ok {
			return nil, errMoved
		}
		if errors.Is(err, blob.ErrNotExist) {
			err = fmt.Errorf("segment %s: %w: the file is missing", segmentName(seg), ErrCorrupt)
		}
		return nil, err
	}
	return ss.share(seg, br)
}

// share puts a segment that was just opened into the set, unless someone was faster, and acquires it.
func (ss *segmentSet) share(seg uint64, br blob.Reader) (*segmentReader, error) {
	r := &segmentReader{r: br}
	r.refs.Store(1)
	ss.mu.Lock()
	surplus := r
	known, other := ss.table[seg] != nil, ss.readers[seg]
	switch {
	case other != nil:
		r = other
	case known:
		surplus = nil
		if len(ss.readers) >= maxReaders {
			for old := range ss.readers { // any will do
				surplus = ss.takeReaderLocked(old)
				break
			}
		}
		ss.readers[seg] = r
	}
	if known {
		r.refs.Add(1)
	}
	ss.mu.Unlock()
	surplus.release()
	if !known {
		return nil, errMoved
	}
	return r, nil
}

// release ends a use of a segment; the last one who leaves closes it. nil is none.
func (r *segmentReader) release() {
	if r != nil && r.refs.Add(-1) == 0 {
		_ = r.r.Close() // it was only read
	}
}

// takeReaderLocked takes a segment's reader out of the set, to be released; nil if there is none.
func (ss *segmentSet) takeReaderLocked(seg uint64) *segmentReader {
	r := ss.readers[seg]
	delete(ss.readers, seg)
	return r
}
