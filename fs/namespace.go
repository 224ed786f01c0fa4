package fs

import (
	"errors"
	"fmt"

	"salliefs/blockstore"
)

// Namespaces lists the namespaces by name, the built-in one of the root directory, which has none, first.
func (f *FS) Namespaces() []Namespace {
	all := f.st.Namespaces()
	list := all[:0]
	for _, d := range all {
		if !hidden(d.Name) {
			list = append(list, d)
		}
	}
	return list
}

// NamespaceStats describes a namespace; "" is the built-in one.
func (f *FS) NamespaceStats(name string) (Namespace, error) {
	d, ok := f.st.NamespaceByName(name)
	if !ok || hidden(name) {
		return Namespace{}, &Error{Op: "stat", Namespace: name, Err: errNoNamespace}
	}
	return d, nil
}

// CreateNamespace makes a namespace, which appears in the root directory.
func (f *FS) CreateNamespace(name string, st NamespaceSettings, c Cred) error {
	err := checkName(name)
	if err == nil {
		_, err = f.makeSpace(name, st, 0o755, c)
	}
	if err != nil {
		return &Error{Op: "create", Namespace: name, Err: err}
	}
	f.entryChanged(RootIno, name)
	return nil
}

func (f *FS) makeSpace(name string, st NamespaceSettings, mode uint32, c Cred) (Attr, error) {
	if err := f.begin(); err != nil {
		return Attr{}, err
	}
	root, err := f.lockDir(RootIno)
	if err != nil {
		return Attr{}, err
	}
	defer f.unlock(root)
	if _, err := f.mustNotFind(root, name); err != nil {
		return Attr{}, err
	}
	top, err := f.newNode(root, inodeRec{mode: ModeDir | mode&modePerm, nlink: 2}, c)
	if err != nil {
		return Attr{}, err
	}
	now := top.in.rec.btime
	id, err := f.st.CreateNamespace(name, st, func(tx *blockstore.Tx, ns NamespaceID) {
		ino := blockstore.MakeIno(ns, 1)
		tx.Put(blockstore.Key{Ino: ino, Kind: kindInode}, encodeInode(&top.in.rec, nil))
		top.acl.put(tx, ino, f.st.NameHasher(ns))
		putRoot(tx, root, now)
	})
	if err != nil {
		return Attr{}, spaceError(err)
	}
	if id == virtualNS { // its inode numbers are taken
		return Attr{}, errors.Join(ErrNoSpace, f.st.RemoveNamespace(name, nil))
	}
	root.rec.mtime, root.rec.ctime = now, now
	f.spacesChanged(root, 1)
	return f.attrOf(blockstore.MakeIno(id, 1))
}

// putRoot moves the times of the root directory.
func putRoot(tx *blockstore.Tx, root *inode, now int64) {
	rec := root.rec
	rec.mtime, rec.ctime = now, now
	tx.Put(root.record(), encodeInode(&rec, nil))
}

// SetNamespace changes the settings of a namespace for what is written from now on.
func (f *FS) SetNamespace(name string, st NamespaceSettings) error {
	err := f.setNamespace(name, st)
	if err != nil {
		return &Error{Op: "set", Namespace: name, Err: err}
	}
	return nil
}

func (f *FS) setNamespace(name string, st NamespaceSettings) error {
	if err := f.begin(); err != nil {
		return err
	}
	if hidden(name) {
		return errNoNamespace
	}
	if err := f.st.SetNamespace(name, st); err != nil {
		return spaceError(err)
	}
	d, ok := f.st.NamespaceByName(name)
	if !ok {
		return nil // renamed or removed meanwhile
	}
	ns, err := f.namespace(d.ID)
	if err != nil {
		return err
	}
	ns.configure(d.Settings)
	return nil
}

// RenameNamespace gives a namespace another name.
func (f *FS) RenameNamespace(old, name string) error {
	if _, ok := f.findSpace(old); !ok {
		return &Error{Op: "rename", Namespace: old, Err: errNoNamespace}
	}
	if err := f.Rename(RootIno, old, RootIno, name, RenameNoReplace); err != nil {
		return &Error{Op: "rename", Namespace: old, Err: err}
	}
	f.entryChanged(RootIno, old)
	f.entryChanged(RootIno, name)
	return nil
}

// RemoveNamespace removes a namespace; ErrNotEmpty if there is something in it, unless force. Files of it that are open
// are lost with force.
func (f *FS) RemoveNamespace(name string, force bool) error {
	if err := f.removeNamespace(name, force); err != nil {
		return &Error{Op: "remove", Namespace: name, Err: err}
	}
	f.entryChanged(RootIno, name)
	return nil
}

func (f *FS) removeNamespace(name string, force bool) error {
	if err := f.beginFreeing(); err != nil {
		return err
	}
	root, err := f.lockDir(RootIno)
	if err != nil {
		return err
	}
	defer f.unlock(root)
	d, ok := f.findSpace(name)
	if !ok {
		return errNoNamespace
	}
	if !force {
		return f.removeSpace(root, d, "")
	}
	return f.dropSpace(root, d, "")
}

// removeSpace removes an empty namespace. Its name goes to the namespace heir, if that is not "". The root directory is
// locked.
func (f *FS) removeSpace(root *inode, d Namespace, heir string) error {
	top, err := f.lock(blockstore.MakeIno(d.ID, 1))
	if err != nil {
		return err
	}
	defer f.unlock(top)
	if top.rec.size > 0 {
		return ErrNotEmpty
	}
	if top.ns.orphans.Load() > 0 {
		return f.doomSpace(root, top, d, heir)
	}
	return f.dropSpace(root, d, heir)
}

