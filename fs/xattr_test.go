package fs

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func (w *world) xattr(ino Ino, name string) string {
	w.tb.Helper()
	buf := make([]byte, MaxXattr)
	n, err := w.GetXattr(ino, name, buf)
	must(w.tb, err)
	return string(buf[:n])
}

func TestXattrRules(t *testing.T) {
	w := newWorld(t, Options{})
	f := w.file(w.ns("n"), "f")
	must(t, w.SetXattr(f, "user.there", []byte("value"), 0))
	for _, c := range []struct {
		name   string
		length int
		flags  uint32
		want   error
	}{
		{"user.a", 10, 0, nil}, {"user.there", 1, XattrCreate, ErrExist}, {"user.none", 1, XattrReplace, ErrNoAttr},
		{"user.there", 7, XattrReplace, nil}, {"user.", 1, 0, ErrNotSupported}, {"other.a", 1, 0, ErrNotSupported}, {"", 1, 0, ErrNotSupported},
		{"system.posix_acl_access", 4, 0, ErrNotSupported}, {"system.x", 1, 0, ErrNotSupported},
		{"user." + strings.Repeat("x", 250), 1, 0, nil}, {"user." + strings.Repeat("x", 251), 1, 0, ErrRange},
		{"user.big", MaxXattr, 0, nil}, {"user.big", MaxXattr + 1, 0, ErrXattrTooBig}, {"trusted.x", 0, 0, nil}, {"security.x", 5, 0, nil},
	} {
		wantErr(t, w.SetXattr(f, c.name, make([]byte, c.length), c.flags), c.want)
		n, err := w.GetXattr(f, c.name, nil)
		if c.want == nil && (err != nil || n != c.length) {
			t.Errorf("%q: %d, %v", c.name, n, err)
		}
	}
	w.remount()
	if _, err := w.GetXattr(f, "user.big", make([]byte, 5)); !errors.Is(err, ErrRange) {
		t.Errorf("short buffer: %v", err)
	}
	if _, err := w.ListXattr(f, make([]byte, 5)); !errors.Is(err, ErrRange) {
		t.Errorf("short buffer: %v", err)
	}
	_, err := w.GetXattr(f, "user.none", nil)
	wantErr(t, err, ErrNoAttr)
	wantErr(t, w.RemoveXattr(f, "user.none"), ErrNoAttr)
	for _, name := range []string{"user.there", "user.a", "user." + strings.Repeat("x", 250), "user.big", "trusted.x", "security.x"} {
		must(t, w.RemoveXattr(f, name))
	}
	if n, err := w.ListXattr(f, nil); n != 0 || err != nil {
		t.Errorf("list of nothing: %d, %v", n, err)
	}
	w.check()
}

// TestXattrListLimit fills the list of names until it is as long as Linux takes.
func TestXattrListLimit(t *testing.T) {
	w := newWorld(t, Options{})
	f := w.file(w.ns("n"), "f")
	for i := 0; ; i++ {
		err := w.SetXattr(f, fmt.Sprintf("user.%0250d", i), nil, 0)
		if errors.Is(err, ErrNoSpace) {
			break
		}
		must(t, err)
	}
	n, err := w.ListXattr(f, make([]byte, MaxXattr))
	if n != MaxXattr || err != nil {
		t.Errorf("list of %d bytes, %v", n, err)
	}
	must(t, w.SetXattr(f, fmt.Sprintf("user.%0250d", 3), []byte("changed"), 0))
	w.check()
	must(t, w.Unlink(mustResolve(w, "n"), "f"))
	w.check()
}

func mustResolve(w *world, ns string) Ino {
	w.tb.Helper()
	dir, _, err := w.resolve(ns, "")
	must(w.tb, err)
	return dir
}

