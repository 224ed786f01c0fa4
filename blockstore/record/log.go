package record

import (
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// logNames are the files of the log; newLog is the name of one that is made again.
var logNames = [2]string{"commits-0", "commits-1"}

const newLog = "commits.new"

// maxGrown is how many times its size in turn a file of the log may have, when it is used again.
const maxGrown = 2

// A commitLog makes commits durable before they are in tables. It is used by one goroutine at a time, but for size.
type commitLog struct {
	d       *disk
	limit   int64 // bytes after which it is the other file's turn
	files   [2]*logFile
	turn    int
	last    uint64 // the number of the last commit
	held    uint64 // the tables hold all commits up to this one, at least
	buf     []byte
	written atomic.Int64 // bytes since it was opened
	size    atomic.Int64 // bytes that the files take
}

// createLog makes an empty log, durably.
func createLog(d *disk, limit int64) (*commitLog, error) {
	l := &commitLog{d: d, limit: limit}
	for i, name := range logNames {
		f, err := openLogFile(d, d.PathJoin(d.dir, name), true)
		if err == nil {
			l.files[i] = f
			if err = f.fill(f.piece); err == nil {
				err = f.f.SyncData()
			}
		}
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
	}
	if err := d.syncDir(); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

// openLog opens the log beside tables of a position, hands the batches of all later commits to replay, in order, and makes
// the log ready for the next one. Errors: ErrDamaged, what replay and the filesystem say.
func openLog(d *disk, limit int64, position uint64, replay func(batch []byte) error) (*commitLog, error) {
	l := &commitLog{d: d, limit: limit, held: position}
	for i, name := range logNames {
		f, err := openLogFile(d, d.PathJoin(d.dir, name), false)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %s is missing", ErrDamaged, name)
		}
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
		l.files[i] = f
	}
	r, err := l.read(position, replay)
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	l.last, l.turn = r.last, r.file
	l.files[l.turn].at = r.at * sectorSize
	l.measure()
	return l, nil
}

// readLog is openLog for reading only: what a crash left stays.
func readLog(d *disk, position uint64, replay func(batch []byte) error) error {
	var files [2]vfs.File
	for i, name := range logNames {
		f, err := d.FS.Open(d.PathJoin(d.dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %s is missing", ErrDamaged, name)
		}
		if err != nil {
			return err
		}
		defer f.Close()
		files[i] = f
	}
	_, _, err := readFiles(files, position, func(recovery) error { return nil }, replay)
	return err
}

func (l *commitLog) read(position uint64, replay func(batch []byte) error) (recovery, error) {
	if err := l.d.FS.Remove(l.d.PathJoin(l.d.dir, newLog)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return recovery{}, err
	}
	c, r, err := readFiles([2]vfs.File{l.files[0].f, l.files[1].f}, position, l.harden, replay)
	if err != nil {
		return r, err
	}
	for n, e := range c.found {
		f := l.files[e.file]
		if n <= r.last {
			f.last = max(f.last, n)
		}
	}
	return r, nil
}

// readFiles reads a log, has the caller harden what it found, and hands on what the tables lack.
func readFiles(files [2]vfs.File, position uint64, harden func(recovery) error, replay func(batch []byte) error) (*logContent, recovery, error) {
	c := &logContent{found: make(map[uint64]*span), names: logNames}
	for i, f := range files {
		if err := c.scan(i, f); err != nil {
			return nil, recovery{}, err
		}
	}
	r, err := c.recover(position)
	if err != nil {
		return nil, r, err
	}
	batch := func(e *span) (batch []byte, ok bool, err error) {
		b := make([]byte, e.n*sectorSize) // replay keeps it
		if err := readFull(files[e.file], b, e.start*sectorSize); err != nil {
			return nil, false, err
		}
		batch, ok = decodeCommit(b, e.number)
		return batch, ok, nil
	}
	if i := len(r.replay) - 1; i >= 0 && r.torn == nil {
		e := r.replay[i]
		if _, ok, err := batch(e); err != nil {
			return nil, r, err
		} else if !ok {
			// Its sectors are of two attempts at the commit, of which neither succeeded.
			r.replay, r.torn, r.last = r.replay[:i], e, r.last-1
			if err := c.next(&r, e); err != nil {
				return nil, r, err
			}
		}
	}
	if err := harden(r); err != nil {
		return nil, r, err
	}
	for _, e := range r.replay {
		b, ok, err := batch(e)
		if err == nil && !ok {
			err = c.damaged(e.file, e.start, "commit %d is not what was written", e.number)
		}
		if err == nil {
			err = replay(b)
		}
		if err != nil {
			return nil, r, err
		}
	}
	return c, r, nil
}

// harden makes sure that the disk has what is read from the log, before tables can say more than it. The last commit of a process
// that was killed, or whose sync failed, may be in the system's memory alone, where a sync does not find it to be new: so it is
// written again. A torn commit goes.
func (l *commitLog) harden(r recovery) error {
	if err := l.wipe(r.torn); err != nil || len(r.replay) == 0 {
		return err
	}
	e := r.replay[len(r.replay)-1]
	f := l.files[e.file].f
	b := make([]byte, e.n*sectorSize)
	if err := readFull(f, b, e.start*sectorSize); err != nil {
		return err
	}
	if _, err := f.WriteAt(b, e.start*sectorSize); err != nil {
		return err
	}
	return f.SyncData()
}

// wipe overwrites what is there of a torn commit, so that its number can be used again.
func (l *commitLog) wipe(torn *span) error {
	if torn == nil {
		return nil
	}
	f := l.files[torn.file].f
	if _, err := writeZeros(f, torn.start*sectorSize, torn.end()*sectorSize); err != nil {
		return err
	}
	return f.SyncData()
}

// reserve makes sure that a batch of size bytes has room in the log. On a full disk it may become the other file's turn.
func (l *commitLog) reserve(size int, tables func() uint64) error {
	n := int64(sectorsOf(size)) * sectorSize
	err := l.files[l.turn].reserve(n)
	l.measure()
	if isFull(err) && l.files[1-l.turn].zeroed >= n && l.free(tables) {
		l.turn = 1 - l.turn // as large as it is
		l.files[l.turn].at = 0
		return nil
	}
	if err != nil {
		err = fmt.Errorf("the commit log in %s: %w", l.d.dir, err)
	}
	return err
}

// append makes a commit durable, unless the disk fails.
func (l *commitLog) append(batch []byte) {
	l.last++
	l.buf = appendCommit(l.buf[:0], l.last, batch)
	l.files[l.turn].append(l.buf, l.last)
	l.written.Add(int64(len(l.buf)))
	l.measure()
	if cap(l.buf) > maxKeptBuffer {
		l.buf = nil
	}
}

// maxKeptBuffer is the most that stays allocated between commits, in bytes.
const maxKeptBuffer = 1 << 20

// takeTurns begins the other file, if it is time. tables gives the position of the tables.
func (l *commitLog) takeTurns(tables func() uint64) {
	if l.files[l.turn].at >= l.limit && l.free(tables) {
		l.swap()
	}
}

// overdue tells whether a file has grown far past its size because the tables lag behind.
func (l *commitLog) overdue() bool {
	return l.files[l.turn].at >= maxGrown*l.limit && l.held < l.files[1-l.turn].last
}

// free tells whether the tables hold all that is in the file whose turn it is not.
func (l *commitLog) free(tables func() uint64) bool {
	other := l.files[1-l.turn]
	if other.last > l.held {
		l.held = max(l.held, tables())
	}
	return other.last <= l.held
}

func (l *commitLog) swap() {
	l.turn = 1 - l.turn
	if l.files[l.turn].zeroed > max(maxGrown*l.limit, l.files[l.turn].piece) {
		l.renew(l.turn, nil)
	}
	l.files[l.turn].at = 0
}

// shrink makes the files small again, when the tables hold everything. The last commit stays: who opens the log looks for it.
func (l *commitLog) shrink() {
	if l.size.Load() <= 4*l.files[0].piece || len(l.buf) == 0 || int64(len(l.buf)) > l.files[0].piece {
		return
	}
	home := l.turn
	if l.files[home].last != l.last {
		home = 1 - home // it has just become the other one's turn
	}
	l.renew(home, l.buf) // at once in place of the one that has it: it must not be in both
	l.renew(1-home, nil)
}

// renew puts a new file, which begins with some sectors, in the place of one that is not needed, if the disk lets it.
func (l *commitLog) renew(turn int, sectors []byte) {
	path, making := l.d.PathJoin(l.d.dir, logNames[turn]), l.d.PathJoin(l.d.dir, newLog)
	f, err := openLogFile(l.d, making, true)
	if err != nil {
		return
	}
	if err = f.fill(f.piece); err == nil {
		_, err = f.f.WriteAt(sectors, 0)
	}
	if err == nil {
		err = f.f.SyncData()
	}
	if err == nil {
		err = l.d.FS.Rename(making, path)
	}
	if err != nil {
		_, _ = f.f.Close(), l.d.FS.Remove(making) // it is of no use
		return
	}
	l.d.mustSync(l.d.syncDir) // else a crash may bring the old one back, without the commits in the new one
	_ = l.files[turn].f.Close()
	l.files[turn] = f
	l.measure()
}

func (l *commitLog) measure() { l.size.Store(l.files[0].zeroed + l.files[1].zeroed) }

func (l *commitLog) close() (err error) {
	for _, f := range l.files {
		if f != nil {
			err = errors.Join(err, f.f.Close())
		}
	}
	return err
}
