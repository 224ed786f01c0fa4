package fuse

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"salliefs/fs"
)

// TestReferences gives the kernel inodes in every way there is, takes their names
// away, and expects each to be gone when the kernel has forgotten it: with a
// reference too many it would stay for ever, with one too few it would be gone while
// somebody uses it, and the kernel would take back what it was never given.
func TestReferences(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(t *testing.T, path string)
	}{
		{"MKNOD of a file", func(t *testing.T, p string) { must(t, os.WriteFile(p, []byte("x"), 0o644)) }},
		{"MKNOD of a FIFO", func(t *testing.T, p string) { must(t, unix.Mkfifo(p, 0o644)) }},
		{"MKDIR", func(t *testing.T, p string) { must(t, os.Mkdir(p, 0o755)) }},
		{"SYMLINK", func(t *testing.T, p string) { must(t, os.Symlink("target", p)) }},
		{"LINK", func(t *testing.T, p string) {
			must(t, os.WriteFile(p, nil, 0o644))
			must(t, os.Link(p, p+"-2"))
			must(t, os.Remove(p))
			must(t, os.Rename(p+"-2", p))
		}},
		{"TMPFILE", func(t *testing.T, p string) { linkTmpfile(t, p) }},
		{"LOOKUP many times", func(t *testing.T, p string) {
			must(t, os.WriteFile(p, nil, 0o644))
			for range 10 {
				expire(t, p)
				stat(t, p)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFakeFS()
			s := mountFor(t, f, Options{})
			c.make(t, s.Mountpoint()+"/it")
			ino := fs.Ino(stat(t, s.Mountpoint()+"/it").Ino)
			if f.refs(ino) == 0 {
				t.Error("the kernel uses an inode, and no reference is counted")
			}
			must(t, os.Remove(s.Mountpoint()+"/it"))
			wantGone(t, f, ino)
		})
	}
}

func wantGone(t *testing.T, f backing, ino fs.Ino) {
	t.Helper()
	eventually(t, fmt.Sprintf("inode %d is gone", ino), func() bool { return !f.exists(ino) })
	if fake, ok := f.(*fakeFS); ok && fake.dropped > 0 {
		t.Errorf("the kernel took back references that were never given: %d times", fake.dropped)
	}
}

// expire has the kernel ask for a name again. rename(2) onto an absent name and back
// keeps the inode in the kernel, so its references add up.
func expire(t *testing.T, path string) {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY, 0)
	must(t, err)
	defer unix.Close(fd)
	h, id, err := unix.NameToHandleAt(unix.AT_FDCWD, path, 0)
	must(t, err)
	_ = id
	dir, err := unix.Open(filepath.Dir(path), unix.O_RDONLY|unix.O_DIRECTORY, 0)
	must(t, err)
	defer unix.Close(dir)
	// The kernel expires the name of a file that is opened by its handle.
	fd, err = unix.OpenByHandleAt(dir, h, unix.O_RDONLY)
	must(t, err)
	unix.Close(fd)
}

func linkTmpfile(t *testing.T, path string) {
	t.Helper()
	fd, err := unix.Open(filepath.Dir(path), unix.O_TMPFILE|unix.O_RDWR, 0o600)
	must(t, err)
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte("anonymous"))
	must(t, err)
	must(t, unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW))
}

// TestReferencesOfReaddirplus lists directories whose entries do not all fit into one
// reply, with a buffer that is too small for the kernel's to be handed on at once.
func TestReferencesOfReaddirplus(t *testing.T) {
	f := newFakeFS()
	s := mountFor(t, f, Options{})
	const files = 700
	var inos []fs.Ino
	for i := range files {
		a, err := f.Mknod(fs.RootIno, fmt.Sprintf("%0200d", i), fs.ModeRegular|0o644, 0, fs.Cred{})
		must(t, err)
		inos = append(inos, a.Ino)
	}
	if got := countEntries(t, s.Mountpoint(), 2048); got != files+2 {
		t.Fatalf("readdir found %d entries, want %d", got, files+2)
	}
	if n := s.Requests()["READDIRPLUS"]; n < 3 {
		t.Fatalf("only %d READDIRPLUS: the entries fit into one reply", n)
	}
	if n := s.Requests()["LOOKUP"]; n > 0 {
		t.Errorf("%d LOOKUP after READDIRPLUS, want none", n)
	}
	for i := range files {
		must(t, os.Remove(fmt.Sprintf("%s/%0200d", s.Mountpoint(), i)))
	}
	for _, ino := range inos {
		wantGone(t, f, ino)
	}
}

