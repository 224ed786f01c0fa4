package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"salliefs/crypto"
)

const (
	maxConnections = 64
	helloTimeout   = 10 * time.Second
	replyTimeout   = time.Minute // for a client that does not read its answers
)

// ServerOptions says what a Server serves.
type ServerOptions struct {
	Target Target         // must be safe for concurrent use, as Local is
	Store  crypto.StoreID // told to clients, who look for a certain store
	Dir    string         // the store's directory, likewise
	Mount  string         // the mount point, likewise
	// Unmount carries out the request of that name. It returns when everything is durable.
	Unmount func(ctx context.Context, lazy bool) error
	Log     *slog.Logger
}

// Server serves a Target to the processes of the same user, and to root.
type Server struct {
	o        ServerOptions
	listener *net.UnixListener
	uid      uint32 // whom it serves

	ctx    context.Context // of all requests but unmount
	cancel context.CancelFunc
	ops    sync.WaitGroup // requests on the Target
	all    sync.WaitGroup // connections, and the accepting

	mu       sync.Mutex
	draining bool
	conns    map[*net.UnixConn]struct{}
}

// NewServer returns a server on l, which it closes in the end. Serve starts it.
func NewServer(l *net.UnixListener, o ServerOptions) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, listener: l, uid: uint32(os.Geteuid()), conns: map[*net.UnixConn]struct{}{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Serve takes connections, in the background, until Close.
func (s *Server) Serve() {
	s.all.Go(func() {
		for {
			c, err := s.listener.AcceptUnix()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				s.o.Log.Error("control socket", "err", err)
				time.Sleep(100 * time.Millisecond) // out of file descriptors, for instance
				continue
			}
			if !s.admit(c) {
				_ = c.Close()
				continue
			}
			s.all.Go(func() {
				defer s.dismiss(c)
				if err := s.converse(c); err != nil {
					s.o.Log.Warn("control connection", "err", err)
				}
			})
		}
	})
}

func (s *Server) admit(c *net.UnixConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) >= maxConnections {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) dismiss(c *net.UnixConn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	_ = c.Close()
}

// Drain refuses further requests on the Target, cancels those that run and waits for them. After that the Target can be
// closed. Requests to unmount are still being answered.
func (s *Server) Drain() {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	s.cancel()
	s.ops.Wait()
}

// Close drains the server, gives the answers that are due, and removes the socket.
func (s *Server) Close() error {
	s.Drain()
	err := s.listener.Close() // removes the socket, too
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	s.mu.Lock()
	for c := range s.conns {
		_ = c.CloseRead() // ends the connections that wait for a request; the others send their answer first
	}
	s.mu.Unlock()
	s.all.Wait()
	return err
}

// converse serves one connection until its end. The error is for the log.
func (s *Server) converse(c *net.UnixConn) error {
	l := newLines(deadlineWriter{c})
	peer, err := peerUID(c)
	if err != nil {
		return err
	}
	if !mayServe(s.uid, peer) {
		_ = l.send(message{Error: wireError(ErrPeer)})
		return fmt.Errorf("user %d was refused", peer)
	}
	if err := s.greet(c, l); err != nil {
		return err
	}
	in := receiveAll(l)
	defer in.stop()
	for m := range in.messages {
		if m.Op == "" {
			continue // the rest of a value that was refused
		}
		if err := s.answer(l, in, m); err != nil {
			return fmt.Errorf("request %q: %w", m.Op, err)
		}
	}
	if in.err != nil {
		_ = l.send(message{Error: wireError(in.err)})
	}
	return in.err
}

func (s *Server) greet(c *net.UnixConn, l *lines) error {
	if err := c.SetReadDeadline(time.Now().Add(helloTimeout)); err != nil {
		return err
	}
	m, err := l.receive()
	if errors.Is(err, io.EOF) {
		return nil // someone looked whether the socket is alive
	}
	if err == nil && (m.Hello == nil || m.Hello.Protocol != protocolName) {
		err = ErrBadMessage
	}
	if err == nil && m.Hello.Version != protocolVersion {
		err = ErrVersion
	}
	if err != nil {
		_ = l.send(message{Error: wireError(err)})
		return err
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	return l.send(message{Hello: &hello{
		Protocol: protocolName, Version: protocolVersion,
		Store: s.o.Store.String(), Dir: Name(s.o.Dir), PID: os.Getpid(), Mount: Name(s.o.Mount),
	}})
}

// answer carries out one request. The error is about the connection; that of the request goes to the client.
func (s *Server) answer(l *lines, in *inbox, m message) error {
	result, err := s.perform(&call{lines: l, in: in, id: m.ID, args: m.Args}, m.Op)
	if err != nil {
		return l.send(message{ID: m.ID, Error: wireError(err)})
	}
	raw, err := encode(result)
	if err != nil {
		return err
	}
	return l.send(message{ID: m.ID, Result: raw})
}

// perform finds the operation and runs it, cancelled when the connection ends or the server drains.
func (s *Server) perform(c *call, op string) (any, error) {
	if op == opUnmount {
		return s.unmount(c)
	}
	run, ok := operations[op]
	if !ok {
		return nil, fmt.Errorf("%w: an unknown operation", ErrBadMessage)
	}
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		return nil, ErrUnmounting
	}
	s.ops.Add(1)
	s.mu.Unlock()
	defer s.ops.Done()

	ctx, cancel := context.WithCancel(c.in.ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	result, err := run(ctx, s.o.Target, c)
	if err != nil && s.ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = ErrUnmounting
	}
	return result, err
}

func (s *Server) unmount(c *call) (any, error) {
	var args unmountArgs
	if err := decodeArgs(c.args, &args); err != nil {
		return nil, err
	}
	if s.o.Unmount == nil {
		return nil, fmt.Errorf("unmount: %w", ErrBadMessage)
	}
	return nil, s.o.Unmount(c.in.ctx, args.Lazy)
}

// deadlineWriter keeps a client that does not read from holding a request for ever.
type deadlineWriter struct{ *net.UnixConn }

func (w deadlineWriter) Write(p []byte) (int, error) {
	if err := w.SetWriteDeadline(time.Now().Add(replyTimeout)); err != nil {
		return 0, err
	}
	return w.UnixConn.Write(p)
}

// inbox receives the messages of a connection in the background, so that its end cancels what runs.
type inbox struct {
	messages chan message
	ctx      context.Context // ends with the connection
	cancel   context.CancelFunc
	err      error // why it ended, once messages is closed; nil for an orderly end
}

func receiveAll(l *lines) *inbox {
	in := &inbox{messages: make(chan message)}
	in.ctx, in.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(in.messages)
		defer in.cancel()
		for {
			m, err := l.receive()
			if errors.Is(err, ErrBadMessage) || errors.Is(err, ErrTooLong) {
				in.err = err
			}
			if err != nil {
				return
			}
			select {
			case in.messages <- m:
			case <-in.ctx.Done():
				return
			}
		}
	}()
	return in
}

func (in *inbox) stop() { in.cancel() }
