package fs

import (
	"encoding/binary"

	"salliefs/blockstore"
	"salliefs/crypto"
)

// POSIX ACLs in the form of the extended attributes that Linux defines (linux/posix_acl_xattr.h): a version, then
// entries of tag, permissions and ID, little endian.
const (
	aclVersion   = 2
	aclHeader    = 4
	aclEntrySize = 8
)

const (
	aclUserObj  = 0x01
	aclUser     = 0x02
	aclGroupObj = 0x04
	aclGroup    = 0x08
	aclMask     = 0x10
	aclOther    = 0x20
)

type aclEntry struct {
	tag, perm uint16
	id        uint32
}

// decodeACL takes the form that setxattr(2) gives; no entries mean no ACL.
func decodeACL(b []byte) ([]aclEntry, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if len(b) < aclHeader || (len(b)-aclHeader)%aclEntrySize != 0 || binary.LittleEndian.Uint32(b) != aclVersion {
		return nil, ErrInvalid
	}
	var list []aclEntry
	for b = b[aclHeader:]; len(b) > 0; b = b[aclEntrySize:] {
		list = append(list, aclEntry{
			binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:]),
		})
	}
	if len(list) > 0 && !validACL(list) {
		return nil, ErrInvalid
	}
	return list, nil
}

func encodeACL(list []aclEntry) []byte {
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, aclHeader+len(list)*aclEntrySize), aclVersion)
	for _, e := range list {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}

// validACL wants the entries in the order of their tags, the three of the mode once each, and a mask if there are
// entries that it masks.
func validACL(list []aclEntry) bool {
	var seen uint16
	for i, e := range list {
		if e.perm > 7 || i > 0 && e.tag < list[i-1].tag {
			return false
		}
		switch e.tag {
		case aclUserObj, aclGroupObj, aclMask, aclOther:
			if seen&e.tag != 0 {
				return false
			}
		case aclUser, aclGroup:
		default:
			return false
		}
		seen |= e.tag
	}
	const mode = aclUserObj | aclGroupObj | aclOther
	return seen&mode == mode && (seen&(aclUser|aclGroup) == 0 || seen&aclMask != 0)
}

// extended reports whether an ACL says more than a mode can.
func extended(list []aclEntry) bool { return len(list) > 3 }

// setACL makes a record fit an ACL that is being set. keep is false when the attribute is not needed.
func (r *inodeRec) setACL(name string, value []byte, killGID bool) (keep bool, err error) {
	list, err := decodeACL(value)
	if err != nil {
		return false, err
	}
	if r.isSymlink() {
		return false, ErrNotSupported
	}
	if name == xattrDefaultACL {
		if !r.isDir() && len(list) > 0 {
			return false, ErrPerm
		}
		return len(list) > 0, nil
	}
	if len(list) > 0 {
		r.mode = r.mode&^0o777 | aclMode(list)
		if killGID {
			r.mode &^= ModeSetGID
		}
	}
	return extended(list), nil
}

// aclMode is the mode that an ACL shows as.
func aclMode(list []aclEntry) (mode uint32) {
	var group uint32
	masked := false
	for _, e := range list {
		switch perm := uint32(e.perm); e.tag {
		case aclUserObj:
			mode |= perm << 6
		case aclGroupObj:
			if !masked {
				group = perm
			}
		case aclMask:
			group, masked = perm, true
		case aclOther:
			mode |= perm
		}
	}
	return mode | group<<3
}

// withMode changes an ACL as chmod does.
func withMode(list []aclEntry, mode uint32) {
	masked := false
	for _, e := range list {
		masked = masked || e.tag == aclMask
	}
	for i := range list {
		switch e := &list[i]; e.tag {
		case aclUserObj:
			e.perm = uint16(mode>>6) & 7
		case aclGroupObj:
			if !masked {
				e.perm = uint16(mode>>3) & 7
			}
		case aclMask:
			e.perm = uint16(mode>>3) & 7
		case aclOther:
			e.perm = uint16(mode) & 7
		}
	}
}

// chmodACL prepares what a change of the mode does to the access ACL; nil if nothing.
func (f *FS) chmodACL(in *inode, s *SetAttr) (func(tx *blockstore.Tx), error) {
	if s.Valid&SetMode == 0 || in.rec.flags&hasACL == 0 {
		return nil, nil
	}
	slot, err := f.findXattr(in, xattrACL)
	if err != nil || slot.i < 0 {
		return nil, err
	}
	list, err := decodeACL(slot.list[slot.i].value)
	if err != nil {
		return nil, f.inodeError("chmod", in.key, ErrCorrupt)
	}
	withMode(list, s.Mode)
	slot.list[slot.i].value = encodeACL(list)
	return slot.put, nil
}

// inherited are the ACLs that a new inode gets from its directory.
type inherited struct{ access, def []byte }

// inherit fits the record of a new inode to its directory's default ACL, or to the umask if there is none.
func (f *FS) inherit(dir *inode, rec *inodeRec, umask uint32) (a inherited, err error) {
	if !f.acl || dir.rec.flags&hasDefaultACL == 0 || rec.isSymlink() {
		rec.mode &^= umask & 0o777
		return a, nil
	}
	s, err := f.findXattr(dir, xattrDefaultACL)
	if err != nil || s.i < 0 {
		return a, err
	}
	list, err := decodeACL(s.list[s.i].value)
	if err != nil {
		return a, f.inodeError("create", dir.key, ErrCorrupt)
	}
	if rec.isDir() {
		a.def = s.list[s.i].value
		rec.flags |= hasDefaultACL
		rec.xattrs++
	}
	withMode(list, rec.mode&aclModeOf(list))
	rec.mode = rec.mode&^0o777 | aclMode(list)
	if extended(list) {
		a.access = encodeACL(list)
		rec.flags |= hasACL
		rec.xattrs++
	}
	return a, nil
}

// aclModeOf is the mode that an ACL allows at most, all other bits set.
func aclModeOf(list []aclEntry) uint32 { return aclMode(list) | ^uint32(0o777) }

// put enters them into an Update for an inode of a namespace with the given hasher.
func (a *inherited) put(tx *blockstore.Tx, ino Ino, h *crypto.NameHasher) {
	for _, x := range [...]xattr{{xattrACL, a.access}, {xattrDefaultACL, a.def}} {
		if x.value != nil {
			tx.Put(xattrKey(ino, h, x.name), encodeXattrs([]xattr{x}))
		}
	}
}