func TestACL(t *testing.T) {
	w := newWorld(t, Options{ACL: true})
	ns := w.ns("n")
	f := w.file(ns, "f") // 0644
	long := encodeACL([]aclEntry{{aclUserObj, 7, 0}, {aclUser, 5, 1000}, {aclGroupObj, 4, 0}, {aclMask, 5, 0}, {aclOther, 1, 0}})
	must(t, w.SetXattr(f, xattrACL, long, 0))
	if got := w.attr(f).Mode & modePerm; got != 0o751 {
		t.Errorf("mode %o", got)
	}
	if got := w.xattr(f, xattrACL); got != string(long) {
		t.Errorf("% x", got)
	}
	_, err := w.SetAttr(f, SetAttr{Valid: SetMode, Mode: 0o640})
	must(t, err)
	want := encodeACL([]aclEntry{{aclUserObj, 6, 0}, {aclUser, 5, 1000}, {aclGroupObj, 4, 0}, {aclMask, 4, 0}, {aclOther, 0, 0}})
	if got := w.xattr(f, xattrACL); got != string(want) {
		t.Errorf("after chmod % x", got)
	}
	w.check()
	// One that says no more than a mode is kept as the mode.
	short := encodeACL([]aclEntry{{aclUserObj, 6, 0}, {aclGroupObj, 6, 0}, {aclOther, 2, 0}})
	must(t, w.SetXattr(f, xattrACL, short, 0))
	_, err = w.GetXattr(f, xattrACL, nil)
	wantErr(t, err, ErrNoAttr)
	if got := w.attr(f).Mode & modePerm; got != 0o662 {
		t.Errorf("mode %o", got)
	}
	must(t, w.SetXattr(f, xattrACL, short, 0)) // again, with none there
	// Set-group-ID goes when asked for.
	_, err = w.SetAttr(f, SetAttr{Valid: SetMode, Mode: 0o2755})
	must(t, err)
	must(t, w.SetXattr(f, xattrACL, long, XattrKillGID))
	if got := w.attr(f).Mode & modePerm; got != 0o751 {
		t.Errorf("mode %o", got)
	}
	for _, bad := range [][]byte{
		{1}, {2, 0, 0, 0, 1}, {3, 0, 0, 0}, long[:len(long)-8], encodeACL([]aclEntry{{aclUserObj, 9, 0}, {aclGroupObj, 6, 0}, {aclOther, 2, 0}}),
		encodeACL([]aclEntry{{aclUserObj, 7, 0}, {aclUser, 5, 1}, {aclGroupObj, 6, 0}, {aclOther, 2, 0}}),
		encodeACL([]aclEntry{{aclGroupObj, 7, 0}, {aclUserObj, 5, 1}, {aclOther, 2, 0}}),
	} {
		wantErr(t, w.SetXattr(f, xattrACL, bad, 0), ErrInvalid)
	}
	wantErr(t, w.SetXattr(f, xattrDefaultACL, long, 0), ErrPerm)
	w.check()
	w.opts.ACL = false
	w.remount()
	_, err = w.GetXattr(f, xattrACL, nil)
	wantErr(t, err, ErrNotSupported)
	if n, err := w.ListXattr(f, nil); n != 0 || err != nil {
		t.Errorf("list %d, %v", n, err)
	}
}

func TestDefaultACL(t *testing.T) {
	w := newWorld(t, Options{ACL: true})
	d := w.dir(w.ns("n"), "d")
	def := encodeACL([]aclEntry{{aclUserObj, 7, 0}, {aclUser, 6, 1000}, {aclGroupObj, 5, 0}, {aclMask, 7, 0}, {aclOther, 4, 0}})
	must(t, w.SetXattr(d, xattrDefaultACL, def, 0))
	c := Cred{Umask: 0o077} // not applied where there is a default ACL
	f, err := w.Mknod(d, "f", ModeRegular|0o664, 0, c)
	must(t, err)
	if f.Mode&modePerm != 0o664 {
		t.Errorf("mode %o", f.Mode)
	}
	want := encodeACL([]aclEntry{{aclUserObj, 6, 0}, {aclUser, 6, 1000}, {aclGroupObj, 5, 0}, {aclMask, 6, 0}, {aclOther, 4, 0}})
	if got := w.xattr(f.Ino, xattrACL); got != string(want) {
		t.Errorf("file has % x, want % x", got, want)
	}
	sub, err := w.Mkdir(d, "sub", 0o750, c)
	must(t, err)
	if got := w.xattr(sub.Ino, xattrDefaultACL); got != string(def) || sub.Mode&modePerm != 0o750 {
		t.Errorf("directory has % x, mode %o", got, sub.Mode)
	}
	link, err := w.Symlink(d, "l", "x", c)
	must(t, err)
	if n, err := w.ListXattr(link.Ino, nil); n != 0 || err != nil {
		t.Errorf("link has attributes: %d, %v", n, err)
	}
	tmp, err := w.Tmpfile(d, 0o600, c)
	must(t, err)
	if tmp.Mode&modePerm != 0o600 || w.xattr(tmp.Ino, xattrACL) == "" {
		t.Errorf("tmpfile %o", tmp.Mode)
	}
	// A default ACL that says no more than a mode gives none to files.
	must(t, w.SetXattr(sub.Ino, xattrDefaultACL, encodeACL([]aclEntry{{aclUserObj, 7, 0}, {aclGroupObj, 5, 0}, {aclOther, 0, 0}}), 0))
	f, err = w.Mknod(sub.Ino, "f", ModeRegular|0o666, 0, c)
	must(t, err)
	if _, err := w.GetXattr(f.Ino, xattrACL, nil); !errors.Is(err, ErrNoAttr) || f.Mode&modePerm != 0o640 {
		t.Errorf("%v, mode %o", err, f.Mode)
	}
	must(t, w.RemoveXattr(d, xattrDefaultACL))
	f, err = w.Mknod(d, "g", ModeRegular|0o666, 0, c)
	must(t, err)
	if f.Mode&modePerm != 0o600 {
		t.Errorf("mode %o", f.Mode)
	}
	w.check()
}
