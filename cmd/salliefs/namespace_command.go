package main

import (
	"context"
	"fmt"
	"io"
	"math"

	"github.com/urfave/cli/v2"

	"salliefs/fs"
	"salliefs/fs/control"
)

func (c *console) namespaceCommands() []*cli.Command {
	settings := func() []cli.Flag {
		return []cli.Flag{
			&cli.StringFlag{Name: "compression", Usage: "`CODEC` for new data: auto, none, s2, zstd"},
			&cli.StringFlag{Name: "block-size", Usage: "`SIZE` of blocks, a power of two from 4K to 128K"},
			&cli.StringFlag{Name: "quota", Usage: "most `BYTES` of data; 0 for no limit"},
		}
	}
	return []*cli.Command{{
		Name:   "ns",
		Usage:  "look after namespaces",
		Action: c.unknownNS,
		Subcommands: []*cli.Command{
			{Name: "list", Usage: "list the namespaces", Flags: storeFlags(jsonFlag()), Action: c.nsList},
			{Name: "create", Usage: "make a namespace", ArgsUsage: "NAME", Flags: append(storeFlags(jsonFlag()), settings()...), Action: c.nsCreate},
			{Name: "set", Usage: "change the settings of a namespace", ArgsUsage: "NAME", Flags: append(storeFlags(jsonFlag()), settings()...), Action: c.nsSet,
				Description: "Settings act on what is written from then on."},
			{Name: "rename", Usage: "rename a namespace", ArgsUsage: "OLD NEW", Flags: storeFlags(), Action: c.nsRename},
			{Name: "remove", Usage: "remove a namespace", ArgsUsage: "NAME", Action: c.nsRemove,
				Flags: storeFlags(jsonFlag(), dryRunFlag(),
					&cli.BoolFlag{Name: "force", Usage: "with all that is in it"})},
		},
	}}
}

func dryRunFlag() cli.Flag {
	return &cli.BoolFlag{Name: "dry-run", Usage: "only say what would go"}
}

func (c *console) unknownNS(ctx *cli.Context) error {
	if !ctx.Args().Present() {
		return usage("which of list, create, set, rename, remove?")
	}
	return usage("%q is none of list, create, set, rename, remove", ctx.Args().First())
}

// settings reads the flags that change a namespace.
func settings(ctx *cli.Context) (control.Settings, error) {
	var s control.Settings
	if ctx.IsSet("compression") {
		codec := ctx.String("compression")
		s.Compression = &codec
	}
	if ctx.IsSet("block-size") {
		n, err := parseSize(ctx.String("block-size"))
		if err != nil {
			return s, err
		}
		if n > math.MaxInt32 {
			return s, usage("a block size of %s", ctx.String("block-size"))
		}
		size := int(n)
		s.BlockSize = &size
	}
	if ctx.IsSet("quota") {
		n, err := parseSize(ctx.String("quota"))
		if err != nil {
			return s, err
		}
		s.Quota = &n
	}
	return s, nil
}

func (c *console) nsList(ctx *cli.Context) error {
	if _, err := c.arguments(ctx, 0, 0, ""); err != nil {
		return err
	}
	return c.with(ctx, false, func(run context.Context, t control.Target) error {
		all, err := t.Namespaces(run)
		if err != nil {
			return err
		}
		if ctx.Bool("json") {
			return c.printNamespacesJSON(all)
		}
		return c.printNamespaces(all)
	})
}

func (c *console) printNamespacesJSON(all []control.Namespace) error {
	l := c.newList("namespaces")
	for _, n := range all {
		if err := l.add(n); err != nil {
			return err
		}
	}
	return l.end()
}

func (c *console) printNamespaces(all []control.Namespace) error {
	return c.table(func(w io.Writer) {
		fmt.Fprintln(w, "NAMESPACE\tCONTEXT\tCOMPRESSION\tBLOCK SIZE\tQUOTA\tFILES\tLOGICAL\tSTORED")
		for _, n := range all {
			name, quota := c.shown(n.Name), "-"
			if name == "" {
				name = "/"
			}
			if n.Quota > 0 {
				quota = sizeText(n.Quota)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", name, n.Context, n.Compression, sizeText(int64(n.BlockSize)), quota, n.Files, sizeText(n.LogicalBytes), sizeText(n.StoredBytes))
		}
	})
}

func (c *console) nsCreate(ctx *cli.Context) error {
	return c.nsSettle(ctx, func(run context.Context, t control.Target, name string, s control.Settings) (control.Namespace, error) {
		return t.CreateNamespace(run, name, s)
	})
}

func (c *console) nsSet(ctx *cli.Context) error {
	if !ctx.IsSet("compression") && !ctx.IsSet("block-size") && !ctx.IsSet("quota") {
		return usage("nothing to set: --compression, --block-size or --quota")
	}
	return c.nsSettle(ctx, func(run context.Context, t control.Target, name string, s control.Settings) (control.Namespace, error) {
		return t.SetNamespace(run, name, s)
	})
}

// nsSettle is the common part of create and set.
func (c *console) nsSettle(ctx *cli.Context, do func(context.Context, control.Target, string, control.Settings) (control.Namespace, error)) error {
	args, err := c.arguments(ctx, 1, 1, "NAME")
	if err != nil {
		return err
	}
	s, err := settings(ctx)
	if err != nil {
		return err
	}
	return c.with(ctx, true, func(run context.Context, t control.Target) error {
		n, err := do(run, t, args[0], s)
		if err != nil || !ctx.Bool("json") {
			return err
		}
		return c.printJSON(n)
	})
}

func (c *console) nsRename(ctx *cli.Context) error {
	args, err := c.arguments(ctx, 2, 2, "OLD NEW")
	if err != nil {
		return err
	}
	return c.with(ctx, true, func(run context.Context, t control.Target) error {
		return t.RenameNamespace(run, args[0], args[1])
	})
}

func (c *console) nsRemove(ctx *cli.Context) error {
	args, err := c.arguments(ctx, 1, 1, "NAME")
	if err != nil {
		return err
	}
	dry := ctx.Bool("dry-run")
	return c.with(ctx, !dry, func(run context.Context, t control.Target) error {
		r, err := t.RemoveNamespace(run, args[0], control.RemoveOptions{Force: ctx.Bool("force"), DryRun: dry})
		if err != nil {
			return hint(err, fs.ErrNotEmpty, "--force removes it with all that is in it")
		}
		return c.printRemoved(ctx, []control.Removed{r})
	})
}

// removal is what rm and ns remove print as JSON.
type removal struct {
	DryRun bool `json:"dry_run"`
	control.Removed
}

// printRemoved tells what went: to people only if they asked what would.
func (c *console) printRemoved(ctx *cli.Context, all []control.Removed) error {
	sum := removal{DryRun: ctx.Bool("dry-run")}
	for _, r := range all {
		sum.Files += r.Files
		sum.LogicalBytes += r.LogicalBytes
	}
	switch {
	case ctx.Bool("json"):
		return c.printJSON(sum)
	case sum.DryRun:
		_, err := fmt.Fprintf(c.stdout, "would remove %d files, %s\n", sum.Files, sizeText(sum.LogicalBytes))
		return err
	}
	return nil
}
