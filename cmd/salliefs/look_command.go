package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"salliefs/cmd/salliefs/internal/session"
	"salliefs/fs/control"
)

func (c *console) lookCommands() []*cli.Command {
	return []*cli.Command{
		{
			Name:   "info",
			Usage:  "show what is known of a store without its passphrase",
			Flags:  []cli.Flag{storeFlag(), jsonFlag()},
			Action: c.info,
		}, {
			Name:        "check",
			Usage:       "look for damage",
			Description: "Reads the whole structure of the store; with --data also every byte of data. Changes nothing. Exit code 7 if\nthere is damage.",
			Flags: storeFlags(jsonFlag(),
				&cli.BoolFlag{Name: "data", Usage: "read and authenticate all data"}),
			Action: c.check,
		}, {
			Name:  "stats",
			Usage: "show what a store holds and how it works",
			Flags: storeFlags(jsonFlag(),
				&cli.BoolFlag{Name: "requests", Usage: "count the requests that the mount has answered"},
				&cli.BoolFlag{Name: "reset", Usage: "with --requests: count from zero again"}),
			Action: c.stats,
		},
	}
}

func (c *console) info(ctx *cli.Context) error {
	if _, err := c.arguments(ctx, 0, 0, ""); err != nil {
		return err
	}
	i, err := session.Inspect(ctx.Context, ctx.String("store"))
	if i.ID == "" {
		return err
	}
	if ctx.Bool("json") {
		return errors.Join(c.printJSON(i), err)
	}
	printErr := c.table(func(w io.Writer) {
		fmt.Fprintf(w, "store\t%s\nid\t%s\nformat\t%d\n", c.shown(i.Store), i.ID, i.Format)
		switch h := i.Holder; {
		case h == nil:
			fmt.Fprintf(w, "mounted\tno\n")
		case h.Mount == "":
			fmt.Fprintf(w, "mounted\tno; in use by process %d on %s\n", h.PID, h.Host)
		default:
			fmt.Fprintf(w, "mounted\t%s, by process %d on %s", c.shown(h.Mount), h.PID, h.Host)
			if !h.Since.IsZero() {
				fmt.Fprintf(w, ", since %s", h.Since.Local().Format(time.DateTime))
			}
			fmt.Fprintln(w)
		}
		if i.Failure != "" {
			fmt.Fprintf(w, "%s\t%s\n", c.colour(red, "failed"), i.Failure)
		}
		if i.Keyring != "ok" {
			fmt.Fprintf(w, "keyring\t%s\n", c.colour(red, "unusable"))
		}
		for _, x := range i.Contexts {
			for _, s := range x.Slots {
				fmt.Fprintf(w, "context %s\t%s, made %s", x.Name, s.Kind, s.Created.Local().Format(time.DateOnly))
				if s.KDF != "" {
					fmt.Fprintf(w, ", %s", s.KDF)
				}
				fmt.Fprintln(w)
			}
		}
	})
	return errors.Join(printErr, err)
}

func (c *console) check(ctx *cli.Context) error {
	if _, err := c.arguments(ctx, 0, 0, ""); err != nil {
		return err
	}
	asJSON := ctx.Bool("json")
	var found []control.Problem
	show, done := c.progress()
	err := c.with(ctx, false, func(ctx2 context.Context, t control.Target) error {
		return t.Check(ctx2, control.CheckOptions{Data: ctx.Bool("data")}, show, func(p control.Problem) {
			found = append(found, p)
			if !asJSON {
				fmt.Fprintf(c.stdout, "%s: %s\n", c.shown(p.Where), p.What)
			}
		})
	})
	done()
	if err != nil {
		return err
	}
	if asJSON {
		if err := c.printChecked(found); err != nil {
			return err
		}
	}
	if len(found) > 0 {
		return fmt.Errorf("%w: %d problems; restore what they name from a backup", errProblems, len(found))
	}
	if !asJSON {
		fmt.Fprintln(c.stdout, c.colour(green, "no damage found"))
	}
	return nil
}

