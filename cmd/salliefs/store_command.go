package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"salliefs/blockstore"
	"salliefs/cmd/salliefs/internal/secret"
	"salliefs/cmd/salliefs/internal/session"
	"salliefs/fs/control"
)

// defaultKDFTime makes guessing a passphrase cost a second a try.
const defaultKDFTime = time.Second

func (c *console) storeCommands() []*cli.Command {
	return []*cli.Command{{
		Name:      "init",
		Usage:     "make a store",
		ArgsUsage: "STORE",
		Description: "Makes an encrypted store in a new or empty directory, and shows its recovery key: the only way in when the\n" +
			"passphrase is lost. It is shown once, on standard output, or written into a new file with --recovery-file.",
		Flags: append(passwordFlags(), newPasswordFlag(), kdfFlag(), jsonFlag(),
			&cli.StringFlag{Name: "recovery-file", Usage: "write the recovery key into the new `FILE` instead of showing it"}),
		Action: c.init,
	}}
}

// created is what init prints as JSON.
type created struct {
	Store        control.Name `json:"store"`
	ID           string       `json:"id"`
	KDF          string       `json:"kdf"`
	RecoveryKey  string       `json:"recovery_key,omitempty"`
	RecoveryFile control.Name `json:"recovery_file,omitempty"`
}

func (c *console) init(ctx *cli.Context) error {
	args, err := c.arguments(ctx, 1, 1, "STORE")
	if err != nil {
		return err
	}
	source, err := c.firstPassphrase(ctx)
	if err != nil {
		return err
	}
	if err := session.CheckNew(args[0]); err != nil {
		return err
	}
	file := &recovery{path: ctx.String("recovery-file")}
	if err := file.check(); err != nil {
		return err
	}
	if err := secret.ProtectProcess(); err != nil {
		return err
	}
	pass, err := source.Read(ctx.Context)
	if err != nil {
		return err
	}
	defer clear(pass)
	store, err := session.Create(args[0], pass, ctx.Duration("kdf-time"), file.keep)
	if err != nil {
		return errors.Join(err, file.undo())
	}
	out := created{Store: control.Name(store.Dir), ID: store.ID.String(), KDF: store.KDF.String(), RecoveryFile: control.Name(file.path)}
	if file.path == "" {
		out.RecoveryKey = store.RecoveryKey
	}
	if ctx.Bool("json") {
		return c.printJSON(out)
	}
	return c.printCreated(out)
}

// firstPassphrase is where the passphrase of a new store comes from. It is a secret being set as well as the one that
// opens the store, so both flags will do.
func (c *console) firstPassphrase(ctx *cli.Context) (secret.Source, error) {
	s, err := c.passphrase(ctx)
	s.New = true
	if file := ctx.String("new-password-file"); file != "" {
		if s.File != "" || s.Command != "" {
			return s, usage("--new-password-file, --password-file and --password-command exclude each other")
		}
		s.File = file
	}
	return s, err
}

func (c *console) printCreated(s created) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Store made: %s\n  id   %s\n  slot passphrase, %s\n\n", c.shown(s.Store), s.ID, s.KDF)
	if s.RecoveryFile != "" {
		fmt.Fprintf(&b, "The recovery key is in %s. Keep it away from this machine:\nwho has it can read the store, and without it a lost passphrase is a lost store.\n", c.shown(s.RecoveryFile))
	} else {
		fmt.Fprintf(&b, "%s\nWrite it down and keep it away from this machine: who has it can read the store, and\nwithout it a lost passphrase is a lost store. It is not shown again.\n\n    %s\n",
			c.colour(bold, "RECOVERY KEY"), c.colour(bold, s.RecoveryKey))
	}
	fmt.Fprintf(&b, "\nMount it with: salliefs mount %s MOUNTPOINT\n", c.shown(s.Store))
	_, err := c.stdout.Write([]byte(b.String()))
	return err
}

// recovery is the file that a recovery key is written into.
type recovery struct {
	path string
	made bool
}

// check says early what keep would say after a passphrase was typed.
func (r *recovery) check() error {
	if r.path == "" {
		return nil
	}
	if _, err := os.Lstat(r.path); err == nil {
		return fmt.Errorf("recovery file: %s %w: name a new file", r.path, blockstore.ErrExists)
	}
	return nil
}

// keep writes the key into a file that must be new, and makes sure that it stays.
func (r *recovery) keep(s session.Created) error {
	if r.path == "" {
		return nil
	}
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("recovery file: %w", err)
	}
	r.made = true
	_, err = f.WriteString(s.RecoveryKey + "\n")
	return errors.Join(err, f.Sync(), f.Close())
}

// undo takes the file of a store that did not come to be away.
func (r *recovery) undo() error {
	if !r.made {
		return nil
	}
	return os.Remove(r.path)
}
