package segment

import (
	"errors"
	"io"
)

// ScanResult says how far a scan came.
type ScanResult struct {
	Blocks   int   // entries that were passed on
	End      int64 // offset behind the last of them, or HeaderSize
	Finished bool  // the segment has a trailer, and every entry before the footer was passed on
	Stop     error // a DamageError for what is at End and does not check; nil when nothing is there, or the footer
}

// Scan reads segment h, of size bytes, from front to back without a key, and
// calls fn with each entry until one does not check. Of a segment whose writer
// crashed that is the end, so it is no error but ScanResult.Stop. The sealed
// bytes are valid during the call only. Errors: what fn returned, a damaged or
// wrong header, an error of r.
func Scan(r io.ReaderAt, size int64, h Header, fn func(e Entry, sealed []byte) error) (ScanResult, error) {
	res := ScanResult{End: HeaderSize}
	if err := expectHeader(r, size, h); err != nil {
		return res, err
	}
	identity := h.identity()
	limit, finished := size, false
	t, err := readTrailer(r, size, identity)
	switch {
	case err == nil:
		limit, finished = t.footerOffset, true
	case !errors.Is(err, ErrNoFooter) && !errors.Is(err, ErrDamaged):
		return res, err
	}
	win := window{r: r, limit: limit}
	for res.End < limit {
		e, sealed, err := win.entry(identity, res.End)
		if errors.Is(err, ErrDamaged) {
			res.Stop = err
			return res, nil
		}
		if err != nil {
			return res, err
		}
		if err := fn(e, sealed); err != nil {
			return res, err
		}
		res.Blocks++
		res.End = e.end()
	}
	res.Finished = finished
	return res, nil
}

// windowSize is how much a window reads at once, in bytes.
const windowSize = 1 << 20

// window reads a segment forward in large pieces.
type window struct {
	r     io.ReaderAt
	limit int64  // do not read at or past this offset
	buf   []byte // holds bytes from offset start
	start int64
}

// entry returns the entry that starts at offset at, checked.
func (w *window) entry(identity uint32, at int64) (Entry, []byte, error) {
	b, err := w.bytes(at, min(EntryOverhead, w.limit-at))
	if err != nil {
		return Entry{}, nil, err
	}
	e, err := decodeEntryHeader(b, at, w.limit)
	if err != nil {
		return Entry{}, nil, err
	}
	raw, err := w.bytes(at, e.end()-at)
	if err != nil {
		return Entry{}, nil, err
	}
	return e, raw[EntryOverhead:], checkEntry(identity, at, raw)
}

// bytes returns n bytes from offset at, which lie before the limit.
func (w *window) bytes(at, n int64) ([]byte, error) {
	if at < w.start || at+n > w.start+int64(len(w.buf)) {
		size := min(max(n, windowSize), w.limit-at)
		if int64(cap(w.buf)) < size {
			w.buf = make([]byte, size)
		}
		w.buf, w.start = w.buf[:size], at
		if err := readFull(w.r, w.buf, at); err != nil {
			w.buf = w.buf[:0]
			return nil, err
		}
	}
	return w.buf[at-w.start:][:n], nil
}
