package blob

import (
	"unsafe"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// directUnit is what a write that goes around the system's cache is a multiple of, in memory, in the file and in length:
// as much as nearly all disks ask for.
const directUnit = 4 << 10

// directFile appends to a file. Large pieces go to the disk at once where they can (O_DIRECT, see open(2)): the system's cache
// would take memory, and a copy, of what is seldom read soon. All else goes through the cache, and so does everything where
// the filesystem knows no other way. The kernel keeps the two coherent; in pieces that share no page they never meet.
type directFile struct {
	f     vfs.File
	able  bool // it may be possible
	flags int  // of the open file, without O_DIRECT
	is    bool // whether it has O_DIRECT now
}

func newDirectFile(f vfs.File) directFile {
	d := directFile{f: f}
	if fd := f.Fd(); fd != vfs.InvalidFd {
		flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
		d.flags, d.able = flags, err == nil
	}
	return d
}

// append writes p at off, where the file ends. It tells whether p went around the cache.
func (d *directFile) append(p []byte, off int64) (n int, around bool, err error) {
	if d.able && isDirect(p, off) && d.set(true) == nil {
		if n, err = d.f.Write(p); err == nil {
			return n, true, nil
		}
		// Some filesystems refuse only now. A full one takes a part; why not the rest, the cache finds out better. If the disk
		// fails, so will the sync.
		d.able = false
	}
	if err := d.set(false); err != nil {
		return n, false, err
	}
	m, err := d.f.Write(p[n:])
	return n + m, false, err
}

// isDirect tells whether a write may go around the cache.
func isDirect(p []byte, off int64) bool {
	return len(p) > 0 && (uintptr(unsafe.Pointer(&p[0]))|uintptr(len(p))|uintptr(off))%directUnit == 0
}

func (d *directFile) set(direct bool) error {
	if d.is == direct {
		return nil
	}
	flags := d.flags
	if direct {
		flags |= unix.O_DIRECT
	}
	_, err := unix.FcntlInt(d.f.Fd(), unix.F_SETFL, flags)
	if err != nil {
		d.able = false
		return err
	}
	d.is = direct
	return nil
}
