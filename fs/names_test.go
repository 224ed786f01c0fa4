package fs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"salliefs/blockstore/record/disktest"
	"salliefs/blockstore/storetest"
)

func TestNameRules(t *testing.T) {
	w := newWorld(t, Options{})
	ns := w.ns("n")
	w.file(ns, "there")
	for _, c := range []struct {
		name string
		want error
	}{
		{"", ErrInvalid}, {".", ErrInvalid}, {"..", ErrInvalid}, {"a/b", ErrInvalid}, {"a\x00b", ErrInvalid},
		{strings.Repeat("x", 256), ErrNameTooLong}, {"there", ErrExist}, {strings.Repeat("x", 255), nil},
	} {
		for _, parent := range []Ino{ns, RootIno} {
			if parent == RootIno && c.want == ErrExist {
				continue
			}
			_, err := w.Mknod(parent, c.name, ModeRegular, 0, Cred{})
			wantErr(t, err, c.want)
			if c.want == nil {
				must(t, w.Unlink(parent, c.name))
			}
			_, err = w.Mkdir(parent, c.name, 0o755, Cred{})
			wantErr(t, err, c.want)
			if c.want == nil {
				must(t, w.Rmdir(parent, c.name))
			}
		}
		if c.want != nil && c.want != ErrExist {
			wantErr(t, w.Rename(ns, "there", ns, c.name, 0), c.want)
		}
	}
	for b := 1; b < 256; b++ {
		if b != '/' && b != '.' {
			name := string([]byte{byte(b)})
			w.file(ns, name)
		}
	}
	w.remount()
	if got := len(w.names(ns)); got != 2+1+253 {
		t.Errorf("%d entries", got)
	}
	w.check()
}

func TestCreateAttributes(t *testing.T) {
	w := newWorld(t, Options{})
	ns := w.ns("n")
	c := Cred{UID: 10, GID: 20, Umask: 0o027}
	for _, x := range []struct {
		name string
		make func(dir Ino) (Attr, error)
		want Attr
	}{
		{"file", func(d Ino) (Attr, error) { return w.Mknod(d, "file", 0o666, 0, c) }, Attr{Mode: ModeRegular | 0o640, Nlink: 1}},
		{"device", func(d Ino) (Attr, error) { return w.Mknod(d, "device", ModeBlock|0o666, 0x801, c) }, Attr{Mode: ModeBlock | 0o640, Nlink: 1, Rdev: 0x801}},
		{"socket", func(d Ino) (Attr, error) { return w.Mknod(d, "socket", ModeSocket|0o666, 7, c) }, Attr{Mode: ModeSocket | 0o640, Nlink: 1}},
		{"dir", func(d Ino) (Attr, error) { return w.Mkdir(d, "dir", 0o1777, c) }, Attr{Mode: ModeDir | 0o1750, Nlink: 2}},
		{"link", func(d Ino) (Attr, error) { return w.Symlink(d, "link", "abc", c) }, Attr{Mode: ModeSymlink | 0o777, Nlink: 1, Size: 3}},
	} {
		got, err := x.make(ns)
		must(t, err)
		x.want.Ino, x.want.UID, x.want.GID, x.want.BlockSize = got.Ino, 10, 20, statBlockSize
		x.want.Atime, x.want.Mtime, x.want.Ctime, x.want.Btime = got.Btime, got.Btime, got.Btime, got.Btime
		if got != x.want || got.Btime == 0 {
			t.Errorf("%s: %+v, want %+v", x.name, got, x.want)
		}
	}
	_, err := w.Mknod(ns, "dir 2", ModeDir|0o755, 0, c)
	wantErr(t, err, ErrInvalid)
	// In a directory with set-group-ID, its group is inherited.
	_, err = w.SetAttr(ns, SetAttr{Valid: SetMode | SetGID, Mode: 0o2755, GID: 99})
	must(t, err)
	f, err := w.Mknod(ns, "in group", ModeRegular|0o644, 0, c)
	must(t, err)
	d, err := w.Mkdir(ns, "dir in group", 0o755, c)
	must(t, err)
	if f.GID != 99 || f.Mode&ModeSetGID != 0 || d.GID != 99 || d.Mode&ModeSetGID == 0 {
		t.Errorf("file %+v, directory %+v", f, d)
	}
	w.check()
}

