package session

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"salliefs/blockstore"
	"salliefs/fs/fuse"
)

// ErrNoPath says that a command was not told which store it is about.
var ErrNoPath = errors.New("which store? name it with --store PATH or SALLIEFS_STORE")

// Place is a store, and where it was found mounted.
type Place struct {
	Dir   string // absolute, without symbolic links
	Mount string // the mount point that led there; "" for the store's own path
}

// Find finds the store that path names: its own directory, or a mount point. It does not look into the store.
func Find(path string) (Place, error) {
	if path == "" {
		return Place{}, ErrNoPath
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return Place{}, err
	}
	if p, ok := mountedAt(abs); ok {
		return p, nil
	}
	real, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return Place{Dir: abs}, nil // reported by who looks into it
	}
	if p, ok := mountedAt(real); ok {
		return p, nil
	}
	for up := filepath.Dir(real); up != "/"; up = filepath.Dir(up) {
		if _, ok := fuse.Mounted(up); ok {
			return Place{}, fmt.Errorf("%s: %w: it lies in the mount at %s: name that", path, blockstore.ErrNotStore, up)
		}
	}
	if fi, err := os.Stat(real); err == nil && !fi.IsDir() {
		return Place{}, fmt.Errorf("%s: %w: it is not a directory", path, blockstore.ErrNotStore)
	}
	return Place{Dir: real}, nil
}

// mountedAt looks path up in the mount table, without touching what may be a dead mount.
func mountedAt(path string) (Place, bool) {
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(dir, filepath.Base(path))
	}
	source, ok := fuse.Mounted(path)
	return Place{Dir: source, Mount: path}, ok
}

// FindDir is Find for commands that take a store's own directory.
func FindDir(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return abs, nil
	}
	if fi, err := os.Stat(real); err == nil && !fi.IsDir() {
		return "", fmt.Errorf("%s: %w: it is not a directory", path, blockstore.ErrNotStore)
	}
	return real, nil
}
