package secret

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// openPTY gives both ends of a new terminal.
func openPTY(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no terminals on this machine: ", err)
	}
	t.Cleanup(func() { person.Close() })
	fd := int(person.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

func echoes(t *testing.T, tty *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// awaitSilence waits until the program has turned echo off: from then on it listens.
func awaitSilence(t *testing.T, tty *os.File) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); echoes(t, tty); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the terminal still echoes")
		}
	}
}

func TestPromptDoesNotEcho(t *testing.T) {
	person, program := openPTY(t)
	type answer struct {
		line string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		line, err := ask(t.Context(), program, "Passphrase: ")
		got <- answer{string(line), err}
	}()
	awaitSilence(t, program)
	if _, err := person.WriteString("swordfish\n"); err != nil {
		t.Fatal(err)
	}
	if a := <-got; a.err != nil || a.line != "swordfish" {
		t.Errorf("%q, %v", a.line, a.err)
	}
	screen := make([]byte, 1000)
	n, err := person.Read(screen)
	if err != nil {
		t.Fatal(err)
	}
	if seen := string(screen[:n]); !strings.Contains(seen, "Passphrase: ") || strings.Contains(seen, "swordfish") {
		t.Errorf("on the screen: %q", seen)
	}
	if !echoes(t, program) {
		t.Error("the terminal was left without echo")
	}
}

func TestInterruptedPromptRestoresTheTerminal(t *testing.T) {
	_, program := openPTY(t)
	if !term.IsTerminal(int(program.Fd())) {
		t.Fatal("no terminal")
	}
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan error, 1)
	go func() {
		_, err := ask(ctx, program, "Passphrase: ")
		got <- err
	}()
	awaitSilence(t, program)
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if !echoes(t, program) {
		t.Error("the terminal was left without echo")
	}
}
