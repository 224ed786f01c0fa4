package fuse

import (
	"math"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"salliefs/fs"
)

// validity is how long the kernel may trust a name, the absence of a name, and
// attributes. Whatever changes them passes through the kernel or is told to it
// (notify.go), so the only limit is that a lost notification heals some day.
const validity = 24 * time.Hour

// GetAttr is asked for what the kernel does not know or has invalidated. Of a
// regular file it takes neither size, mtime nor ctime from the answer while it has
// the inode cached: under the writeback cache it is the one who knows them.
func (b *bridge) GetAttr(_ <-chan struct{}, in *gofuse.GetAttrIn, out *gofuse.AttrOut) gofuse.Status {
	b.requests.count(in.Opcode)
	a, err := b.fs.GetAttr(fs.Ino(in.NodeId))
	if err != nil {
		return b.nodeStatus(&in.InHeader, err)
	}
	fillAttrOut(out, &a)
	return gofuse.OK
}

// SetAttr also carries ftruncate, the truncation of open(O_TRUNC), and the times of
// files that were written, which the kernel keeps and flushes.
func (b *bridge) SetAttr(_ <-chan struct{}, in *gofuse.SetAttrIn, out *gofuse.AttrOut) gofuse.Status {
	b.requests.count(in.Opcode)
	a, err := b.fs.SetAttr(fs.Ino(in.NodeId), setAttrOf(in))
	if err != nil {
		return b.nodeStatus(&in.InHeader, err)
	}
	b.eager.setTimes(in)
	fillAttrOut(out, &a)
	return gofuse.OK
}

// setAttrOf translates a request. The kernel sends the time along with
// FATTR_ATIME_NOW and FATTR_MTIME_NOW; taking its clock rather than ours gives both
// times of a file the same value, as utimes(NULL) promises.
//
// HANDLE_KILLPRIV_V2 leaves set-user-ID, set-group-ID and capabilities to us: on a
// change of size when the flag says so, on a change of owner always (which fs does).
func setAttrOf(in *gofuse.SetAttrIn) fs.SetAttr {
	var s fs.SetAttr
	if in.Valid&gofuse.FATTR_MODE != 0 {
		s.Valid |= fs.SetMode
		s.Mode = in.Mode & 0o7777
	}
	if in.Valid&gofuse.FATTR_UID != 0 {
		s.Valid |= fs.SetUID
		s.UID = in.Uid
	}
	if in.Valid&gofuse.FATTR_GID != 0 {
		s.Valid |= fs.SetGID
		s.GID = in.Gid
	}
	if in.Valid&gofuse.FATTR_SIZE != 0 {
		s.Valid |= fs.SetSize
		s.Size = int64(in.Size)
	}
	if in.Valid&gofuse.FATTR_ATIME != 0 {
		s.Valid |= fs.SetAtime
		s.Atime = nanoseconds(in.Atime, in.Atimensec)
	}
	if in.Valid&gofuse.FATTR_MTIME != 0 {
		s.Valid |= fs.SetMtime
		s.Mtime = nanoseconds(in.Mtime, in.Mtimensec)
	}
	if in.Valid&gofuse.FATTR_CTIME != 0 {
		s.Valid |= fs.SetCtime
		s.Ctime = nanoseconds(in.Ctime, in.Ctimensec)
	}
	if in.Valid&gofuse.FATTR_KILL_SUIDGID != 0 {
		s.Valid |= fs.KillPriv
	}
	return s
}

// Statx is asked when a program wants the time of birth, which GETATTR cannot carry.
func (b *bridge) Statx(_ <-chan struct{}, in *gofuse.StatxIn, out *gofuse.StatxOut) gofuse.Status {
	b.requests.count(in.Opcode)
	a, err := b.fs.GetAttr(fs.Ino(in.NodeId))
	if err != nil {
		return b.nodeStatus(&in.InHeader, err)
	}
	out.SetTimeout(validity)
	out.Mask = unix.STATX_BASIC_STATS | unix.STATX_BTIME
	out.Ino, out.Mode, out.Nlink = uint64(a.Ino), uint16(a.Mode), a.Nlink
	out.Uid, out.Gid = a.UID, a.GID
	out.Size, out.Blocks, out.Blksize = uint64(a.Size), uint64(a.Blocks), a.BlockSize
	out.RdevMajor, out.RdevMinor = unix.Major(uint64(a.Rdev)), unix.Minor(uint64(a.Rdev))
	for _, t := range []struct {
		out *gofuse.SxTime
		ns  int64
	}{{&out.Atime, a.Atime}, {&out.Mtime, a.Mtime}, {&out.Ctime, a.Ctime}, {&out.Btime, a.Btime}} {
		t.out.Sec, t.out.Nsec = seconds(t.ns)
	}
	return gofuse.OK
}

// StatFs answers df.
func (b *bridge) StatFs(_ <-chan struct{}, in *gofuse.InHeader, out *gofuse.StatfsOut) gofuse.Status {
	b.requests.count(in.Opcode)
	s, err := b.fs.StatFS()
	if err != nil {
		return b.nodeStatus(in, err)
	}
	out.Bsize, out.Frsize, out.NameLen = s.BlockSize, s.BlockSize, s.NameMax
	out.Blocks, out.Bfree, out.Bavail = s.Blocks, s.Free, s.Avail
	out.Files, out.Ffree = s.Files, s.FilesFree
	return gofuse.OK
}

// Access never comes under default_permissions.
func (b *bridge) Access(_ <-chan struct{}, in *gofuse.AccessIn) gofuse.Status {
	b.requests.count(in.Opcode)
	return gofuse.ENOSYS
}

func fillAttrOut(out *gofuse.AttrOut, a *fs.Attr) {
	out.SetTimeout(validity)
	fillAttr(&out.Attr, a)
}

func fillAttr(out *gofuse.Attr, a *fs.Attr) {
	out.Ino = uint64(a.Ino)
	out.Mode, out.Nlink = a.Mode, a.Nlink
	out.Uid, out.Gid, out.Rdev = a.UID, a.GID, a.Rdev
	out.Size, out.Blocks, out.Blksize = uint64(a.Size), uint64(a.Blocks), a.BlockSize
	out.Atime, out.Atimensec = seconds(a.Atime)
	out.Mtime, out.Mtimensec = seconds(a.Mtime)
	out.Ctime, out.Ctimensec = seconds(a.Ctime)
}

// seconds splits nanoseconds since 1970 as the protocol wants them: whole seconds,
// a negative number of them in two's complement, and 0…999,999,999 ns on top.
func seconds(ns int64) (sec uint64, nsec uint32) {
	s, n := ns/1e9, ns%1e9
	if n < 0 {
		s, n = s-1, n+1e9
	}
	return uint64(s), uint32(n)
}

// nanoseconds is the reverse of seconds. Times that int64 nanoseconds cannot hold
// (before 1677, after 2262) become the nearest that it can.
func nanoseconds(sec uint64, nsec uint32) int64 {
	const second = int64(time.Second)
	s := int64(sec)
	switch {
	case s >= math.MaxInt64/second:
		return math.MaxInt64
	case s <= math.MinInt64/second:
		return math.MinInt64
	}
	return s*second + int64(nsec)
}
