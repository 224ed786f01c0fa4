package fs

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"salliefs/blockstore"
)

func TestNamespaces(t *testing.T) {
	w := newWorld(t, Options{RootUID: 7, RootGID: 8})
	if a := w.attr(RootIno); a.UID != 7 || a.GID != 8 || a.Mode != ModeDir|0o755 || a.Nlink != 2 {
		t.Errorf("root %+v", a)
	}
	since := w.clock.ns.Load()
	a, err := w.Mkdir(RootIno, "prefs", 0o777, Cred{UID: 1, GID: 2, Umask: 0o027})
	must(t, err)
	if a.UID != 1 || a.GID != 2 || a.Mode != ModeDir|0o750 || a.Nlink != 2 || a.Ino.Number() != 1 {
		t.Errorf("%+v", a)
	}
	must(t, w.CreateNamespace("models", NamespaceSettings{Compression: blockstore.CodecZstd, Quota: 1 << 30}, Cred{}))
	root := w.attr(RootIno)
	if root.Nlink != 4 || root.Mtime <= since || root.Ctime <= since {
		t.Errorf("root %+v", root)
	}
	f := w.file(RootIno, "file")
	for name, want := range map[string]error{"prefs": ErrExist, "file": ErrExist, SnapshotDir: ErrExist, hiddenPrefix + "x": ErrInvalid} {
		_, err := w.Mkdir(RootIno, name, 0o755, Cred{})
		wantErr(t, err, want)
		_, err = w.Mknod(RootIno, name, ModeRegular, 0, Cred{})
		wantErr(t, err, want)
		_, err = w.Link(f, RootIno, name)
		wantErr(t, err, want)
		wantErr(t, w.CreateNamespace(name, NamespaceSettings{}, Cred{}), want)
		_, err = w.Lookup(RootIno, name)
		if found := err == nil; found != (want == ErrExist) {
			t.Errorf("%s: found %v, and made with %v", name, found, want)
		}
	}
	wantErr(t, w.Unlink(RootIno, "prefs"), ErrIsDir)
	wantErr(t, w.Rmdir(RootIno, "file"), ErrNotDir)
	wantErr(t, w.Rmdir(RootIno, "none"), ErrNotExist)
	wantErr(t, w.Rmdir(RootIno, SnapshotDir), ErrPerm)
	wantErr(t, w.CreateNamespace("a/b", NamespaceSettings{}, Cred{}), ErrInvalid)
	wantErr(t, w.CreateNamespace("bad", NamespaceSettings{BlockSize: 5}, Cred{}), ErrInvalid)
	wantErr(t, w.SetNamespace("none", NamespaceSettings{}), ErrNotExist)
	wantErr(t, w.SetNamespace("prefs", NamespaceSettings{BlockSize: 5}), ErrInvalid)
	w.file(a.Ino, "key")
	wantErr(t, w.Rmdir(RootIno, "prefs"), ErrNotEmpty)
	wantErr(t, w.RemoveNamespace("prefs", false), ErrNotEmpty)
	w.remount()
	got := w.names(RootIno)
	slices.Sort(got)
	if !slices.Equal(got, []string{".", "..", "file", "models", "prefs"}) {
		t.Errorf("%q", got)
	}
	w.check()
	must(t, w.RemoveNamespace("prefs", true))
	_, err = w.GetAttr(a.Ino)
	wantErr(t, err, ErrNotExist)
	wantErr(t, w.RemoveNamespace("prefs", true), ErrNotExist)
	if w.attr(RootIno).Nlink != 3 {
		t.Errorf("nlink %d", w.attr(RootIno).Nlink)
	}
	w.check()
	w.remount()
	d, err := w.NamespaceStats("models")
	must(t, err)
	if d.Settings.Compression != blockstore.CodecZstd || d.Settings.Quota != 1<<30 || len(w.Namespaces()) != 2 {
		t.Errorf("%+v, %d namespaces", d, len(w.Namespaces()))
	}
}

