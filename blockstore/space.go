package blockstore

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// The reserve is disk space that only operations which free space may use, so that deleting always works: a twentieth
// of the disk within these bounds, in bytes, but on a small disk no more than a quarter. The lower bound is what the
// record engine needs to write its tables and begin another log.
const (
	minReserve = 32 << 20
	maxReserve = 256 << 20
)

func reserveOf(total int64) int64 {
	return min(max(total/20, min(minReserve, total/4)), maxReserve)
}

// roomMargin is how much more than a group's blocks has to be free before they are written, in bytes: for the records,
// which follow.
const roomMargin = 1 << 20

// spaceGauge knows about how much disk space is free.
type spaceGauge struct {
	mu      sync.Mutex
	unknown bool // the filesystem can not tell: as if without end
	total   int64
	free    int64
	asked   time.Time
}

// gaugeAge is how old an answer about free space may be. What commits write meanwhile is counted, and where there is not
// much left, each of them asks again.
const gaugeAge = time.Second

// spend notes that n bytes were written.
func (g *spaceGauge) spend(n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.free -= n; g.free < 4*reserveOf(g.total) {
		g.asked = time.Time{}
	}
}

func (g *spaceGauge) update(s *Store) {
	u, err := s.fs.GetDiskUsage(s.dir)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = time.Now()
	if g.unknown = err != nil || u.TotalBytes == 0; !g.unknown {
		g.total, g.free = int64(u.TotalBytes), int64(u.AvailBytes)
	}
}

// DiskFree tells the size of the disk that the store is on, what is free, and what of that is kept for deleting, in
// bytes. It fails with vfs.ErrUnsupported where the filesystem can not tell.
func (s *Store) DiskFree() (total, free, reserve int64, err error) {
	s.space.mu.Lock()
	old := time.Since(s.space.asked) > gaugeAge
	s.space.mu.Unlock()
	if old {
		s.space.update(s)
	}
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	if s.space.unknown {
		return 0, 0, 0, vfs.ErrUnsupported
	}
	return s.space.total, s.space.free, reserveOf(s.space.total), nil
}

// spaceLow tells whether the disk is so full that space is worth more than time.
func (s *Store) spaceLow() bool {
	_, free, reserve, err := s.DiskFree()
	return err == nil && free < 2*reserve
}

// segmentLimit is the size at which the current segment ends, in bytes: on a small disk a part of the reserve, so that
// a segment's live blocks can be moved when nothing else is left.
func (s *Store) segmentLimit() int64 {
	_, _, reserve, err := s.DiskFree()
	if err != nil {
		return s.segmentSize
	}
	return min(max(reserve/4, minSegment), s.segmentSize)
}

// minSegment is the smallest segmentLimit, in bytes.
const minSegment = 1 << 20

// roomFor fails with ErrNoSpace when the disk has no room for n bytes of blocks, and tells whether there is little left
// beside them.
func (s *Store) roomFor(n int64) (scarce bool, err error) {
	s.space.update(s)
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	if s.space.unknown {
		return false, nil
	}
	free := s.space.free
	if free < n+roomMargin {
		return true, fmt.Errorf("%w: %d bytes are free, %d are to be written", ErrNoSpace, free, n)
	}
	return free-n < 2*reserveOf(s.space.total), nil
}

// roomFor makes sure that the disk has room for n bytes of blocks and, where space is scarce, for the records that go with
// them, of which recordSize tells the bytes. So a full disk is found before some of the blocks are written, for nothing, into
// the last free space, and once more with each try.
func (c *commit) roomFor(n int64, recordSize func() int) error {
	scarce, err := c.s.roomFor(n)
	if err == nil && scarce {
		err = diskError(c.s.engine.Reserve(c.batch.Len() + c.finishSize() + recordSize()))
	}
	return err
}

// pendingBytes is the memory that uncommitted groups take.
func (s *Store) pendingBytes() int64 {
	v := s.view.Load()
	n := v.open.mem.Load()
	if v.committing != nil {
		n += v.committing.mem.Load()
	}
	return n
}

// Throttle is called before data or names are accepted, with no locks held. It waits while too much is pending, and
// fails with ErrNoSpace when the disk has no room beside the reserve, with ErrFailed, or with ErrReadOnly.
func (s *Store) Throttle() error {
	if err := s.throttle(memoryLimit); err != nil {
		return err
	}
	_, free, reserve, err := s.DiskFree()
	if errors.Is(err, vfs.ErrUnsupported) {
		return nil
	}
	if free-s.pendingBytes() < reserve {
		return fmt.Errorf("%w: %d bytes are free, of which %d are kept for deleting", ErrNoSpace, free, reserve)
	}
	return nil
}

// ThrottleMeta is Throttle for operations that free space: they may use the reserve. While a full disk keeps what is
// pending from being committed, they may also use more memory, since they are what can change that.
func (s *Store) ThrottleMeta() error { return s.throttle(2 * memoryLimit) }

// throttle waits while more than memoryLimit is pending. Where that would be in vain, on a full disk, it lets up to
// fullLimit bytes be.
func (s *Store) throttle(fullLimit int64) error {
	for {
		if err := s.writable(); err != nil {
			return err
		}
		pending := s.pendingBytes()
		if pending <= memoryLimit {
			return nil
		}
		if s.stuck.Load() {
			if pending <= fullLimit {
				return nil
			}
			return fmt.Errorf("%w: %d bytes in memory wait for it", ErrNoSpace, pending)
		}
		v := s.view.Load()
		g := v.committing
		if g == nil {
			g = v.open
			s.kick(s.full)
		}
		select {
		case <-g.done:
		case <-s.failedCh:
		case <-s.closing:
			return ErrClosed
		}
	}
}
