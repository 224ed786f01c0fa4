package fuse

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"salliefs/fs"
)

// errnos gives the sentinels of package fs the numbers that programs expect. The
// most frequent come first.
var errnos = [...]struct {
	err   error
	errno unix.Errno
}{
	{fs.ErrNotExist, unix.ENOENT},
	{fs.ErrNoAttr, unix.ENODATA},
	{fs.ErrNotSupported, unix.EOPNOTSUPP},
	{fs.ErrExist, unix.EEXIST},
	{fs.ErrNotEmpty, unix.ENOTEMPTY},
	{fs.ErrXDev, unix.EXDEV},
	{fs.ErrNotDir, unix.ENOTDIR},
	{fs.ErrIsDir, unix.EISDIR},
	{fs.ErrNoData, unix.ENXIO},
	{fs.ErrRange, unix.ERANGE},
	{fs.ErrInvalid, unix.EINVAL},
	{fs.ErrPerm, unix.EPERM},
	{fs.ErrLocked, unix.EACCES},
	{fs.ErrReadOnly, unix.EROFS},
	{fs.ErrNameTooLong, unix.ENAMETOOLONG},
	{fs.ErrTooManyLinks, unix.EMLINK},
	{fs.ErrTooBig, unix.EFBIG},
	{fs.ErrXattrTooBig, unix.E2BIG},
	{fs.ErrNoSpace, unix.ENOSPC},
	{fs.ErrQuota, unix.EDQUOT},
}

// errnoOf finds the number of err. The hot path hands out bare sentinels, which the
// first loop finds without unwrapping.
func errnoOf(err error) (unix.Errno, bool) {
	for i := range errnos {
		if err == errnos[i].err {
			return errnos[i].errno, true
		}
	}
	for i := range errnos {
		if errors.Is(err, errnos[i].err) {
			return errnos[i].errno, true
		}
	}
	return unix.EIO, false
}

// status is what the kernel gets for err in reply to the request h. What has no
// number of its own, damage above all, is EIO, and the log says what the number
// cannot.
func (b *bridge) status(h *gofuse.InHeader, err error) gofuse.Status {
	if err == nil {
		return gofuse.OK
	}
	errno, known := errnoOf(err)
	if !known && b.failures.isNew(err.Error(), time.Now()) {
		b.log.Error("request failed", slog.String("request", requestName(h.Opcode)),
			slog.Uint64("inode", h.NodeId), slog.Any("error", err))
	}
	return gofuse.Status(errno)
}

// writeStatus is nodeStatus for WRITE. Of what happens to data from its cache, the kernel
// tells ENOSPC from everything else until close(2), which reports the latter as EIO. A
// quota is nothing that broke, so it is ENOSPC there as well.
func (b *bridge) writeStatus(in *gofuse.WriteIn, err error) gofuse.Status {
	st := b.nodeStatus(&in.InHeader, err)
	if st == gofuse.Status(unix.EDQUOT) && in.WriteFlags&gofuse.WRITE_CACHE != 0 {
		return gofuse.Status(unix.ENOSPC)
	}
	return st
}

// failures keeps the log to one line where the kernel asks again and again: it reads
// a damaged page up to three times for one read(2), and a store that has failed fails
// each write.
type failures struct {
	mu   sync.Mutex
	last string
	at   time.Time
}

const sameFailure = 10 * time.Second

func (f *failures) isNew(text string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if text == f.last && now.Sub(f.at) < sameFailure {
		return false
	}
	f.last, f.at = text, now
	return true
}

// nodeStatus is status for requests about an inode rather than about a name in it.
// An inode that is not there although the kernel has it cached was removed by a
// command a moment ago: ESTALE makes the kernel look the path up once more.
func (b *bridge) nodeStatus(h *gofuse.InHeader, err error) gofuse.Status {
	if st := b.status(h, err); st != gofuse.ENOENT {
		return st
	}
	return gofuse.Status(unix.ESTALE)
}
