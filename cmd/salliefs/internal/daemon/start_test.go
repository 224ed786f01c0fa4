package daemon

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestMain is also the daemon that Start runs in tests.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Command {
		lateDaemon()
		return
	}
	os.Exit(m.Run())
}

// lateDaemon is told to end when it is past the point up to which it could have failed. It writes its mount point as a
// file and removes it in the end, a little later.
func lateDaemon() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	c, err := ReadConfig()
	if err == nil {
		err = os.WriteFile(c.Mountpoint, nil, 0o600)
	}
	if err != nil {
		Report(Outcome{ExitCode: 1, Message: err.Error()})
		return
	}
	<-signals
	Report(Outcome{})
	time.Sleep(100 * time.Millisecond)
	os.Remove(c.Mountpoint)
}

func TestInterruptedStartLeavesNoMount(t *testing.T) {
	mount := filepath.Join(t.TempDir(), "mount")
	ctx, interrupt := context.WithCancel(t.Context())
	go func() {
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if _, err := os.Stat(mount); err == nil {
				break
			}
		}
		interrupt()
	}()
	o, err := Start(ctx, &Config{Store: "st", Mountpoint: mount})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("outcome %+v, %v", o, err)
	}
	if _, err := os.Stat(mount); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Start has returned: %v", err)
	}
}
