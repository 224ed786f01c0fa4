package main

import (
	"context"
	"errors"
	"strings"

	"github.com/urfave/cli/v2"

	"salliefs/cmd/salliefs/internal/daemon"
	"salliefs/cmd/salliefs/internal/secret"
	"salliefs/cmd/salliefs/internal/session"
)

func (c *console) mountCommands() []*cli.Command {
	return []*cli.Command{
		{
			Name:      "mount",
			Usage:     "mount a store",
			ArgsUsage: "STORE MOUNTPOINT",
			Description: "Returns when the mount answers and leaves a daemon behind, which logs to the system's log.\n\n" +
				"Options for -o: those of mount(8) that a filesystem has (ro, noatime, nodev, nosuid, noexec, sync, …), and\n" +
				"  allow_other             let other users in, as far as modes and owners allow\n" +
				"  acl                     keep and obey POSIX ACLs\n" +
				"  noxattr                 no extended attributes: fewer requests for ls -l\n" +
				"  nonempty                mount over a directory that is not empty\n" +
				"  debug                   log every request\n" +
				"  password_file=FILE      as --password-file; also password_command and log_file",
			Flags: append(passwordFlags(),
				&cli.GenericFlag{Name: "o", Usage: "mount `OPTIONS`, separated by commas; may be repeated", Value: new(mountOptions)},
				&cli.BoolFlag{Name: "foreground", Aliases: []string{"f"}, Usage: "stay in front, and log to standard error"},
				&cli.StringFlag{Name: "log-file", Usage: "log to `FILE`"}),
			Action: c.mount,
		}, {
			Name:      "umount",
			Aliases:   []string{"unmount"},
			Usage:     "unmount a store, and return when everything is durable",
			ArgsUsage: "MOUNTPOINT",
			Flags: []cli.Flag{
				&cli.BoolFlag{Name: "lazy", Aliases: []string{"l"}, Usage: "detach a mount that is in use; returns when the last program is done with it"}},
			Action: c.umount,
		}, {
			Name:   daemon.Command,
			Hidden: true,
			Action: c.daemon,
		},
	}
}

// mountOptions collects what comes with -o.
type mountOptions []string

// Set adds options; a comma that belongs to a value is written \, as for fuse.
func (o *mountOptions) Set(s string) error {
	const comma = "\x00"
	for word := range strings.SplitSeq(strings.ReplaceAll(s, `\,`, comma), ",") {
		if word != "" {
			*o = append(*o, strings.ReplaceAll(word, comma, ","))
		}
	}
	return nil
}

func (o *mountOptions) String() string { return "" }

func (c *console) mount(ctx *cli.Context) error {
	args, err := c.arguments(ctx, 2, 2, "STORE MOUNTPOINT")
	if err != nil {
		return err
	}
	source, err := c.passphrase(ctx)
	if err != nil {
		return err
	}
	cfg := &daemon.Config{Mountpoint: args[1], LogFile: ctx.String("log-file"), Foreground: ctx.Bool("foreground")}
	for _, o := range *ctx.Generic("o").(*mountOptions) {
		mountOption(cfg, &source, o)
	}
	return c.startMount(ctx.Context, args[0], cfg, source)
}

// startMount checks what can be checked, gets the passphrase and starts the daemon.
func (c *console) startMount(ctx context.Context, store string, cfg *daemon.Config, source secret.Source) (err error) {
	if source.File != "" && source.Command != "" {
		return usage("a password file and a password command exclude each other")
	}
	if cfg.Store, err = session.FindDir(store); err != nil {
		return err
	}
	if err := cfg.Prepare(ctx); err != nil {
		return err
	}
	if err := secret.ProtectProcess(); err != nil {
		return err
	}
	if cfg.Passphrase, err = source.Read(ctx); err != nil {
		return err
	}
	defer clear(cfg.Passphrase)
	if cfg.Foreground {
		return daemon.Exec(cfg)
	}
	result, err := daemon.Start(ctx, cfg)
	if err == nil && result.ExitCode != exitOK {
		err = &outcome{result.ExitCode, result.Message}
	}
	return err
}

// mountOption applies one option of -o.
func mountOption(cfg *daemon.Config, source *secret.Source, option string) {
	name, value, _ := strings.Cut(option, "=")
	switch name {
	case "allow_other":
		cfg.AllowOther = true
	case "ro":
		cfg.ReadOnly = true
	case "rw":
		cfg.ReadOnly = false
	case "noatime":
		cfg.NoAtime = true
	case "acl":
		cfg.ACL = true
	case "noacl":
		cfg.ACL = false
	case "noxattr":
		cfg.NoXattr = true
	case "debug":
		cfg.Debug = true
	case "password_file":
		source.File = value
	case "password_command":
		source.Command = value
	case "log_file":
		cfg.LogFile = value
	case "default_permissions", "fsname", "subtype": // always so
	default:
		cfg.Extra = append(cfg.Extra, option)
	}
}

func (c *console) umount(ctx *cli.Context) error {
	args, err := c.arguments(ctx, 1, 1, "MOUNTPOINT")
	if err != nil {
		return err
	}
	return daemon.Stop(ctx.Context, args[0], ctx.Bool("lazy"))
}

// daemon is the process behind a mount. What goes wrong before the mount answers is for the command that waits for it.
func (c *console) daemon(*cli.Context) error {
	cfg, err := daemon.ReadConfig()
	if err != nil {
		return errors.Join(errUsage, err)
	}
	ready := false
	err = daemon.Run(cfg, func() {
		ready = true
		if !cfg.Foreground {
			daemon.Report(daemon.Outcome{})
		}
	})
	if err != nil && !ready && !cfg.Foreground {
		daemon.Report(daemon.Outcome{ExitCode: exitCodeOf(err).code, Message: err.Error()})
		return &outcome{code: exitCodeOf(err).code}
	}
	return err
}
