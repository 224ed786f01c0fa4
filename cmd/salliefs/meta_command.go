package main

import (
	"embed"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"salliefs/blockstore"
)

// release is set when a release is built (-ldflags "-X main.release=…").
var release string

//go:embed completion
var completions embed.FS

func (c *console) metaCommands() []*cli.Command {
	return []*cli.Command{
		{
			Name: "version", Usage: "show the version of this program and of the format that it writes",
			Flags: []cli.Flag{jsonFlag()}, Action: c.version,
		}, {
			Name: "completion", Usage: "print a completion script for a shell", ArgsUsage: "bash|zsh|fish",
			Description: "bash: source <(salliefs completion bash)\nzsh:  salliefs completion zsh > \"${fpath[1]}/_salliefs\"\nfish: salliefs completion fish > ~/.config/fish/completions/salliefs.fish",
			Action:      c.completion,
		},
	}
}

// version is that of a release, or what the Go tool knows of the source.
func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

// versions is what version prints as JSON.
type versions struct {
	Version string `json:"version"`
	Format  int    `json:"format"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func (c *console) version(ctx *cli.Context) error {
	if _, err := c.arguments(ctx, 0, 0, ""); err != nil {
		return err
	}
	v := versions{Version: version(), Format: blockstore.FormatVersion, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if ctx.Bool("json") {
		return c.printJSON(v)
	}
	_, err := fmt.Fprintf(c.stdout, "salliefs %s, format %d, %s, %s/%s\n", v.Version, v.Format, v.Go, v.OS, v.Arch)
	return err
}

func (c *console) completion(ctx *cli.Context) error {
	args, err := c.arguments(ctx, 1, 1, "bash|zsh|fish")
	if err != nil {
		return err
	}
	script, err := completions.ReadFile("completion/salliefs." + args[0])
	if err != nil {
		return usage("there is no completion for %q; it is for bash, zsh, fish", args[0])
	}
	_, err = c.stdout.Write(script)
	return err
}
