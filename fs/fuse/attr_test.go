package fuse

import (
	"math"
	"os"
	"testing"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"salliefs/fs"
)

func TestTimeConversion(t *testing.T) {
	for _, ns := range []int64{0, 1, -1, 1e9, -1e9, 1e9 - 1, -1e9 + 1, 1_700_000_000_123_456_789, -62e15,
		math.MaxInt64, math.MaxInt64 - 1e9, math.MinInt64 + 2e9} {
		sec, nsec := seconds(ns)
		if nsec >= 1e9 {
			t.Errorf("%d ns have %d ns of a second", ns, nsec)
		}
		if got := nanoseconds(sec, nsec); got != ns && ns < math.MaxInt64-1e9 {
			t.Errorf("%d ns became %d", ns, got)
		}
	}
	if got := nanoseconds(1<<62, 0); got != math.MaxInt64 {
		t.Errorf("the far future is %d", got)
	}
	past := int64(-1 << 62)
	if got := nanoseconds(uint64(past), 0); got != math.MinInt64 {
		t.Errorf("the far past is %d", got)
	}
}

func TestSetAttrOf(t *testing.T) {
	in := &gofuse.SetAttrIn{}
	in.Mode, in.Uid, in.Gid, in.Size = 0o104755, 7, 8, 9
	in.Atime, in.Atimensec = 1, 2
	in.Mtime, in.Mtimensec = 3, 4
	in.Ctime, in.Ctimensec = 5, 6
	for _, c := range []struct {
		valid uint32
		want  fs.SetAttr
	}{
		{0, fs.SetAttr{}},
		{gofuse.FATTR_FH | gofuse.FATTR_LOCKOWNER, fs.SetAttr{}},
		{gofuse.FATTR_MODE, fs.SetAttr{Valid: fs.SetMode, Mode: 0o4755}},
		{gofuse.FATTR_UID, fs.SetAttr{Valid: fs.SetUID, UID: 7}},
		{gofuse.FATTR_GID, fs.SetAttr{Valid: fs.SetGID, GID: 8}},
		{gofuse.FATTR_SIZE, fs.SetAttr{Valid: fs.SetSize, Size: 9}},
		{gofuse.FATTR_SIZE | gofuse.FATTR_KILL_SUIDGID, fs.SetAttr{Valid: fs.SetSize | fs.KillPriv, Size: 9}},
		{gofuse.FATTR_ATIME | gofuse.FATTR_ATIME_NOW, fs.SetAttr{Valid: fs.SetAtime, Atime: 1e9 + 2}},
		{gofuse.FATTR_MTIME | gofuse.FATTR_CTIME, fs.SetAttr{Valid: fs.SetMtime | fs.SetCtime, Mtime: 3e9 + 4, Ctime: 5e9 + 6}},
	} {
		in.Valid = c.valid
		if got := setAttrOf(in); got != c.want {
			t.Errorf("valid %#x: got %+v, want %+v", c.valid, got, c.want)
		}
	}
}

// TestAttributes sets each attribute through the mount and finds it in the filesystem.
func TestAttributes(t *testing.T) { onEach(t, Options{}, testAttributes) }

func testAttributes(t *testing.T, s *mounted) {
	for _, kind := range []string{"file", "dir", "link"} {
		t.Run(kind, func(t *testing.T) {
			path := s.dir + "/" + kind
			switch kind {
			case "file":
				must(t, os.WriteFile(path, []byte("1234"), 0o640))
			case "dir":
				must(t, os.Mkdir(path, 0o750))
			case "link":
				must(t, os.Symlink("target", path))
			}
			ino := fs.Ino(stat(t, path).Ino)
			for _, sec := range []int64{0, -5, 1 << 33} {
				ts := []unix.Timespec{{Sec: sec, Nsec: 123_456_789}, {Sec: sec + 1, Nsec: 987_654_321}}
				must(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, ts, unix.AT_SYMLINK_NOFOLLOW))
				st := stat(t, path)
				if st.Atim != ts[0] || st.Mtim != ts[1] {
					t.Errorf("times are %v and %v, want %v", st.Atim, st.Mtim, ts)
				}
				if a, _ := s.fs.GetAttr(ino); a.Mtime != ts[1].Nano() || a.Atime != ts[0].Nano() {
					t.Errorf("%v arrived as %d and %d", ts, a.Atime, a.Mtime)
				}
			}
			before := time.Now().Add(-time.Second)
			must(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, nil, unix.AT_SYMLINK_NOFOLLOW))
			if st := stat(t, path); st.Atim != st.Mtim || time.Unix(st.Mtim.Unix()).Before(before) {
				t.Errorf("times after utimes(NULL): %v and %v, want the same, now", st.Atim, st.Mtim)
			}
			must(t, os.Lchown(path, 12, 34))
			if st := stat(t, path); st.Uid != 12 || st.Gid != 34 {
				t.Errorf("owner %d, group %d, want 12 and 34", st.Uid, st.Gid)
			}
			if kind != "link" {
				must(t, unix.Chmod(path, 0o1751))
				if st := stat(t, path); st.Mode&0o7777 != 0o1751 {
					t.Errorf("mode %o, want 1751", st.Mode&0o7777)
				}
			}
		})
	}
}

