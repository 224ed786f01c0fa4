package fuse

import (
	gofuse "github.com/hanwen/go-fuse/v2/fuse"

	"salliefs/fs"
)

// OpenDir has no state to make. ENOSYS spares all further OPENDIR and RELEASEDIR,
// and lets the kernel cache the directory's entries.
func (b *bridge) OpenDir(_ <-chan struct{}, in *gofuse.OpenIn, out *gofuse.OpenOut) gofuse.Status {
	b.requests.count(in.Opcode)
	if b.noOpendir {
		return gofuse.ENOSYS
	}
	out.OpenFlags = gofuse.FOPEN_KEEP_CACHE | gofuse.FOPEN_CACHE_DIR
	return gofuse.OK
}

func (b *bridge) ReleaseDir(*gofuse.ReleaseIn) { b.requests.count(opReleasedir) }

func (b *bridge) ReadDir(_ <-chan struct{}, in *gofuse.ReadIn, out *gofuse.DirEntryList) gofuse.Status {
	b.requests.count(in.Opcode)
	err := b.fs.ReadDir(fs.Ino(in.NodeId), in.Offset, false, func(e *fs.DirEntry) bool {
		return out.AddDirEntry(dirEntry(e))
	})
	return b.nodeStatus(&in.InHeader, err)
}

// ReadDirPlus hands out each entry's inode as a LOOKUP would, so each is a
// reference; but not "." and "..", which the kernel does not count, not the entry
// that did not fit any more, which it never sees, and not one whose attributes can
// not be read: node 0 has the kernel look that up, and so hear of the error.
func (b *bridge) ReadDirPlus(_ <-chan struct{}, in *gofuse.ReadIn, out *gofuse.DirEntryList) gofuse.Status {
	b.requests.count(in.Opcode)
	err := b.fs.ReadDir(fs.Ino(in.NodeId), in.Offset, true, func(e *fs.DirEntry) bool {
		entry := out.AddDirLookupEntry(dirEntry(e))
		if entry == nil {
			return false
		}
		if e.Name != "." && e.Name != ".." && e.Attr.Ino != 0 {
			b.hand(entry, &e.Attr)
		}
		return true
	})
	return b.nodeStatus(&in.InHeader, err)
}

func dirEntry(e *fs.DirEntry) gofuse.DirEntry {
	return gofuse.DirEntry{Name: e.Name, Ino: uint64(e.Ino), Mode: e.Type, Off: e.Cookie}
}

// FsyncDir makes the names durable.
func (b *bridge) FsyncDir(_ <-chan struct{}, in *gofuse.FsyncIn) gofuse.Status {
	b.requests.count(in.Opcode)
	return b.nodeStatus(&in.InHeader, b.fs.Fsync(fs.Ino(in.NodeId)))
}