// dropSpace removes a namespace with all that is in it.
func (f *FS) dropSpace(root *inode, d Namespace, heir string) error {
	ns, err := f.namespace(d.ID)
	if err != nil {
		return err
	}
	ns.gate.Lock()
	was := ns.dead.Swap(true)
	ns.gate.Unlock()
	if was {
		return ErrNotExist
	}
	now := f.now()
	also := func(tx *blockstore.Tx) { putRoot(tx, root, now) }
	if heir == "" {
		err = f.st.RemoveNamespace(d.Name, also)
	} else {
		err = f.st.ReplaceNamespace(heir, d.Name, "", also)
	}
	if err != nil {
		ns.dead.Store(false)
		return spaceError(err)
	}
	root.rec.mtime, root.rec.ctime = now, now
	f.spacesChanged(root, -1)
	return nil
}

// doomSpace takes the name from a namespace in which there are still open files without names. It goes with the last of
// them.
func (f *FS) doomSpace(root, top *inode, d Namespace, heir string) (err error) {
	now := f.now()
	rec := top.rec
	rec.nlink, rec.ctime = 0, now
	also := func(tx *blockstore.Tx) {
		tx.Put(top.record(), encodeInode(&rec, nil))
		putRoot(tx, root, now)
	}
	if heir == "" {
		err = f.st.RenameNamespace(d.Name, hiddenName(d.ID), also)
	} else {
		err = f.st.ReplaceNamespace(heir, d.Name, hiddenName(d.ID), also)
	}
	if err != nil {
		return spaceError(err)
	}
	top.rec = rec
	root.rec.mtime, root.rec.ctime = now, now
	f.spacesChanged(root, -1)
	top.ns.doomed.Store(true)
	if top.ns.orphans.Load() == 0 { // gone meanwhile
		f.removeDoomed(top.ns)
	}
	return nil
}

func hiddenName(id NamespaceID) string { return fmt.Sprintf("%s%d", hiddenPrefix, id) }

// removeDoomed removes a namespace that has lost its name, and then its last file.
func (f *FS) removeDoomed(ns *namespace) {
	ns.gate.Lock()
	was := ns.dead.Swap(true)
	ns.gate.Unlock()
	if was {
		return
	}
	if err := f.st.RemoveNamespace(hiddenName(ns.id), nil); err != nil {
		f.log.Warn("a namespace could not be removed; the next start tries again", "namespace", ns.id, "err", err)
	}
}

// removeFromRoot removes what the root directory has beside its own entries. special is false if the name is none of
// that.
func (f *FS) removeFromRoot(root *inode, name string, directory bool) (special bool, err error) {
	if name == SnapshotDir {
		return true, ErrPerm
	}
	d, ok := f.findSpace(name)
	switch {
	case !ok:
		return false, nil
	case !directory:
		return true, ErrIsDir
	}
	return true, f.removeSpace(root, d, "")
}

// renameInRoot renames what the root directory has beside its own entries. special is false if neither name is of that.
func (f *FS) renameInRoot(root *inode, old, name string, flags uint32) (special bool, err error) {
	if old == SnapshotDir || name == SnapshotDir {
		return true, ErrPerm
	}
	if hidden(name) {
		return true, ErrInvalid
	}
	a, isSpace := f.findSpace(old)
	b, taken := f.findSpace(name)
	if !isSpace && !taken {
		return false, nil
	}
	source, err := f.find(root, old)
	if err != nil {
		return true, err
	}
	target, err := f.find(root, name)
	if err != nil {
		return true, err
	}
	switch {
	case !isSpace && !source.ok():
		return true, ErrNotExist
	case flags&RenameExchange != 0:
		return true, f.swapSpaces(root, isSpace, taken, target.ok(), a, b)
	case flags&RenameNoReplace != 0 && (taken || target.ok()):
		return true, ErrExist
	case !isSpace:
		return true, ErrIsDir // a file in place of a namespace
	case target.ok():
		return true, ErrNotDir
	case old == name:
		return true, nil
	}
	if taken {
		return true, f.removeSpace(root, b, a.Name)
	}
	return true, f.renameSpace(root, a, name)
}

func (f *FS) renameSpace(root *inode, a Namespace, name string) error {
	now := f.now()
	if err := f.st.RenameNamespace(a.Name, name, func(tx *blockstore.Tx) { putRoot(tx, root, now) }); err != nil {
		return spaceError(err)
	}
	root.rec.mtime, root.rec.ctime = now, now
	f.spacesChanged(root, 0)
	return nil
}

func (f *FS) swapSpaces(root *inode, isSpace, taken, file bool, a, b Namespace) error {
	switch {
	case !taken && !file:
		return ErrNotExist
	case !isSpace || !taken:
		return ErrInvalid // a file and a namespace
	case a.ID == b.ID:
		return nil
	}
	now := f.now()
	if err := f.st.SwapNamespaces(a.Name, b.Name, func(tx *blockstore.Tx) { putRoot(tx, root, now) }); err != nil {
		return spaceError(err)
	}
	root.rec.mtime, root.rec.ctime = now, now
	f.spacesChanged(root, 0)
	return nil
}
