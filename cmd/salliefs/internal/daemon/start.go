package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"salliefs/cmd/salliefs/internal/secret"
)

// The daemon's side of the pipes.
const (
	configFD = 3
	readyFD  = 4
)

// Command is the name of the command that runs the daemon. Its arguments are for people who look at the processes.
const Command = "daemon"

// Outcome is how a start went.
type Outcome struct {
	ExitCode int    `json:"exit_code"`
	Message  string `json:"message,omitempty"` // why it failed
}

// errDied is for a daemon that ended without a word.
var errDied = errors.New("the daemon ended before the mount was ready; its log may say why")

// Start runs a daemon and waits until the mount answers, or for why it does not. When ctx ends before that, the daemon
// and its mount are gone when Start returns.
func Start(ctx context.Context, c *Config) (Outcome, error) {
	configR, configW, err := os.Pipe()
	if err != nil {
		return Outcome{}, err
	}
	defer configW.Close()
	readyR, readyW, err := os.Pipe()
	if err != nil {
		return Outcome{}, errors.Join(err, configR.Close())
	}
	defer readyR.Close()

	cmd := exec.Command("/proc/self/exe", Command, c.Store, c.Mountpoint)
	cmd.Args[0] = "salliefs"
	cmd.Dir = "/"
	cmd.Env = secret.WithoutPassword(os.Environ())
	cmd.ExtraFiles = []*os.File{configR, readyW} // configFD, readyFD
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	var said bytes.Buffer // by fusermount3, for instance
	cmd.Stderr = &said
	err = cmd.Start()
	err = errors.Join(err, configR.Close(), readyW.Close())
	if err != nil {
		return Outcome{}, fmt.Errorf("starting the daemon: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	if err := writeConfig(configW, c); err != nil && !errors.Is(err, syscall.EPIPE) {
		return Outcome{}, errors.Join(fmt.Errorf("starting the daemon: %w", err), cmd.Process.Kill())
	}
	_ = configW.Close() // the daemon waits for the end of it
	var o Outcome
	if err := json.NewDecoder(readyR).Decode(&o); err != nil {
		_ = cmd.Wait()
		if ctx.Err() != nil {
			return Outcome{}, ctx.Err()
		}
		return Outcome{}, fmt.Errorf("%w (%v) %s", errDied, cmd.ProcessState, tail(said.Bytes()))
	}
	if o.ExitCode != 0 {
		_ = cmd.Wait() // so that what it held is free
		o.Message = strings.TrimSpace(o.Message + " " + tail(said.Bytes()))
		return o, nil
	}
	if !stop() { // the signal is on its way to a daemon that was ready already: it unmounts
		return Outcome{}, gone(cmd, ctx.Err())
	}
	return o, nil
}

// gone waits for the end of a daemon that was told to end, and then gives why. A program may use the mount already: then
// the daemon stays.
func gone(cmd *exec.Cmd, why error) error {
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is not asked for
		close(ended)
	}()
	select {
	case <-ended:
		return why
	case <-time.After(endTimeout):
		return fmt.Errorf("%w, but the store is mounted: a program uses the mount", why)
	}
}

// tail is the end of what the daemon said on standard error, in brackets and on one line.
func tail(said []byte) string {
	const most = 500
	said = bytes.TrimSpace(said)
	if len(said) == 0 {
		return ""
	}
	text := strings.ToValidUTF8(string(said[max(0, len(said)-most):]), "")
	return "(" + strings.ReplaceAll(text, "\n", "; ") + ")"
}

// quiet sends standard error to nowhere: Start listens to it no longer.
func quiet() error {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	return unix.Dup3(int(null.Fd()), 2, 0)
}

// Report tells Start how the start went, once. Without a Start that listens it does nothing.
func Report(o Outcome) {
	f := os.NewFile(readyFD, "ready")
	_ = json.NewEncoder(f).Encode(o) // Start notices an end without a word
	_ = f.Close()
}

// Exec becomes the daemon. It only returns when it fails.
func Exec(c *Config) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	// A pipe holds 64 KiB without a reader; the longest passphrase may need more.
	if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 1<<20); err != nil {
		return fmt.Errorf("starting the daemon: %w", err)
	}
	if err := writeConfig(w, c); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := place(r, configFD); err != nil {
		return err
	}
	signal.Reset()
	args := []string{"salliefs", Command, c.Store, c.Mountpoint}
	err = syscall.Exec("/proc/self/exe", args, secret.WithoutPassword(os.Environ()))
	return fmt.Errorf("starting the daemon: %w", err)
}

// place puts a file where the next program finds it.
func place(f *os.File, fd int) error {
	if int(f.Fd()) == fd {
		_, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0)
		return err
	}
	// What is at fd may be the runtime's: moving it does not matter any more, the process ends here.
	return unix.Dup3(int(f.Fd()), fd, 0)
}
