package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore"
	"salliefs/cmd/salliefs/internal/session"
	"salliefs/fs/control"
	"salliefs/fs/fuse"
)

// ErrInside says that a store and its mount point lie in each other: the daemon would wait for itself.
var ErrInside = errors.New("the store and the mount point lie in each other: choose a mount point elsewhere")

// ErrLogInside says that the mount would hide the daemon's log.
var ErrLogInside = errors.New("the log file lies in the mount point, which would hide it: choose another place for it")

// Config is what a daemon is told.
type Config struct {
	Store      string `json:"store"`
	Mountpoint string `json:"mountpoint"`
	Passphrase []byte `json:"passphrase"`

	AllowOther bool     `json:"allow_other,omitempty"`
	ReadOnly   bool     `json:"read_only,omitempty"`
	NoAtime    bool     `json:"noatime,omitempty"`
	ACL        bool     `json:"acl,omitempty"`
	NoXattr    bool     `json:"noxattr,omitempty"`
	Debug      bool     `json:"debug,omitempty"`
	Extra      []string `json:"extra,omitempty"` // for fuse.Options

	LogFile    string `json:"log_file,omitempty"` // "": the system's log; in front, standard error
	Foreground bool   `json:"foreground,omitempty"`
}

// Prepare makes the paths absolute and says whether the mount could work, as far as that can be told without the
// passphrase. It waits for a command that has the store open.
func (c *Config) Prepare(ctx context.Context) error {
	var err error
	if c.LogFile != "" {
		if c.LogFile, err = filepath.Abs(c.LogFile); err != nil {
			return err
		}
	}
	err = session.Patiently(ctx, func() error {
		h, err := blockstore.Inspect(vfs.Default, c.Store)
		if err == nil && h.Holder != nil {
			err = &blockstore.InUseError{Dir: c.Store, Holder: *h.Holder}
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := fuse.CheckMountpoint(c.Mountpoint, c.Extra...); err != nil {
		return err
	}
	if c.Mountpoint, err = realPath(c.Mountpoint); err != nil {
		return err
	}
	if within(c.Store, c.Mountpoint) || within(c.Mountpoint, c.Store) {
		return fmt.Errorf("%s, %s: %w", c.Store, c.Mountpoint, ErrInside)
	}
	if c.LogFile == "" {
		return nil
	}
	log, err := realPath(c.LogFile)
	if errors.Is(err, os.ErrNotExist) { // it is still to be made
		log, err = realPath(filepath.Dir(c.LogFile))
	}
	if err != nil {
		return fmt.Errorf("log file: %w", err)
	}
	if within(log, c.Mountpoint) {
		return fmt.Errorf("%s: %w", c.LogFile, ErrLogInside)
	}
	return nil
}

func realPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// onWire is a Config in JSON, with paths that need not be UTF-8.
type onWire struct {
	*Config
	Store      control.Name `json:"store"`
	Mountpoint control.Name `json:"mountpoint"`
	LogFile    control.Name `json:"log_file"`
}

// writeConfig sends c and clears the passphrase.
func writeConfig(w io.Writer, c *Config) error {
	b, err := json.Marshal(onWire{c, control.Name(c.Store), control.Name(c.Mountpoint), control.Name(c.LogFile)})
	clear(c.Passphrase)
	if err != nil {
		return err
	}
	defer clear(b)
	_, err = w.Write(b)
	return err
}

// ReadConfig reads what Start or Exec sent, from the file descriptor that they sent it to.
func ReadConfig() (*Config, error) {
	f := os.NewFile(configFD, "config")
	defer f.Close()
	const most = 1 << 20
	b, err := io.ReadAll(io.LimitReader(f, most))
	defer clear(b)
	if err != nil {
		return nil, errNotStarted
	}
	w := onWire{Config: new(Config)}
	if json.Unmarshal(b, &w) != nil { // its error could quote the passphrase
		return nil, errNotStarted
	}
	w.Config.Store, w.Config.Mountpoint, w.Config.LogFile = string(w.Store), string(w.Mountpoint), string(w.LogFile)
	return w.Config, nil
}

var errNotStarted = errors.New("this command is for salliefs mount to run, not for people")
