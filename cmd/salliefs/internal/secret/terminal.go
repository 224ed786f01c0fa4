package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/term"
)

// errDiffer is what two different answers give.
var errDiffer = errors.New("the two entries differ")

// fromTerminal asks on the controlling terminal, whatever the standard streams are.
func (s Source) fromTerminal(ctx context.Context) ([]byte, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: there is no terminal to ask on: use %s", ErrNone, s.Options)
	}
	defer tty.Close()
	if !s.New {
		return ask(ctx, tty, capital(s.What)+": ")
	}
	first, err := ask(ctx, tty, "New "+s.What+": ")
	if err != nil || len(first) == 0 {
		return first, err
	}
	second, err := ask(ctx, tty, "Repeat the "+s.What+": ")
	defer clear(second)
	if err == nil && !bytes.Equal(first, second) {
		err = fmt.Errorf("%w: %w: try again", ErrNone, errDiffer)
	}
	return first, err
}

func capital(s string) string { return string(s[0]-'a'+'A') + s[1:] }

// ask shows a prompt and reads a line without showing it. When ctx ends it leaves the terminal as it was.
func ask(ctx context.Context, tty *os.File, prompt string) ([]byte, error) {
	fd := int(tty.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	fmt.Fprint(tty, prompt)
	type answer struct {
		line []byte
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		answers <- answer{line, err}
	}()
	select {
	case a := <-answers:
		fmt.Fprintln(tty)
		if a.err != nil {
			return a.line, fmt.Errorf("%w: %w", ErrNone, a.err)
		}
		return a.line, nil
	case <-ctx.Done():
		_ = term.Restore(fd, state) // the process is about to end
		fmt.Fprintln(tty)
		return nil, ctx.Err()
	}
}