func TestSymlinkTargets(t *testing.T) {
	w := newWorld(t, Options{})
	ns := w.ns("n")
	for _, n := range []int{1, maxInlineTarget, maxInlineTarget + 1, MaxTarget} {
		target := strings.Repeat("x", n)
		a, err := w.Symlink(ns, fmt.Sprint(n), target, Cred{})
		must(t, err)
		_, err = w.SetAttr(a.Ino, SetAttr{Valid: SetMtime, Mtime: 5}) // the record is encoded again
		must(t, err)
		w.remount()
		if got, err := w.Readlink(a.Ino); got != target || err != nil {
			t.Errorf("target of %d bytes: %d bytes, %v", n, len(got), err)
		}
	}
	_, err := w.Symlink(ns, "l", strings.Repeat("x", MaxTarget+1), Cred{})
	wantErr(t, err, ErrNameTooLong)
	_, err = w.Symlink(ns, "l", "", Cred{})
	wantErr(t, err, ErrNotExist)
	_, err = w.Readlink(ns)
	wantErr(t, err, ErrInvalid)
	for _, name := range w.names(ns)[2:] {
		must(t, w.Unlink(ns, name))
	}
	w.check()
}

func TestHardLinks(t *testing.T) {
	w := newWorld(t, Options{})
	ns, other := w.ns("n"), w.ns("other")
	d := w.dir(ns, "d")
	f := w.file(ns, "a")
	w.write(f, 0, "data")
	for i := range 5 {
		a, err := w.Link(f, d, fmt.Sprint(i))
		must(t, err)
		if int(a.Nlink) != i+2 {
			t.Errorf("nlink %d", a.Nlink)
		}
	}
	for _, c := range []struct {
		ino, dir Ino
		name     string
		want     error
	}{
		{f, other, "x", ErrXDev}, {f, RootIno, "x", ErrXDev}, {d, ns, "x", ErrPerm}, {d, d, "x", ErrPerm}, {f, d, "0", ErrExist},
		{f, f, "x", ErrNotDir}, {999, RootIno, "x", ErrNotExist}, {f, d, "..", ErrInvalid},
	} {
		_, err := w.Link(c.ino, c.dir, c.name)
		wantErr(t, err, c.want)
	}
	must(t, w.Unlink(ns, "a"))
	w.remount()
	if got := w.read(f); got != "data" || w.attr(f).Nlink != 5 {
		t.Errorf("%q, nlink %d", got, w.attr(f).Nlink)
	}
	// The rename of one name over another of the same inode does nothing.
	must(t, w.Rename(d, "0", d, "1", 0))
	if w.attr(f).Nlink != 5 {
		t.Error("a name was lost")
	}
	w.check()
}

func TestRemoveErrors(t *testing.T) {
	w := newWorld(t, Options{})
	ns := w.ns("n")
	d := w.dir(ns, "d")
	w.file(d, "f")
	wantErr(t, w.Unlink(ns, "d"), ErrIsDir)
	wantErr(t, w.Rmdir(ns, "d"), ErrNotEmpty)
	wantErr(t, w.Rmdir(d, "f"), ErrNotDir)
	wantErr(t, w.Unlink(ns, "none"), ErrNotExist)
	wantErr(t, w.Unlink(999<<20, "none"), ErrNotExist)
	f, err := w.Lookup(d, "f")
	must(t, err)
	wantErr(t, w.Unlink(f.Ino, "none"), ErrNotDir)
	must(t, w.Unlink(d, "f"))
	must(t, w.Rmdir(ns, "d"))
	_, err = w.Mknod(d, "f", ModeRegular, 0, Cred{})
	wantErr(t, err, ErrNotExist)
	if a := w.attr(ns); a.Nlink != 2 || a.Size != 0 {
		t.Errorf("%+v", a)
	}
	w.check()
}

