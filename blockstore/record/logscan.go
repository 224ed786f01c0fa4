package record

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// logContent is what the two files of a log hold.
type logContent struct {
	found map[uint64]*span // by number
	bad   [2][]int64       // sectors that nothing was ever written as, in order
	names [2]string
}

// span is where a commit is in the log. Its sectors are counted from the beginning of the file.
type span struct {
	number    uint64
	file      int
	start     int64
	n         int64 // 0 when part 0 is not there
	have, top int64 // how many of its sectors are there, and the end of the last one
	displaced bool  // a sector is not where the others say
}

// whole tells whether all sectors of a commit are there. Behind them may be some of a longer one that had its number and did not
// come to be.
func (s *span) whole() bool { return s.n > 0 && s.have == s.n }

func (s *span) end() int64 {
	if s.whole() {
		return s.start + s.n
	}
	return s.start + max(s.n, s.top)
}

// scan adds what a file holds.
func (c *logContent) scan(file int, f vfs.File) error {
	size, err := fileSize(f)
	if err != nil {
		return err
	}
	if size < minLogFile {
		return fmt.Errorf("%w: %s has only %d bytes", ErrDamaged, c.names[file], size)
	}
	buf := make([]byte, min(1<<20, (size+sectorSize-1)/sectorSize*sectorSize))
	for at := int64(0); at*sectorSize < size; {
		n := min(int64(len(buf)), size-at*sectorSize)
		if err := readFull(f, buf[:n], at*sectorSize); err != nil {
			return err
		}
		for b := buf[:n]; len(b) >= sectorSize; b = b[sectorSize:] {
			c.add(file, at, decodeSector(b[:sectorSize]))
			at++
		}
		if n%sectorSize != 0 {
			break // an end that is missing is not there
		}
	}
	return nil
}

// readFull reads all of b, or fails.
func readFull(f vfs.File, b []byte, off int64) error {
	n, err := f.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	return cmp.Or(err, io.ErrUnexpectedEOF)
}

func (c *logContent) add(file int, at int64, s sector) {
	switch s.state {
	case blank:
		return
	case bad:
		c.bad[file] = append(c.bad[file], at)
		return
	}
	start := at - int64(s.part)
	e := c.found[s.number]
	if e == nil {
		e = &span{number: s.number, file: file, start: start, displaced: start < 0}
		c.found[s.number] = e
	}
	if e.file != file || e.start != start {
		e.displaced = true
		return
	}
	if s.part == 0 { // it comes first
		e.n = int64(sectorsOf(int(s.size)))
	}
	if e.n == 0 || int64(s.part) < e.n {
		e.have++
	}
	e.top = max(e.top, int64(s.part)+1)
}

// isBad tells whether there is a bad sector in [from, to) of a file.
func (c *logContent) isBad(file int, from, to int64) bool {
	i, _ := slices.BinarySearch(c.bad[file], from)
	return i < len(c.bad[file]) && c.bad[file][i] < to
}

func (c *logContent) damaged(file int, at int64, format string, args ...any) error {
	return fmt.Errorf("%w: %s at byte %d: %s", ErrDamaged, c.names[file], at*sectorSize, fmt.Sprintf(format, args...))
}

// recovery is what is to be done with a log when it is opened.
type recovery struct {
	replay []*span // in order
	torn   *span   // the last one, if it is to be dropped
	last   uint64  // the number of the last commit
	file   int     // where the next one goes
	at     int64   // sectors
}

// recover decides what a log means beside tables of a position. FORMAT.md states the rules. The error is ErrDamaged.
func (c *logContent) recover(position uint64) (r recovery, err error) {
	newest := &span{} // number 0: there is none
	for _, e := range c.found {
		if e.number > newest.number {
			newest = e
		}
		if e.displaced {
			return r, c.damaged(e.file, max(e.start, 0), "commit %d is in more than one place", e.number)
		}
	}
	if newest.number < position {
		return r, fmt.Errorf("%w: %s and %s end with commit %d, the tables with %d", ErrDamaged, c.names[0], c.names[1], newest.number, position)
	}
	r.last = newest.number
	for n := position + 1; n <= newest.number; n++ {
		e := c.found[n]
		switch {
		case e == nil:
			return r, fmt.Errorf("%w: commit %d is missing from %s and %s, which have %d", ErrDamaged, n, c.names[0], c.names[1], newest.number)
		case e.whole() && !c.isBad(e.file, e.start, e.end()):
			r.replay = append(r.replay, e)
		case e != newest || c.isBad(e.file, e.start, e.end()):
			return r, c.damaged(e.file, e.start, "commit %d is not what was written", n)
		default:
			r.torn = e
			r.last--
		}
	}
	return r, c.next(&r, newest)
}

// next finds the place for the next commit, and looks for one that was there and can not be recognised any more.
func (c *logContent) next(r *recovery, newest *span) error {
	for file := range c.bad {
		if c.isBad(file, 0, 1) {
			return c.damaged(file, 0, "a sector is not what was written")
		}
	}
	last := c.found[r.last]
	if last != nil && c.isBad(last.file, last.end(), last.end()+1) {
		return c.damaged(last.file, last.end(), "a sector is not what was written")
	}
	switch {
	case len(r.replay) > 0:
		r.file, r.at = last.file, last.end()
	case newest.number > 0:
		// The tables hold everything: both files are free. The newest commit stays until there is another one.
		r.file = 1 - cmp.Or(last, newest).file
	}
	return nil
}
