package fuse

import (
	"sync"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"salliefs/fs"
)

// maxCopy bounds one COPY_FILE_RANGE, whose reply has room for 32 bits. Programs
// loop. It is a multiple of every block size, so that blocks stay shared.
const maxCopy = 1 << 30

// Open has no state to make: all of it hangs on the inode number. ENOSYS spares all
// further OPEN and RELEASE, and keeps the page cache from one open to the next.
func (b *bridge) Open(_ <-chan struct{}, in *gofuse.OpenIn, out *gofuse.OpenOut) gofuse.Status {
	b.requests.count(in.Opcode)
	if b.noOpen {
		return gofuse.ENOSYS
	}
	out.OpenFlags = gofuse.FOPEN_KEEP_CACHE
	return gofuse.OK
}

// Release has nothing to let go of. It comes for files that O_TMPFILE opened before
// the first OPEN was answered, and on kernels that insist on OPEN.
func (b *bridge) Release(<-chan struct{}, *gofuse.ReleaseIn) { b.requests.count(opRelease) }

// Flush is answered ENOSYS once. The kernel still writes back at each close, before
// it would ask, and gives the errors to close(2).
func (b *bridge) Flush(_ <-chan struct{}, in *gofuse.FlushIn) gofuse.Status {
	b.requests.count(in.Opcode)
	return gofuse.ENOSYS
}

// Fsync comes after the kernel has written back the file's pages and times. There is
// no cheaper fdatasync: a group commits whole.
func (b *bridge) Fsync(_ <-chan struct{}, in *gofuse.FsyncIn) gofuse.Status {
	b.requests.count(in.Opcode)
	b.eager.synced(fs.Ino(in.NodeId))
	return b.nodeStatus(&in.InHeader, b.fs.Fsync(fs.Ino(in.NodeId)))
}

func (b *bridge) Read(_ <-chan struct{}, in *gofuse.ReadIn, buf []byte) (gofuse.ReadResult, gofuse.Status) {
	b.requests.count(in.Opcode)
	n, err := b.fs.ReadAt(fs.Ino(in.NodeId), buf, int64(in.Offset))
	if err != nil && n < len(buf) {
		return nil, b.nodeStatus(&in.InHeader, err)
	}
	r := b.results.Get().(*readResult)
	r.data = buf[:n]
	return r, gofuse.OK
}

// readResult hands go-fuse its own buffer back without an allocation per READ.
type readResult struct {
	data []byte
	pool *sync.Pool
}

func (r *readResult) Bytes([]byte) ([]byte, gofuse.Status) { return r.data, gofuse.OK }
func (r *readResult) Size() int                            { return len(r.data) }
func (r *readResult) Done() {
	r.data = nil
	r.pool.Put(r)
}

func (b *bridge) Write(_ <-chan struct{}, in *gofuse.WriteIn, data []byte) (uint32, gofuse.Status) {
	b.requests.count(in.Opcode)
	n, err := b.write(in, data, int64(in.Offset))
	return n, b.writeStatus(in, err)
}

// Writev is what go-fuse calls first; on /dev/fuse, data is one piece.
func (b *bridge) Writev(_ <-chan struct{}, in *gofuse.WriteIn, data [][]byte) (uint32, gofuse.Status) {
	b.requests.count(in.Opcode)
	off, written := int64(in.Offset), uint32(0)
	for _, piece := range data {
		n, err := b.write(in, piece, off)
		written, off = written+n, off+int64(n)
		if err != nil {
			return written, b.writeStatus(in, err)
		}
	}
	return written, gofuse.OK
}