// TestRemovedDirectory keeps a directory that somebody is in: nothing can be made in it.
func TestRemovedDirectory(t *testing.T) {
	w := newWorld(t, Options{})
	ns := w.ns("n")
	d := w.dir(ns, "d")
	w.Ref(d)
	must(t, w.Rmdir(ns, "d"))
	if a := w.attr(d); a.Nlink != 0 {
		t.Errorf("%+v", a)
	}
	_, err := w.Mknod(d, "f", ModeRegular, 0, Cred{})
	wantErr(t, err, ErrNotExist)
	_, err = w.Lookup(d, "f")
	wantErr(t, err, ErrNotExist)
	w.check()
	w.Unref(d, 1)
	_, err = w.GetAttr(d)
	wantErr(t, err, ErrNotExist)
	w.check()
}

func TestRenameTable(t *testing.T) {
	for _, c := range []struct {
		from, to string
		flags    uint32
		want     error
	}{
		{"file", "new", 0, nil}, {"file", "file", 0, nil}, {"file", "file2", 0, nil}, {"file", "empty", 0, ErrIsDir}, {"empty", "file", 0, ErrNotDir},
		{"full", "empty", 0, nil}, {"empty", "full", 0, ErrNotEmpty}, {"full", "full/sub", 0, ErrInvalid}, {"full", "full/sub/x", 0, ErrInvalid},
		{"full/sub", "full", 0, ErrNotEmpty}, {"none", "new", 0, ErrNotExist}, {"file", "file2", RenameNoReplace, ErrExist}, {"file", "new", RenameNoReplace, nil},
		{"file", "full", RenameExchange, nil}, {"file", "none", RenameExchange, ErrNotExist}, {"full", "full/sub", RenameExchange, ErrInvalid},
		{"full/sub", "full", RenameExchange, ErrInvalid}, {"full/sub", "empty", 0, nil}, {"full/sub", "sub", 0, nil}, {"file", "full/file", 0, nil},
		{"full/sub", "file", RenameExchange, nil}, {"file", "new", 4, ErrInvalid}, {"file", "new", 3, ErrInvalid},
	} {
		t.Run(fmt.Sprint(c.from, " to ", c.to, " ", c.flags), func(t *testing.T) {
			w := newWorld(t, Options{})
			ns := w.ns("n")
			w.file(ns, "file")
			w.write(w.file(ns, "file2"), 0, "data")
			w.dir(ns, "empty")
			w.dir(w.dir(ns, "full"), "sub")
			d1, n1, err := w.resolve("n", c.from)
			must(t, err)
			d2, n2, err := w.resolve("n", c.to)
			must(t, err)
			a, _ := w.Lookup(d1, n1)
			b, errB := w.Lookup(d2, n2)
			wantErr(t, w.Rename(d1, n1, d2, n2, c.flags), c.want)
			w.check()
			if c.want != nil {
				return
			}
			got, err := w.Lookup(d2, n2)
			if err != nil || got.Ino != a.Ino {
				t.Errorf("new name: %+v, %v", got, err)
			}
			got, err = w.Lookup(d1, n1)
			switch {
			case c.from == c.to:
			case c.flags == RenameExchange:
				if err != nil || got.Ino != b.Ino {
					t.Errorf("old name: %+v, %v", got, err)
				}
			case !errors.Is(err, ErrNotExist):
				t.Errorf("old name: %+v, %v", got, err)
			}
			if errB == nil && c.flags == 0 && c.from != c.to {
				_, err = w.GetAttr(b.Ino)
				wantErr(t, err, ErrNotExist)
			}
			w.remount()
			w.check()
		})
	}
}

