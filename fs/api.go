package fs

import (
	"context"
	"io"

	"salliefs/blockstore"
)

// FS is the tree of one open store. Its methods may be called at the same time.
type FS struct{}

// Open opens the tree of st, which stays the caller's to close after FS.Close. It makes the root directory when
// there is none, and has the orphans of an earlier run removed in the background.
func Open(st *blockstore.Store, o Options) (*FS, error) { panic("todo") }

// Close ends background work. It does not make anything durable; closing the store does.
func (f *FS) Close() error { panic("todo") }

func (f *FS) SetObserver(o Observer)                                                 { panic("todo") }
func (f *FS) Lookup(parent Ino, name string) (Attr, error)                           { panic("todo") }
func (f *FS) GetAttr(ino Ino) (Attr, error)                                          { panic("todo") }
func (f *FS) SetAttr(ino Ino, in SetAttr) (Attr, error)                              { panic("todo") }
func (f *FS) Mknod(parent Ino, name string, mode, rdev uint32, c Cred) (Attr, error) { panic("todo") }
func (f *FS) Mkdir(parent Ino, name string, mode uint32, c Cred) (Attr, error)       { panic("todo") }
func (f *FS) Symlink(parent Ino, name, target string, c Cred) (Attr, error)          { panic("todo") }
func (f *FS) Readlink(ino Ino) (string, error)                                       { panic("todo") }
func (f *FS) Link(ino, newParent Ino, name string) (Attr, error)                     { panic("todo") }
func (f *FS) Unlink(parent Ino, name string) error                                   { panic("todo") }
func (f *FS) Rmdir(parent Ino, name string) error                                    { panic("todo") }
func (f *FS) Rename(oldParent Ino, oldName string, newParent Ino, newName string, flags uint32) error {
	panic("todo")
}
func (f *FS) Tmpfile(parent Ino, mode uint32, c Cred) (Attr, error) { panic("todo") }
func (f *FS) ReadDir(dir Ino, cookie uint64, plus bool, fn func(e *DirEntry) bool) error {
	panic("todo")
}
func (f *FS) ReadAt(ino Ino, dst []byte, off int64) (int, error)                  { panic("todo") }
func (f *FS) WriteAt(ino Ino, data []byte, off int64, killPriv bool) (int, error) { panic("todo") }
func (f *FS) Fallocate(ino Ino, mode uint32, off, length int64) error             { panic("todo") }
func (f *FS) Seek(ino Ino, off int64, whence int) (int64, error)                  { panic("todo") }
func (f *FS) CopyRange(src Ino, srcOff int64, dst Ino, dstOff int64, n int64) (int64, error) {
	panic("todo")
}

// GetXattr copies the value of an extended attribute to dst and returns its length. An empty dst only asks for the
// length; ErrRange means that dst is too short.
func (f *FS) GetXattr(ino Ino, name string, dst []byte) (int, error)          { panic("todo") }
func (f *FS) SetXattr(ino Ino, name string, value []byte, flags uint32) error { panic("todo") }

// ListXattr is like GetXattr, for the names, each ended by a NUL.
func (f *FS) ListXattr(ino Ino, dst []byte) (int, error) { panic("todo") }
func (f *FS) RemoveXattr(ino Ino, name string) error     { panic("todo") }
func (f *FS) Fsync(ino Ino) error                        { panic("todo") }
func (f *FS) Sync() error                                { panic("todo") }
func (f *FS) StatFS() (StatFS, error)                    { panic("todo") }
func (f *FS) Ref(ino Ino)                                { panic("todo") }
func (f *FS) Unref(ino Ino, n uint64)                    { panic("todo") }

func (f *FS) Namespaces() []Namespace                                         { panic("todo") }
func (f *FS) NamespaceStats(name string) (Namespace, error)                   { panic("todo") }
func (f *FS) CreateNamespace(name string, st NamespaceSettings, c Cred) error { panic("todo") }
func (f *FS) SetNamespace(name string, st NamespaceSettings) error            { panic("todo") }
func (f *FS) RenameNamespace(old, new string) error                           { panic("todo") }

// RemoveNamespace removes a namespace; ErrNotEmpty if there is something in it, unless force.
func (f *FS) RemoveNamespace(name string, force bool) error { panic("todo") }
func (f *FS) Snapshots() []Snapshot                         { panic("todo") }
func (f *FS) Snapshot(name string) (Snapshot, error)        { panic("todo") }
func (f *FS) DeleteSnapshot(name string) error              { panic("todo") }

// Keys: ns is a namespace's name, "" for the root; path is below it, with slashes.
func (f *FS) GetKey(ns, path string) ([]byte, error)                { panic("todo") }
func (f *FS) StatKey(ns, path string) (Attr, error)                 { panic("todo") }
func (f *FS) SetKey(ns, path string, data []byte, c Cred) error     { panic("todo") }
func (f *FS) SetKeyFrom(ns, path string, r io.Reader, c Cred) error { panic("todo") }
func (f *FS) RemoveKey(ns, path string) error                       { panic("todo") }
func (f *FS) ListKeys(ns, dir string, fn func(KeyInfo) bool) error  { panic("todo") }
func (f *FS) Walk(ns, dir string, fn func(KeyInfo) error) error     { panic("todo") }

func (f *FS) Check(ctx context.Context, o CheckOptions, report func(Problem)) error { panic("todo") }
