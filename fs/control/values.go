package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"salliefs/fs"
)

// place is where a path leads: a namespace and a path below it.
type place struct{ ns, key string }

func (p place) String() string {
	switch {
	case p.key == "":
		return p.ns
	case p.ns == "":
		return p.key
	}
	return p.ns + "/" + p.key
}

// locate splits a path. Slashes at its ends do not matter; a first part that is no namespace is a file at the root.
func (l *Local) locate(path string) (place, error) {
	path = strings.Trim(path, "/")
	if path == "" {
		return place{}, nil
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsRune(part, 0) {
			return place{}, fmt.Errorf("path %q: %w: parts may not be empty, \".\" or \"..\"", path, fs.ErrInvalid)
		}
	}
	ns, key, deep := strings.Cut(path, "/")
	_, err := l.find(ns)
	switch {
	case err == nil:
		return place{ns, key}, nil
	case !errors.Is(err, fs.ErrNotExist):
		return place{}, err
	case deep:
		return place{}, err
	}
	return place{"", ns}, nil
}

// Get implements Target.
func (l *Local) Get(ctx context.Context, path string, begin func(Entry) error, w io.Writer) error {
	p, err := l.locate(path)
	if err != nil {
		return err
	}
	l.catchUp()
	a, err := l.stat(p)
	if err != nil {
		return err
	}
	switch {
	case a.IsDir():
		return fmt.Errorf("%s: %w", p, fs.ErrIsDir)
	case !a.IsRegular():
		return fmt.Errorf("%s: a %s has no value: %w", p, typeName(a.Mode), fs.ErrInvalid)
	}
	// What is open can be removed and replaced; the reference keeps what was found.
	l.o.Tree.Ref(a.Ino)
	defer l.o.Tree.Unref(a.Ino, 1)
	if err := begin(l.entry(p, a)); err != nil {
		return err
	}
	buf := make([]byte, chunkSize)
	for off := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := l.o.Tree.ReadAt(a.Ino, buf, off)
		if err != nil && !errors.Is(err, io.EOF) {
			return at(p.String(), err)
		}
		if n == 0 {
			return nil
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		off += int64(n)
	}
}

// Set implements Target.
func (l *Local) Set(ctx context.Context, path string, r io.Reader) (Entry, error) {
	p, err := l.locate(path)
	if err != nil {
		return Entry{}, err
	}
	if p.key == "" {
		return Entry{}, fmt.Errorf("%q is a namespace: a key is NAMESPACE/KEY: %w", path, fs.ErrIsDir)
	}
	if err := l.o.Tree.SetKeyFrom(p.ns, p.key, newReaderWith(ctx, r), l.o.Cred); err != nil {
		return Entry{}, at(p.String(), err)
	}
	a, err := l.stat(p)
	if err != nil {
		return Entry{}, err
	}
	return l.entry(p, a), l.settle()
}

// readerWith ends reading with the context, even a read that waits for someone to type.
type readerWith struct {
	ctx  context.Context
	r    io.Reader
	done chan readResult // with room for one
	buf  []byte          // what the reader in the background fills
}

type readResult struct {
	n   int
	err error
}

func newReaderWith(ctx context.Context, r io.Reader) *readerWith {
	return &readerWith{ctx: ctx, r: r, done: make(chan readResult, 1)}
}

func (r *readerWith) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	if len(r.buf) < len(p) {
		r.buf = make([]byte, len(p))
	}
	into := r.buf[:len(p)]
	go func() {
		n, err := r.r.Read(into)
		r.done <- readResult{n, err}
	}()
	select {
	case got := <-r.done:
		return copy(p, into[:got.n]), got.err
	case <-r.ctx.Done(): // into is left to the reader in the background, and no Read follows
		return 0, r.ctx.Err()
	}
}