// TestTimesOfWrites: the kernel owns size and mtime of a file that is written, and
// hands them over with the data.
func TestTimesOfWrites(t *testing.T) { onEach(t, Options{}, testTimesOfWrites) }

func testTimesOfWrites(t *testing.T, s *mounted) {
	path := s.dir + "/file"
	h, err := os.Create(path)
	must(t, err)
	time.Sleep(20 * time.Millisecond)
	_, err = h.WriteString("12345")
	must(t, err)
	st := stat(t, path)
	if st.Size != 5 {
		t.Errorf("size %d before anything was handed over, want 5", st.Size)
	}
	must(t, h.Close())
	after := stat(t, path)
	if after.Mtim != st.Mtim || after.Size != 5 {
		t.Errorf("close moved mtime from %v to %v, size to %d", st.Mtim, after.Mtim, after.Size)
	}
	a, err := s.fs.GetAttr(fs.Ino(st.Ino))
	must(t, err)
	if a.Mtime != st.Mtim.Nano() || a.Size != 5 {
		t.Errorf("mtime %d and size %d arrived, want %d and 5", a.Mtime, a.Size, st.Mtim.Nano())
	}
	must(t, os.Truncate(path, 2))
	if a, _ := s.fs.GetAttr(fs.Ino(st.Ino)); a.Size != 2 {
		t.Errorf("size %d after truncate, want 2", a.Size)
	}
	wantContent(t, path, "12")
}

func TestStatxAndStatfs(t *testing.T) {
	f := newFakeFS()
	s := mountFor(t, f, Options{})
	path := s.Mountpoint() + "/null"
	must(t, unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	var sx unix.Statx_t
	must(t, unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &sx))
	a, err := f.GetAttr(fs.Ino(sx.Ino))
	must(t, err)
	if got := sx.Btime.Sec*1e9 + int64(sx.Btime.Nsec); sx.Mask&unix.STATX_BTIME == 0 || got != a.Btime {
		t.Errorf("born %d (mask %#x), want %d", got, sx.Mask, a.Btime)
	}
	if sx.Mode != unix.S_IFCHR|0o644 || sx.Rdev_major != 1 || sx.Rdev_minor != 3 {
		t.Errorf("mode %o, device %d:%d", sx.Mode, sx.Rdev_major, sx.Rdev_minor)
	}
	if st := stat(t, path); st.Rdev != unix.Mkdev(1, 3) {
		t.Errorf("device %d by stat", st.Rdev)
	}

	var sf unix.Statfs_t
	must(t, unix.Statfs(s.Mountpoint(), &sf))
	want, _ := f.StatFS()
	if sf.Blocks != want.Blocks || sf.Bfree != want.Free || sf.Bavail != want.Avail || sf.Bsize != 4096 ||
		sf.Files != want.Files || sf.Ffree != want.FilesFree || sf.Namelen != 255 {
		t.Errorf("statfs: %+v, want %+v", sf, want)
	}
}

// TestKillPriv: what an ordinary user changes is no longer set-user-ID, whichever way
// the data go; root's own changes leave the bits; a new owner always clears them.
func TestKillPriv(t *testing.T) { onEach(t, Options{AllowOther: true}, testKillPriv) }

