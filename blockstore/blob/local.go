package blob

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// tempPrefix starts the names of temporary files. No object's name does.
const tempPrefix = ".tmp."

// writeCategory is what Pebble's disk statistics file our writes under.
const writeCategory vfs.DiskWriteCategory = "salliefs-blob"

// DefaultWriteback is how much a Writer writes before it starts writeback, in
// bytes.
const DefaultWriteback = 1 << 20

// LocalOptions are options of a Local. The zero value is good.
type LocalOptions struct {
	// Writeback is after how many bytes a Writer asks the system to start
	// writing to disk, so that Sync finds most of it done. 0 means
	// DefaultWriteback, below 0 means never.
	Writeback int64
}

// Local keeps objects as files of one directory, those with "/" in their names
// in directories below it. It is safe for concurrent use. One process at a time
// may write to it, see the package documentation; the owner of the store holds
// the lock for that.
type Local struct {
	fs        vfs.FS
	dir       string
	writeback atomic.Int64 // 0 when writeback is not to be started

	names reservations // of what is being written

	mu     sync.Mutex
	synced map[string]bool // directories that are known to be durable
}

var _ Store = (*Local)(nil)

// OpenLocal opens the store in directory dir of fs, which must exist.
func OpenLocal(fs vfs.FS, dir string, o LocalOptions) (*Local, error) {
	switch info, err := fs.Stat(dir); {
	case err != nil:
		return nil, fmt.Errorf("open object directory %q: %w", dir, err)
	case !info.IsDir():
		return nil, fmt.Errorf("open object directory %q: not a directory", dir)
	}
	l := &Local{fs: fs, dir: dir, synced: map[string]bool{dir: true}}
	switch {
	case o.Writeback == 0:
		l.writeback.Store(DefaultWriteback)
	case o.Writeback > 0:
		l.writeback.Store(o.Writeback)
	}
	return l, nil
}

// CreateLocal makes directory dir of fs, whose parent must exist, durably if it
// is not there, and opens the store in it.
func CreateLocal(fs vfs.FS, dir string, o LocalOptions) (*Local, error) {
	_, err := fs.Stat(fs.PathDir(dir))
	if err == nil {
		err = fs.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = SyncDir(fs, fs.PathDir(dir))
	}
	if err != nil {
		return nil, fmt.Errorf("create object directory %q: %w", dir, err)
	}
	return OpenLocal(fs, dir, o)
}

// Open implements Store. An object whose Writer is open can be opened.
func (l *Local) Open(ctx context.Context, name string) (Reader, error) {
	if err := begin(ctx, name); err != nil {
		return nil, wrap("open", name, err)
	}
	f, err := l.fs.Open(l.path(name))
	if err != nil {
		return nil, wrap("open", name, err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = ErrNotExist
	}
	if err != nil {
		return nil, wrap("open", name, errors.Join(err, f.Close()))
	}
	return &localReader{localFile{name: name, f: f}, info.Size()}, nil
}

// Stat implements Store.
func (l *Local) Stat(ctx context.Context, name string) (Info, error) {
	if err := begin(ctx, name); err != nil {
		return Info{}, wrap("stat", name, err)
	}
	info, err := l.fs.Stat(l.path(name))
	if err == nil && info.IsDir() {
		err = ErrNotExist
	}
	if err != nil {
		return Info{}, wrap("stat", name, err)
	}
	return Info{Name: name, Size: info.Size()}, nil
}

// Remove implements Store. Readers that are open go on.
func (l *Local) Remove(ctx context.Context, names ...string) error {
	var first error
	keep := func(name string, err error) {
		if first == nil {
			first = wrap("remove", name, err)
		}
	}
	dirs := map[string]string{} // directory → a name removed from it
	for _, name := range names {
		if err := begin(ctx, name); err != nil {
			keep(name, err)
			continue
		}
		if err := ignore(l.removeFile(name), ErrNotExist); err != nil {
			keep(name, err)
			continue
		}
		// Also for what was gone already: an earlier Remove may have failed
		// between the removal and the sync.
		dirs[l.fs.PathDir(l.path(name))] = name
	}
	for dir, name := range dirs {
		keep(name, ignore(SyncDir(l.fs, dir), ErrNotExist))
	}
	return first
}

// removeFile removes an object's file, but no directory of that name.
func (l *Local) removeFile(name string) error {
	if info, err := l.fs.Stat(l.path(name)); err != nil || info.IsDir() {
		return err
	}
	return l.fs.Remove(l.path(name))
}

// List implements Store. Files and directories whose names no object can have
// (temporary files, lost+found) are passed over.
func (l *Local) List(ctx context.Context, prefix string, fn func(Info) error) error {
	var infos []Info
	if err := l.collect(ctx, "", prefix, &infos); err != nil {
		return wrap("list", prefix, err)
	}
	slices.SortFunc(infos, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	for _, info := range infos {
		if err := ctx.Err(); err != nil {
			return wrap("list", prefix, err)
		}
		if err := fn(info); err != nil {
			return err
		}
	}
	return nil
}

// collect appends to infos the objects below parent, "" or a name with "/"
// behind it, that start with prefix.
func (l *Local) collect(ctx context.Context, parent, prefix string, infos *[]Info) error {
	names, err := l.fs.List(l.path(parent))
	if err != nil {
		return ignore(err, ErrNotExist)
	}
	for _, base := range names {
		name := parent + base
		if CheckName(name) != nil || !overlap(name, prefix) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		info, err := l.fs.Stat(l.path(name))
		switch {
		case err != nil:
			err = ignore(err, ErrNotExist) // removed since it was listed
		case info.IsDir():
			err = l.collect(ctx, name+"/", prefix, infos)
		case strings.HasPrefix(name, prefix):
			*infos = append(*infos, Info{Name: name, Size: info.Size()})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// overlap says whether one of a and b starts with the other.
func overlap(a, b string) bool {
	n := min(len(a), len(b))
	return a[:n] == b[:n]
}

func (l *Local) path(name string) string {
	return l.fs.PathJoin(append([]string{l.dir}, strings.Split(name, "/")...)...)
}

// ensureDir makes the directory that is to hold name, and makes it durable:
// each directory on the way is synced into its parent.
func (l *Local) ensureDir(name string) error {
	parts := strings.Split(name, "/")
	parent := l.dir
	for _, part := range parts[:len(parts)-1] {
		dir := l.fs.PathJoin(parent, part)
		if err := l.ensureOne(parent, dir); err != nil {
			return err
		}
		parent = dir
	}
	return nil
}

func (l *Local) ensureOne(parent, dir string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.synced[dir] {
		return nil
	}
	if err := l.fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := SyncDir(l.fs, parent); err != nil {
		return err
	}
	l.synced[dir] = true
	return nil
}

// begin is the check that each operation starts with.
func begin(ctx context.Context, name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	return ctx.Err()
}

// ignore returns nil for err if it is target.
func ignore(err, target error) error {
	if errors.Is(err, target) {
		return nil
	}
	return err
}