// Remove implements Target.
func (l *Local) Remove(ctx context.Context, path string, o RemoveOptions) (Removed, error) {
	p, err := l.locate(path)
	if err != nil {
		return Removed{}, err
	}
	if p.key == "" {
		return Removed{}, fmt.Errorf("%q is a namespace: it is removed by ns remove: %w", path, fs.ErrIsDir)
	}
	a, err := l.stat(p)
	if err != nil {
		return Removed{}, err
	}
	if a.IsDir() && !o.Force {
		full := false
		err := l.o.Tree.ListKeys(p.ns, p.key, func(fs.KeyInfo) bool { full = true; return false })
		if err == nil && full {
			err = fs.ErrNotEmpty
		}
		if err != nil {
			return Removed{}, at(p.String(), err)
		}
	}
	r := removal{l: l, ctx: ctx, ns: p.ns, dry: o.DryRun}
	err = r.tree(fs.KeyInfo{Path: p.key, Attr: a})
	if !o.DryRun {
		err = errors.Join(err, l.settle()) // what was removed before an error stays removed, so that it is settled as well
	}
	if err != nil {
		return Removed{}, err
	}
	return r.sum, nil
}

// removal removes keys with all that is in them, directory by directory, so that it needs to know the names of few.
type removal struct {
	l   *Local
	ctx context.Context
	ns  string
	dry bool // only count
	sum Removed
}

// tree removes a key after what is in it.
func (r *removal) tree(k fs.KeyInfo) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	tree, where := r.l.o.Tree, place{r.ns, k.Path}.String()
	if k.Attr.IsDir() {
		var failed error
		err := tree.ListKeys(r.ns, k.Path, func(below fs.KeyInfo) bool {
			failed = r.tree(below)
			return failed == nil
		})
		if failed != nil {
			return failed
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return at(where, err)
		}
	}
	if !r.dry {
		err := tree.RemoveKey(r.ns, k.Path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return at(where, err)
		}
	}
	r.sum.Files++
	if k.Attr.IsRegular() {
		r.sum.LogicalBytes += k.Attr.Size
	}
	return nil
}

// List implements Target.
func (l *Local) List(ctx context.Context, path string, recursive bool, report func(Entry) error) error {
	l.catchUp()
	return l.list(ctx, path, recursive, report)
}

func (l *Local) list(ctx context.Context, path string, recursive bool, report func(Entry) error) error {
	p, err := l.locate(path)
	if err != nil {
		return err
	}
	a, err := l.stat(p)
	if err != nil {
		return err
	}
	if !a.IsDir() {
		return report(l.entry(p, a))
	}
	each := func(k fs.KeyInfo) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if k.Path == p.key {
			return nil
		}
		if err := report(l.entry(place{p.ns, k.Path}, k.Attr)); err != nil {
			return err
		}
		if recursive && p.ns == "" && k.Attr.IsDir() { // a namespace, into which Walk does not go from the root
			return l.list(ctx, k.Path, true, report)
		}
		return nil
	}
	if recursive {
		return l.o.Tree.Walk(p.ns, p.key, each)
	}
	var failed error
	err = l.o.Tree.ListKeys(p.ns, p.key, func(k fs.KeyInfo) bool {
		failed = each(k)
		return failed == nil
	})
	if failed != nil {
		return failed
	}
	return err
}

func (l *Local) stat(p place) (fs.Attr, error) {
	a, err := l.o.Tree.StatKey(p.ns, p.key)
	if err != nil {
		return a, at(p.String(), err)
	}
	return a, nil
}

// at says what an error is about, in the words of the caller rather than in those of package fs.
func at(what string, err error) error {
	var e *fs.Error
	if errors.As(err, &e) && error(e) == err {
		err = e.Err
	}
	return fmt.Errorf("%s: %w", what, err)
}

func (l *Local) entry(p place, a fs.Attr) Entry {
	e := Entry{
		Path: Name(p.String()), Type: typeName(a.Mode), Mode: a.Mode &^ fs.ModeType,
		UID: a.UID, GID: a.GID, Size: a.Size, Modified: time.Unix(0, a.Mtime),
	}
	if a.Mode&fs.ModeType == fs.ModeSymlink {
		if target, err := l.o.Tree.Readlink(a.Ino); err == nil {
			e.Target = Name(target)
		}
	}
	return e
}

func typeName(mode uint32) string {
	switch mode & fs.ModeType {
	case fs.ModeRegular:
		return "file"
	case fs.ModeDir:
		return "dir"
	case fs.ModeSymlink:
		return "symlink"
	case fs.ModeFIFO:
		return "fifo"
	case fs.ModeSocket:
		return "socket"
	case fs.ModeChar:
		return "char"
	case fs.ModeBlock:
		return "block"
	}
	return "unknown"
}
