package fs

import (
	"bytes"
	"slices"
	"strings"

	"salliefs/blockstore"
	"salliefs/crypto"
)

// Names that mean something here.
const (
	xattrACL        = "system.posix_acl_access"
	xattrDefaultACL = "system.posix_acl_default"
	xattrCaps       = "security.capability"
)

// xattrPrefixes start the names that can be set.
var xattrPrefixes = [...]string{"user.", "trusted.", "security."}

// checkXattr refuses names that can not be those of attributes here.
func (f *FS) checkXattr(name string) error {
	if len(name) > MaxXattrName {
		return ErrRange
	}
	if name == xattrACL || name == xattrDefaultACL {
		if !f.acl {
			return ErrNotSupported
		}
		return nil
	}
	for _, p := range xattrPrefixes {
		if strings.HasPrefix(name, p) && len(name) > len(p) {
			return nil
		}
	}
	return ErrNotSupported
}

// mayHave tells from an inode's record alone that an attribute can not be there.
func (in *inode) mayHave(name string) bool {
	r := &in.rec
	switch name {
	case xattrACL:
		return r.flags&hasACL != 0
	case xattrDefaultACL:
		return r.flags&hasDefaultACL != 0
	case xattrCaps:
		return r.flags&hasCaps != 0
	}
	return r.xattrs > 0
}

func xattrKey(ino Ino, h *crypto.NameHasher, name string) blockstore.Key {
	return blockstore.Key{Ino: ino, Kind: kindXattr, Suffix: h.Sum(uint64(ino), name)}
}

// xattrSlot is where an attribute is or would be.
type xattrSlot struct {
	key  blockstore.Key
	list []xattr // of the record
	i    int     // in list; -1 if it is not there
}

// findXattr looks for an attribute of an inode, which is locked at least for reading.
func (f *FS) findXattr(in *inode, name string) (xattrSlot, error) {
	if in.ns == nil {
		return xattrSlot{i: -1}, nil
	}
	s := xattrSlot{key: xattrKey(in.key, in.ns.hasher, name), i: -1}
	if in.rec.xattrs == 0 {
		return s, nil
	}
	value, err := f.read(in, kindXattr, s.key.Suffix)
	if err != nil || value == nil {
		return s, err
	}
	if s.list, err = decodeXattrs(value); err != nil {
		return s, f.inodeError("getxattr", in.key, err)
	}
	s.i = slices.IndexFunc(s.list, func(x xattr) bool { return x.name == name })
	return s, nil
}

// GetXattr copies the value of an extended attribute to dst and returns its length. An empty dst only asks for the
// length; ErrRange means that dst is too short, ErrNoAttr that there is no such attribute.
func (f *FS) GetXattr(ino Ino, name string, dst []byte) (int, error) {
	if err := f.checkXattr(name); err != nil {
		return 0, err
	}
	in, err := f.rlock(ino)
	if err != nil {
		return 0, err
	}
	defer f.runlock(in)
	if !in.mayHave(name) {
		return 0, ErrNoAttr
	}
	s, err := f.findXattr(in, name)
	switch {
	case err != nil:
		return 0, err
	case s.i < 0:
		return 0, ErrNoAttr
	}
	return fill(dst, s.list[s.i].value)
}

// fill answers a request for bytes of which the asker may not know the length.
func fill(dst, value []byte) (int, error) {
	if len(dst) > 0 && len(dst) < len(value) {
		return 0, ErrRange
	}
	copy(dst, value)
	return len(value), nil
}

// ListXattr is like GetXattr, for the names, each ended by a NUL.
func (f *FS) ListXattr(ino Ino, dst []byte) (int, error) {
	in, err := f.rlock(ino)
	if err != nil {
		return 0, err
	}
	defer f.runlock(in)
	if in.rec.xattrs == 0 {
		return 0, nil
	}
	var names bytes.Buffer
	err = f.eachXattr(in, func(_ uint64, list []xattr) {
		for i := range list {
			if f.checkXattr(list[i].name) == nil { // ACLs are not shown where they do not count
				names.WriteString(list[i].name)
				names.WriteByte(0)
			}
		}
	})
	if err != nil {
		return 0, err
	}
	return fill(dst, names.Bytes())
}

// eachXattr calls fn for the xattr records of an inode.
func (f *FS) eachXattr(in *inode, fn func(suffix uint64, list []xattr)) error {
	if in.rec.xattrs == 0 {
		return nil
	}
	var bad error
	err := f.st.Scan(in.epoch, in.key, kindXattr, 0, func(suffix uint64, value []byte) bool {
		var list []xattr
		if list, bad = decodeXattrs(value); bad != nil {
			return false
		}
		fn(suffix, list)
		return true
	})
	if err == nil {
		err = bad
	}
	if err != nil {
		return f.inodeError("listxattr", in.key, err)
	}
	return nil
}

func (f *FS) xattrSuffixes(in *inode) (list []uint64, err error) {
	err = f.eachXattr(in, func(suffix uint64, _ []xattr) { list = append(list, suffix) })
	return list, err
}

