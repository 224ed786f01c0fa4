package fuse

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"salliefs/fs"
)

// TestLargeIO: requests of 1 MiB, and content that is what was written.
func TestLargeIO(t *testing.T) { onEach(t, Options{}, testLargeIO) }

func testLargeIO(t *testing.T, s *mounted) {
	data := make([]byte, 8<<20+777)
	rng := rand.NewChaCha8([32]byte{1})
	rng.Read(data)
	path := s.dir + "/file"
	must(t, os.WriteFile(path, data, 0o644))
	if !bytes.Equal(s.fs.content("file"), data) {
		t.Error("what arrived is not what was written")
	}
	if n := s.Requests()["WRITE"]; n > 12 {
		t.Errorf("%d WRITE for 8 MiB, want one per MiB or so", n)
	}
	s.bridge.drop(fs.Ino(stat(t, path).Ino), 0, 0)
	s.ResetRequests()
	got, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Equal(got, data) {
		t.Error("what was read is not what was written")
	}
	if n := s.Requests()["READ"]; n == 0 || n > 40 {
		t.Errorf("%d READ for 8 MiB; is the read-ahead raised?", n)
	}
}

// TestSeekSeesTheCache: data that only the kernel has is no hole.
func TestSeekSeesTheCache(t *testing.T) { onEach(t, Options{}, testSeekSeesTheCache) }

func testSeekSeesTheCache(t *testing.T, s *mounted) {
	h, err := os.Create(s.dir + "/file")
	must(t, err)
	defer h.Close()
	must(t, h.Truncate(1<<20))
	_, err = h.WriteAt(bytes.Repeat([]byte("x"), 4096), 512<<10)
	must(t, err)
	for _, c := range []struct {
		whence    int
		off, want int64
	}{
		{unix.SEEK_DATA, 0, 512 << 10},
		{unix.SEEK_HOLE, 0, 0},
		{unix.SEEK_HOLE, 512 << 10, 516 << 10},
		{unix.SEEK_DATA, 512<<10 + 5, 512<<10 + 5},
		{unix.SEEK_HOLE, 1<<20 - 1, 1<<20 - 1},
	} {
		got, err := unix.Seek(int(h.Fd()), c.off, c.whence)
		if err != nil || got != c.want {
			t.Errorf("seek(%d, %d): %d, %v, want %d", c.off, c.whence, got, err, c.want)
		}
	}
	_, err = unix.Seek(int(h.Fd()), 600<<10, unix.SEEK_DATA)
	wantErr(t, "SEEK_DATA past the last data", err, unix.ENXIO)
	// Data beyond what the filesystem takes for the end.
	_, err = h.WriteAt([]byte("end"), 4<<20)
	must(t, err)
	if got, err := unix.Seek(int(h.Fd()), 1<<20, unix.SEEK_DATA); err != nil || got != 4<<20 {
		t.Errorf("SEEK_DATA past the stored end: %d, %v, want %d", got, err, 4<<20)
	}
	b := newBridge(newFakeFS(), false, quiet)
	if st := b.Lseek(nil, &gofuse.LseekIn{Whence: unix.SEEK_SET}, &gofuse.LseekOut{}); st != gofuse.EINVAL {
		t.Errorf("SEEK_SET: %v, want EINVAL", st)
	}
}

func TestFallocateModes(t *testing.T) { onEach(t, Options{}, testFallocateModes) }

func testFallocateModes(t *testing.T, s *mounted) {
	path := s.dir + "/file"
	h, err := os.Create(path)
	must(t, err)
	defer h.Close()
	fd := int(h.Fd())
	_, err = h.Write(bytes.Repeat([]byte("x"), 3*4096))
	must(t, err)
	must(t, unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 0, 1<<20))
	if st := stat(t, path); st.Size != 3*4096 {
		t.Errorf("KEEP_SIZE made the size %d", st.Size)
	}
	must(t, unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 4096, 4096))
	must(t, unix.Fallocate(fd, unix.FALLOC_FL_ZERO_RANGE, 8192, 100))
	want := bytes.Repeat([]byte("x"), 3*4096)
	clear(want[4096 : 8192+100])
	wantContent(t, path, string(want))
	must(t, unix.Fallocate(fd, 0, 0, 5*4096))
	if st := stat(t, path); st.Size != 5*4096 {
		t.Errorf("size %d after fallocate, want %d", st.Size, 5*4096)
	}
	for _, mode := range []uint32{unix.FALLOC_FL_COLLAPSE_RANGE, unix.FALLOC_FL_INSERT_RANGE} {
		wantErr(t, fmt.Sprintf("fallocate mode %#x", mode), unix.Fallocate(fd, mode, 0, 4096), unix.EOPNOTSUPP)
	}
}

// copyRecorder keeps the arguments of the last copy.
type copyRecorder struct {
	*fakeFS
	n, srcOff, dstOff int64
}

func (c *copyRecorder) CopyRange(_ fs.Ino, srcOff int64, _ fs.Ino, dstOff int64, n int64) (int64, error) {
	c.n, c.srcOff, c.dstOff = n, srcOff, dstOff
	return n, nil
}

