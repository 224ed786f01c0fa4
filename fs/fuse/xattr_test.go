package fuse

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestXattr(t *testing.T) { onEach(t, Options{AllowOther: true}, testXattr) }

func testXattr(t *testing.T, s *mounted) {
	must(t, unix.Chmod(s.dir, 0o755))
	path := s.dir + "/file"
	must(t, os.WriteFile(path, nil, 0o644))
	value := bytes.Repeat([]byte("v"), 3000)
	must(t, unix.Setxattr(path, "user.a", value, unix.XATTR_CREATE))
	wantErr(t, "CREATE of what is there", unix.Setxattr(path, "user.a", nil, unix.XATTR_CREATE), unix.EEXIST)
	wantErr(t, "REPLACE of what is not", unix.Setxattr(path, "user.b", nil, unix.XATTR_REPLACE), unix.ENODATA)
	must(t, unix.Setxattr(path, "user.empty", nil, 0))
	must(t, unix.Setxattr(path, "trusted.t", []byte("secret"), 0))

	for name, want := range map[string][]byte{"user.a": value, "user.empty": {}} {
		n, err := unix.Getxattr(path, name, nil)
		if err != nil || n != len(want) {
			t.Errorf("size of %s: %d, %v, want %d", name, n, err, len(want))
		}
		buf := make([]byte, 4000)
		n, err = unix.Getxattr(path, name, buf)
		if err != nil || !bytes.Equal(buf[:n], want) {
			t.Errorf("%s: %d bytes, %v, want %d", name, n, err, len(want))
		}
	}
	_, err := unix.Getxattr(path, "user.a", make([]byte, 10))
	wantErr(t, "short buffer", err, unix.ERANGE)
	_, err = unix.Getxattr(path, "user.absent", nil)
	wantErr(t, "absent attribute", err, unix.ENODATA)

	wantList := func(who string, want ...string) {
		t.Helper()
		n, err := unix.Listxattr(path, nil)
		if err != nil {
			t.Errorf("%s: size of the list: %v", who, err)
			return
		}
		buf := make([]byte, n)
		if n, err = unix.Listxattr(path, buf); err != nil || n != len(buf) {
			t.Errorf("%s: list: %d, %v, want %d", who, n, err, len(buf))
			return
		}
		got := strings.Split(strings.TrimSuffix(string(buf), "\x00"), "\x00")
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: the list has %q, want %q", who, got, want)
		}
	}
	wantList("root", "trusted.t", "user.a", "user.empty")
	_, err = unix.Listxattr(path, make([]byte, 5))
	wantErr(t, "short list buffer", err, unix.ERANGE)
	asUser(t, nobody, func() {
		wantList("a user", "user.a", "user.empty")
		_, err := unix.Listxattr(path, make([]byte, 5))
		wantErr(t, "a user's short list buffer", err, unix.ERANGE)
		wantErr(t, "a user's set", unix.Setxattr(path, "user.a", nil, 0), unix.EACCES)
	})

	must(t, unix.Removexattr(path, "user.a"))
	wantErr(t, "second remove", unix.Removexattr(path, "user.a"), unix.ENODATA)

	for _, name := range []string{"system.posix_acl_access", "system.other", "nonsense", "other.x"} {
		_, err := unix.Getxattr(path, name, nil)
		wantErr(t, "get "+name, err, unix.EOPNOTSUPP)
	}
	wantErr(t, "set system.other", unix.Setxattr(path, "system.other", []byte("x"), 0), unix.EOPNOTSUPP)
}

// TestNoXattr: with -o noxattr the kernel stops to ask.
func TestNoXattr(t *testing.T) { onEach(t, Options{NoXattr: true}, testNoXattr) }

func testNoXattr(t *testing.T, s *mounted) {
	path := s.dir + "/file"
	must(t, os.WriteFile(path, []byte("x"), 0o644))
	wantErr(t, "set", unix.Setxattr(path, "user.a", nil, 0), unix.EOPNOTSUPP)
	_, err := unix.Getxattr(path, "user.a", nil)
	wantErr(t, "get", err, unix.EOPNOTSUPP)
	_, err = unix.Listxattr(path, nil)
	wantErr(t, "list", err, unix.EOPNOTSUPP)
	if got := s.Requests(); got["GETXATTR"]+got["SETXATTR"]+got["LISTXATTR"] > 0 {
		t.Errorf("requests for attributes reached us: %v", got)
	}
}

func TestStorable(t *testing.T) {
	for name, want := range map[string]bool{"user.a": true, "trusted.overlay": true, "security.capability": true,
		aclAccess: true, aclDefault: true, "system.nfs4_acl": false, "user": false, "": false} {
		b := newBridge(newFakeFS(), true, quiet)
		if got := b.storable(name); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
		b.acl = false
		if got := b.storable(name); got != (want && name != aclAccess && name != aclDefault) {
			t.Errorf("%q without ACLs: %v", name, got)
		}
	}
}

func TestWithoutTrusted(t *testing.T) {
	for list, want := range map[string]string{
		"": "", "user.a\x00": "user.a\x00", "trusted.a\x00": "", "user.a\x00trusted.b\x00user.c\x00": "user.a\x00user.c\x00",
		"trusted.a\x00trusted.b\x00": "", "user.trusted.x\x00": "user.trusted.x\x00", "user.unended": "user.unended",
	} {
		if got := string(withoutTrusted([]byte(list))); got != want {
			t.Errorf("%q: got %q, want %q", list, got, want)
		}
	}
}
