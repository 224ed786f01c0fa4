package record

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// disk is the filesystem that Pebble gets. Pebble can not go on after an error from its MANIFEST or the sync of
// a directory: it ends the process, or panics while it holds locks. Here the process lives on to serve reads, so such an
// error does not reach Pebble. The first one closes the disk: from then on nothing is changed on it any more, calls that
// Pebble can not see fail do nothing and succeed, and Apply, which looks at the failure after each commit, reports it.
// What Pebble believes to have written then is only in its memory, which is where it reads it from.
//
// A full disk is no failure as long as nothing is lost. The log, or a MANIFEST, that can not grow waits for space. A table
// that can not be written is given up, as Pebble does by itself, and tried again after a while.
//
// Pebble takes it that of two changes of a directory the later one does not come to the disk without the earlier one. Journals
// keep to that, but nothing says that all filesystems do. A marker file says which MANIFEST counts: disk syncs the directory
// before one is made, so that what it names is there, and before one is removed, so that its successor is.
//
// While Pebble is being opened it may meet an error in a goroutine that nobody hears of, and one that it hears of makes it
// tear down what its goroutines still use, which ends the process. So the goroutine that meets an error then stays where it
// is for ever, and Open returns the error. See opening.go.
type disk struct {
	vfs.FS
	log    *slog.Logger
	report func(error) // of the first failure; may be nil
	dir    string      // of the engine

	running atomic.Bool
	flushed atomic.Bool   // tables were written since somebody looked
	waiting atomic.Int32  // how many wait for space
	unmade  atomic.Bool   // a compaction failed on damage, and was not made to wait since
	closed  chan struct{} // closed by the first failure
	closing chan struct{} // closed when the engine is about to be closed
	quit    chan struct{} // closed when nobody wants to wait for space any more
	once    struct{ closing, quit sync.Once }

	mu     sync.Mutex
	err    error         // the first failure
	warned time.Time     // when somebody was last told of a full disk
	fullAt time.Time     // when a table met a full disk; zero when one was written since
	pause  time.Duration // how long no table is begun then

	damagePause time.Duration // how long a compaction was last made to wait after it had failed
}

// The pause after a table met a full disk, which grows each time that it happens again.
const (
	minTablePause = 50 * time.Millisecond
	maxTablePause = 2 * time.Second
)

// The pause before a compaction that failed on damage is tried again, which grows until a table is written.
const (
	minDamagePause = 50 * time.Millisecond
	maxDamagePause = time.Second
)

// warnPause is the least time between two warnings of a full disk.
const warnPause = 30 * time.Second

// maxTable is more than a table takes, in bytes.
const maxTable = 64 << 20

// spacePause is how often what waits for space is tried again.
const spacePause = 100 * time.Millisecond

func newDisk(fs vfs.FS, dir string, log *slog.Logger, report func(error)) *disk {
	return &disk{
		FS: fs, dir: dir, log: log, report: report,
		closed: make(chan struct{}), closing: make(chan struct{}), quit: make(chan struct{}),
	}
}

func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// fail closes the disk for all changes.
func (d *disk) fail(err error) {
	d.mu.Lock()
	first := d.closeLocked(err)
	d.mu.Unlock()
	if first && d.report != nil {
		d.report(err)
	}
}

// closeLocked notes what closes the disk. It reports false when something has before.
func (d *disk) closeLocked(err error) (first bool) {
	if d.err != nil {
		return false
	}
	d.err = err
	close(d.closed)
	return true
}

// failure is what closed the disk, or nil.
func (d *disk) failure() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// dead tells whether the disk has failed. During opening it does not return then.
func (d *disk) dead() bool {
	select {
	case <-d.closed:
		if !d.running.Load() {
			select {}
		}
		return true
	default:
		return false
	}
}

// must runs a change that Pebble can not see fail.
func (d *disk) must(change func() error) {
	for !d.dead() {
		err := change()
		if err == nil {
			return
		}
		if !isFull(err) || !d.waitForSpace(err) {
			d.fail(err)
		}
	}
}

// mustSync is must for syncs: one that has failed is never tried again.
func (d *disk) mustSync(sync func() error) {
	if d.dead() {
		return
	}
	if err := sync(); err != nil {
		d.fail(err)
		d.dead()
	}
}

// waitForSpace lets some time pass. It reports false when nobody wants to wait.
func (d *disk) waitForSpace(err error) bool {
	if !d.running.Load() {
		return false
	}
	d.warn("the record engine waits for disk space", err)
	d.waiting.Add(1)
	defer d.waiting.Add(-1)
	t := time.NewTimer(spacePause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-d.closed:
		return true // the caller finds out
	case <-d.quit:
		return false
	}
}

// warn tells of a full disk, not too often.
func (d *disk) warn(msg string, err error) {
	d.mu.Lock()
	again := time.Since(d.warned) < warnPause
	if !again {
		d.warned = time.Now()
	}
	d.mu.Unlock()
	if d.log != nil && !again {
		d.log.Warn(msg, "err", err)
	}
}

// noteDamage takes notice of damage that a reader or a compaction met. A compaction that has failed is tried again at once, and
// finding out what is damaged takes Pebble long: so it is made to wait, and perhaps a reader in its place.
func (d *disk) noteDamage() {
	if !d.unmade.Swap(false) {
		return
	}
	d.mu.Lock()
	d.damagePause = min(max(2*d.damagePause, minDamagePause), maxDamagePause)
	pause := d.damagePause
	d.mu.Unlock()
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-d.closing:
	}
}

