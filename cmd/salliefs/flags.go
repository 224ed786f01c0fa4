package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"salliefs/cmd/salliefs/internal/secret"
	"salliefs/cmd/salliefs/internal/session"
	"salliefs/crypto"
	"salliefs/fs/control"
)

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print JSON; CLI.md describes its fields"}
}

func storeFlag() cli.Flag {
	return &cli.StringFlag{Name: "store", Aliases: []string{"s"}, Usage: "the store: its directory or its mount point", EnvVars: []string{"SALLIEFS_STORE"}}
}

func passwordFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "password-file", Usage: "read the passphrase from `FILE` (- for standard input)"},
		&cli.StringFlag{Name: "password-command", Usage: "read the passphrase from the output of `CMD`, run by sh"},
	}
}

func newPasswordFlag() cli.Flag {
	return &cli.StringFlag{Name: "new-password-file", Usage: "read the new passphrase from `FILE`"}
}

func kdfFlag() cli.Flag {
	return &cli.DurationFlag{Name: "kdf-time", Usage: "how long unlocking should take on this machine", Value: defaultKDFTime}
}

// storeFlags are those of every command on a store.
func storeFlags(more ...cli.Flag) []cli.Flag {
	return slices.Concat([]cli.Flag{storeFlag()}, passwordFlags(), more)
}

// passphrase is the source of the secret that opens a store.
func (c *console) passphrase(ctx *cli.Context) (secret.Source, error) {
	s := secret.Source{
		What: "passphrase", File: ctx.String("password-file"), Command: ctx.String("password-command"), Env: true,
		Options: "--password-file or --password-command", Stdin: c.stdin, Stderr: c.stderr,
	}
	if s.File != "" && s.Command != "" {
		return s, usage("--password-file and --password-command exclude each other")
	}
	return s, nil
}

// newPassphrase is the source of a passphrase that is to be set.
func (c *console) newPassphrase(ctx *cli.Context) secret.Source {
	return secret.Source{
		What: "passphrase", New: true, File: ctx.String("new-password-file"),
		Options: "--new-password-file", Stdin: c.stdin, Stderr: c.stderr,
	}
}

// with runs a command on the store that its flags name.
func (c *console) with(ctx *cli.Context, write bool, do func(context.Context, control.Target) error) (err error) {
	source, err := c.passphrase(ctx)
	if err != nil {
		return err
	}
	t, err := session.Open(ctx.Context, ctx.String("store"), session.Options{
		Write: write, Log: c.log(),
		Unlock: func(ctx context.Context, dir string) (*crypto.Master, error) { return unlock(ctx, dir, source) },
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	return do(ctx.Context, t)
}

func unlock(ctx context.Context, dir string, source secret.Source) (*crypto.Master, error) {
	if err := secret.ProtectProcess(); err != nil {
		return nil, err
	}
	pass, err := source.Read(ctx)
	if err != nil {
		return nil, err
	}
	defer clear(pass)
	return session.Unlock(dir, pass)
}

// arguments checks how many arguments there are, and that none of them is a flag that came too late. names describes
// them for the error; the last most-least are optional, most < 0 means any number.
func (c *console) arguments(ctx *cli.Context, least, most int, names string) ([]string, error) {
	given := ctx.Args().Slice()
	literal := c.endOfFlags(given)
	args := make([]string, 0, len(given))
	for _, a := range given {
		switch {
		case literal || len(a) < 2 || a[0] != '-':
			args = append(args, a)
		case a == "--":
			literal = true
		default:
			return nil, usage("%s comes after an argument: flags come first, and a key or value that looks like a flag is given after --", a)
		}
	}
	switch {
	case len(args) < least:
		return nil, usage("%s is missing: salliefs %s [flags] %s", nth(names, len(args)), fullName(ctx), names)
	case most >= 0 && len(args) > most:
		return nil, usage("%q is too much: salliefs %s [flags] %s", args[most], fullName(ctx), names)
	}
	return args, nil
}

// endOfFlags says whether there was a -- right before the arguments, which the flag parser takes away.
func (c *console) endOfFlags(args []string) bool {
	i := len(c.args) - len(args) - 1
	return i >= 0 && c.args[i] == "--"
}

func nth(names string, n int) string { return strings.Fields(names)[n] }

func fullName(ctx *cli.Context) string {
	return strings.TrimSpace(strings.TrimPrefix(ctx.Command.HelpName, "salliefs"))
}

// parseSize reads a number of bytes: 4096, 4K, 4KiB, 1.5G. Units are powers of 1024. An e is no unit and no exponent: who
// begins to type 1e9 does not mean 1 EiB.
func parseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "KMGTPEkmgtpiBb")
	unit := strings.ToUpper(strings.TrimSuffix(strings.TrimSuffix(s[len(digits):], "B"), "i"))
	shift := 0
	if unit != "" {
		shift = 10 * (1 + strings.Index("KMGTPE", unit))
	}
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || strings.ContainsAny(digits, "eE") || len(unit) > 1 || shift == 0 && unit != "" || !(n >= 0 && n*float64(int64(1)<<shift) < 1<<63) {
		return 0, usage("%q is no size: use bytes, or K, M, G, T", s)
	}
	if whole, err := strconv.ParseInt(digits, 10, 64); err == nil {
		return whole << shift, nil
	}
	return int64(n * float64(int64(1)<<shift)), nil
}

// sizeText writes a number of bytes for people.
func sizeText(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n), 0
	for f >= 1024 && unit < 6 {
		f /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGTPE"[unit-1])
}

// hint adds the way out to an error of one kind.
func hint(err, kind error, way string) error {
	if errors.Is(err, kind) {
		return fmt.Errorf("%w: %s", err, way)
	}
	return err
}

// closing closes a Target after what was done with it.
func closing(t control.Target, err error) error { return errors.Join(err, t.Close()) }
