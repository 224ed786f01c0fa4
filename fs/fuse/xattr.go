package fuse

import (
	"bytes"
	"strings"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"

	"salliefs/fs"
)

// ACLs are attributes of these names.
const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
)

// GetXAttr answers a probe for the size, whose dest is empty, with the size. go-fuse
// also takes the size of a value that did not fit.
func (b *bridge) GetXAttr(_ <-chan struct{}, h *gofuse.InHeader, name string, dest []byte) (uint32, gofuse.Status) {
	b.requests.count(h.Opcode)
	if !b.storable(name) {
		return 0, gofuse.ENOTSUP
	}
	n, err := b.fs.GetXattr(fs.Ino(h.NodeId), name, dest)
	return uint32(n), b.nodeStatus(h, err)
}

// ListXAttr lists "trusted." names to user 0 alone, as other filesystems do.
func (b *bridge) ListXAttr(_ <-chan struct{}, h *gofuse.InHeader, dest []byte) (uint32, gofuse.Status) {
	b.requests.count(h.Opcode)
	ino := fs.Ino(h.NodeId)
	if h.Uid == 0 {
		n, err := b.fs.ListXattr(ino, dest)
		return uint32(n), b.nodeStatus(h, err)
	}
	n, err := b.fs.ListXattr(ino, nil)
	if err != nil || n == 0 {
		return 0, b.nodeStatus(h, err)
	}
	all := make([]byte, n)
	if n, err = b.fs.ListXattr(ino, all); err != nil {
		return 0, b.nodeStatus(h, err)
	}
	shown := withoutTrusted(all[:n])
	if len(dest) > 0 && len(shown) > len(dest) {
		return uint32(len(shown)), gofuse.ERANGE
	}
	copy(dest, shown)
	return uint32(len(shown)), gofuse.OK
}

// withoutTrusted shortens a list of names, each ended by a NUL, in place.
func withoutTrusted(list []byte) []byte {
	shown := list[:0]
	for len(list) > 0 {
		end := bytes.IndexByte(list, 0) + 1
		if end == 0 {
			end = len(list)
		}
		if !bytes.HasPrefix(list, []byte("trusted.")) {
			shown = append(shown, list[:end]...)
		}
		list = list[end:]
	}
	return shown
}

// SetXAttr also sets ACLs when they are on.
func (b *bridge) SetXAttr(_ <-chan struct{}, in *gofuse.SetXAttrIn, name string, data []byte) gofuse.Status {
	b.requests.count(in.Opcode)
	if !b.storable(name) {
		return gofuse.ENOTSUP
	}
	flags := in.Flags & (fs.XattrCreate | fs.XattrReplace)
	if in.SetXAttrFlags&gofuse.SETXATTR_ACL_KILL_SGID != 0 {
		flags |= fs.XattrKillGID
	}
	// data lies in a buffer of go-fuse's that a later request reuses.
	value := append([]byte(nil), data...)
	return b.nodeStatus(&in.InHeader, b.fs.SetXattr(fs.Ino(in.NodeId), name, value, flags))
}

func (b *bridge) RemoveXAttr(_ <-chan struct{}, h *gofuse.InHeader, name string) gofuse.Status {
	b.requests.count(h.Opcode)
	if !b.storable(name) {
		return gofuse.ENOTSUP
	}
	return b.nodeStatus(h, b.fs.RemoveXattr(fs.Ino(h.NodeId), name))
}

// storable says whether attributes of that name exist here. Of the system's own
// there are ACLs, when they are on: storing one that nobody obeys would mislead.
func (b *bridge) storable(name string) bool {
	if name == aclAccess || name == aclDefault {
		return b.acl
	}
	return strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "trusted.") ||
		strings.HasPrefix(name, "security.")
}
