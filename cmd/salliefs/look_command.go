package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"salliefs/cmd/salliefs/internal/session"
	"salliefs/crypto"
	"salliefs/fs"
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
			Name:  "check",
			Usage: "look for damage, and repair it",
			Description: "Reads the whole structure of the store; with --data also every byte of data. Changes nothing without --repair.\n" +
				"Exit code 7 if there is damage. --repair takes a snapshot first, and puts what it saves into lost+found.",
			Flags: storeFlags(jsonFlag(),
				&cli.BoolFlag{Name: "data", Usage: "read and authenticate all data"},
				&cli.BoolFlag{Name: "repair", Usage: "repair what is proven to be damaged; reads all data"},
				&cli.BoolFlag{Name: "dry-run", Usage: "with --repair: only tell what it would do"},
				&cli.PathFlag{Name: "rebuild", Usage: "make a new store in `DIR` of what segments tell, if the records are lost"}),
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
	repair, dry := ctx.Bool("repair"), ctx.Bool("dry-run")
	if dry && !repair {
		return usage("--dry-run is for --repair")
	}
	if ctx.IsSet("rebuild") {
		if repair || ctx.Bool("data") {
			return usage("--rebuild goes alone")
		}
		return c.rebuild(ctx)
	}
	found := checked{c: c, asJSON: ctx.Bool("json"), repair: repair}
	show, done := c.progress(found.asJSON)
	err := c.with(ctx, repair && !dry, func(run context.Context, t control.Target) (err error) {
		if repair {
			found.repaired, err = t.Repair(run, control.RepairOptions{DryRun: dry}, show, found.add)
			return err
		}
		return t.Check(run, control.CheckOptions{Data: ctx.Bool("data")}, show, found.add)
	})
	done()
	if found.failed != nil {
		return found.failed
	}
	return cmp.Or(err, found.end())
}

// rebuild makes a new store of what is left of one.
func (c *console) rebuild(ctx *cli.Context) error {
	source, err := c.passphrase(ctx)
	if err != nil {
		return err
	}
	found := checked{c: c, asJSON: ctx.Bool("json")}
	show, done := c.progress(found.asJSON)
	sum, err := session.Rebuild(ctx.Context, ctx.String("store"), ctx.Path("rebuild"), session.Options{
		Log:    c.log(),
		Unlock: func(ctx context.Context, dir string) (*crypto.Master, error) { return unlock(ctx, dir, source) },
	}, show, func(p fs.Problem) {
		found.add(control.Problem{Where: control.Name(strings.Trim(p.Namespace+"/"+p.Path, "/")), What: p.What})
	}, func(text string) {
		found.add(control.Problem{Where: "the old store", What: text})
	})
	done()
	if err = cmp.Or(found.failed, err); err != nil {
		return err
	}
	if found.asJSON {
		if err := found.print(); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w, and made again in %s as far as segments tell: %d files whole, %d with gaps, %d of these in lost+found; small files are gone; lost+found in each namespace has a report",
		errRepaired, ctx.Path("rebuild"), sum.Whole, sum.Gaps, sum.Lost)
}

// checked is what a check has found so far.
type checked struct {
	c        *console
	asJSON   bool
	repair   bool
	repaired control.Repaired
	problems []control.Problem // only for JSON
	damage   int               // problems that are not known since a repair
	known    int
	failed   error // to write
}

func (k *checked) add(p control.Problem) {
	if p.Lost {
		k.known++
	} else {
		k.damage++
	}
	if k.asJSON {
		k.problems = append(k.problems, p)
		return
	}
	text := fmt.Sprintf("%s: %s", k.c.shown(p.Where), p.What)
	if k.repair && p.Remedy != "" {
		text += ": " + p.Remedy
	}
	if _, err := fmt.Fprintln(k.c.stdout, text); err != nil {
		k.failed = err
	}
}

// end tells what the check came to.
func (k *checked) end() error {
	r := k.repaired
	if k.asJSON {
		if err := k.print(); err != nil {
			return err
		}
	}
	switch {
	case k.damage == 0:
		if k.asJSON {
			return nil
		}
		text := "no damage found"
		if k.known > 0 {
			text = fmt.Sprintf("no damage found but %d pieces of files that a repair has noted as lost", k.known)
		}
		_, err := fmt.Fprintln(k.c.stdout, k.c.colour(green, text))
		return err
	case !k.repair:
		return fmt.Errorf("%w: %d problems; check --repair repairs what can be, a backup has what they name", errProblems, k.damage)
	case r.DryRun:
		return fmt.Errorf("%w: %d problems, of which --repair would repair %d", errProblems, k.damage, r.Repaired)
	case r.Left > 0:
		return fmt.Errorf("%w: of %d problems %d stay; restore what they name from a backup", errProblems, k.damage, r.Left)
	}
	return fmt.Errorf("%w, and was repaired: %d problems; the state before is the snapshot %s, and lost+found in each namespace has a report", errRepaired, r.Repaired, r.Snapshot)
}

func (k *checked) print() error {
	if k.repair {
		problems := k.problems
		if problems == nil {
			problems = []control.Problem{}
		}
		return k.c.printJSON(struct {
			Problems []control.Problem `json:"problems"`
			control.Repaired
		}{problems, k.repaired})
	}
	l := k.c.newList("problems")
	for _, p := range k.problems {
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
