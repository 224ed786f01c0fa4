package blockstore

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// The reserve is disk space that only operations which free space may use, so that deleting always works: a twentieth
// of the disk within these bounds, in bytes.
const (
	minReserve = 8 << 20
	maxReserve = 256 << 20
)

// spaceGauge knows about how much disk space is free.
type spaceGauge struct {
	mu      sync.Mutex
	unknown bool // the filesystem can not tell: as if without end
	total   int64
	free    int64
	asked   time.Time
}

// gaugeAge is how old an answer about free space may be.
const gaugeAge = time.Second

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
	return s.space.total, s.space.free, min(max(s.space.total/20, minReserve), maxReserve), nil
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
	if err := s.ThrottleMeta(); err != nil {
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

// ThrottleMeta is Throttle for operations that free space: they may use the reserve.
func (s *Store) ThrottleMeta() error {
	if err := s.writable(); err != nil {
		return err
	}
	for s.pendingBytes() > memoryLimit {
		v := s.view.Load()
		g := v.committing
		if g == nil {
			g = v.open
			s.kick(s.full)
		}
		<-g.done
		if err := s.Failed(); err != nil {
			return err
		}
	}
	return nil
}
