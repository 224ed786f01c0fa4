package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/term"
)

// EnvVar is the environment variable that can hold the passphrase.
const EnvVar = "SALLIEFS_PASSWORD"

// maxSize bounds a passphrase, in bytes. It is what package crypto takes.
const maxSize = 64 << 10

// ErrNone says that no passphrase could be had.
var ErrNone = errors.New("no passphrase")

// Source says where a secret comes from: the first that is given of File, Command, Env and the terminal.
type Source struct {
	What    string // what it is, for prompts and errors: "passphrase"
	File    string // "-" for standard input
	Command string // for sh
	Env     bool   // EnvVar may hold it
	New     bool   // it is being set: the terminal asks for it twice
	Options string // how to give it without a terminal, for the error that there is none

	Stdin  io.Reader
	Stderr io.Writer // for warnings, and for what Command says
}

// Read gets the secret. The caller clears it after use. Of a file and of a command's output, one newline at the end is
// not part of it.
func (s Source) Read(ctx context.Context) ([]byte, error) {
	b, err := s.read(ctx)
	if err != nil {
		clear(b)
		return nil, err
	}
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: the %s is empty", ErrNone, s.What)
	}
	return b, nil
}

func (s Source) read(ctx context.Context) ([]byte, error) {
	env := os.Getenv(EnvVar)
	switch {
	case s.File != "":
		return s.fromFile(ctx)
	case s.Command != "":
		return s.fromCommand(ctx)
	case s.Env && env != "":
		fmt.Fprintf(s.Stderr, "salliefs: warning: %s can be read by every process of this user; a file or a command is safer\n", EnvVar)
		return []byte(env), nil
	}
	return s.fromTerminal(ctx)
}

func (s Source) fromFile(ctx context.Context) ([]byte, error) {
	if s.File == "-" {
		return s.fromStdin(ctx)
	}
	f, err := os.Open(s.File)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	defer f.Close()
	return s.drain(f, s.File)
}

// fromStdin does not let someone who types nothing keep the process from being interrupted.
func (s Source) fromStdin(ctx context.Context) (b []byte, err error) {
	done := make(chan struct{})
	var read []byte
	var readErr error
	go func() {
		defer close(done)
		read, readErr = s.drain(s.Stdin, "standard input")
	}()
	select {
	case <-done:
		return read, readErr
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// drain reads all of r, which is called name in errors.
func (s Source) drain(r io.Reader, name string) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSize+3))
	if err != nil {
		return b, fmt.Errorf("%w: %s: %w", ErrNone, name, err)
	}
	b, found := bytes.CutSuffix(b, []byte("\n"))
	if found {
		b = bytes.TrimSuffix(b, []byte("\r"))
	}
	if len(b) > maxSize {
		return b, fmt.Errorf("%w: %s: longer than %d bytes", ErrNone, name, maxSize)
	}
	return b, nil
}

func (s Source) fromCommand(ctx context.Context) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", s.Command)
	cmd.Stderr = s.Stderr
	// It may ask on a terminal, but what comes through a pipe or from a file is for somebody else: the value of a key.
	if f, ok := s.Stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		cmd.Stdin = f
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: password command: %w", ErrNone, err)
	}
	b, err := s.drain(out, "password command")
	_ = out.Close() // a command that says too much is not waited for
	if waitErr := cmd.Wait(); err == nil && waitErr != nil {
		err = fmt.Errorf("%w: password command: %w", ErrNone, waitErr)
	}
	return b, err
}

// WithoutPassword is an environment without EnvVar.
func WithoutPassword(env []string) []string {
	kept := make([]string, 0, len(env))
	for _, e := range env {
		if !strings.HasPrefix(e, EnvVar+"=") {
			kept = append(kept, e)
		}
	}
	return kept
}
