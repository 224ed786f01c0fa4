package segment

import (
	"encoding/binary"
	"fmt"
	"io"
)

// bufferSize is how much a Writer collects before it writes. It fits into a
// processor's cache, so that collecting costs no second trip to memory.
const bufferSize = 1 << 20

// Writer encodes one segment. Appended blocks are collected and reach the
// io.Writer in pieces of about 1 MiB, or when Flush is called. A Writer whose
// io.Writer has failed stays failed.
type Writer struct {
	w        io.Writer
	header   Header
	identity uint32
	size     int64  // including what is in buf
	buf      []byte // not written yet
	table    []byte // the footer's plaintext so far
	count    uint32
	err      error
}

// NewWriter starts segment h. It does no I/O: the header goes out with the first
// blocks. The io.Writer may overwrite the bytes that it is given.
func NewWriter(w io.Writer, h Header) *Writer {
	buf := AppendHeader(make([]byte, 0, bufferSize), h)
	return &Writer{
		w:        w,
		header:   h,
		identity: h.identity(),
		size:     int64(len(buf)),
		buf:      buf,
		table:    make([]byte, tableHeader),
	}
}

// Fits says whether a block of sealedLen bytes with a hint of hintLen bytes can
// still be appended, the footer included.
func (w *Writer) Fits(sealedLen, hintLen int) bool {
	table := int64(len(w.table)) + tableEntry + int64(hintLen)
	body := w.size + EntryOverhead + int64(sealedLen)
	return table <= maxTableSize && body+table+sealOverhead+TrailerSize <= MaxSize
}

// Append adds a sealed block and returns the offset of its sealed bytes. Neither
// sealed nor hint is kept. hint goes into the footer and means nothing here; what
// it says is sealed with the footer's key, not the block's. Errors: ErrFull,
// ErrTooLarge, ErrFinished, or what the io.Writer returned.
func (w *Writer) Append(block uint64, namespace uint32, sealed, hint []byte) (int64, error) {
	switch {
	case w.err != nil:
		return 0, w.err
	case len(sealed) == 0 || len(sealed) > MaxSealedSize:
		return 0, fmt.Errorf("%w: block %d: %d sealed bytes, 1 … %d are allowed", ErrTooLarge, block, len(sealed), MaxSealedSize)
	case len(hint) > MaxHintSize:
		return 0, fmt.Errorf("%w: block %d: hint of %d bytes, at most %d are allowed", ErrTooLarge, block, len(hint), MaxHintSize)
	case !w.Fits(len(sealed), len(hint)):
		return 0, ErrFull
	}
	if len(w.buf)+EntryOverhead+len(sealed) > bufferSize {
		if err := w.Flush(); err != nil {
			return 0, err
		}
	}
	e := Entry{Block: block, Namespace: namespace, Offset: w.size + EntryOverhead, Length: len(sealed), Hint: hint}
	w.buf = appendEntryHeader(w.buf, w.identity, e, sealed)
	w.buf = append(w.buf, sealed...)
	w.table = appendTableEntry(w.table, e)
	w.count++
	w.size = e.end()
	return e.Offset, nil
}

// Flush writes what has been collected.
func (w *Writer) Flush() error {
	if w.err != nil || len(w.buf) == 0 {
		return w.err
	}
	n, err := w.w.Write(w.buf)
	if err == nil && n < len(w.buf) {
		err = io.ErrShortWrite
	}
	w.err = err
	w.buf = w.buf[:0]
	return err
}

// Size is the segment's size so far, in bytes, including what is not flushed.
func (w *Writer) Size() int64 { return w.size }

// Blocks is the number of blocks appended.
func (w *Writer) Blocks() int { return int(w.count) }

// Finish seals the footer with s and writes everything. The trailer, which says
// that all before it is whole, is written after sync, which makes that durable;
// nil where nobody cares. To sync the trailer is for the owner of the io.Writer.
func (w *Writer) Finish(s Sealer, sync func() error) error {
	if w.err != nil {
		return w.err
	}
	binary.BigEndian.PutUint32(w.table, w.count)
	sealed := s.Seal(nil, w.table, footerAD(w.header, w.size))
	if len(sealed) > len(w.table)+sealOverhead {
		return fmt.Errorf("%w: sealing added %d bytes to the footer, at most %d are allowed",
			ErrTooLarge, len(sealed)-len(w.table), sealOverhead)
	}
	t := trailer{w.size, int64(len(sealed)), checksum(w.identity, w.size, sealed)}
	w.buf = append(w.buf, sealed...)
	if err := w.Flush(); err != nil {
		return err
	}
	if sync != nil {
		if w.err = sync(); w.err != nil {
			return w.err
		}
	}
	w.buf = appendTrailer(w.buf, w.identity, t)
	if err := w.Flush(); err != nil {
		return err
	}
	w.size += t.footerLength + TrailerSize
	w.err, w.buf, w.table = ErrFinished, nil, nil
	return nil
}