// SetXattr sets an extended attribute. With flags it must be new (ErrExist), or be there already (ErrNoAttr).
func (f *FS) SetXattr(ino Ino, name string, value []byte, flags uint32) error {
	if err := f.checkXattr(name); err != nil {
		return err
	}
	return f.setXattr(ino, name, value, flags)
}

// setXattr is SetXattr without a look at the name.
func (f *FS) setXattr(ino Ino, name string, value []byte, flags uint32) error {
	if len(value) > MaxXattr {
		return ErrXattrTooBig
	}
	if err := f.begin(); err != nil {
		return err
	}
	in, err := f.lock(ino)
	if err != nil {
		return err
	}
	defer f.unlock(in)
	rec := in.rec
	if name == xattrACL || name == xattrDefaultACL {
		keep, err := rec.setACL(name, value, flags&XattrKillGID != 0)
		if err != nil {
			return err
		}
		if !keep { // it says no more than the mode, which has it now
			return f.removeXattr(in, rec, name, true)
		}
	}
	s, err := f.findXattr(in, name)
	switch {
	case err != nil:
		return err
	case s.i >= 0 && flags&XattrCreate != 0:
		return ErrExist
	case s.i < 0 && flags&XattrReplace != 0:
		return ErrNoAttr
	}
	if s.i < 0 {
		if err := f.roomForName(in, name); err != nil {
			return err
		}
		rec.xattrs++
		s.list = append(s.list, xattr{name: name})
		s.i = len(s.list) - 1
	}
	s.list[s.i].value = value
	rec.flags |= xattrFlag(name)
	return f.putXattrs(in, rec, s)
}

// xattrFlag is the flag of an inode record that says that it has an attribute.
func xattrFlag(name string) uint32 {
	switch name {
	case xattrACL:
		return hasACL
	case xattrDefaultACL:
		return hasDefaultACL
	case xattrCaps:
		return hasCaps
	}
	return 0
}

// roomForName fails when the list of an inode's attributes would become too long with one more.
func (f *FS) roomForName(in *inode, name string) error {
	if (in.rec.xattrs+1)*(MaxXattrName+1) <= MaxXattr {
		return nil
	}
	size := len(name) + 1
	err := f.eachXattr(in, func(_ uint64, list []xattr) {
		for i := range list {
			size += len(list[i].name) + 1
		}
	})
	if err == nil && size > MaxXattr {
		err = ErrNoSpace
	}
	return err
}

// putXattrs puts a changed xattr record and the inode's.
func (f *FS) putXattrs(in *inode, rec inodeRec, s xattrSlot) error {
	rec.ctime = f.now()
	inValue := encodeInode(&rec, in.ext)
	err := f.update(in.ns, func(tx *blockstore.Tx) error {
		s.put(tx)
		tx.Put(in.record(), inValue)
		return nil
	})
	if err == nil {
		in.rec = rec
	}
	return err
}

// put puts the record that s is about, or deletes it when it is empty.
func (s *xattrSlot) put(tx *blockstore.Tx) {
	if len(s.list) == 0 {
		tx.Delete(s.key)
	} else {
		tx.Put(s.key, encodeXattrs(s.list))
	}
}

// RemoveXattr removes an extended attribute.
func (f *FS) RemoveXattr(ino Ino, name string) error {
	if err := f.checkXattr(name); err != nil {
		return err
	}
	if err := f.beginFreeing(); err != nil {
		return err
	}
	in, err := f.lock(ino)
	if err != nil {
		return err
	}
	defer f.unlock(in)
	return f.removeXattr(in, in.rec, name, false)
}

// removeXattr removes an attribute, and puts rec in place of the inode's record. If the attribute may be missing, rec is
// put all the same.
func (f *FS) removeXattr(in *inode, rec inodeRec, name string, mayMiss bool) error {
	s, err := f.findXattr(in, name)
	switch {
	case err != nil:
		return err
	case s.i < 0 && !mayMiss:
		return ErrNoAttr
	case s.i < 0:
		return f.change(in, func(r *inodeRec) { *r, r.ctime = rec, f.now() }, nil)
	}
	s.list = slices.Delete(s.list, s.i, s.i+1)
	rec.xattrs--
	rec.flags &^= xattrFlag(name)
	return f.putXattrs(in, rec, s)
}

// capsRemoval is the removal of security.capability, which goes when a file changes; the zero value is none.
type capsRemoval struct {
	slot xattrSlot
	any  bool
}

// removeCaps prepares rec for the removal of the capabilities that an inode has, if it has any.
func (f *FS) removeCaps(in *inode, rec *inodeRec) (c capsRemoval, err error) {
	if in.rec.flags&hasCaps == 0 {
		return c, nil
	}
	rec.flags &^= hasCaps
	if c.slot, err = f.findXattr(in, xattrCaps); err != nil || c.slot.i < 0 {
		return capsRemoval{}, err
	}
	rec.xattrs--
	c.slot.list = slices.Delete(c.slot.list, c.slot.i, c.slot.i+1)
	c.any = true
	return c, nil
}

func (c *capsRemoval) apply(tx *blockstore.Tx) {
	if c.any {
		c.slot.put(tx)
	}
}
