package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// ErrNoDaemon says that nobody listens on a socket.
var ErrNoDaemon = errors.New("nobody listens on the control socket")

// Client is a Target in another process.
type Client struct {
	conn  *net.UnixConn
	lines *lines
	hello hello

	mu     sync.Mutex // one request at a time
	nextID uint64
	lost   bool // the connection is of no more use
}

// Dial connects to the server on a socket. ErrNoDaemon: there is none.
func Dial(ctx context.Context, socket string) (*Client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("%s: %w", socket, ErrNoDaemon)
	}
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	c := &Client{conn: conn.(*net.UnixConn)}
	c.lines = newLines(c.conn)
	if err := c.greet(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

func (c *Client) greet() error {
	peer, err := peerUID(c.conn)
	if err != nil {
		return err
	}
	if !mayTrust(uint32(os.Geteuid()), peer) {
		return fmt.Errorf("the control socket belongs to user %d: %w", peer, ErrPeer)
	}
	if err := c.conn.SetDeadline(time.Now().Add(helloTimeout)); err != nil {
		return err
	}
	// A server that refuses the user closes at once: what it said counts more than a failed send.
	sendErr := c.lines.send(message{Hello: &hello{Protocol: protocolName, Version: protocolVersion}})
	m, err := c.lines.receive()
	switch {
	case err == nil && m.Error != nil:
		return m.Error
	case sendErr != nil:
		return fmt.Errorf("control socket: %w", sendErr)
	case err != nil:
		return fmt.Errorf("control socket: %w", err)
	case m.Hello == nil || m.Hello.Protocol != protocolName:
		return fmt.Errorf("control socket: %w", ErrBadMessage)
	case m.Hello.Version != protocolVersion:
		return ErrVersion
	}
	c.hello = *m.Hello
	return c.conn.SetDeadline(time.Time{})
}

// Store is the ID of the store at the other end, as 32 hex digits.
func (c *Client) Store() string { return c.hello.Store }

// PID is the process at the other end.
func (c *Client) PID() int { return c.hello.PID }

// Dir is the directory of the store at the other end: copies of a store have the same ID.
func (c *Client) Dir() string { return string(c.hello.Dir) }

// Mount is where it has the store mounted.
func (c *Client) Mount() string { return string(c.hello.Mount) }

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// request is one request and what to do with the answers to it.
type request struct {
	op       string
	args     any
	value    io.Reader                   // follows the request
	item     func(json.RawMessage) error // nil: not expected
	data     io.Writer
	progress func(Progress)
	result   any // decoded into; nil: not wanted
}

// do sends a request and handles the answers until the last one. When ctx ends it drops the connection, which cancels
// the request at the other end.
func (c *Client) do(ctx context.Context, r request) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost {
		return ErrLost
	}
	stop := context.AfterFunc(ctx, func() { _ = c.conn.Close() })
	defer stop()
	answered, err := c.exchange(r)
	if !answered {
		c.lost = true // in the middle of something
		_ = c.conn.Close()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return err
}

// exchange says whether the last answer came, so that the connection is ready for another request.
func (c *Client) exchange(r request) (answered bool, err error) {
	args, err := encode(r.args)
	if err != nil {
		return false, err
	}
	c.nextID++
	id := c.nextID
	err = c.lines.send(message{ID: id, Op: r.op, Args: args})
	clear(args)
	if err != nil && !brokenPipe(err) {
		return false, err
	}
	up := &upload{stop: make(chan struct{}), done: make(chan error, 1)}
	if r.value != nil && err == nil {
		go func() { up.done <- c.upload(id, r.value, up) }()
	} else {
		up.done <- nil
	}
	err = c.answers(id, r)
	close(up.stop)
	var last *Error
	answered = err == nil || errors.As(err, &last)
	if err != nil && !up.aborted.Load() {
		return answered, err // without waiting for a reader that may never come back
	}
	if upErr := <-up.done; upErr != nil && !brokenPipe(upErr) {
		return answered, upErr // why the value ended before its end; the server only knows that it did
	}
	return answered, err
}

func brokenPipe(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// answers handles the answers to a request until the last one, and returns what that says.
func (c *Client) answers(id uint64, r request) error {
	for {
		m, err := c.lines.receive()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || brokenPipe(err) {
			return ErrLost
		}
		if err != nil {
			return err
		}
		if m.ID != id && m.Error == nil {
			return ErrBadMessage
		}
		switch {
		case m.Error != nil:
			return m.Error
		case m.Result != nil:
			if r.result == nil {
				return nil
			}
			return decodeArgs(m.Result, r.result)
		case m.Progress != nil && r.progress != nil:
			r.progress(*m.Progress)
		case m.Item != nil && r.item != nil:
			err = r.item(m.Item)
		case m.Data != nil && r.data != nil:
			_, err = r.data.Write(m.Data)
		}
		if err != nil {
			return err
		}
	}
}

// upload is the sending of a value beside the waiting for an answer, which can come early.
type upload struct {
	stop    chan struct{} // closed when there is an answer
	done    chan error
	aborted atomic.Bool // set before the server hears of it
}

// upload sends a value. It returns the error of reading it, after telling the server that there is no more.
func (c *Client) upload(id uint64, value io.Reader, up *upload) error {
	buf := make([]byte, chunkSize)
	for {
		n, readErr := io.ReadFull(value, buf)
		select {
		case <-up.stop:
			return nil
		default:
		}
		if n > 0 {
			if err := c.lines.send(message{ID: id, Data: buf[:n]}); err != nil {
				return err
			}
		}
		switch {
		case readErr == nil:
		case errors.Is(readErr, io.EOF) || errors.Is(readErr, io.ErrUnexpectedEOF):
			return c.lines.send(message{ID: id, End: true})
		default:
			up.aborted.Store(true)
			if err := c.lines.send(message{ID: id, Abort: true}); err != nil && !brokenPipe(err) {
				return errors.Join(readErr, err)
			}
			return readErr
		}
	}
}