// TestReaddirplusCounts: what is in the reply is a reference, and nothing else is.
func TestReaddirplusCounts(t *testing.T) {
	f := newFakeFS()
	for i := range 50 {
		_, err := f.Mknod(fs.RootIno, fmt.Sprintf("name %d", i), fs.ModeRegular|0o644, 0, fs.Cred{})
		must(t, err)
	}
	b := newBridge(f, false, quiet)
	out := gofuse.NewDirEntryList(make([]byte, 4096), 0)
	if st := b.ReadDirPlus(nil, &gofuse.ReadIn{InHeader: gofuse.InHeader{NodeId: 1}}, out); st != gofuse.OK {
		t.Fatal(st)
	}
	entries, outs, err := gofuse.ParseDirLookupEntries(out.Bytes())
	must(t, err)
	if len(entries) < 10 || len(entries) > 51 {
		t.Fatalf("%d entries in the reply; the test wants some, and not all", len(entries))
	}
	want := make(map[fs.Ino]uint64)
	for i, e := range entries {
		if e.Name == "." || e.Name == ".." {
			if outs[i].NodeId != 0 {
				t.Errorf("%q is handed out as node %d", e.Name, outs[i].NodeId)
			}
			continue
		}
		want[fs.Ino(e.Ino)] = 1
		if outs[i].NodeId != e.Ino || outs[i].EntryTimeout() != validity || outs[i].AttrTimeout() != validity {
			t.Errorf("%q: %+v", e.Name, outs[i])
		}
	}
	for ino := range f.nodes {
		if got := f.refs(ino); got != want[ino] {
			t.Errorf("inode %d has %d references, want %d", ino, got, want[ino])
		}
	}
}

// unreadable is a filesystem in which the attributes of one name can not be read. It counts the references to inode 0.
type unreadable struct {
	*fakeFS
	name string
	zero *int
}

func (u unreadable) Ref(ino fs.Ino) {
	if ino == 0 {
		*u.zero++
		return
	}
	u.fakeFS.Ref(ino)
}

func (u unreadable) ReadDir(dir fs.Ino, cookie uint64, plus bool, fn func(e *fs.DirEntry) bool) error {
	return u.fakeFS.ReadDir(dir, cookie, plus, func(e *fs.DirEntry) bool {
		if e.Name == u.name {
			e.Attr = fs.Attr{}
		}
		return fn(e)
	})
}

func TestReaddirplusOfWhatCanNotBeRead(t *testing.T) {
	f := newFakeFS()
	for _, name := range []string{"bad", "good"} {
		_, err := f.Mknod(fs.RootIno, name, fs.ModeRegular|0o644, 0, fs.Cred{})
		must(t, err)
	}
	zero := 0
	b := newBridge(unreadable{f, "bad", &zero}, false, quiet)
	out := gofuse.NewDirEntryList(make([]byte, 4096), 0)
	if st := b.ReadDirPlus(nil, &gofuse.ReadIn{InHeader: gofuse.InHeader{NodeId: 1}}, out); st != gofuse.OK {
		t.Fatal(st)
	}
	entries, outs, err := gofuse.ParseDirLookupEntries(out.Bytes())
	must(t, err)
	for i, e := range entries {
		if e.Name == "bad" && (e.Ino == 0 || outs[i] != gofuse.EntryOut{}) {
			t.Errorf("%+v with %+v", e, outs[i])
		}
	}
	if len(entries) != 4 || zero != 0 {
		t.Errorf("%d entries, %d references to inode 0", len(entries), zero)
	}
}

// countEntries reads a directory with buffers of a given size.
func countEntries(t *testing.T, dir string, size int) int {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	must(t, err)
	defer unix.Close(fd)
	total, buf := 0, make([]byte, size)
	for {
		n, err := unix.ReadDirent(fd, buf)
		must(t, err)
		if n == 0 {
			return total
		}
		for b := buf[:n]; len(b) > 0; total++ {
			b = b[int(b[16])|int(b[17])<<8:]
		}
	}
}

// TestOpenUnlinked: a file that has no name lives until the last one who has it open
// closes it.
func TestOpenUnlinked(t *testing.T) { onEach(t, Options{}, testOpenUnlinked) }

func testOpenUnlinked(t *testing.T, s *mounted) {
	path := s.dir + "/file"
	must(t, os.WriteFile(path, []byte("before"), 0o644))
	h, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	ino := fs.Ino(stat(t, path).Ino)
	must(t, os.Remove(path))
	_, err = h.WriteAt([]byte("after "), 0)
	must(t, err)
	must(t, h.Sync())
	buf := make([]byte, 6)
	if _, err := h.ReadAt(buf, 0); err != nil || string(buf) != "after " {
		t.Errorf("read %q, %v from an unlinked file", buf, err)
	}
	if fi, err := h.Stat(); err != nil || fi.Size() != 6 {
		t.Errorf("fstat of an unlinked file: %v, %v", fi, err)
	}
	if !s.fs.exists(ino) {
		t.Error("an open file is gone")
	}
	must(t, h.Close())
	wantGone(t, s.fs, ino)
}
