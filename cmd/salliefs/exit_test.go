package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"salliefs/blockstore"
	"salliefs/crypto"
	"salliefs/fs"
	"salliefs/fs/control"
)

func page(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("CLI.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestExitCodesAreAsDocumented(t *testing.T) {
	rows := regexp.MustCompile(`(?m)^\| (\d+) \| ([a-z-]+) \| (.*) \|$`).FindAllStringSubmatch(page(t), -1)
	documented := map[string]bool{}
	for _, r := range rows {
		documented[strings.Join(r[1:], " ")] = true
	}
	if len(documented) < 10 {
		t.Fatalf("only %d rows found in CLI.md", len(documented))
	}
	codes := map[int]bool{}
	for _, row := range exitCodes {
		line := fmt.Sprintf("%d %s %s", row.code, row.name, row.meaning)
		if !documented[line] {
			t.Errorf("CLI.md has no row %q", line)
		}
		delete(documented, line)
		if codes[row.code] {
			t.Errorf("code %d is given twice", row.code)
		}
		codes[row.code] = true
		if !strings.Contains(exitTable(), strconv.Itoa(row.code)+"  "+row.name) {
			t.Errorf("--help lacks %d %s", row.code, row.name)
		}
	}
	for line := range documented {
		t.Errorf("CLI.md has %q, which the program does not know", line)
	}
}

func TestExitCodeOfErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("?"), 1},
		{usage("x"), 2},
		{crypto.ErrWrongSecret, 3},
		{fmt.Errorf("%w, or damaged: %w", blockstore.ErrWrongKey, crypto.ErrAuth), 3},
		{blockstore.ErrIncomplete, 4},
		{&blockstore.InUseError{}, 6},
		{&fs.Error{Err: fs.ErrCorrupt}, 7},
		{&fs.Error{Err: fs.ErrQuota}, 8},
		{&fs.Error{Err: fs.ErrNotExist}, 9},
		{errors.Join(control.ErrNotDurable, fs.ErrNoSpace), 15},
	} {
		if got := exitCodeOf(c.err).code; got != c.want {
			t.Errorf("%v: exit code %d, want %d", c.err, got, c.want)
		}
	}
}

// TestEveryFlagIsDocumented keeps CLI.md complete.
func TestEveryFlagIsDocumented(t *testing.T) {
	text := page(t)
	var walk func(path string, all []*cli.Command)
	walk = func(path string, all []*cli.Command) {
		for _, cmd := range all {
			if cmd.Hidden {
				continue
			}
			if !strings.Contains(text, cmd.Name) {
				t.Errorf("CLI.md lacks the command %s%s", path, cmd.Name)
			}
			for _, f := range cmd.Flags {
				name := f.Names()[0]
				flag := "-" + name
				if len(name) > 1 {
					flag = "-" + flag
				}
				short := flag
				if names := f.Names(); len(names) > 1 {
					short = "-" + names[1]
				}
				if !strings.Contains(text, flag) && !strings.Contains(text, "["+short) {
					t.Errorf("CLI.md lacks %s of %s%s", flag, path, cmd.Name)
				}
			}
			walk(path+cmd.Name+" ", cmd.Subcommands)
		}
	}
	walk("", (&console{}).app().Commands)
}

func TestSizes(t *testing.T) {
	for s, want := range map[string]int64{"0": 0, "4096": 4096, "4K": 4096, "4k": 4096, "4KiB": 4096, "4KB": 4096, "1.5M": 3 << 19, "2G": 2 << 30, "7B": 7, "1E": 1 << 60} {
		if got, err := parseSize(s); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "K", "x", "-1", "1KK", "1X", "9E", "1e400", "4 K", "0x10", "NaN", "Inf", "1e", "1e9", "1E9", "1eB"} {
		if got, err := parseSize(s); err == nil {
			t.Errorf("%q was read as %d", s, got)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 5 << 40: "5.0 TiB"} {
		if got := sizeText(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
