package blockstore

import (
	"sync"
	"sync/atomic"
)

// commitLock is held by one commit at a time. A commit can leave something for later: whoever takes the lock next does it first,
// so that nobody who holds it finds a commit half done.
type commitLock struct {
	mu      sync.Mutex
	rest    []func()
	waiting atomic.Bool // rest is not empty
}

func (l *commitLock) Lock() {
	l.mu.Lock()
	l.settle()
}

func (l *commitLock) Unlock() { l.mu.Unlock() }

// later has fn called before anything else is committed. The lock is held.
func (l *commitLock) later(fn func()) {
	l.rest = append(l.rest, fn)
	l.waiting.Store(true)
}

// settle does what was left. The lock is held.
func (l *commitLock) settle() {
	for _, fn := range l.rest {
		fn()
	}
	clear(l.rest)
	l.rest = l.rest[:0]
	l.waiting.Store(false)
}

// trySettle does what was left, unless somebody holds the lock, who has done it.
func (l *commitLock) trySettle() {
	if l.waiting.Load() && l.mu.TryLock() {
		l.settle()
		l.mu.Unlock()
	}
}
