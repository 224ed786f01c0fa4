package fuse

import (
	"log/slog"
	"sync"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"

	"salliefs/fs"
)

// filesystem is what the bridge calls; *fs.FS is the one that users mount.
type filesystem interface {
	Lookup(parent fs.Ino, name string) (fs.Attr, error)
	Ref(ino fs.Ino)
	Unref(ino fs.Ino, n uint64)

	GetAttr(ino fs.Ino) (fs.Attr, error)
	SetAttr(ino fs.Ino, in fs.SetAttr) (fs.Attr, error)
	StatFS() (fs.StatFS, error)

	Mknod(parent fs.Ino, name string, mode, rdev uint32, c fs.Cred) (fs.Attr, error)
	Mkdir(parent fs.Ino, name string, mode uint32, c fs.Cred) (fs.Attr, error)
	Symlink(parent fs.Ino, name, target string, c fs.Cred) (fs.Attr, error)
	Readlink(ino fs.Ino) (string, error)
	Tmpfile(parent fs.Ino, mode uint32, c fs.Cred) (fs.Attr, error)
	Link(ino, newParent fs.Ino, name string) (fs.Attr, error)
	Unlink(parent fs.Ino, name string) error
	Rmdir(parent fs.Ino, name string) error
	Rename(oldParent fs.Ino, oldName string, newParent fs.Ino, newName string, flags uint32) error
	ReadDir(dir fs.Ino, cookie uint64, plus bool, fn func(e *fs.DirEntry) bool) error

	ReadAt(ino fs.Ino, dst []byte, off int64) (int, error)
	WriteAt(ino fs.Ino, data []byte, off int64, killPriv bool) (int, error)
	WriteBack(ino fs.Ino, data []byte, off int64) (int, error)
	Fallocate(ino fs.Ino, mode uint32, off, length int64) error
	Seek(ino fs.Ino, off int64, whence int) (int64, error)
	CopyRange(src fs.Ino, srcOff int64, dst fs.Ino, dstOff int64, n int64) (int64, error)
	Fsync(ino fs.Ino) error
	Sync() error
	SyncAhead() error
	Settle()

	GetXattr(ino fs.Ino, name string, dst []byte) (int, error)
	SetXattr(ino fs.Ino, name string, value []byte, flags uint32) error
	ListXattr(ino fs.Ino, dst []byte) (int, error)
	RemoveXattr(ino fs.Ino, name string) error

	SetObserver(o fs.Observer)
}

var _ filesystem = (*fs.FS)(nil)

// bridge answers the kernel's requests. It holds nothing about files: a request's
// node ID is the inode number.
type bridge struct {
	fs       filesystem
	acl      bool
	log      *slog.Logger
	requests requests
	failures failures
	writes   inProgress
	eager    eager
	results  sync.Pool // of *readResult

	// Set by Init, before the first request that looks at them.
	noOpen, noOpendir bool
	// drop has the kernel write back, and then forget, what it caches of a range of a
	// file; a length of 0 is up to the end. It waits for WRITEs that this causes, so
	// nothing that a WRITE needs may be held.
	drop func(ino fs.Ino, off, length int64)
}

var _ gofuse.RawFileSystem = (*bridge)(nil)

func newBridge(f filesystem, acl bool, log *slog.Logger) *bridge {
	b := &bridge{fs: f, acl: acl, log: log}
	b.results.New = func() any { return &readResult{pool: &b.results} }
	b.drop = func(fs.Ino, int64, int64) {}
	return b
}

// replied is called when a reply has been sent.
func (b *bridge) replied() {
	if b.eager.take() {
		_ = b.fs.SyncAhead() // FSYNC learns how it went
		return
	}
	b.fs.Settle()
}

func (b *bridge) String() string { return typeName }

// SetDebug does nothing: go-fuse calls it in none of the ways we use it.
func (b *bridge) SetDebug(bool) {}

// Init learns what the kernel can do without: see doc.go on requests that are
// answered ENOSYS.
func (b *bridge) Init(s *gofuse.Server) {
	flags := s.KernelSettings().Flags64()
	b.noOpen = flags&gofuse.CAP_NO_OPEN_SUPPORT != 0
	b.noOpendir = flags&gofuse.CAP_NO_OPENDIR_SUPPORT != 0
	b.drop = func(ino fs.Ino, off, length int64) { s.InodeNotify(uint64(ino), off, length) }
}

// OnUnmount does nothing: the kernel forgets nothing one by one when it unmounts,
// and fs.FS.Close lets go of all references at once.
func (b *bridge) OnUnmount() {}
