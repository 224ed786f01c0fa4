package fs

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"slices"
	"strings"

	"salliefs/blockstore"
)

// Keys are files, found by the name of their namespace, "" for the root directory, and a path below it with slashes.
// What is changed through these methods is told to the Observer.

// StatKey reads the attributes of a key, or of a directory of keys.
func (f *FS) StatKey(ns, path string) (Attr, error) {
	dir, name, err := f.resolve(ns, path)
	var a Attr
	if err == nil && name == "" {
		a, err = f.GetAttr(dir)
	} else if err == nil {
		a, err = f.Lookup(dir, name)
	}
	return a, keyError("stat", ns, path, err)
}

// SetKey gives a key a value, in one step: a crash leaves the old value or the new. Directories on its path are made.
func (f *FS) SetKey(ns, path string, value []byte, c Cred) error {
	return f.SetKeyFrom(ns, path, bytes.NewReader(value), c)
}

// SetKeyFrom is SetKey for values of any length. The key keeps its owner, mode and attributes, and loses other names.
func (f *FS) SetKeyFrom(ns, path string, value io.Reader, c Cred) error {
	if err := f.setKey(ns, path, value, c); err != nil {
		return keyError("set", ns, path, err)
	}
	return nil
}

func (f *FS) setKey(ns, path string, value io.Reader, c Cred) error {
	if len(splitPath(path)) == 0 {
		return ErrIsDir
	}
	dir, name, err := f.makeParents(ns, path, c)
	if err != nil {
		return err
	}
	if err := checkName(name); err != nil {
		return err
	}
	if d, ok := f.findSpace(name); ok && dir == RootIno && d.Name != "" {
		return ErrIsDir
	}
	tmp, err := f.Tmpfile(dir, 0o666, c)
	if err != nil {
		return err
	}
	f.Ref(tmp.Ino)
	defer f.Unref(tmp.Ino, 1) // which deletes it if it has got no name
	if err := f.fillFrom(tmp.Ino, value); err != nil {
		return err
	}
	old, err := f.Lookup(dir, name)
	switch {
	case err == nil && !old.IsRegular():
		if old.IsDir() {
			return ErrIsDir
		}
		return ErrInvalid
	case err == nil:
		err = f.inheritKey(tmp.Ino, &old)
	case errors.Is(err, ErrNotExist):
		err = nil
	}
	if err != nil {
		return err
	}
	if err := f.replace(dir, name, tmp.Ino); err != nil {
		return err
	}
	f.entryChanged(dir, name)
	if old.Nlink > 1 {
		f.inodeChanged(old.Ino)
	}
	return nil
}

// makeParents is resolve, with the directories on the way made.
func (f *FS) makeParents(ns, path string, c Cred) (dir Ino, name string, err error) {
	parts := splitPath(path)
	dir, _, err = f.resolve(ns, "")
	if err != nil {
		return 0, "", err
	}
	for _, p := range parts[:len(parts)-1] {
		a, err := f.Lookup(dir, p)
		switch {
		case errors.Is(err, ErrNotExist) && dir == RootIno:
			return 0, "", errNoNamespace
		case errors.Is(err, ErrNotExist):
			if a, err = f.Mkdir(dir, p, 0o777, c); err == nil {
				f.entryChanged(dir, p)
			} else if errors.Is(err, ErrExist) {
				a, err = f.Lookup(dir, p)
			}
		case err == nil && !a.IsDir():
			err = ErrNotDir
		}
		if err != nil {
			return 0, "", err
		}
		dir = a.Ino
	}
	return dir, parts[len(parts)-1], nil
}

