package fuse

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// loop reads the requests of a mount and has them answered. See doc.go, "The loop".
type loop struct {
	fd     int
	server *gofuse.ProtocolServer
	log    *slog.Logger
	// replied is called by the worker that has sent a reply, before it looks for more to do.
	replied func()
	done    sync.WaitGroup // workers and the watcher

	mu    sync.Mutex
	ready []*worker // parked, the one that was busy last at the end
	ended bool
	stop  chan struct{} // closed with ended

	leader   atomic.Pointer[worker] // who reads
	sleeping atomic.Bool            // the watcher waits for wake
	wake     chan struct{}
}

// worker answers requests, one at a time. It reads them itself while it leads.
type worker struct {
	loop    *loop
	in, out []byte
	lead    chan struct{} // sent to when it is to lead, closed when it is to go
	state   atomic.Int32
	count   atomic.Uint64 // requests read
	crowd   crowd
}

// States of a worker.
const (
	waiting   = iota // parked, or reading as the leader
	answering        // of a leader: nobody reads, and somebody must if it takes long
	relieved         // it answers, and is not the leader any more
)

const (
	// watchEvery is how long a request may keep others waiting before another worker reads: more than nearly all take,
	// and little to a person.
	watchEvery = time.Millisecond
	// watchIdle is after how many quiet rounds the watcher stops watching.
	watchIdle = 50
	// keepReady is how many workers stay when there is nothing to do.
	keepReady = 4
	// maxReady is how many stay while there is: about as many as the kernel's write-back keeps busy, because the buffers of
	// a new one cost more than many an answer.
	maxReady = 16
	// largeRequest is a payload that takes longer to answer than it takes to wake another thread, in bytes.
	largeRequest = 128 << 10
	// headerRoom is what a request or a reply has beside its payload, at the most, in bytes.
	headerRoom = 4 << 10
)

func newLoop(fd int, server *gofuse.ProtocolServer, replied func(), log *slog.Logger) *loop {
	return &loop{fd: fd, server: server, replied: replied, log: log, stop: make(chan struct{}), wake: make(chan struct{}, 1)}
}

// run answers requests until the kernel is done with the mount and all is answered.
func (l *loop) run() {
	l.promote()
	l.done.Add(1)
	go l.watch()
	l.done.Wait()
}

// promote gives somebody the lead: who was busy last, or somebody new.
func (l *loop) promote() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	if n := len(l.ready); n > 0 {
		w := l.ready[n-1]
		l.ready = l.ready[:n-1]
		l.leader.Store(w)
		w.lead <- struct{}{}
		return
	}
	w := &worker{loop: l, in: make([]byte, maxRequest+headerRoom), out: make([]byte, maxRequest+headerRoom), lead: make(chan struct{}, 1)}
	l.leader.Store(w)
	w.lead <- struct{}{}
	l.done.Add(1)
	go w.run()
}

// end lets everybody go.
func (l *loop) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.ended = true
		close(l.stop)
	}
}

// run is the life of a worker.
func (w *worker) run() {
	defer w.loop.done.Done()
	for {
		select {
		case _, ok := <-w.lead:
			if !ok {
				return
			}
		case <-w.loop.stop:
			return
		}
		if !w.leads() || !w.park() {
			return
		}
	}
}

// park makes a worker ready to lead again. It reports false when there are enough of them.
func (w *worker) park() bool {
	l := w.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended || len(l.ready) >= maxReady {
		return false
	}
	w.state.Store(waiting)
	l.ready = append(l.ready, w)
	return true
}

// trim lets the workers go that are too many for when there is nothing to do.
func (l *loop) trim() {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := max(0, len(l.ready)-keepReady) // those that were busy last stay
	for _, w := range l.ready[:n] {
		close(w.lead)
	}
	l.ready = slices.Delete(l.ready, 0, n)
}

