package fuse

import (
	"errors"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"salliefs/fs"
)

// Lookup tells the kernel of an absent name with node ID 0, which it remembers, and
// not with ENOENT, which it would not.
func (b *bridge) Lookup(_ <-chan struct{}, h *gofuse.InHeader, name string, out *gofuse.EntryOut) gofuse.Status {
	b.requests.count(h.Opcode)
	a, err := b.fs.Lookup(fs.Ino(h.NodeId), name)
	if err != nil {
		if err == fs.ErrNotExist || errors.Is(err, fs.ErrNotExist) {
			out.NodeId = 0
			out.SetEntryTimeout(validity)
			return gofuse.OK
		}
		return b.status(h, err)
	}
	b.hand(out, &a)
	return gofuse.OK
}

// hand fills the reply that gives the kernel an inode, and counts the reference that
// the kernel holds from then on.
func (b *bridge) hand(out *gofuse.EntryOut, a *fs.Attr) {
	b.fs.Ref(a.Ino)
	out.NodeId = uint64(a.Ino)
	out.SetEntryTimeout(validity)
	out.SetAttrTimeout(validity)
	fillAttr(&out.Attr, a)
}

// Forget takes references back. go-fuse calls it once for each node of a BATCH_FORGET,
// and so it is counted.
func (b *bridge) Forget(node, n uint64) {
	b.requests.count(opForget)
	b.fs.Unref(fs.Ino(node), n)
}

func (b *bridge) Mknod(_ <-chan struct{}, in *gofuse.MknodIn, name string, out *gofuse.EntryOut) gofuse.Status {
	b.requests.count(in.Opcode)
	a, err := b.fs.Mknod(fs.Ino(in.NodeId), name, in.Mode, in.Rdev, b.cred(&in.InHeader, in.Umask))
	if err != nil {
		return b.status(&in.InHeader, err)
	}
	b.hand(out, &a)
	return gofuse.OK
}

func (b *bridge) Mkdir(_ <-chan struct{}, in *gofuse.MkdirIn, name string, out *gofuse.EntryOut) gofuse.Status {
	b.requests.count(in.Opcode)
	a, err := b.fs.Mkdir(fs.Ino(in.NodeId), name, in.Mode, b.cred(&in.InHeader, in.Umask))
	if err != nil {
		return b.status(&in.InHeader, err)
	}
	b.hand(out, &a)
	return gofuse.OK
}

func (b *bridge) Symlink(_ <-chan struct{}, h *gofuse.InHeader, target, name string, out *gofuse.EntryOut) gofuse.Status {
	b.requests.count(h.Opcode)
	a, err := b.fs.Symlink(fs.Ino(h.NodeId), name, target, b.cred(h, 0))
	if err != nil {
		return b.status(h, err)
	}
	b.hand(out, &a)
	return gofuse.OK
}

// cred says who creates. The umask counts only where the kernel has left it to us,
// which is when ACLs are on: a directory's default ACL takes its place.
func (b *bridge) cred(h *gofuse.InHeader, umask uint32) fs.Cred {
	c := fs.Cred{UID: h.Uid, GID: h.Gid}
	if b.acl {
		c.Umask = umask & 0o777
	}
	return c
}

func (b *bridge) Readlink(_ <-chan struct{}, h *gofuse.InHeader) ([]byte, gofuse.Status) {
	b.requests.count(h.Opcode)
	target, err := b.fs.Readlink(fs.Ino(h.NodeId))
	if err != nil {
		return nil, b.nodeStatus(h, err)
	}
	return []byte(target), gofuse.OK
}

func (b *bridge) Link(_ <-chan struct{}, in *gofuse.LinkIn, name string, out *gofuse.EntryOut) gofuse.Status {
	b.requests.count(in.Opcode)
	a, err := b.fs.Link(fs.Ino(in.Oldnodeid), fs.Ino(in.NodeId), name)
	if err != nil {
		return b.status(&in.InHeader, err)
	}
	b.hand(out, &a)
	return gofuse.OK
}

func (b *bridge) Unlink(_ <-chan struct{}, h *gofuse.InHeader, name string) gofuse.Status {
	b.requests.count(h.Opcode)
	return b.status(h, b.fs.Unlink(fs.Ino(h.NodeId), name))
}

func (b *bridge) Rmdir(_ <-chan struct{}, h *gofuse.InHeader, name string) gofuse.Status {
	b.requests.count(h.Opcode)
	return b.status(h, b.fs.Rmdir(fs.Ino(h.NodeId), name))
}

// Rename serves RENAME and RENAME2; the former has no flags.
func (b *bridge) Rename(_ <-chan struct{}, in *gofuse.RenameIn, oldName, newName string) gofuse.Status {
	b.requests.count(in.Opcode)
	if in.Flags&^(unix.RENAME_NOREPLACE|unix.RENAME_EXCHANGE) != 0 {
		return gofuse.EINVAL
	}
	oldDir, newDir := fs.Ino(in.NodeId), fs.Ino(in.Newdir)
	if in.Flags&unix.RENAME_NOREPLACE == 0 {
		b.dropReplacement(oldDir, oldName, newDir, newName)
	}
	return b.status(&in.InHeader, b.fs.Rename(oldDir, oldName, newDir, newName, in.Flags))
}

// dropReplacement has the kernel hand over the data of a file that is about to take
// another one's name, for it may still be open and its data in the kernel's cache
// alone: a crash after the rename must not leave an empty file where there was a
// good one. (Programs that close before they rename, as most do, have handed it
// over already. A file whose name is new loses nothing, so it is left alone.)
//
// The kernel holds the locks of the directories and of both files meanwhile, none of
// which writing back asks for.
func (b *bridge) dropReplacement(oldDir fs.Ino, oldName string, newDir fs.Ino, newName string) {
	old, err := b.fs.Lookup(oldDir, oldName)
	if err != nil || old.Mode&unix.S_IFMT != unix.S_IFREG {
		return
	}
	if _, err := b.fs.Lookup(newDir, newName); err == nil {
		b.drop(old.Ino, 0, 0)
	}
}

// Create is never implemented: the kernel then sends MKNOD, and opens without a
// request. One request instead of CREATE, FLUSH and RELEASE.
func (b *bridge) Create(_ <-chan struct{}, in *gofuse.CreateIn, _ string, _ *gofuse.CreateOut) gofuse.Status {
	b.requests.count(in.Opcode)
	return gofuse.ENOSYS
}

// Tmpfile makes a file without a name, for O_TMPFILE. LINK may give it one later.
func (b *bridge) Tmpfile(_ <-chan struct{}, in *gofuse.CreateIn, out *gofuse.CreateOut) gofuse.Status {
	b.requests.count(in.Opcode)
	a, err := b.fs.Tmpfile(fs.Ino(in.NodeId), in.Mode, b.cred(&in.InHeader, in.Umask))
	if err != nil {
		return b.status(&in.InHeader, err)
	}
	b.hand(&out.EntryOut, &a)
	out.OpenFlags = gofuse.FOPEN_KEEP_CACHE
	return gofuse.OK
}
