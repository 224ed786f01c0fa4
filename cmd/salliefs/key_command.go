package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"salliefs/fs"
	"salliefs/fs/control"
)

func (c *console) keyCommands() []*cli.Command {
	return []*cli.Command{
		{
			Name: "get", Usage: "print the value of a key", ArgsUsage: "NAMESPACE/KEY",
			Flags: storeFlags(jsonFlag()), Action: c.get,
		}, {
			Name: "set", Usage: "give a key a value", ArgsUsage: "NAMESPACE/KEY [VALUE]",
			Description: "The value is VALUE, or the content of --file, or standard input. Other users can see VALUE while the command\n" +
				"runs. The key has either its old or its new value, whatever happens, and the new one is durable at the end.",
			Flags: storeFlags(jsonFlag(),
				&cli.StringFlag{Name: "file", Usage: "read the value from `FILE`"}),
			Action: c.set,
		}, {
			Name: "rm", Usage: "remove keys", ArgsUsage: "NAMESPACE/KEY...",
			Flags: storeFlags(jsonFlag(), dryRunFlag(),
				&cli.BoolFlag{Name: "recursive", Aliases: []string{"r"}, Usage: "directories with all that is in them"}),
			Action: c.rm,
		}, {
			Name: "ls", Usage: "list keys", ArgsUsage: "[NAMESPACE[/DIRECTORY]]",
			Flags: storeFlags(jsonFlag(),
				&cli.BoolFlag{Name: "long", Aliases: []string{"l"}, Usage: "with mode, size and time"},
				&cli.BoolFlag{Name: "recursive", Aliases: []string{"R"}, Usage: "with all that is in directories"}),
			Action: c.ls,
		},
	}
}

func (c *console) get(ctx *cli.Context) error {
	args, err := c.arguments(ctx, 1, 1, "NAMESPACE/KEY")
	if err != nil {
		return err
	}
	return c.with(ctx, false, func(run context.Context, t control.Target) error {
		if ctx.Bool("json") {
			return c.getJSON(run, t, args[0])
		}
		return t.Get(run, args[0], func(control.Entry) error { return nil }, c.stdout)
	})
}

// getJSON prints an entry with its value in base64 as a last field, which is written as it comes.
func (c *console) getJSON(ctx context.Context, t control.Target, path string) error {
	w := bufio.NewWriter(c.stdout)
	value := base64.NewEncoder(base64.StdEncoding, w)
	err := t.Get(ctx, path, func(e control.Entry) error {
		b, err := json.Marshal(e)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s,\"value\":\"", b[:len(b)-1])
		return err
	}, value)
	if err != nil {
		return err
	}
	err = value.Close()
	_, _ = w.WriteString("\"}\n") // Flush gives the first error
	return errors.Join(err, w.Flush())
}

func (c *console) set(ctx *cli.Context) error {
	args, err := c.arguments(ctx, 1, 2, "NAMESPACE/KEY [VALUE]")
	if err != nil {
		return err
	}
	value, done, err := c.value(ctx, args[1:])
	if err != nil {
		return err
	}
	defer done()
	return c.with(ctx, true, func(run context.Context, t control.Target) error {
		e, err := t.Set(run, args[0], value)
		if err != nil || !ctx.Bool("json") {
			return hint(err, fs.ErrQuota, "salliefs ns set --quota raises it")
		}
		return c.printJSON(e)
	})
}

// value is what set stores.
func (c *console) value(ctx *cli.Context, arg []string) (value io.Reader, done func(), err error) {
	file := ctx.String("file")
	switch {
	case file != "" && len(arg) > 0:
		return nil, nil, usage("a VALUE and --file exclude each other")
	case len(arg) > 0:
		return strings.NewReader(arg[0]), func() {}, nil
	case file == "" || file == "-":
		if ctx.String("password-file") == "-" {
			return nil, nil, usage("the passphrase and the value can not both come from standard input")
		}
		return c.stdin, func() {}, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, err
	}
	return f, func() { _ = f.Close() }, nil
}

func (c *console) rm(ctx *cli.Context) error {
	args, err := c.arguments(ctx, 1, -1, "NAMESPACE/KEY...")
	if err != nil {
		return err
	}
	o := control.RemoveOptions{Force: ctx.Bool("recursive"), DryRun: ctx.Bool("dry-run")}
	return c.with(ctx, !o.DryRun, func(run context.Context, t control.Target) error {
		var all []control.Removed
		for _, path := range args {
			r, err := t.Remove(run, path, o)
			if err != nil {
				return hint(err, fs.ErrNotEmpty, "-r removes it with all that is in it")
			}
			all = append(all, r)
		}
		return c.printRemoved(ctx, all)
	})
}

func (c *console) ls(ctx *cli.Context) error {
	args, err := c.arguments(ctx, 0, 1, "[NAMESPACE[/DIRECTORY]]")
	if err != nil {
		return err
	}
	path := ""
	if len(args) > 0 {
		path = args[0]
	}
	return c.with(ctx, false, func(run context.Context, t control.Target) error {
		if ctx.Bool("json") {
			l := c.newList("entries")
			err := t.List(run, path, ctx.Bool("recursive"), func(e control.Entry) error { return l.add(e) })
			if err != nil {
				return err
			}
			return l.end()
		}
		w := bufio.NewWriter(c.stdout)
		err := t.List(run, path, ctx.Bool("recursive"), func(e control.Entry) error {
			return c.printEntry(w, e, ctx.Bool("long"))
		})
		return errors.Join(err, w.Flush())
	})
}

func (c *console) printEntry(w io.Writer, e control.Entry, long bool) error {
	name := c.shown(e.Path)
	if e.Type == "dir" {
		name += "/"
	}
	if !long {
		_, err := fmt.Fprintln(w, name)
		return err
	}
	if e.Type == "symlink" {
		name += " -> " + c.shown(e.Target)
	}
	_, err := fmt.Fprintf(w, "%-7s  %04o  %12d  %s  %s\n", e.Type, e.Mode, e.Size, e.Modified.Local().Format(time.DateTime), name)
	return err
}