func TestCopyFileRange(t *testing.T) {
	f := newFakeFS()
	s := mountFor(t, f, Options{})
	src, dst := s.Mountpoint()+"/src", s.Mountpoint()+"/dst"
	h, err := os.Create(src)
	must(t, err)
	defer h.Close()
	_, err = h.WriteString("0123456789") // not handed over yet
	must(t, err)
	d, err := os.Create(dst)
	must(t, err)
	defer d.Close()
	_, err = d.WriteString("abcdefghij")
	must(t, err)
	from, to := int64(2), int64(5)
	n, err := unix.CopyFileRange(int(h.Fd()), &from, int(d.Fd()), &to, 100, 0)
	if err != nil || n != 8 {
		t.Errorf("copied %d, %v, want 8", n, err)
	}
	wantContent(t, dst, "abcde23456789")
	if s.Requests()["COPY_FILE_RANGE"] == 0 {
		t.Error("no COPY_FILE_RANGE: the kernel copied the bytes itself")
	}

	r := &copyRecorder{fakeFS: f}
	b := newBridge(r, false, quiet)
	written, st := b.CopyFileRange(nil, &gofuse.CopyFileRangeIn{Len: 1 << 40, OffIn: 4096, OffOut: 8192})
	if st != gofuse.OK || written != 1<<30 || r.n != 1<<30 || r.srcOff != 4096 || r.dstOff != 8192 {
		t.Errorf("1 TiB: %d bytes, status %v, arguments %+v; want 1 GiB at a time", written, st, r)
	}
	if _, st := b.CopyFileRange(nil, &gofuse.CopyFileRangeIn{Len: 1, Flags: 1}); st != gofuse.EINVAL {
		t.Errorf("unknown flag: %v, want EINVAL", st)
	}
}

// TestIoctls: what the kernel answers by itself and what we answer.
func TestIoctls(t *testing.T) { onEach(t, Options{}, testIoctls) }

func testIoctls(t *testing.T, s *mounted) {
	must(t, os.WriteFile(s.dir+"/src", []byte("x"), 0o644))
	src, err := os.Open(s.dir + "/src")
	must(t, err)
	defer src.Close()
	dst, err := os.Create(s.dir + "/dst")
	must(t, err)
	defer dst.Close()
	wantErr(t, "FICLONE", unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())), unix.EOPNOTSUPP)
	wantErr(t, "FICLONERANGE", unix.IoctlFileCloneRange(int(dst.Fd()), &unix.FileCloneRange{Src_fd: int64(src.Fd())}), unix.EOPNOTSUPP)
	if n := s.Requests()["IOCTL"]; n > 0 {
		t.Errorf("%d IOCTL for cloning: the kernel asks us now", n)
	}
	_, err = unix.IoctlGetInt(int(src.Fd()), unix.FS_IOC_GETFLAGS)
	wantErr(t, "FS_IOC_GETFLAGS", err, unix.ENOTTY)
}

func TestRenameFlags(t *testing.T) { onEach(t, Options{}, testRenameFlags) }

func testRenameFlags(t *testing.T, s *mounted) {
	a, b := s.dir+"/a", s.dir+"/b"
	rename := func(from, to string, flags uint) error {
		return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, flags)
	}
	must(t, os.WriteFile(a, []byte("A"), 0o644))
	must(t, os.WriteFile(b, []byte("B"), 0o644))
	wantErr(t, "NOREPLACE", rename(a, b, unix.RENAME_NOREPLACE), unix.EEXIST)
	must(t, rename(a, b, unix.RENAME_EXCHANGE))
	wantContent(t, a, "B")
	wantContent(t, b, "A")
	wantErr(t, "EXCHANGE with nothing", rename(a, a+"-absent", unix.RENAME_EXCHANGE), unix.ENOENT)
	wantErr(t, "WHITEOUT", rename(a, b, unix.RENAME_WHITEOUT), unix.EINVAL)
	must(t, rename(a, a+"2", unix.RENAME_NOREPLACE))
	must(t, rename(a+"2", b, 0))
	wantContent(t, b, "B")
	wantNames(t, s.dir, "b")
}

// TestRenameHandsDataOver: a file that takes another's name while it is still open has
// handed its data over before.
func TestRenameHandsDataOver(t *testing.T) { onEach(t, Options{}, testRenameHandsDataOver) }

func testRenameHandsDataOver(t *testing.T, s *mounted) {
	path := s.dir + "/config"
	must(t, os.WriteFile(path, []byte("old"), 0o644))
	h, err := os.Create(path + ".tmp")
	must(t, err)
	defer h.Close()
	_, err = h.WriteString("new")
	must(t, err)
	if got := string(s.fs.content("config.tmp")); got != "" {
		t.Fatalf("%q arrived before close; the test proves nothing", got)
	}
	must(t, os.Rename(path+".tmp", path))
	if got := string(s.fs.content("config")); got != "new" {
		t.Errorf("after the rename the filesystem has %q, want \"new\"", got)
	}
	wantContent(t, path, "new")
	_, err = h.WriteString("er")
	must(t, err)
	must(t, h.Sync())
	wantContent(t, path, "newer")
}