// leads reads and answers until somebody else leads, or, false, the mount has ended.
func (w *worker) leads() bool {
	l := w.loop
	w.state.Store(waiting)
	for {
		n, err := unix.Read(l.fd, w.in)
		switch err {
		case nil:
		case unix.EINTR, unix.EAGAIN, unix.ENOENT: // ENOENT: the request was interrupted before it was read
			continue
		default:
			if err != unix.ENODEV { // which is how an unmount looks
				l.log.Error("requests can not be read any more", slog.Any("err", err))
			}
			l.end()
			return false
		}
		if n < int(unsafe.Sizeof(gofuse.InHeader{})) {
			l.log.Error("a request is too short", slog.Int("bytes", n))
			continue
		}
		w.count.Add(1)
		w.state.Store(answering)
		if l.sleeping.Load() && l.sleeping.CompareAndSwap(true, false) {
			l.wake <- struct{}{}
		}
		h := (*gofuse.InHeader)(unsafe.Pointer(&w.in[0]))
		if (w.crowd.note(h.Pid) || mayBlock(h.Opcode) || isLarge(h, w.in[:n])) && w.relieve() {
			l.promote()
		}
		w.answer(n)
		if !w.state.CompareAndSwap(answering, waiting) {
			return true // relieved meanwhile
		}
	}
}

// relieve takes the lead from a worker that is answering. It reports false when somebody was faster.
func (w *worker) relieve() bool { return w.state.CompareAndSwap(answering, relieved) }

// answer has a request of n bytes answered, and sends the reply.
func (w *worker) answer(n int) {
	l := w.loop
	size, status := l.server.HandleRequest([][]byte{w.in[:n]}, [][]byte{w.out})
	if !status.Ok() {
		h := (*gofuse.InHeader)(unsafe.Pointer(&w.in[0]))
		l.log.Error("a request can not be parsed", slog.String("request", requestName(h.Opcode)), slog.String("status", status.String()))
		size = errorReply(w.out, h.Unique, status)
	}
	for size > 0 {
		_, err := unix.Write(l.fd, w.out[:size])
		switch err {
		case unix.EINTR:
			continue
		case nil, unix.ENOENT, unix.ENODEV: // answered; or nobody waits for it any more; or the mount has ended
		default:
			l.log.Warn("a reply was not taken", slog.Any("err", err))
		}
		l.replied()
		return
	}
}

// errorReply makes the reply that is nothing but an error.
func errorReply(out []byte, unique uint64, status gofuse.Status) int {
	h := (*gofuse.OutHeader)(unsafe.Pointer(&out[0]))
	*h = gofuse.OutHeader{Length: uint32(unsafe.Sizeof(*h)), Status: -int32(status), Unique: unique}
	return int(h.Length)
}

// mayBlock tells whether a request waits by its nature: for the disk, or for other requests.
func mayBlock(opcode uint32) bool {
	switch opcode {
	case opFallocate, opCopyFileRange, opLseek, opRename, opRename2:
		return true
	}
	return false
}

// isLarge tells whether a request carries much, one way or the other.
func isLarge(h *gofuse.InHeader, in []byte) bool {
	if h.Opcode == opRead && len(in) >= int(unsafe.Sizeof(gofuse.ReadIn{})) {
		return (*gofuse.ReadIn)(unsafe.Pointer(&in[0])).Size >= largeRequest
	}
	return len(in) >= largeRequest
}

// crowd tells whether several programs ask by turns, so that others are likely to wait while one is answered.
type crowd struct {
	pid      uint32 // who asked last
	requests int    // in this round
	others   int    // of them, those that came from somebody else than the one before
	many     bool   // what the last round says
}

// crowdRound is how many requests a round has.
const crowdRound = 64

func (c *crowd) note(pid uint32) (many bool) {
	if pid != 0 && pid != c.pid { // 0: the kernel's own, such as write-back
		c.pid = pid
		c.others++
	}
	if c.requests++; c.requests == crowdRound {
		c.many = c.others > crowdRound/8
		c.requests, c.others = 0, 0
	}
	return c.many
}

// watch sees to it that one slow request does not keep others waiting. It sleeps while there are none.
func (l *loop) watch() {
	defer l.done.Done()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var last *worker
	var count uint64
	for quiet := 0; ; {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		w := l.leader.Load()
		n := w.count.Load()
		switch {
		case w != last || n != count:
			last, count, quiet = w, n, 0
		case w.state.Load() == answering:
			if w.relieve() {
				l.promote()
			}
			quiet = 0
		default:
			quiet++
		}
		if quiet < watchIdle {
			continue
		}
		tick.Stop()
		l.trim()
		l.sleeping.Store(true)
		if l.leader.Load().count.Load() != count && l.sleeping.CompareAndSwap(true, false) {
			// A request came before it could see that nobody watches.
		} else {
			select {
			case <-l.wake:
			case <-l.stop:
				return
			}
		}
		quiet = 0
		tick.Reset(watchEvery)
	}
}
