package fs

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

type recorder struct {
	events []string
	inodes []Ino // but top directories
}

func (r *recorder) EntryChanged(parent Ino, name string) {
	r.events = append(r.events, fmt.Sprintf("%d/%s", parent.Namespace(), name))
}
func (r *recorder) InodeChanged(ino Ino) {
	if ino.Number() != 1 {
		r.inodes = append(r.inodes, ino)
	}
}

// getKey reads the whole value of a key.
func (w *world) getKey(ns, path string) ([]byte, error) {
	a, err := w.StatKey(ns, path)
	if err == nil && a.IsDir() {
		err = ErrIsDir
	}
	if err != nil {
		return nil, keyError("get", ns, path, err)
	}
	value := make([]byte, a.Size)
	n, err := w.ReadAt(a.Ino, value, 0)
	return value[:n], keyError("get", ns, path, err)
}

func TestKeys(t *testing.T) {
	w := newWorld(t, Options{})
	rec := new(recorder)
	w.SetObserver(rec)
	wantErr(t, w.SetKey("none", "a", nil, Cred{}), ErrNotExist)
	must(t, w.CreateNamespace("n", NamespaceSettings{}, Cred{}))
	c := Cred{UID: 3, GID: 4, Umask: 0o077}
	must(t, w.SetKey("n", "a/b/theme", []byte("dark"), c))
	must(t, w.SetKey("n", "empty", nil, c))
	must(t, w.SetKey("", "root", []byte("r"), c))
	big := randomBytes(3<<20 + 17)
	must(t, w.SetKeyFrom("n", "big", bytes.NewReader(big), c))
	if want := []string{"0/n", "1/a", "1/b", "1/theme", "1/empty", "0/root", "1/big"}; !slices.Equal(rec.events, want) {
		t.Errorf("events %q", rec.events)
	}
	for range 2 {
		for path, want := range map[string]string{"a/b/theme": "dark", "/a//b/theme/": "dark", "empty": "", "big": string(big)} {
			if got, err := w.getKey("n", path); err != nil || string(got) != want {
				t.Errorf("%s: %d bytes, %v", path, len(got), err)
			}
		}
		if got, err := w.getKey("", "root"); err != nil || string(got) != "r" {
			t.Errorf("root: %q, %v", got, err)
		}
		w.check()
		w.remount()
	}
	a, err := w.StatKey("n", "a/b/theme")
	must(t, err)
	if a.Mode != ModeRegular|0o600 || a.UID != 3 || a.GID != 4 {
		t.Errorf("%+v", a)
	}
	for _, x := range []struct {
		name string
		err  error
		want error
	}{
		{"get a directory", second(w.getKey("n", "a")), ErrIsDir},
		{"get nothing", second(w.getKey("n", "x/y")), ErrNotExist},
		{"get through a file", second(w.getKey("n", "a/b/theme/x")), ErrNotDir},
		{"get of no namespace", second(w.getKey("none", "x")), ErrNotExist},
		{"get a namespace", second(w.getKey("n", "")), ErrIsDir},
		{"set a directory", w.SetKey("n", "a/b", nil, c), ErrIsDir},
		{"set a namespace", w.SetKey("n", "", nil, c), ErrIsDir},
		{"set a namespace's name", w.SetKey("", "n", nil, c), ErrIsDir},
		{"set through a file", w.SetKey("n", "empty/x", nil, c), ErrNotDir},
		{"set in no namespace", w.SetKey("", "none/x", nil, c), ErrNotExist},
		{"set a long name", w.SetKey("n", strings.Repeat("x", 256), nil, c), ErrNameTooLong},
		{"set from what can not be read", w.SetKeyFrom("n", "big", iotest.ErrReader(errTest), c), errTest},
		{"remove a full directory", w.RemoveKey("n", "a"), ErrNotEmpty},
		{"remove nothing", w.RemoveKey("n", "x"), ErrNotExist},
		{"remove a namespace", w.RemoveKey("n", ""), ErrIsDir},
		{"remove a namespace by name", w.RemoveKey("", "n"), ErrIsDir},
		{"list nothing", w.ListKeys("n", "x", nil), ErrNotExist},
	} {
		if !errors.Is(x.err, x.want) {
			t.Errorf("%s: %v, want %v", x.name, x.err, x.want)
		}
		var e *Error
		if !errors.As(x.err, &e) || e.Op == "" {
			t.Errorf("%s: %v does not say what it is about", x.name, x.err)
		}
	}
	if got, err := w.getKey("n", "big"); err != nil || !bytes.Equal(got, big) {
		t.Errorf("a failed SetKey changed the key: %d bytes, %v", len(got), err)
	}
	must(t, w.RemoveKey("n", "a/b/theme"))
	must(t, w.RemoveKey("n", "a/b"))
	w.check()
}

var errTest = errors.New("test")

func second[T any](_ T, err error) error { return err }