// tableTurn waits until a table may be begun.
func (d *disk) tableTurn() error {
	d.mu.Lock()
	until := d.fullAt.Add(d.pause)
	d.mu.Unlock()
	for time.Now().Before(until) && !d.canHoldTable() {
		t := time.NewTimer(minTablePause)
		select {
		case <-t.C:
			continue
		case <-d.closed:
		case <-d.closing:
		}
		t.Stop()
		break
	}
	if !d.dead() {
		return nil
	}
	// Pebble would try again at once.
	<-d.closing
	return d.failure()
}

// canHoldTable tells whether the disk has room for the largest table, as far as it is known.
func (d *disk) canHoldTable() bool {
	room, known := d.tableRoom()
	return room || !known && !d.tablesFull()
}

// tableRoom tells whether the disk has room for the largest table. Some disks do not tell.
func (d *disk) tableRoom() (room, known bool) {
	u, err := d.FS.GetDiskUsage(d.dir)
	known = err == nil && u.TotalBytes > 0
	return known && u.AvailBytes >= maxTable, known
}

// hasRoom tells whether n bytes are free, as far as can be told.
func (d *disk) hasRoom(n int64) bool {
	u, err := d.FS.GetDiskUsage(d.dir)
	return err != nil || u.TotalBytes == 0 || int64(u.AvailBytes) >= n
}

// noteTable takes notice of how a change of a table went.
func (d *disk) noteTable(err error) error {
	switch d.opening(err); {
	case err == nil:
	case isFull(err):
		d.mu.Lock()
		d.fullAt, d.pause = time.Now(), min(max(2*d.pause, minTablePause), maxTablePause)
		d.mu.Unlock()
	case d.running.Load():
		d.fail(err)
	}
	return err
}

// tableWritten ends all pauses.
func (d *disk) tableWritten() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fullAt, d.pause, d.damagePause = time.Time{}, 0, 0
}

// tablesFull tells whether the last table was given up because the disk was full.
func (d *disk) tablesFull() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.fullAt.IsZero()
}

// full tells whether something waits for space, or had none.
func (d *disk) full() bool { return d.waiting.Load() > 0 || d.tablesFull() }

// giveUp makes what waits for space fail.
func (d *disk) giveUp() { d.once.quit.Do(func() { close(d.quit) }) }

func (d *disk) givenUp() bool {
	select {
	case <-d.quit:
		return true
	default:
		return false
	}
}

func (d *disk) beginClose() {
	d.giveUp()
	d.once.closing.Do(func() { close(d.closing) })
}

func (d *disk) isTable(name string) bool { return strings.HasSuffix(name, ".sst") }
func (d *disk) isMarker(name string) bool {
	return strings.HasPrefix(d.PathBase(name), "marker.")
}

// isPassing is true for files that are only written during opening, where errors are dealt with.
func (d *disk) isPassing(name string) bool {
	return strings.HasSuffix(name, ".dbtmp") || strings.HasPrefix(d.PathBase(name), "OPTIONS-")
}

func (d *disk) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if d.isTable(name) || d.isPassing(name) {
		if err := d.tableTurn(); err != nil {
			return nil, err
		}
		f, err := d.FS.Create(name, category)
		if d.noteTable(err) != nil {
			return nil, err
		}
		return &tableFile{File: f, d: d}, nil
	}
	if d.isMarker(name) {
		d.mustSync(d.syncDir)
	}
	return d.mustOpen(func() (vfs.File, error) { return d.FS.Create(name, category) }), nil
}

// syncDir makes durable what files there are.
func (d *disk) syncDir() error {
	f, err := d.FS.OpenDir(d.dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d *disk) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return d.mustOpen(func() (vfs.File, error) { return d.FS.ReuseForWrite(from, to, category) }), nil
}

// mustOpen opens a file that Pebble can not do without. On a closed disk it is one that takes everything and keeps
// nothing.
func (d *disk) mustOpen(open func() (vfs.File, error)) *mustFile {
	var f vfs.File = nullFile{}
	d.must(func() error {
		opened, err := open()
		if err == nil {
			f = opened
		}
		return err
	})
	return &mustFile{File: f, d: d}
}

func (d *disk) OpenDir(name string) (vfs.File, error) {
	f, err := d.FS.OpenDir(name)
	if d.opening(err) != nil {
		return nil, err
	}
	return &mustFile{File: f, d: d}, nil
}

func (d *disk) Remove(name string) error {
	if d.isMarker(name) {
		d.mustSync(d.syncDir)
	}
	if d.dead() {
		return nil
	}
	return d.opening(d.FS.Remove(name))
}

func (d *disk) RemoveAll(name string) error {
	if d.dead() {
		return nil
	}
	return d.opening(d.FS.RemoveAll(name))
}

func (d *disk) Rename(from, to string) error {
	if d.dead() {
		return nil
	}
	return d.opening(d.FS.Rename(from, to))
}

func (d *disk) Link(from, to string) error {
	if d.dead() {
		return nil
	}
	return d.opening(d.FS.Link(from, to))
}

// Lock does nothing: the store's own lock keeps others out, also where no lock file can be made.
func (d *disk) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

func (d *disk) Unwrap() vfs.FS { return d.FS }