// write serves both kinds of WRITE. For data from the kernel's cache, the kernel also
// keeps the times and sends them with SETATTR, which may overtake the data. It looks at
// no count there, and would take what was not written as written; so any error counts.
// A program's own write(2) learns the count first and the error with the rest.
func (b *bridge) write(in *gofuse.WriteIn, data []byte, off int64) (uint32, error) {
	b.writes.begin()
	defer b.writes.end()
	ino := fs.Ino(in.NodeId)
	if in.WriteFlags&gofuse.WRITE_CACHE != 0 {
		n, err := b.fs.WriteBack(ino, data, off)
		if err == nil {
			b.eager.wrote(ino, len(data), true)
		}
		return uint32(n), err
	}
	n, err := b.fs.WriteAt(ino, data, off, in.WriteFlags&gofuse.WRITE_KILL_SUIDGID != 0)
	if n > 0 {
		err = nil
		b.eager.wrote(ino, len(data), false)
	}
	return uint32(n), err
}

// Fallocate serves allocation, KEEP_SIZE, PUNCH_HOLE and ZERO_RANGE. The kernel
// refuses COLLAPSE_RANGE and INSERT_RANGE itself (EOPNOTSUPP).
func (b *bridge) Fallocate(_ <-chan struct{}, in *gofuse.FallocateIn) gofuse.Status {
	b.requests.count(in.Opcode)
	ino := fs.Ino(in.NodeId)
	if err := b.killPriv(&in.InHeader, ino); err != nil {
		return b.nodeStatus(&in.InHeader, err)
	}
	return b.nodeStatus(&in.InHeader, b.fs.Fallocate(ino, in.Mode, int64(in.Offset), int64(in.Length)))
}

// CopyFileRange comes after the kernel has written back both ranges.
func (b *bridge) CopyFileRange(_ <-chan struct{}, in *gofuse.CopyFileRangeIn) (uint32, gofuse.Status) {
	b.requests.count(in.Opcode)
	src, dst := fs.Ino(in.NodeId), fs.Ino(in.NodeIdOut)
	if in.Flags != 0 {
		return 0, gofuse.EINVAL
	}
	if err := b.killPriv(&in.InHeader, dst); err != nil {
		return 0, b.nodeStatus(&in.InHeader, err)
	}
	n, err := b.fs.CopyRange(src, int64(in.OffIn), dst, int64(in.OffOut), int64(min(in.Len, maxCopy)))
	if err != nil && n == 0 {
		return 0, b.nodeStatus(&in.InHeader, err)
	}
	return uint32(n), gofuse.OK
}

// killPriv clears set-user-ID and set-group-ID before a change of data whose request
// has no flag that asks for it. Of the caller's capabilities the request says
// nothing; user 0 keeps the bits, as it does elsewhere.
func (b *bridge) killPriv(h *gofuse.InHeader, ino fs.Ino) error {
	if h.Uid == 0 {
		return nil
	}
	a, err := b.fs.GetAttr(ino)
	if err != nil || a.Mode&(unix.S_ISUID|unix.S_ISGID) == 0 {
		return err
	}
	_, err = b.fs.SetAttr(ino, fs.SetAttr{Valid: fs.KillPriv})
	return err
}

// Ioctl: none is ours. FICLONE and FICLONERANGE never come here: the kernel wants a
// method of its own for them, which FUSE has not, and answers EOPNOTSUPP itself.
// cp --reflink=auto goes on to copy_file_range, which shares blocks just as well.
func (b *bridge) Ioctl(_ <-chan struct{}, in *gofuse.IoctlIn, _ []byte, _ *gofuse.IoctlOut, _ []byte) gofuse.Status {
	b.requests.count(in.Opcode)
	return gofuse.Status(unix.ENOTTY)
}

// Locks stay in the kernel, which is right for one host: it was never told that we
// want to see them.

func (b *bridge) GetLk(_ <-chan struct{}, in *gofuse.LkIn, _ *gofuse.LkOut) gofuse.Status {
	b.requests.count(in.Opcode)
	return gofuse.ENOSYS
}

func (b *bridge) SetLk(_ <-chan struct{}, in *gofuse.LkIn) gofuse.Status {
	b.requests.count(in.Opcode)
	return gofuse.ENOSYS
}

func (b *bridge) SetLkw(_ <-chan struct{}, in *gofuse.LkIn) gofuse.Status {
	b.requests.count(in.Opcode)
	return gofuse.ENOSYS
}