// TestSetKeyReplaces keeps what belongs to the key and not to its value.
func TestSetKeyReplaces(t *testing.T) {
	w := newWorld(t, Options{})
	ns := w.ns("n")
	f := w.file(ns, "k")
	w.write(f, 0, "old value")
	_, err := w.SetAttr(f, SetAttr{Valid: SetMode | SetUID, Mode: 0o640, UID: 77})
	must(t, err)
	must(t, w.SetXattr(f, "user.tag", []byte("kept"), 0))
	_, err = w.Link(f, ns, "other name")
	must(t, err)
	w.Ref(f) // somebody has it open
	rec := new(recorder)
	w.SetObserver(rec)
	defer func() {
		if !slices.Equal(rec.inodes, []Ino{f}) {
			t.Errorf("told of changes of %v, want %d, which lost one of its names", rec.inodes, f)
		}
	}()
	must(t, w.SetKey("n", "k", []byte("new"), Cred{}))
	a, err := w.StatKey("n", "k")
	must(t, err)
	if a.Mode&modePerm != 0o640 || a.UID != 77 || w.xattr(a.Ino, "user.tag") != "kept" || a.Nlink != 1 {
		t.Errorf("%+v", a)
	}
	if got := w.read(f); got != "old value" || w.attr(f).Nlink != 1 {
		t.Errorf("the other name has %q, nlink %d", got, w.attr(f).Nlink)
	}
	must(t, w.SetKey("n", "other name", []byte("new too"), Cred{}))
	if got := w.read(f); got != "old value" || w.attr(f).Nlink != 0 {
		t.Errorf("the open file has %q, nlink %d", got, w.attr(f).Nlink)
	}
	w.Unref(f, 1)
	w.check()
	_, err = w.Symlink(ns, "link", "k", Cred{})
	must(t, err)
	wantErr(t, w.SetKey("n", "link", nil, Cred{}), ErrInvalid)
	w.check()
}

// TestListDoesNotHoldAll lists a directory of several batches while it changes: what is told of a key is what is true then.
func TestListDoesNotHoldAll(t *testing.T) {
	w := newWorld(t, Options{})
	ns := w.ns("n")
	const n = 2*listBatch + 10
	name := func(i int) string { return fmt.Sprintf("%06d", i) }
	for i := range n {
		w.file(ns, name(i))
	}
	next := 0
	must(t, w.ListKeys("n", "", func(k KeyInfo) bool {
		want := name(next)
		size := int64(0)
		switch next {
		case 0:
			must(t, w.SetKey("n", name(5), []byte("replaced"), Cred{}))
			must(t, w.SetKey("n", name(n-1), []byte("larger"), Cred{}))
			must(t, w.RemoveKey("n", name(6)))
		case 5:
			size = int64(len("replaced"))
			next++ // the next one is gone
		case n - 1:
			size = int64(len("larger"))
		}
		next++
		if k.Path != want || k.Attr.Size != size {
			t.Errorf("%s of %d bytes, want %s of %d", k.Path, k.Attr.Size, want, size)
		}
		return !t.Failed()
	}))
	if next != n {
		t.Errorf("%d keys, want %d", next, n)
	}
}

func TestListAndWalk(t *testing.T) {
	w := newWorld(t, Options{})
	w.ns("n")
	for _, p := range []string{"b", "a/2", "a/1", "c/d/e"} {
		must(t, w.SetKey("n", p, []byte(p), Cred{}))
	}
	list := func(ns, dir string) (got []string) {
		must(t, w.ListKeys(ns, dir, func(k KeyInfo) bool {
			got = append(got, k.Path)
			return true
		}))
		return got
	}
	walk := func(ns, dir string) (got []string) {
		must(t, w.Walk(ns, dir, func(k KeyInfo) error {
			got = append(got, k.Path)
			return nil
		}))
		return got
	}
	for _, c := range []struct {
		got, want []string
	}{
		{list("n", ""), []string{"a", "b", "c"}}, {list("n", "a/"), []string{"a/1", "a/2"}}, {list("n", "b"), []string{"b"}}, {list("", ""), []string{"n"}},
		{walk("n", ""), []string{"a", "a/1", "a/2", "b", "c", "c/d", "c/d/e"}}, {walk("n", "c"), []string{"c/d", "c/d/e"}}, {walk("", ""), []string{"n"}},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
	if err := w.Walk("n", "", func(k KeyInfo) error { return errTest }); err != errTest {
		t.Errorf("%v", err)
	}
}

// TestSetKeyKeepsACL gives keys new values where ACLs count and where they do not. What they were, they stay.
func TestSetKeyKeepsACL(t *testing.T) {
	w := newWorld(t, Options{ACL: true})
	acl := encodeACL([]aclEntry{{aclUserObj, 6, 0}, {aclUser, 6, 1000}, {aclGroupObj, 0, 0}, {aclMask, 6, 0}, {aclOther, 0, 0}})
	ns := w.ns("n")
	must(t, w.SetXattr(w.file(ns, "listed"), xattrACL, acl, 0))
	_, err := w.Mknod(ns, "plain", ModeRegular|0o640, 0, Cred{})
	must(t, err)
	must(t, w.SetXattr(ns, xattrDefaultACL, acl, 0))
	for _, on := range []bool{true, false} {
		w.opts.ACL = on
		w.remount()
		must(t, w.SetKey("n", "listed", []byte("new"), Cred{}))
		must(t, w.SetKey("n", "plain", []byte("new"), Cred{}))
		w.check()
		w.opts.ACL = true
		w.remount()
		a, err := w.StatKey("n", "listed")
		must(t, err)
		if got := w.xattr(a.Ino, xattrACL); got != string(acl) || a.Mode&modePerm != 0o660 {
			t.Errorf("ACLs %v: mode %o, ACL %x, want %x", on, a.Mode, got, acl)
		}
		a, err = w.StatKey("n", "plain")
		must(t, err)
		if _, err := w.GetXattr(a.Ino, xattrACL, nil); !errors.Is(err, ErrNoAttr) || a.Mode&modePerm != 0o640 {
			t.Errorf("ACLs %v: mode %o, ACL where there was none: %v", on, a.Mode, err)
		}
	}
}