// TestRemovedNamespacesAreForgotten makes and removes more namespaces than are remembered. A snapshot still sees its own.
func TestRemovedNamespacesAreForgotten(t *testing.T) {
	w := newWorld(t, Options{})
	kept := w.ns("kept")
	f := w.file(kept, "f")
	w.write(f, 0, "old")
	must(t, w.Sync())
	_, err := w.Snapshot("s")
	must(t, err)
	must(t, w.RemoveNamespace("kept", true))
	for i := range 3 * leastSpaces {
		name := fmt.Sprint(i)
		w.file(w.ns(name), "f")
		must(t, w.RemoveNamespace(name, true))
	}
	if n := len(w.spaces.m); n > leastSpaces {
		t.Errorf("%d namespaces are remembered", n)
	}
	_, err = w.GetAttr(f)
	wantErr(t, err, ErrNotExist)
	a, err := w.Lookup(RootIno, SnapshotDir)
	must(t, err)
	for _, name := range []string{"s", "kept", "f"} {
		a, err = w.Lookup(a.Ino, name)
		must(t, err)
	}
	if got := w.read(a.Ino); got != "old" {
		t.Errorf("in the snapshot: %q", got)
	}
	w.check()
}

// TestReplaceNamespaceInOneStep looks at the new name each time that the clock is asked.
func TestReplaceNamespaceInOneStep(t *testing.T) {
	for _, open := range []bool{false, true} { // a file of the namespace that is replaced
		w := newWorld(t, Options{})
		a, b := w.ns("a"), w.ns("b")
		f := w.file(b, "f")
		if open {
			w.Ref(f)
		}
		must(t, w.Unlink(b, "f"))
		ask := w.FS.clock
		w.FS.clock = func() time.Time {
			if _, ok := w.st.NamespaceByName("b"); !ok {
				t.Errorf("open %v: for a moment there was no b", open)
			}
			return ask()
		}
		must(t, w.Rename(RootIno, "a", RootIno, "b", 0))
		w.FS.clock = ask
		for range 2 {
			got, err := w.Lookup(RootIno, "b")
			must(t, err)
			if list := w.names(RootIno); got.Ino != a || len(list) != 3 || w.attr(RootIno).Nlink != 3 {
				t.Errorf("open %v: b is %d, want %d; %q", open, got.Ino, a, list)
			}
			if open {
				w.write(f, 0, "still there")
				w.Unref(f, 1)
			}
			if n := len(w.st.Namespaces()); n != 2 {
				t.Errorf("open %v: %d namespaces in the store", open, n)
			}
			w.check()
			w.remount()
			open = false
		}
	}
}

// TestNamespacesInherit makes namespaces in a root directory that hands something down, as any directory does.
func TestNamespacesInherit(t *testing.T) {
	w := newWorld(t, Options{ACL: true})
	_, err := w.SetAttr(RootIno, SetAttr{Valid: SetMode | SetGID, Mode: 0o755 | ModeSetGID, GID: 50})
	must(t, err)
	c := Cred{UID: 1, GID: 2, Umask: 0o027}
	a, err := w.Mkdir(RootIno, "group", 0o777, c)
	must(t, err)
	if a.Mode != ModeDir|ModeSetGID|0o750 || a.UID != 1 || a.GID != 50 {
		t.Errorf("%+v", a)
	}
	acl := encodeACL([]aclEntry{{aclUserObj, 7, 0}, {aclUser, 7, 1000}, {aclGroupObj, 5, 0}, {aclMask, 7, 0}, {aclOther, 0, 0}})
	must(t, w.SetXattr(RootIno, xattrDefaultACL, acl, 0))
	_, err = w.Mkdir(RootIno, "made", 0o777, c)
	must(t, err)
	must(t, w.CreateNamespace("created", NamespaceSettings{}, c))
	w.remount()
	want := encodeACL([]aclEntry{{aclUserObj, 7, 0}, {aclUser, 7, 1000}, {aclGroupObj, 5, 0}, {aclMask, 5, 0}, {aclOther, 0, 0}})
	for name, access := range map[string][]byte{"made": acl, "created": want} {
		a, err := w.Lookup(RootIno, name)
		must(t, err)
		if got := w.xattr(a.Ino, xattrDefaultACL); got != string(acl) {
			t.Errorf("%s: default ACL %x, want %x", name, got, acl)
		}
		if got := w.xattr(a.Ino, xattrACL); got != string(access) || a.GID != 50 {
			t.Errorf("%s: ACL %x, want %x; group %d", name, got, access, a.GID)
		}
	}
	w.check()
}