func (c *console) printChecked(found []control.Problem) error {
	l := c.newList("problems")
	for _, p := range found {
		if err := l.add(p); err != nil {
			return err
		}
	}
	return l.end()
}

func (c *console) stats(ctx *cli.Context) error {
	if _, err := c.arguments(ctx, 0, 0, ""); err != nil {
		return err
	}
	if ctx.Bool("reset") && !ctx.Bool("requests") {
		return usage("--reset is for --requests")
	}
	return c.with(ctx, false, func(run context.Context, t control.Target) error {
		s, err := t.Stats(run, control.StatsOptions{Requests: ctx.Bool("requests"), Reset: ctx.Bool("reset")})
		switch {
		case err != nil:
			return err
		case ctx.Bool("json"):
			return c.printJSON(s)
		case ctx.Bool("requests"):
			return c.printRequests(s)
		}
		return c.printStats(s)
	})
}

func (c *console) printStats(s control.Stats) error {
	err := c.table(func(w io.Writer) {
		fmt.Fprintln(w, "NAMESPACE\tFILES\tLOGICAL\tSTORED\tRATIO\tDEAD")
		row := func(name string, files, logical, stored int64, ratio *float64, dead int64) {
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", name, files, sizeText(logical), sizeText(stored), ratioText(ratio), sizeText(dead))
		}
		for _, n := range s.Namespaces {
			name := c.shown(n.Name)
			if name == "" {
				name = "/"
			}
			row(name, n.Files, n.LogicalBytes, n.StoredBytes, n.Ratio, n.DeadBytes)
		}
		row("all", s.Files, s.LogicalBytes, s.StoredBytes, s.Ratio, s.DeadBytes)
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(c.stdout)
	return c.table(func(w io.Writer) {
		fmt.Fprintf(w, "segments\t%d, %s, of which %s dead\n", s.Segments, sizeText(s.SegmentBytes), sizeText(s.DeadBytes))
		fmt.Fprintf(w, "records\t%s on disk\n", sizeText(s.RecordBytes))
		fmt.Fprintf(w, "disk\t%s free of %s\n", sizeText(s.Disk.FreeBytes), sizeText(s.Disk.TotalBytes))
		for _, x := range s.Caches {
			fmt.Fprintf(w, "cache of %s\t%s, %d hits, %d misses\n", x.Name, sizeText(x.Bytes), x.Hits, x.Misses)
		}
		fmt.Fprintf(w, "commits\t%d, p50 %s, p99 %s, max %s\n", s.Commits.Groups, latencyText(s.Commits.Latency.P50), latencyText(s.Commits.Latency.P99), latencyText(s.Commits.Latency.Max))
		fmt.Fprintf(w, "seal stall\tp50 %s, p99 %s, max %s\n", latencyText(s.Commits.SealStall.P50), latencyText(s.Commits.SealStall.P99), latencyText(s.Commits.SealStall.Max))
		fmt.Fprintf(w, "pending\t%s\n", sizeText(s.PendingBytes))
		if s.Failure != "" {
			fmt.Fprintf(w, "%s\t%s\n", c.colour(red, "failed"), s.Failure)
		}
	})
}

func (c *console) printRequests(s control.Stats) error {
	if !s.Mounted {
		_, err := fmt.Fprintln(c.stdout, "not mounted: there are no requests")
		return err
	}
	var total uint64
	return c.table(func(w io.Writer) {
		fmt.Fprintln(w, "REQUEST\tCOUNT")
		for _, name := range slices.Sorted(maps.Keys(s.Requests)) {
			fmt.Fprintf(w, "%s\t%d\n", name, s.Requests[name])
			total += s.Requests[name]
		}
		fmt.Fprintf(w, "all\t%d\n", total)
	})
}

func ratioText(r *float64) string {
	if r == nil {
		return "-"
	}
	return fmt.Sprintf("%.2f", *r)
}

func latencyText(ns int64) string {
	d := time.Duration(ns)
	if d > time.Millisecond {
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(100 * time.Nanosecond).String()
}
