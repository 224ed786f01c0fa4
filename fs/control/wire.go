package control

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"sync"
)

const (
	protocolName    = "salliefs-control"
	protocolVersion = 1

	// MaxLine bounds a message, newline included, in bytes.
	MaxLine = 1 << 20

	// chunkSize is how many bytes of a value one message carries: in base64 they stay well under MaxLine.
	chunkSize = 256 << 10
)

// hello opens a connection, in both directions.
type hello struct {
	Protocol string `json:"protocol"`
	Version  int    `json:"version"`
	Store    string `json:"store,omitempty"`
	Dir      Name   `json:"dir,omitempty"`
	PID      int    `json:"pid,omitempty"`
	Mount    Name   `json:"mount,omitempty"`
}

// message is every message of the protocol; doc.go says which fields go together.
type message struct {
	Hello    *hello          `json:"hello,omitempty"`
	ID       uint64          `json:"id,omitempty"`
	Op       string          `json:"op,omitempty"`
	Args     json.RawMessage `json:"args,omitempty"`
	Data     []byte          `json:"data,omitempty"`
	End      bool            `json:"end,omitempty"`
	Abort    bool            `json:"abort,omitempty"`
	Item     json.RawMessage `json:"item,omitempty"`
	Progress *Progress       `json:"progress,omitempty"`
	Result   json.RawMessage `json:"result,omitempty"`
	Error    *Error          `json:"error,omitempty"`
}

// lines sends and receives messages. Sending is safe for concurrent use; receiving is for one goroutine.
type lines struct {
	r  *bufio.Reader
	mu sync.Mutex
	w  io.Writer
}

func newLines(rw io.ReadWriter) *lines {
	return &lines{r: bufio.NewReaderSize(rw, MaxLine), w: rw}
}

func (l *lines) send(m message) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(b)+1 > MaxLine {
		return ErrTooLong
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err = l.w.Write(append(b, '\n'))
	return err
}

// receive returns io.EOF at the end of the connection, ErrTooLong for a line that is too long and ErrBadMessage for one
// that is not a message. The text of the line is in none of them.
func (l *lines) receive() (message, error) {
	line, err := l.r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return message{}, ErrTooLong
	case errors.Is(err, io.EOF) && len(line) > 0:
		return message{}, io.ErrUnexpectedEOF
	case err != nil:
		return message{}, err
	}
	var m message
	err = json.Unmarshal(line, &m)
	clear(line) // a passphrase may have been in it
	if err != nil {
		return message{}, ErrBadMessage
	}
	return m, nil
}

// decodeArgs reads the arguments of a request. The decoder's own error could quote the input, so it is not passed on.
func decodeArgs(raw json.RawMessage, into any) error {
	if len(raw) == 0 {
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return ErrBadMessage
	}
	return nil
}