// TestDotDot follows .. through moves.
func TestDotDot(t *testing.T) {
	w := newWorld(t, Options{})
	ns := w.ns("n")
	a, b := w.dir(ns, "a"), w.dir(ns, "b")
	c := w.dir(a, "c")
	up := func(dir Ino) Ino {
		x, err := w.Lookup(dir, "..")
		must(t, err)
		return x.Ino
	}
	if up(c) != a || up(a) != ns || up(ns) != RootIno || up(RootIno) != RootIno {
		t.Error("..")
	}
	must(t, w.Rename(a, "c", b, "c", 0))
	if up(c) != b || w.attr(a).Nlink != 2 || w.attr(b).Nlink != 3 {
		t.Errorf(".. is %d, nlinks %d and %d", up(c), w.attr(a).Nlink, w.attr(b).Nlink)
	}
	if x, err := w.Lookup(c, "."); err != nil || x.Ino != c {
		t.Errorf(". is %+v, %v", x, err)
	}
	w.check()
}

// TestCollisions forces names into one record by putting them there: slots and cookies stay what they are.
func TestCollisions(t *testing.T) {
	var f found
	f.suffix = 5
	var err error
	for i := range maxSlots {
		f.value, err = f.with(fmt.Sprint(i), uint64(i+1), ModeRegular>>typeShift)
		must(t, err)
	}
	_, err = f.with("one more", 99, 8)
	wantErr(t, err, ErrNoSpace)
	for i := range maxSlots {
		x, err := findDirent(5, f.value, fmt.Sprint(i))
		if err != nil || !x.ok() || int(x.n) != i+1 || int(x.slot) != i {
			t.Errorf("%d: %+v, %v", i, x, err)
		}
	}
	x, err := findDirent(5, f.value, "7")
	must(t, err)
	x.value = x.without()
	again, err := (&found{value: x.value}).with("new", 100, 8)
	must(t, err)
	y, err := findDirent(5, again, "new")
	if err != nil || y.slot != 7 {
		t.Errorf("the free slot is not used: %+v, %v", y, err)
	}
	z, err := findDirent(5, y.replaced(200, 4), "new")
	if err != nil || z.n != 200 || z.typ != 4 || z.slot != 7 {
		t.Errorf("%+v, %v", z, err)
	}
}

// TestBigDirectory lists a large directory in pieces while entries come and go.
func TestBigDirectory(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 10_000
	}
	w := newWorld(t, Options{})
	d := w.dir(w.ns("n"), "d")
	for i := range n {
		w.file(d, fmt.Sprint("stays", i))
		if i%4 == 0 {
			w.file(d, fmt.Sprint("goes", i))
		}
	}
	w.remount()
	r := rand.New(rand.NewPCG(1, 2))
	seen := make(map[string]bool, n)
	for cookie, k, gone := uint64(0), 1, 0; k > 0; {
		k = 0
		must(t, w.ReadDir(d, cookie, r.IntN(20) == 0, func(e *DirEntry) bool {
			if k == 1500 {
				return false
			}
			k++
			if seen[e.Name] {
				t.Fatalf("%q comes twice", e.Name)
			}
			seen[e.Name] = true
			if e.Cookie <= cookie || e.Cookie >= 1<<63 {
				t.Fatalf("cookie %d after %d", e.Cookie, cookie)
			}
			cookie = e.Cookie
			return true
		}))
		for range 200 {
			if name := fmt.Sprint("goes", 4*gone); 4*gone < n {
				must(t, w.Unlink(d, name))
			}
			w.file(d, fmt.Sprint("comes", gone))
			gone++
		}
	}
	for i := range n {
		if !seen[fmt.Sprint("stays", i)] {
			t.Fatalf("stays%d does not come", i)
		}
	}
	if a := w.attr(d); a.Size != int64(len(w.names(d))-2)*direntSize {
		t.Errorf("size %d with %d entries", a.Size, len(w.names(d))-2)
	}
	w.check()
}

