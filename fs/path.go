package fs

import (
	"errors"
	"strings"

	"salliefs/blockstore"
)

// checkName refuses what can not be the name of a directory entry.
func checkName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return ErrInvalid
	case len(name) > MaxName:
		return ErrNameTooLong
	case strings.IndexByte(name, '/') >= 0 || strings.IndexByte(name, 0) >= 0:
		return ErrInvalid
	}
	return nil
}

// inodeError says which inode the store failed on. It reads records without any locks, as the caller may hold some.
func (f *FS) inodeError(op string, key Ino, err error) error {
	ns, path := f.pathOf(key)
	return &Error{Op: op, Namespace: ns, Path: path, Ino: key, Err: err}
}

// maxDepth ends walks that damaged records would make endless.
const maxDepth = 4096

// pathOf finds a name of an inode, for messages: "" if it has none, or none that can be found.
func (f *FS) pathOf(ino Ino) (ns, path string) {
	d, _ := f.st.NamespaceByID(ino.Namespace())
	var parts []string
	for range maxDepth {
		if ino.Number() == 1 {
			return d.Name, strings.Join(parts, "/")
		}
		name, parent := f.nameOf(ino)
		if name == "" {
			return d.Name, ""
		}
		parts = append([]string{name}, parts...)
		ino = parent
	}
	return d.Name, ""
}

// nameOf finds the name of an inode in the directory that it was last linked into.
func (f *FS) nameOf(ino Ino) (name string, parent Ino) {
	value, err := f.st.Get(blockstore.Key{Ino: ino, Kind: kindInode})
	if err != nil {
		return "", 0
	}
	var rec inodeRec
	if _, err := decodeInode(value, &rec, nil); err != nil {
		return "", 0
	}
	parent = blockstore.MakeIno(ino.Namespace(), rec.parent)
	err = f.st.Scan(blockstore.Live, parent, kindDirent, 0, func(_ uint64, value []byte) bool {
		err := eachDirent(value, func(e dirent, n []byte, _, _ int) {
			if e.n == ino.Number() {
				name = string(n)
			}
		})
		return err == nil && name == ""
	})
	if err != nil {
		return "", 0
	}
	return name, parent
}

// resolve finds the directory entry that a path names, below the top directory of a namespace; name is "" for that
// directory itself.
func (f *FS) resolve(ns, path string) (dir Ino, name string, err error) {
	dir = RootIno
	if ns != "" {
		d, ok := f.findSpace(ns)
		if !ok {
			return 0, "", &Error{Op: "open", Namespace: ns, Err: errNoNamespace}
		}
		dir = blockstore.MakeIno(d.ID, 1)
	}
	parts := splitPath(path)
	if len(parts) == 0 {
		return dir, "", nil
	}
	for _, p := range parts[:len(parts)-1] {
		a, err := f.Lookup(dir, p)
		if err == nil && !a.IsDir() {
			err = ErrNotDir
		}
		if err != nil {
			return 0, "", &Error{Op: "open", Namespace: ns, Path: path, Err: err}
		}
		dir = a.Ino
	}
	return dir, parts[len(parts)-1], nil
}

// errNoNamespace is ErrNotExist in other words.
var errNoNamespace error = noNamespace{}

type noNamespace struct{}

func (noNamespace) Error() string        { return "no such namespace" }
func (noNamespace) Is(target error) bool { return target == ErrNotExist }

// splitPath cuts a path at its slashes; empty parts do not count.
func splitPath(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

// keyError says which key an operation failed on.
func keyError(op, ns, path string, err error) error {
	var e *Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return &Error{Op: op, Namespace: ns, Path: strings.Trim(path, "/"), Err: err}
}
