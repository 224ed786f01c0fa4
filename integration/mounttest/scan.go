package mounttest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Entry is all that a filesystem keeps about one name.
type Entry struct {
	Mode     uint32 // type and permissions as in stat(2)
	UID, GID uint32
	Rdev     uint64 // of device nodes
	Nlink    uint64 // of everything but directories, whose count is each filesystem's own business
	Size     int64  // of files and symbolic links
	Mtime    int64  // ns since 1970
	Target   string // of symbolic links
	Hash     string // SHA-256 of a file's content
	Twin     string // the first path, in order, that is the same inode
	Xattrs   map[string]string
}

// Tree is a directory by relative path; "." is the directory itself.
type Tree map[string]Entry

// Aspect is something that a comparison may leave out.
type Aspect uint

// What Diff can ignore.
const (
	Times     Aspect = 1 << iota // modification times
	TopTime                      // the modification time of "."
	Owners                       // user and group
	Xattrs                       // extended attributes, and with them ACLs
	LinkCount                    // number of names; which names are one inode is still compared
)

// Scan reads a tree with all its contents.
func Scan(t testing.TB, root string) Tree {
	t.Helper()
	tree, err := TryScan(root)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// TryScan is Scan for callers that take an error their own way.
func TryScan(root string) (Tree, error) {
	tree := Tree{}
	first := map[[2]uint64]string{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		e, id, err := read(path)
		if err != nil {
			return fmt.Errorf("%q: %w", rel, err)
		}
		if _, seen := first[id]; !seen {
			first[id] = rel
		}
		e.Twin = first[id]
		tree[rel] = e
		return nil
	})
	return tree, err
}

// read looks at one name. The second result identifies its inode.
func read(path string) (Entry, [2]uint64, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return Entry{}, [2]uint64{}, err
	}
	e := Entry{Mode: st.Mode, UID: st.Uid, GID: st.Gid, Mtime: st.Mtim.Nano()}
	id := [2]uint64{uint64(st.Dev), st.Ino}
	kind := st.Mode & unix.S_IFMT
	if kind != unix.S_IFDIR {
		e.Nlink = uint64(st.Nlink)
	}
	if kind == unix.S_IFCHR || kind == unix.S_IFBLK {
		e.Rdev = uint64(st.Rdev)
	}
	var err error
	switch kind {
	case unix.S_IFREG:
		e.Size = st.Size
		e.Hash, err = hashFile(path, st.Size)
	case unix.S_IFLNK:
		e.Size = st.Size
		e.Target, err = os.Readlink(path)
	}
	if err == nil {
		e.Xattrs, err = xattrs(path)
	}
	return e, id, err
}

// hashFile hashes a file's content and insists that it is as long as stat says.
func hashFile(path string, size int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return "", err
	}
	if n != size {
		return "", fmt.Errorf("stat gives %d bytes, reading %d", size, n)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// xattrs reads the extended attributes of a name, not following a link. ACLs are
// among them.
func xattrs(path string) (map[string]string, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	if errors.Is(err, unix.ENOTSUP) || n == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listxattr: %w", err)
	}
	all := map[string]string{}
	for _, name := range bytes.Split(bytes.TrimRight(buf[:n], "\x00"), []byte{0}) {
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, string(name), value)
		if err != nil {
			return nil, fmt.Errorf("getxattr %s: %w", name, err)
		}
		all[string(name)] = string(value[:n])
	}
	return all, nil
}

// Diff says in what got differs from want, one line each, sorted.
func Diff(want, got Tree, ignore Aspect) []string {
	var lines []string
	for path, w := range want {
		g, ok := got[path]
		if !ok {
			lines = append(lines, fmt.Sprintf("%q is missing", path))
			continue
		}
		for _, d := range diffEntry(path, w, g, ignore) {
			lines = append(lines, fmt.Sprintf("%q: %s", path, d))
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			lines = append(lines, fmt.Sprintf("%q should not be there", path))
		}
	}
	sort.Strings(lines)
	return lines
}

func diffEntry(path string, w, g Entry, ignore Aspect) []string {
	var d []string
	differ := func(what string, w, g any) { d = append(d, fmt.Sprintf("%s %v, want %v", what, g, w)) }
	if w.Mode != g.Mode {
		differ("mode", fmt.Sprintf("%#o", w.Mode), fmt.Sprintf("%#o", g.Mode))
	}
	if ignore&Owners == 0 && (w.UID != g.UID || w.GID != g.GID) {
		differ("owner", [2]uint32{w.UID, w.GID}, [2]uint32{g.UID, g.GID})
	}
	if ignore&Times == 0 && w.Mtime != g.Mtime && (path != "." || ignore&TopTime == 0) {
		differ("mtime", w.Mtime, g.Mtime)
	}
	if ignore&LinkCount == 0 && w.Nlink != g.Nlink {
		differ("links", w.Nlink, g.Nlink)
	}
	if w.Rdev != g.Rdev {
		differ("device", w.Rdev, g.Rdev)
	}
	if w.Size != g.Size {
		differ("size", w.Size, g.Size)
	}
	if w.Target != g.Target {
		differ("target", w.Target, g.Target)
	}
	if w.Hash != g.Hash {
		differ("content", w.Hash, g.Hash)
	}
	if w.Twin != g.Twin {
		differ("same inode as", w.Twin, g.Twin)
	}
	if ignore&Xattrs == 0 && !maps.Equal(w.Xattrs, g.Xattrs) {
		differ("xattrs", printable(w.Xattrs), printable(g.Xattrs))
	}
	return d
}

func printable(x map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(x)) {
		fmt.Fprintf(&b, "%s=%x ", name, x[name])
	}
	return "{" + strings.TrimSpace(b.String()) + "}"
}

// Same fails the test when two trees differ, or when there is nothing to compare.
func Same(t testing.TB, want, got Tree, ignore Aspect) {
	t.Helper()
	if len(want) < 2 {
		t.Fatal("the tree to compare with is empty: nothing is tested")
	}
	lines := Diff(want, got, ignore)
	if len(lines) == 0 {
		return
	}
	const most = 20
	if n := len(lines); n > most {
		lines = append(lines[:most], fmt.Sprintf("… and %d more", n-most))
	}
	t.Fatalf("the trees differ:\n%s", strings.Join(lines, "\n"))
}

// blocks is st_blocks.
func blocks(info os.FileInfo) int64 {
	return info.Sys().(*syscall.Stat_t).Blocks
}