// TestListAgain lists a part of a directory, changes it, and lists it again: what was read ahead is forgotten.
func TestListAgain(t *testing.T) {
	w := newWorld(t, Options{})
	ns := w.ns("n")
	var want []string
	for i := range 50 {
		w.file(ns, fmt.Sprint("old", i))
		want = append(want, fmt.Sprint("old", i))
	}
	for i := range 20 {
		n := 0
		must(t, w.ReadDir(ns, 0, false, func(e *DirEntry) bool {
			n++
			return n <= i
		}))
		w.file(ns, fmt.Sprint("new", i))
		must(t, w.Unlink(ns, want[0]))
		must(t, w.Rename(ns, want[1], ns, fmt.Sprint("moved", i), 0))
		want = append(want[2:], fmt.Sprint("new", i), fmt.Sprint("moved", i))
		got := w.names(ns)[2:]
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("%q, want %q", got, want)
		}
	}
	// The root directory, of which the namespaces are no entries.
	first := func(*DirEntry) bool { return false }
	for i := range 5 {
		must(t, w.ReadDir(RootIno, 2, false, first))
		w.ns(fmt.Sprint("another", i))
		must(t, w.ReadDir(RootIno, 2, false, first))
		must(t, w.Rename(RootIno, fmt.Sprint("another", i), RootIno, fmt.Sprint("renamed", i), 0))
		if got := w.names(RootIno); !slices.Contains(got, fmt.Sprint("renamed", i)) || len(got) != 2+1+i+1 {
			t.Fatalf("%q", got)
		}
	}
	must(t, w.ReadDir(RootIno, 2, false, first))
	must(t, w.Rmdir(RootIno, "renamed3"))
	if got := w.names(RootIno); slices.Contains(got, "renamed3") {
		t.Fatalf("%q", got)
	}
}

func TestReadDirErrors(t *testing.T) {
	w := newWorld(t, Options{})
	f := w.file(RootIno, "f")
	fn := func(*DirEntry) bool { return true }
	wantErr(t, w.ReadDir(f, 0, false, fn), ErrNotDir)
	wantErr(t, w.ReadDir(12345, 0, false, fn), ErrNotExist)
	must(t, w.ReadDir(RootIno, 1<<63-1, true, fn)) // past the end
	if got := w.names(RootIno); !slices.Equal(got, []string{".", "..", "f"}) {
		t.Errorf("%q", got)
	}
}

// TestRenameOnAFullDisk renames where nothing can be made any more.
func TestRenameOnAFullDisk(t *testing.T) {
	disk := disktest.New()
	w := &world{tb: t, disk: storetest.Create(t, disk, storetest.Dir), clock: newClock()}
	w.opts = Options{Clock: w.clock.Now}
	w.open()
	t.Cleanup(w.close)
	ns := w.ns("n")
	d := w.dir(ns, "d")
	for _, name := range []string{"a", "b", "c"} {
		w.file(ns, name)
	}
	w.ns("m")
	must(t, w.Sync())
	disk.Fill(0)
	for deadline := time.Now().Add(time.Minute); w.st.Throttle() == nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody noticed that the disk is full")
		}
	}
	_, err := w.Mknod(ns, "new", ModeRegular|0o644, 0, Cred{})
	wantErr(t, err, ErrNoSpace)
	must(t, w.Rename(ns, "a", ns, "b", 0))
	must(t, w.Rename(ns, "b", d, "b", 0))
	must(t, w.Rename(ns, "c", d, "b", RenameExchange))
	must(t, w.Rename(RootIno, "m", RootIno, "l", 0))
	disk.SetCapacity(0)
	must(t, w.Sync())
	w.check()
}