func TestRenameNamespaces(t *testing.T) {
	w := newWorld(t, Options{})
	a, b := w.ns("a"), w.ns("b")
	f := w.file(a, "f")
	w.file(RootIno, "file")
	d := w.dir(a, "d")
	for _, c := range []struct {
		from  Ino
		old   string
		to    Ino
		name  string
		flags uint32
		want  error
	}{
		{RootIno, "a", b, "a", 0, ErrXDev}, {a, "d", RootIno, "d", 0, ErrXDev}, {a, "f", RootIno, "f", 0, ErrXDev}, {a, "f", b, "f", 0, ErrXDev},
		{RootIno, "file", a, "file", 0, ErrXDev}, {a, "none", b, "f", 0, ErrNotExist}, {RootIno, "a", RootIno, "file", 0, ErrNotDir},
		{RootIno, "file", RootIno, "a", 0, ErrIsDir}, {RootIno, "b", RootIno, "a", 0, ErrNotEmpty}, {RootIno, "b", RootIno, "a", RenameNoReplace, ErrExist},
		{RootIno, "none", RootIno, "a", 0, ErrNotExist}, {RootIno, "file", RootIno, "a", RenameExchange, ErrInvalid},
		{RootIno, "a", RootIno, "file", RenameExchange, ErrInvalid}, {RootIno, "a", RootIno, "none", RenameExchange, ErrNotExist},
		{RootIno, "a", RootIno, SnapshotDir, 0, ErrPerm}, {RootIno, SnapshotDir, RootIno, "x", 0, ErrPerm}, {RootIno, "a", RootIno, "a", 0, nil},
		{RootIno, "a", RootIno, "c", RenameNoReplace, nil}, {RootIno, "c", RootIno, "b", 0, nil},
	} {
		if err := w.Rename(c.from, c.old, c.to, c.name, c.flags); c.want == nil && err != nil || c.want != nil {
			wantErr(t, err, c.want)
		}
	}
	check := func(name string, ino Ino) {
		t.Helper()
		got, err := w.Lookup(RootIno, name)
		if err != nil || got.Ino != ino {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	check("b", a)
	_, err := w.GetAttr(b) // it was empty, and replaced
	wantErr(t, err, ErrNotExist)
	c := w.ns("c")
	must(t, w.Rename(RootIno, "b", RootIno, "c", RenameExchange))
	check("b", c)
	check("c", a)
	w.remount()
	check("b", c)
	check("c", a)
	w.read(f)
	w.attr(d)
	must(t, w.RenameNamespace("c", "again"))
	wantErr(t, w.RenameNamespace("c", "b"), ErrNotExist)
	wantErr(t, w.RenameNamespace("again", "b"), ErrExist)
	check("again", a)
	w.check()
}

func TestSnapshots(t *testing.T) {
	w := newWorld(t, Options{})
	ns := w.ns("n")
	gone := w.ns("gone")
	w.file(gone, "in gone")
	f := w.file(ns, "f")
	w.write(f, 0, "before")
	w.write(f, 1<<20, "far")
	must(t, w.SetXattr(f, "user.a", []byte("before"), 0))
	d := w.dir(ns, "d")
	w.file(d, "x")
	long := strings.Repeat("t", 1000)
	_, err := w.Symlink(ns, "l", long, Cred{})
	must(t, err)
	w.file(RootIno, "root file")
	_, err = w.Snapshot("first")
	must(t, err)
	_, err = w.Snapshot("first")
	wantErr(t, err, ErrExist)
	w.write(f, 0, "AFTER!")
	must(t, w.SetXattr(f, "user.a", []byte("after"), 0))
	must(t, w.Unlink(d, "x"))
	must(t, w.Unlink(ns, "l"))
	must(t, w.Unlink(RootIno, "root file"))
	must(t, w.RemoveNamespace("gone", true))
	must(t, w.RenameNamespace("n", "renamed"))
	_, err = w.Snapshot("second")
	must(t, err)
	for range 2 {
		if slices.Contains(w.names(RootIno), SnapshotDir) {
			t.Error("the directory of snapshots is listed")
		}
		all, err := w.Lookup(RootIno, SnapshotDir)
		must(t, err)
		if got := w.names(all.Ino); !slices.Equal(got, []string{".", "..", "first", "second"}) || all.Nlink != 4 {
			t.Errorf("%q, %+v", got, all)
		}
		first, err := w.Lookup(all.Ino, "first")
		must(t, err)
		got := w.names(first.Ino)
		slices.Sort(got)
		if !slices.Equal(got, []string{".", "..", "gone", "n", "root file"}) {
			t.Errorf("%q", got)
		}
		walk := func(names ...string) Ino {
			t.Helper()
			ino := first.Ino
			for _, n := range names {
				a, err := w.Lookup(ino, n)
				must(t, err)
				if w.attr(a.Ino) != a {
					t.Errorf("%q has %+v and %+v", names, a, w.attr(a.Ino))
				}
				ino = a.Ino
			}
			return ino
		}
		old := walk("n", "f")
		if got := w.read(old); !strings.HasPrefix(got, "before\x00") || !strings.HasSuffix(got, "far") {
			t.Errorf("%.10q", got)
		}
		if w.xattr(old, "user.a") != "before" {
			t.Error("attribute")
		}
		if at, err := w.Seek(old, 6, SeekData); at != 1<<20 || err != nil {
			t.Errorf("data at %d, %v", at, err)
		}
		if got, err := w.Readlink(walk("n", "l")); got != long || err != nil {
			t.Errorf("%.10q, %v", got, err)
		}
		walk("n", "d", "x")
		walk("gone", "in gone")
		walk("root file")
		if walk("n", "..") != first.Ino || walk("..") != all.Ino || walk("n", "d", "..") != walk("n") {
			t.Error("..")
		}
		testReadOnly(t, w, first.Ino, walk("n"), old)
		w.remount()
	}
	must(t, w.DeleteSnapshot("first"))
	wantErr(t, w.DeleteSnapshot("first"), ErrNotExist)
	_, err = w.StatKey("", ".snapshots/first/n/f")
	wantErr(t, err, ErrNotExist)
	if got, err := w.getKey("", ".snapshots/second/renamed/f"); err != nil || !strings.HasPrefix(string(got), "AFTER!\x00") {
		t.Errorf("%.10q, %v", got, err)
	}
	w.check()
}

// testReadOnly tries to change a snapshot.
func testReadOnly(t *testing.T, w *world, root, dir, f Ino) {
	t.Helper()
	for _, d := range []Ino{root, dir, snapshotsIno} {
		_, err := w.Mknod(d, "new", ModeRegular, 0, Cred{})
		wantErr(t, err, ErrReadOnly)
		_, err = w.Mkdir(d, "new", 0, Cred{})
		wantErr(t, err, ErrReadOnly)
		_, err = w.Tmpfile(d, 0, Cred{})
		wantErr(t, err, ErrReadOnly)
		_, err = w.Link(f, d, "new")
		wantErr(t, err, ErrReadOnly)
		wantErr(t, w.Unlink(d, "f"), ErrReadOnly)
		wantErr(t, w.Rmdir(d, "d"), ErrReadOnly)
		wantErr(t, w.Rename(d, "f", d, "g", 0), ErrReadOnly)
	}
	_, err := w.WriteAt(f, []byte("x"), 0, false)
	wantErr(t, err, ErrReadOnly)
	_, err = w.SetAttr(f, SetAttr{Valid: SetMode})
	wantErr(t, err, ErrReadOnly)
	wantErr(t, w.Fallocate(f, 0, 0, 1), ErrReadOnly)
	wantErr(t, w.SetXattr(f, "user.a", nil, 0), ErrReadOnly)
	wantErr(t, w.RemoveXattr(f, "user.a"), ErrReadOnly)
	_, err = w.CopyRange(f, 0, f, 10, 1)
	wantErr(t, err, ErrReadOnly)
}

// TestVirtualNumbers keeps the numbers that the kernel refers to, and forgets others in the end.
func TestVirtualNumbers(t *testing.T) {
	var refs refTable
	refs.init()
	var v virtualTable
	v.init(refs.held)
	kept := v.ino(1, 5)
	refs.ref(kept)
	lost := v.ino(1, 6)
	for i := range 3 * mostIdle {
		v.ino(2, Ino(i+1))
	}
	if _, key, ok := v.real(kept); !ok || key != 5 {
		t.Error("a number in use was forgotten")
	}
	if _, _, ok := v.real(lost); ok {
		t.Error("nothing was forgotten")
	}
	if again := v.ino(1, 6); again == lost {
		t.Error("a number was used again")
	}
	refs.unref(kept, 1)
	v.release(kept)
	for i := range 3 * mostIdle {
		v.ino(3, Ino(i+1))
	}
	if _, _, ok := v.real(kept); ok || len(v.byIno) > 3*mostIdle || len(v.byKey) != len(v.byIno) {
		t.Errorf("%d numbers, %d keys", len(v.byIno), len(v.byKey))
	}
}

func TestReadOnly(t *testing.T) {
	w := newWorld(t, Options{})
	ns := w.ns("n")
	f := w.file(ns, "f")
	w.write(f, 0, "data")
	w.opts.ReadOnly, w.opts.Relatime = true, true
	w.remount()
	if got := w.read(f); got != "data" {
		t.Errorf("%q", got)
	}
	w.names(ns)
	for name, err := range map[string]error{
		"unlink": w.Unlink(ns, "f"), "rmdir": w.Rmdir(RootIno, "n"), "rename": w.Rename(ns, "f", ns, "g", 0),
		"create": w.CreateNamespace("m", NamespaceSettings{}, Cred{}), "set": w.SetNamespace("n", NamespaceSettings{}),
		"key": w.SetKey("n", "k", nil, Cred{}), "remove": w.RemoveNamespace("n", true), "xattr": w.SetXattr(f, "user.a", nil, 0),
	} {
		if err == nil {
			t.Errorf("%s is allowed", name)
		}
		wantErr(t, err, ErrReadOnly)
	}
}

func TestManyNamespaces(t *testing.T) {
	w := newWorld(t, Options{})
	for i := range 300 {
		w.ns(fmt.Sprint("ns", i))
		w.file(RootIno, fmt.Sprint("file", i))
	}
	w.remount()
	seen := make(map[string]bool)
	for cookie, n := uint64(0), 1; n > 0; {
		n = 0
		must(t, w.ReadDir(RootIno, cookie, true, func(e *DirEntry) bool {
			if n == 7 {
				return false
			}
			n++
			if seen[e.Name] || e.Attr.Ino != e.Ino && !strings.HasPrefix(e.Name, ".") {
				t.Errorf("%+v", e)
			}
			seen[e.Name] = true
			cookie = e.Cookie
			return true
		}))
	}
	if len(seen) != 602 {
		t.Errorf("%d entries", len(seen))
	}
	s, err := w.StatFS()
	if err != nil || s.NameMax != 255 || s.BlockSize == 0 || s.Files-s.FilesFree != 300+301 {
		t.Errorf("%+v, %v", s, err)
	}
}
