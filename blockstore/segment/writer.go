package segment

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Writer encodes one segment. What is appended goes to the io.Writer at once, in pieces of any size: to collect them is left to
// that. A Writer whose io.Writer has failed stays failed.
type Writer struct {
	w        io.Writer
	header   Header
	identity uint32
	size     int64
	scratch  []byte // what comes next and is not written yet: the segment's header, and one of an entry
	table    []byte // the footer's plaintext so far
	count    uint32
	err      error
}

// NewWriter starts segment h. It does no I/O: the header goes out with the first
// blocks.
func NewWriter(w io.Writer, h Header) *Writer {
	scratch := AppendHeader(nil, h)
	return &Writer{
		w:        w,
		header:   h,
		identity: h.identity(),
		size:     int64(len(scratch)),
		scratch:  scratch,
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
	e := Entry{Block: block, Namespace: namespace, Offset: w.size + EntryOverhead, Length: len(sealed), Hint: hint}
	w.scratch = appendEntryHeader(w.scratch, w.identity, e, sealed)
	if err := w.write(sealed); err != nil {
		return 0, err
	}
	w.table = appendTableEntry(w.table, e)
	w.count++
	w.size = e.end()
	return e.Offset, nil
}

// write writes what is in scratch, and then b.
func (w *Writer) write(b []byte) error {
	for _, part := range [2][]byte{w.scratch, b} {
		if len(part) == 0 {
			continue
		}
		n, err := w.w.Write(part)
		if err == nil && n < len(part) {
			err = io.ErrShortWrite
		}
		if err != nil {
			w.err = err
			return err
		}
	}
	w.scratch = w.scratch[:0]
	return nil
}

// Size is the segment's size so far, in bytes.
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
	if err := w.write(sealed); err != nil {
		return err
	}
	if sync != nil {
		if w.err = sync(); w.err != nil {
			return w.err
		}
	}
	if err := w.write(appendTrailer(nil, w.identity, t)); err != nil {
		return err
	}
	w.size += t.footerLength + TrailerSize
	w.err, w.scratch, w.table = ErrFinished, nil, nil
	return nil
}