func testKillPriv(t *testing.T, s *mounted) {
	const keeps, clears, mayClear = 0, 1, 2
	dir := s.dir
	must(t, unix.Chmod(dir, 0o777))
	other := dir + "/other"
	must(t, os.WriteFile(other, make([]byte, 8192), 0o666))
	for _, c := range []struct {
		name   string
		change func(t *testing.T, path string) error
		root   int // what root's change does with the bits: keeps, clears, mayClear
	}{
		{"write", func(t *testing.T, p string) error {
			return withFile(p, 0, func(fd int) error { _, err := unix.Write(fd, []byte("x")); return err })
		}, keeps},
		{"O_DIRECT write", func(t *testing.T, p string) error {
			return withFile(p, unix.O_DIRECT, func(fd int) error { _, err := unix.Write(fd, make([]byte, 4096)); return err })
		}, keeps},
		{"truncate", func(t *testing.T, p string) error { return unix.Truncate(p, 1) }, keeps},
		{"ftruncate", func(t *testing.T, p string) error {
			return withFile(p, 0, func(fd int) error { return unix.Ftruncate(fd, 2) })
		}, keeps},
		{"O_TRUNC", func(t *testing.T, p string) error { return withFile(p, unix.O_TRUNC, func(int) error { return nil }) }, keeps},
		{"fallocate", func(t *testing.T, p string) error {
			return withFile(p, 0, func(fd int) error { return unix.Fallocate(fd, 0, 0, 100000) })
		}, mayClear},
		{"copy_file_range", func(t *testing.T, p string) error {
			return withFile(p, 0, func(fd int) error {
				src, err := unix.Open(other, unix.O_RDONLY, 0)
				if err != nil {
					return err
				}
				defer unix.Close(src)
				_, err = unix.CopyFileRange(src, nil, fd, nil, 4096, 0)
				return err
			})
		}, mayClear},
		{"chown", func(t *testing.T, p string) error { return unix.Chown(p, -1, nobody) }, clears},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, byRoot := range []bool{true, false} {
				path := dir + "/it"
				must(t, os.WriteFile(path, make([]byte, 5000), 0o666))
				must(t, os.Chown(path, nobody, nobody))
				must(t, unix.Chmod(path, 0o6777))
				var err error
				if byRoot {
					err = c.change(t, path)
				} else {
					asUser(t, nobody, func() { err = c.change(t, path) })
				}
				must(t, err)
				m, want := stat(t, path).Mode&0o7777, uint32(0o777)
				if byRoot && (c.root == keeps || c.root == mayClear && m != want) {
					want = 0o6777
				}
				if m != want {
					t.Errorf("by root %v: mode %o, want %o", byRoot, m, want)
				}
				if a, _ := s.fs.GetAttr(fs.Ino(stat(t, path).Ino)); a.Mode&0o7777 != want {
					t.Errorf("by root %v: mode %o stored, want %o", byRoot, a.Mode&0o7777, want)
				}
				must(t, os.Remove(path))
			}
		})
	}
}

func withFile(path string, flags int, fn func(fd int) error) error {
	fd, err := unix.Open(path, unix.O_WRONLY|flags, 0)
	if err != nil {
		return err
	}
	if err := fn(fd); err != nil {
		unix.Close(fd)
		return err
	}
	return unix.Close(fd)
}

// TestUmask: the umask is obeyed, by the kernel or, when ACLs are on, by us.
func TestUmask(t *testing.T) {
	for _, acl := range []bool{false, true} {
		f := newFakeFS()
		s := mountFor(t, f, Options{ACL: acl})
		old := unix.Umask(0o027)
		dir, file, tmp := s.Mountpoint()+"/dir", s.Mountpoint()+"/file", s.Mountpoint()+"/tmp"
		must(t, os.Mkdir(dir, 0o777))
		must(t, os.WriteFile(file, nil, 0o666))
		linkTmpfile(t, tmp)
		unix.Umask(old)
		for path, want := range map[string]uint32{dir: 0o750, file: 0o640, tmp: 0o600} {
			if m := stat(t, path).Mode & 0o7777; m != want {
				t.Errorf("ACL %v: mode %o, want %o", acl, m, want)
			}
		}
	}
	b := newBridge(newFakeFS(), true, quiet)
	if c := b.cred(&gofuse.InHeader{}, 0o1027); c.Umask != 0o027 {
		t.Errorf("umask %o with ACLs, want 27", c.Umask)
	}
	b.acl = false
	if c := b.cred(&gofuse.InHeader{}, 0o027); c.Umask != 0 {
		t.Errorf("umask %o without ACLs, want 0: the kernel has applied it", c.Umask)
	}
}
