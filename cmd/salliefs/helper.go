package main

import (
	"context"
	"strings"

	"salliefs/cmd/salliefs/internal/daemon"
	"salliefs/cmd/salliefs/internal/secret"
)

// calledByMount says whether a program name is one by which mount(8) runs its helpers: for
// mount -t fuse.salliefs STORE MOUNTPOINT, and such lines of fstab.
func calledByMount(name string) bool {
	return name == "mount.fuse.salliefs" || name == "mount.salliefs"
}

// mountExitCode is what mount(8) understands; see its section EXIT STATUS.
func mountExitCode(code int) int {
	const (
		mountUsage  = 1
		mountFailed = 32
	)
	switch code {
	case exitOK:
		return exitOK
	case exitUsage:
		return mountUsage
	}
	return mountFailed
}

// runHelper mounts as mount(8) asks for it: STORE MOUNTPOINT [-sfnv] [-N namespace] [-o options] [-t type].
func (c *console) runHelper(ctx context.Context) error {
	source := secret.Source{
		What: "passphrase", Env: true, Options: "-o password_file=FILE", Stdin: c.stdin, Stderr: c.stderr,
	}
	cfg := new(daemon.Config)
	var places []string
	var options mountOptions
	fake := false
	for i := 1; i < len(c.args); i++ {
		arg := c.args[i]
		if len(arg) < 2 || arg[0] != '-' {
			places = append(places, arg)
			continue
		}
		for letters := arg[1:]; letters != ""; {
			letter := letters[0]
			letters = letters[1:]
			if !strings.ContainsRune("sfnvrwoNt", rune(letter)) {
				return usage("unknown flag -%c; mount(8) gives: STORE MOUNTPOINT [-sfnv] [-N namespace] [-o options] [-t type]", letter)
			}
			switch letter {
			case 'f':
				fake = true
			case 'r':
				cfg.ReadOnly = true
			}
			if !strings.ContainsRune("oNt", rune(letter)) {
				continue
			}
			value := letters // -oro, or the next argument
			letters = ""
			if value == "" {
				if i++; i == len(c.args) {
					return usage("-%c needs a value", letter)
				}
				value = c.args[i]
			}
			if letter == 'o' {
				_ = options.Set(value) // never fails
			}
		}
	}
	if len(places) != 2 {
		return usage("STORE and MOUNTPOINT are needed, not %d arguments", len(places))
	}
	cfg.Mountpoint = places[1]
	for _, o := range options {
		mountOption(cfg, &source, o)
	}
	if fake {
		return nil
	}
	return c.startMount(ctx, places[0], cfg, source)
}
