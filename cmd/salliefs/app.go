package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
)

// console is what commands are run on.
type console struct {
	args   []string
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
}

// run runs one command and returns the exit code of the process.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	c := &console{args: args, stdin: stdin, stdout: stdout, stderr: stderr}
	if len(args) > 0 && calledByMount(filepath.Base(args[0])) {
		return mountExitCode(c.report(c.runHelper(ctx)))
	}
	return c.report(c.app().RunContext(ctx, args))
}

// report prints an error on one line and gives its exit code.
func (c *console) report(err error) int {
	if err == nil {
		return exitOK
	}
	var o *outcome
	told := errors.As(err, &o)
	if !told || o.message != "" {
		fmt.Fprintf(c.stderr, "salliefs: %s\n", oneLine(err.Error()))
	}
	if told {
		return o.code
	}
	return exitCodeOf(err).code
}

// oneLine keeps errors that were joined, and control characters of names, from breaking the line, and says what a
// cancelled context is to people.
func oneLine(s string) string {
	s = strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ")
	s = strings.ReplaceAll(s, context.Canceled.Error(), "interrupted")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}

// app assembles the commands.
func (c *console) app() *cli.App {
	app := &cli.App{
		Name:      "salliefs",
		Usage:     "an encrypted, compressed filesystem for personal data",
		UsageText: "salliefs COMMAND [flags] [arguments]\n\nFlags come before arguments. A key that looks like a flag is given after --.",
		Description: "A first session:\n\n" +
			"  salliefs init ~/.sallie && mkdir ~/sallie && salliefs mount ~/.sallie ~/sallie\n\n" +
			"EXIT CODES\n\n" + exitTable() +
			"\nENVIRONMENT\n\n" +
			"SALLIEFS_STORE     the store, where --store is not given\n" +
			"SALLIEFS_PASSWORD  the passphrase; other processes of the user can read it\n" +
			"NO_COLOR           no colours",
		Version:              version(),
		Reader:               c.stdin,
		Writer:               c.stdout,
		ErrWriter:            c.stderr,
		HideHelpCommand:      true,
		EnableBashCompletion: true,
		Action:               c.unknown,
		OnUsageError:         onUsageError,
		ExitErrHandler:       func(*cli.Context, error) {}, // run returns the exit code
		Commands: slices.Concat(
			c.storeCommands(), c.mountCommands(), c.secretCommands(), c.lookCommands(), c.namespaceCommands(), c.keyCommands(), c.metaCommands(),
		),
	}
	for _, cmd := range app.Commands {
		prepare(cmd, cmd.Name)
	}
	return app
}

// prepare gives a command and what is below it what all commands have in common.
func prepare(cmd *cli.Command, name string) {
	cmd.HideHelpCommand = true
	cmd.OnUsageError = onUsageError
	for _, sub := range cmd.Subcommands {
		prepare(sub, name+" "+sub.Name)
	}
	if action := cmd.Action; action != nil {
		cmd.Action = func(ctx *cli.Context) error {
			if err := action(ctx); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		}
	}
}

// unknown is what runs when no command was recognised.
func (c *console) unknown(ctx *cli.Context) error {
	if !ctx.Args().Present() {
		_ = cli.ShowAppHelp(ctx) // to a writer that may be gone
		return usage("which command?")
	}
	return usage("%q is no command; salliefs --help lists them", ctx.Args().First())
}

func usage(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errUsage, fmt.Sprintf(format, args...))
}

// onUsageError says what is wrong with the flags of a command, in one line instead of a page of help.
func onUsageError(ctx *cli.Context, err error, _ bool) error {
	name := ""
	if ctx.Command != nil && ctx.Command.Name != "" && ctx.Command.Name != "salliefs" {
		name = ctx.Command.Name + ": "
	}
	text := err.Error()
	if flag, ok := strings.CutPrefix(text, "flag provided but not defined: "); ok {
		return fmt.Errorf("%s%w: unknown flag %s; a key of that name is given after --", name, errUsage, dashes(flag))
	}
	return fmt.Errorf("%s%w: %s", name, errUsage, text)
}

// dashes writes a flag as people do: package flag knows one dash only.
func dashes(flag string) string {
	if name := strings.TrimLeft(flag, "-"); len(name) > 1 {
		return "--" + name
	}
	return flag
}
