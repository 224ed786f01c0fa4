package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"log/syslog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"

	"salliefs/fs/control"
)

// openLog opens the daemon's log: the file that was asked for, standard error in front, otherwise the system's log, and
// where there is none a file in the runtime directory. It also gives the last words of a crash a place.
func openLog(c *Config, id string) (*slog.Logger, io.Closer, error) {
	level := slog.LevelInfo
	if c.Debug {
		level = slog.LevelDebug
	}
	if c.LogFile == "" && c.Foreground {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})), io.NopCloser(nil), nil
	}
	if c.LogFile == "" {
		if w, err := syslog.New(syslog.LOG_DAEMON|syslog.LOG_INFO, "salliefs"); err == nil {
			return slog.New(newSyslogHandler(w, level)), w, nil
		}
		dir, err := control.RuntimeDir()
		if err != nil {
			return nil, nil, fmt.Errorf("there is no system log (use --log-file): %w", err)
		}
		c.LogFile = filepath.Join(dir, id+".log")
	}
	f, err := os.OpenFile(c.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("log file: %w", err)
	}
	if err := debug.SetCrashOutput(f, debug.CrashOptions{}); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return slog.New(slog.NewTextHandler(f, &slog.HandlerOptions{Level: level})), f, nil
}

// syslogHandler sends records to the system's log, which adds the time and has levels of its own.
type syslogHandler struct {
	slog.Handler // formats into buf
	out          *syslogOut
}

type syslogOut struct {
	mu  sync.Mutex
	buf []byte
	w   *syslog.Writer
}

func (o *syslogOut) Write(p []byte) (int, error) {
	o.buf = append(o.buf, p...)
	return len(p), nil
}

func newSyslogHandler(w *syslog.Writer, level slog.Level) *syslogHandler {
	out := &syslogOut{w: w}
	drop := func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
			return slog.Attr{}
		}
		return a
	}
	return &syslogHandler{slog.NewTextHandler(out, &slog.HandlerOptions{Level: level, ReplaceAttr: drop}), out}
}

func (h *syslogHandler) Handle(ctx context.Context, r slog.Record) error {
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	h.out.buf = h.out.buf[:0]
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	line := string(h.out.buf)
	switch {
	case r.Level >= slog.LevelError:
		return h.out.w.Err(line)
	case r.Level >= slog.LevelWarn:
		return h.out.w.Warning(line)
	case r.Level >= slog.LevelInfo:
		return h.out.w.Info(line)
	}
	return h.out.w.Debug(line)
}

func (h *syslogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &syslogHandler{h.Handler.WithAttrs(attrs), h.out}
}

func (h *syslogHandler) WithGroup(name string) slog.Handler {
	return &syslogHandler{h.Handler.WithGroup(name), h.out}
}
