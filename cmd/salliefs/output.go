package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"text/tabwriter"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"salliefs/fs/control"
)

// printJSON prints one value, indented for the people who look at it too.
func (c *console) printJSON(v any) error {
	e := json.NewEncoder(c.stdout)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// list prints {"NAME":[…]}, element by element as they come.
type list struct {
	w     *bufio.Writer
	count int
}

func (c *console) newList(name string) *list {
	l := &list{w: bufio.NewWriter(c.stdout)}
	fmt.Fprintf(l.w, "{%q: [", name)
	return l
}

func (l *list) add(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if l.count++; l.count > 1 {
		_ = l.w.WriteByte(',') // bufio keeps the first error for end
	}
	_, err = fmt.Fprintf(l.w, "\n  %s", b)
	return err
}

func (l *list) end() error {
	if l.count > 0 {
		_ = l.w.WriteByte('\n')
	}
	_, _ = l.w.WriteString("]}\n")
	return l.w.Flush()
}

// table prints rows of cells that are separated by tabs, in columns.
func (c *console) table(fill func(w io.Writer)) error {
	w := tabwriter.NewWriter(c.stdout, 0, 8, 2, ' ', 0)
	fill(w)
	return w.Flush()
}

// isTerminal says whether a stream is one.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// colour marks text for a terminal.
func (c *console) colour(code int, text string) string {
	if os.Getenv("NO_COLOR") != "" || !isTerminal(c.stdout) {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", code, text)
}

const (
	red   = 31
	green = 32
	bold  = 1
)

// shown makes a name safe for a terminal: one with control characters or broken bytes is quoted. Programs get it as it
// is.
func (c *console) shown(name control.Name) string {
	if !isTerminal(c.stdout) {
		return string(name)
	}
	return name.Shown()
}

// log is where a command's own process says what goes wrong below.
func (c *console) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(c.stderr, &slog.HandlerOptions{Level: slog.LevelWarn, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// progress shows how far something is, how fast, and how long it will take: on a terminal only, and not beside JSON. done
// clears it.
func (c *console) progress(asJSON bool) (show func(control.Progress), done func()) {
	if asJSON || !isTerminal(c.stderr) {
		return func(control.Progress) {}, func() {}
	}
	var bar *progressbar.ProgressBar
	part := ""
	show = func(p control.Progress) {
		if bar == nil || p.Part != part {
			if bar != nil {
				_ = bar.Clear()
			}
			part = p.Part
			options := []progressbar.Option{
				progressbar.OptionSetWriter(c.stderr), progressbar.OptionSetDescription(part), progressbar.OptionSetPredictTime(true),
				progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100 * time.Millisecond),
			}
			if p.Unit == control.UnitBytes {
				options = append(options, progressbar.OptionShowBytes(true))
			} else {
				options = append(options, progressbar.OptionShowIts())
			}
			bar = progressbar.NewOptions64(max(p.Total, -1), options...)
		}
		if p.Total > 0 && p.Total != bar.GetMax64() {
			bar.ChangeMax64(p.Total)
		}
		_ = bar.Set64(p.Done) // a bar past its end is no reason to stop
	}
	return show, func() {
		if bar != nil {
			_ = bar.Clear()
		}
	}
}
