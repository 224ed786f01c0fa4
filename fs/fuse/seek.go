package fuse

import (
	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"salliefs/fs"
)

// maxSeekRounds bounds how long Lseek follows a program that writes meanwhile.
const maxSeekRounds = 16

// Lseek serves SEEK_DATA and SEEK_HOLE. The kernel asks without writing back first, and
// data that lie in its cache alone would pass for a hole; cp would then copy zeros. So
// the kernel hands over what it has where we have a hole, and we look once more, until
// that brings nothing new. What it caches of ranges with data stays cached.
func (b *bridge) Lseek(_ <-chan struct{}, in *gofuse.LseekIn, out *gofuse.LseekOut) gofuse.Status {
	b.requests.count(in.Opcode)
	if in.Whence != unix.SEEK_DATA && in.Whence != unix.SEEK_HOLE {
		return gofuse.EINVAL
	}
	ino, off, whence := fs.Ino(in.NodeId), int64(in.Offset), int(in.Whence)
	at, err := b.fs.Seek(ino, off, whence)
	for range maxSeekRounds {
		start, length, doubtful := b.doubt(ino, off, whence, at, err)
		if !doubtful {
			break
		}
		b.drop(ino, start, length)
		before, beforeErr := at, err
		if at, err = b.fs.Seek(ino, off, whence); at == before && (err == nil) == (beforeErr == nil) {
			break
		}
	}
	if err != nil {
		return b.nodeStatus(&in.InHeader, err)
	}
	out.Offset = uint64(at)
	return gofuse.OK
}

// doubt is the hole that the answer (at, err) to a seek from off relies on, in which the
// kernel may yet have data; length 0 is up to the end of the file, wherever the kernel
// sees that.
func (b *bridge) doubt(ino fs.Ino, off int64, whence int, at int64, err error) (start, length int64, ok bool) {
	if err != nil {
		errno, _ := errnoOf(err)
		return off, 0, errno == unix.ENXIO // off is past all that we have
	}
	if whence == unix.SEEK_DATA {
		return off, at - off, at > off
	}
	if data, err := b.fs.Seek(ino, at, unix.SEEK_DATA); err == nil && data > at {
		return at, data - at, true
	}
	return at, 0, true
}
