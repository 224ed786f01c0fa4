package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"salliefs/cmd/salliefs/internal/secret"
	"salliefs/cmd/salliefs/internal/session"
	"salliefs/crypto"
	"salliefs/fs/control"
)

func (c *console) secretCommands() []*cli.Command {
	return []*cli.Command{
		{
			Name:  "passwd",
			Usage: "change the passphrase",
			Description: "Nothing is re-encrypted: a copy of the store that was made before still opens with the old passphrase.\n" +
				"The recovery key stays the same.",
			Flags:  storeFlags(newPasswordFlag(), kdfFlag()),
			Action: c.passwd,
		}, {
			Name:  "recover",
			Usage: "set a new passphrase with the recovery key",
			Description: "Works when the passphrase is lost, and when the keyring file is damaged or gone: it is made again. Needs no\n" +
				"passphrase.",
			Flags: []cli.Flag{storeFlag(), newPasswordFlag(), kdfFlag(), jsonFlag(),
				&cli.StringFlag{Name: "recovery-file", Usage: "read the recovery key from `FILE` (- for standard input)"}},
			Action: c.recover,
		},
	}
}

func (c *console) passwd(ctx *cli.Context) error {
	if _, err := c.arguments(ctx, 0, 0, ""); err != nil {
		return err
	}
	source, err := c.passphrase(ctx)
	if err != nil {
		return err
	}
	source.What = "current passphrase"
	if err := secret.ProtectProcess(); err != nil {
		return err
	}
	if _, err := session.Find(ctx.String("store")); err != nil {
		return err // before anyone types a passphrase
	}
	old, err := source.Read(ctx.Context)
	if err != nil {
		return err
	}
	defer clear(old)
	mine := false // opened here, by the old passphrase
	t, err := session.Open(ctx.Context, ctx.String("store"), session.Options{
		Write: true, Log: c.log(),
		Unlock: func(_ context.Context, dir string) (*crypto.Master, error) {
			mine = true
			return session.Unlock(dir, old)
		},
	})
	if err != nil {
		return err
	}
	change := control.PassphraseChange{Context: crypto.StandardContext, Old: old, KDF: control.KDF{Time: ctx.Duration("kdf-time")}}
	if mine {
		change.Old = nil
	}
	if change.New, err = c.newPassphrase(ctx).Read(ctx.Context); err == nil {
		err = t.ChangePassphrase(ctx.Context, change)
	}
	clear(change.New)
	return closing(t, err)
}

// recovered is what recover prints as JSON.
type recovered struct {
	Context string `json:"context"`
	Remade  bool   `json:"keyring_remade"`
}

func (c *console) recover(ctx *cli.Context) error {
	if _, err := c.arguments(ctx, 0, 0, ""); err != nil {
		return err
	}
	if _, err := session.Find(ctx.String("store")); err != nil {
		return err
	}
	if err := secret.ProtectProcess(); err != nil {
		return err
	}
	source := secret.Source{What: "recovery key", File: ctx.String("recovery-file"), Options: "--recovery-file", Stdin: c.stdin, Stderr: c.stderr}
	key, err := source.Read(ctx.Context)
	if err != nil {
		return err
	}
	defer clear(key)
	t, err := session.Open(ctx.Context, ctx.String("store"), session.Options{
		Write: true, Log: c.log(),
		Unlock: func(context.Context, string) (*crypto.Master, error) { return session.MasterOf(string(key)) },
	})
	if err != nil {
		return err
	}
	var done control.Recovered
	pass, err := c.newPassphrase(ctx).Read(ctx.Context)
	if err == nil {
		done, err = t.Recover(ctx.Context, control.Recovery{
			Key: string(key), New: pass, KDF: control.KDF{Time: ctx.Duration("kdf-time")}})
	}
	clear(pass)
	if err := closing(t, err); err != nil {
		return err
	}
	if ctx.Bool("json") {
		return c.printJSON(recovered(done))
	}
	if done.Remade {
		_, err = fmt.Fprintln(c.stdout, "The keyring was damaged or gone and has been made again. The new passphrase is set.")
	} else {
		_, err = fmt.Fprintln(c.stdout, "The new passphrase is set.")
	}
	return err
}