func (f *FS) fillFrom(ino Ino, value io.Reader) error {
	buf := make([]byte, mostWrite)
	for off := int64(0); ; {
		n, err := io.ReadFull(value, buf)
		if n > 0 {
			if _, err := f.WriteAt(ino, buf[:n], off, false); err != nil {
				return err
			}
			off += int64(n)
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// inheritKey gives a new value's inode what the key keeps: its ACL too, whether or not ACLs count now.
func (f *FS) inheritKey(ino Ino, old *Attr) error {
	_, err := f.SetAttr(ino, SetAttr{Valid: SetMode | SetUID | SetGID, Mode: old.Mode & modePerm, UID: old.UID, GID: old.GID})
	if err != nil {
		return err
	}
	in, err := f.rlock(old.Ino)
	if err != nil {
		return err
	}
	var all []xattr
	err = f.eachXattr(in, func(_ uint64, list []xattr) { all = append(all, list...) })
	hadACL := in.rec.flags&hasACL != 0
	f.runlock(in)
	for i := 0; i < len(all) && err == nil; i++ {
		if all[i].name != xattrCaps {
			err = f.setXattr(ino, all[i].name, all[i].value, 0)
		}
	}
	if err != nil || hadACL || !f.acl {
		return err
	}
	if err = f.RemoveXattr(ino, xattrACL); errors.Is(err, ErrNoAttr) { // which it would have by the directory's default
		err = nil
	}
	return err
}

// replace gives an orphan a name, which a file that has it loses in the same Update.
func (f *FS) replace(parent Ino, name string, ino Ino) error {
	dir, err := f.lockDir(parent)
	if err != nil {
		return err
	}
	defer f.unlock(dir)
	if dir.key == RootIno {
		if err := f.freeInRoot(name); err != nil {
			return err
		}
	}
	d, err := f.find(dir, name)
	if err != nil {
		return err
	}
	if d.ok() && d.typ == ModeDir>>typeShift {
		return ErrIsDir
	}
	r := rename{f: f, from: dir, to: dir, source: found{dirent: dirent{n: ino.Number()}}, target: d}
	if err := r.lock(); err != nil {
		return err
	}
	err = r.adopt(name)
	f.unlock(r.a)
	if r.b == nil {
		return err
	}
	if err == nil {
		f.letGo(r.b)
	} else {
		f.unlock(r.b)
	}
	return err
}

// adopt gives the orphan r.a a name in r.to, in place of r.b if that is there.
func (r *rename) adopt(name string) error {
	f := r.f
	now := f.now()
	dir, a := r.to.rec, r.a.rec
	a.nlink, a.ctime, a.parent = 1, now, r.to.key.Number()
	dir.mtime, dir.ctime = now, now
	typ := uint8(a.mode >> typeShift)
	var value []byte
	var gone unlinking
	var err error
	if r.b != nil {
		value = r.target.replaced(r.a.key.Number(), typ)
		gone = f.unlinked(r.b, now)
	} else {
		dir.size++
		if value, err = r.target.with(name, r.a.key.Number(), typ); err != nil {
			return err
		}
	}
	err = f.update(r.to.ns, func(tx *blockstore.Tx) error {
		setDirent(tx, r.to.key, r.target.suffix, value)
		tx.Put(r.a.record(), encodeInode(&a, r.a.ext))
		tx.Put(r.to.record(), encodeInode(&dir, nil))
		f.dropOrphan(tx, r.a)
		if r.b != nil {
			gone.put(f, tx)
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.a.rec, r.to.rec = a, dir
	if r.b != nil {
		gone.done()
	}
	f.adopted(r.a)
	f.added(r.to, r.target.suffix, nil, false)
	return nil
}

// RemoveKey removes a key, or an empty directory of keys.
func (f *FS) RemoveKey(ns, path string) error {
	dir, name, err := f.resolve(ns, path)
	var a Attr
	switch {
	case err != nil:
	case name == "":
		err = ErrIsDir // a namespace is removed by its own method
	default:
		if a, err = f.Lookup(dir, name); err != nil {
			break
		}
		if err = f.Unlink(dir, name); errors.Is(err, ErrIsDir) && dir != RootIno {
			err = f.Rmdir(dir, name)
		}
	}
	if err != nil {
		return keyError("remove", ns, path, err)
	}
	f.entryChanged(dir, name)
	if a.Nlink > 1 && !a.IsDir() {
		f.inodeChanged(a.Ino)
	}
	return nil
}

// ListKeys calls fn for what is in a directory, by name, until fn returns false. Paths are those below the namespace. At
// the root, namespaces are listed too. Only the names are kept meanwhile, and no locks are held while fn runs: it may
// change what is listed, and is not called for what has gone by then.
func (f *FS) ListKeys(ns, dir string, fn func(KeyInfo) bool) error {
	a, err := f.StatKey(ns, dir)
	if err != nil {
		return err
	}
	prefix := strings.Join(splitPath(dir), "/")
	if !a.IsDir() {
		fn(KeyInfo{prefix, a})
		return nil
	}
	list, err := f.sortedNames(a.Ino)
	if err != nil {
		return keyError("list", ns, dir, err)
	}
	if prefix != "" {
		prefix += "/"
	}
	for i := range list {
		path := prefix + list[i].name
		k, err := f.attrOf(list[i].ino)
		if errors.Is(err, ErrNotExist) { // or there is another file of that name now
			k, err = f.Lookup(a.Ino, list[i].name)
		}
		switch {
		case errors.Is(err, ErrNotExist):
			continue
		case err != nil:
			f.log.Warn("a key can not be read", "namespace", ns, "path", path, "err", err)
		}
		if !fn(KeyInfo{path, k}) {
			return nil
		}
	}
	return nil
}

// nameAndIno is an entry of a directory, without its attributes.
type nameAndIno struct {
	name string
	ino  Ino
}

// listBatch is how many entries of a directory are read before others may change it.
const listBatch = 4096

// sortedNames lists a directory by name.
func (f *FS) sortedNames(dir Ino) (list []nameAndIno, err error) {
	cookie, n := uint64(0), listBatch
	for n == listBatch {
		n = 0
		err = f.ReadDir(dir, cookie, false, func(e *DirEntry) bool {
			if n == listBatch {
				return false
			}
			n++
			cookie = e.Cookie
			if e.Name != "." && e.Name != ".." {
				list = append(list, nameAndIno{e.Name, e.Ino})
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(list, func(a, b nameAndIno) int { return cmp.Compare(a.name, b.name) })
	return list, nil
}

// Walk calls fn for all that is below a directory, or for the one key that the path is; directories before what is in
// them. An error of fn ends it. At the root, it does not go into the namespaces. See ListKeys for what fn may do.
func (f *FS) Walk(ns, dir string, fn func(KeyInfo) error) error {
	var failed error
	err := f.ListKeys(ns, dir, func(k KeyInfo) bool {
		if failed = fn(k); failed == nil && k.Attr.IsDir() && k.Attr.Ino.Namespace() != blockstore.RootNamespace && ns != "" {
			failed = f.Walk(ns, k.Path, fn)
		}
		return failed == nil
	})
	if failed != nil {
		return failed
	}
	return err
}
