package blob

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
)

// Put implements Store: a temporary file that is synced, then renamed.
func (l *Local) Put(ctx context.Context, name string, data []byte) error {
	return wrap("put", name, l.put(ctx, name, data, true, l.fs.Rename))
}

// PutNew implements Store. Between processes it is atomic where the filesystem
// has hard links.
func (l *Local) PutNew(ctx context.Context, name string, data []byte) error {
	return wrap("put", name, l.put(ctx, name, data, false, l.linkNew))
}

// put stores data in a temporary file, which place then moves to its name. If
// shared is set, other such calls for the same name may run meanwhile.
func (l *Local) put(ctx context.Context, name string, data []byte, shared bool, place func(from, to string) error) error {
	if err := begin(ctx, name); err != nil {
		return err
	}
	if err := l.names.reserve(name, shared); err != nil {
		return err
	}
	defer l.names.release(name)
	if err := l.ensureDir(name); err != nil {
		return err
	}
	path := l.path(name)
	dir := l.fs.PathDir(path)
	temp := l.fs.PathJoin(dir, tempPrefix+rand.Text())
	f, err := l.fs.Create(temp, writeCategory)
	if err != nil {
		return err
	}
	if err = WriteSynced(f, data); err == nil {
		err = place(temp, path)
	}
	if err != nil {
		_ = l.fs.Remove(temp) // else Clean does it
		return err
	}
	return SyncDir(l.fs, dir)
}

// linkNew moves file from to path to unless to exists.
func (l *Local) linkNew(from, to string) error {
	err := l.fs.Link(from, to)
	if err == nil {
		return l.fs.Remove(from)
	}
	if errors.Is(err, ErrExist) {
		return ErrExist
	}
	// No hard links here: look, then rename.
	switch _, err := l.fs.Stat(to); {
	case err == nil:
		return ErrExist
	case !errors.Is(err, ErrNotExist):
		return err
	}
	return l.fs.Rename(from, to)
}

// Clean removes temporary files that a crash has left. No other process may be
// writing to the directory, and no Put may be running.
func (l *Local) Clean(ctx context.Context) error {
	return wrap("clean", "", l.clean(ctx, l.dir))
}

func (l *Local) clean(ctx context.Context, dir string) error {
	names, err := l.fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		path := l.fs.PathJoin(dir, name)
		if strings.HasPrefix(name, tempPrefix) {
			if err := ignore(l.fs.Remove(path), ErrNotExist); err != nil {
				return err
			}
			continue
		}
		if !validPart(name) {
			continue
		}
		info, err := l.fs.Stat(path)
		if err != nil {
			return err
		}
		if info.IsDir() {
			if err := l.clean(ctx, path); err != nil {
				return err
			}
		}
	}
	return nil
}
