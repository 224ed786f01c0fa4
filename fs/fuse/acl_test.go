package fuse

import (
	"encoding/binary"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Tags of ACL entries, from the kernel's include/uapi/linux/posix_acl.h.
const (
	aclUserObj  = 0x01
	aclUser     = 0x02
	aclGroupObj = 0x04
	aclMask     = 0x10
	aclOther    = 0x20
)

type aclEntry struct {
	tag, perm uint16
	id        uint32
}

// encodeACL is the attribute's form, from include/uapi/linux/posix_acl_xattr.h.
func encodeACL(entries ...aclEntry) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range entries {
		if e.tag != aclUser {
			e.id = ^uint32(0)
		}
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}

// TestACL: with -o acl, lists decide who may do what, show in modes, and are inherited.
func TestACL(t *testing.T) {
	o := Options{ACL: true, AllowOther: true}
	m := newMounted(t, newStoreFS(t, o), o)
	must(t, unix.Chmod(m.Mountpoint(), 0o755))
	must(t, unix.Chmod(m.dir, 0o755))
	path := m.dir + "/file"
	must(t, os.WriteFile(path, []byte("x"), 0o600))
	open := func() (err error) {
		asUser(t, nobody, func() {
			var fd int
			if fd, err = unix.Open(path, unix.O_RDONLY, 0); err == nil {
				unix.Close(fd)
			}
		})
		return err
	}
	wantErr(t, "open before the ACL", open(), unix.EACCES)
	acl := encodeACL(aclEntry{aclUserObj, 6, 0}, aclEntry{aclUser, 6, nobody}, aclEntry{aclGroupObj, 0, 0},
		aclEntry{aclMask, 6, 0}, aclEntry{aclOther, 0, 0})
	must(t, unix.Setxattr(path, aclAccess, acl, 0))
	if err := open(); err != nil {
		t.Errorf("open by whom the ACL lets in: %v", err)
	}
	if mode := stat(t, path).Mode & 0o777; mode != 0o660 {
		t.Errorf("mode %o, want 660: the mask shows as the group's", mode)
	}
	must(t, unix.Chmod(path, 0o600)) // takes the mask away
	wantErr(t, "open after chmod", open(), unix.EACCES)
	must(t, unix.Chmod(path, 0o640))
	if err := open(); err != nil {
		t.Errorf("open after chmod gave the mask back: %v", err)
	}
	buf := make([]byte, 100)
	if n, err := unix.Getxattr(path, aclAccess, buf); err != nil || n != len(acl) {
		t.Errorf("the ACL has %d bytes (%v), want %d", n, err, len(acl))
	}

	// A default ACL is inherited in place of the umask.
	dir := m.dir + "/dir"
	must(t, os.Mkdir(dir, 0o755))
	must(t, unix.Setxattr(dir, aclDefault, encodeACL(aclEntry{aclUserObj, 7, 0}, aclEntry{aclUser, 5, nobody},
		aclEntry{aclGroupObj, 5, 0}, aclEntry{aclMask, 7, 0}, aclEntry{aclOther, 0, 0}), 0))
	old := unix.Umask(0o077)
	must(t, os.WriteFile(dir+"/file", []byte("x"), 0o666))
	must(t, os.Mkdir(dir+"/sub", 0o777))
	unix.Umask(old)
	for name, want := range map[string]uint32{"file": 0o660, "sub": 0o770} {
		if mode := stat(t, dir+"/"+name).Mode & 0o777; mode != want {
			t.Errorf("%s has mode %o, want %o", name, mode, want)
		}
		if _, err := unix.Getxattr(dir+"/"+name, aclAccess, buf); err != nil {
			t.Errorf("%s has inherited no ACL: %v", name, err)
		}
	}
	if _, err := unix.Getxattr(dir+"/sub", aclDefault, buf); err != nil {
		t.Errorf("a directory has inherited no default ACL: %v", err)
	}

	// An ACL that says no more than a mode is none.
	must(t, unix.Setxattr(path, aclAccess, encodeACL(aclEntry{aclUserObj, 6, 0}, aclEntry{aclGroupObj, 4, 0}, aclEntry{aclOther, 4, 0}), 0))
	if mode := stat(t, path).Mode & 0o777; mode != 0o644 {
		t.Errorf("mode %o, want 644", mode)
	}
	_, err := unix.Getxattr(path, aclAccess, buf)
	wantErr(t, "an ACL that is only a mode", err, unix.ENODATA)
	must(t, unix.Removexattr(dir, aclDefault))
	_, err = unix.Getxattr(dir, aclDefault, buf)
	wantErr(t, "removed default ACL", err, unix.ENODATA)
}

// TestACLsSpareRequests: the kernel keeps the ACLs that it has seen, so ls -l asks for
// none a second time. Without -o acl it asks each time.
func TestACLsSpareRequests(t *testing.T) {
	o := Options{ACL: true}
	m := newMounted(t, newStoreFS(t, o), o)
	path := m.dir + "/file"
	must(t, os.WriteFile(path, nil, 0o644))
	for range 5 {
		_, err := unix.Getxattr(path, aclAccess, nil)
		wantErr(t, "no ACL", err, unix.ENODATA)
	}
	if n := m.Requests()["GETXATTR"]; n > 2 {
		t.Errorf("%d GETXATTR for 5 looks at the ACL of a file", n)
	}
}
