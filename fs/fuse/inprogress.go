package fuse

import (
	"sync/atomic"
	"time"
)

// inProgress knows how many WRITE requests there were, and how many are under way.
type inProgress struct{ begun, active atomic.Int64 }

func (p *inProgress) begin() {
	p.begun.Add(1)
	p.active.Add(1)
}

func (p *inProgress) end() { p.active.Add(-1) }

const (
	calm        = time.Millisecond // with no WRITE in it counts as one round
	calmRounds  = 3
	maxCalmWait = 2 * time.Second // where others never stop to write
)

// settle waits until the kernel has no more WRITEs to send. Nothing that a FUSE server
// can see says so for certain: the kernel sends a number of them at once (maxBackground)
// and the next when it has got a reply. So it is rest for some rounds, each begun by a
// request of our own that comes after the WRITEs that are queued.
func (p *inProgress) settle(barrier func() error) error {
	for rest, end := 0, time.Now().Add(maxCalmWait); rest < calmRounds && time.Now().Before(end); {
		before := p.begun.Load()
		if err := barrier(); err != nil {
			return err
		}
		time.Sleep(calm)
		if p.active.Load() == 0 && p.begun.Load() == before {
			rest++
		} else {
			rest = 0
		}
	}
	return nil
}
