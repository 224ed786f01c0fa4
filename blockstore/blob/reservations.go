package blob

import "sync"

// reservations are the names that this process is writing. They close the gap
// between looking whether a name is taken and taking it.
type reservations struct {
	mu    sync.Mutex
	names map[string]int // number of shared holders, or -1 for an exclusive one
}

// reserve holds name until release, or fails with ErrExist: an exclusive holder
// excludes every other one.
func (r *reservations) reserve(name string, shared bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.names[name]
	if n < 0 || n > 0 && !shared {
		return ErrExist
	}
	if r.names == nil {
		r.names = map[string]int{}
	}
	if shared {
		r.names[name] = n + 1
	} else {
		r.names[name] = -1
	}
	return nil
}

func (r *reservations) release(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.names[name] > 1 {
		r.names[name]--
	} else {
		delete(r.names, name)
	}
}
