package fuse

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"salliefs/fs"
)

// TestNegativeEntry: an absent name is asked for once, and the kernel is told for how
// long it may believe that. ENOENT would tell it for no time at all.
func TestNegativeEntry(t *testing.T) {
	f := newFakeFS()
	b := newBridge(f, false, quiet)
	var out gofuse.EntryOut
	if st := b.Lookup(nil, &gofuse.InHeader{NodeId: 1}, "absent", &out); st != gofuse.OK {
		t.Errorf("absent name: status %v, want OK", st)
	}
	if out.NodeId != 0 || out.EntryTimeout() != 24*time.Hour {
		t.Errorf("absent name: node %d for %v, want 0 for a day", out.NodeId, out.EntryTimeout())
	}

	s := mountFor(t, f, Options{})
	for range 5 {
		_, err := os.Stat(s.Mountpoint() + "/absent")
		wantErr(t, "stat", err, unix.ENOENT)
	}
	if n := s.Requests()["LOOKUP"]; n != 1 {
		t.Errorf("%d LOOKUP for 5 looks at an absent name, want 1", n)
	}
	must(t, os.WriteFile(s.Mountpoint()+"/absent", []byte("now"), 0o644))
	stat(t, s.Mountpoint()+"/absent")
	must(t, os.Remove(s.Mountpoint()+"/absent"))
	_, err := os.Stat(s.Mountpoint() + "/absent")
	wantErr(t, "stat after remove", err, unix.ENOENT)
}

// TestAttributesAreKept: the kernel answers stat by itself.
func TestAttributesAreKept(t *testing.T) { onEach(t, Options{}, testAttributesAreKept) }

func testAttributesAreKept(t *testing.T, s *mounted) {
	path := s.dir + "/file"
	must(t, os.WriteFile(path, []byte("data"), 0o644))
	stat(t, path)
	s.ResetRequests()
	for range 10 {
		stat(t, path)
		data, err := os.ReadFile(path)
		if err != nil || string(data) != "data" {
			t.Fatalf("read %q, %v", data, err)
		}
	}
	got := s.Requests()
	delete(got, "GETATTR") // fewer than the loop has rounds: reading moves the access time
	if len(got) > 0 {
		t.Errorf("requests for a file that the kernel has cached: %v", got)
	}
}

// TestDirectoryCache: the kernel lists a directory without asking, until it changes.
func TestDirectoryCache(t *testing.T) { onEach(t, Options{}, testDirectoryCache) }

func testDirectoryCache(t *testing.T, s *mounted) {
	dir := s.dir + "/dir"
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.WriteFile(dir+"/a", nil, 0o644))
	wantNames(t, dir, "a")
	wantNames(t, dir, "a")
	s.ResetRequests()
	wantNames(t, dir, "a")
	if n := s.Requests()["READDIRPLUS"]; n > 0 {
		t.Errorf("%d READDIRPLUS for an unchanged directory", n)
	}
	must(t, os.WriteFile(dir+"/b", nil, 0o644))
	wantNames(t, dir, "a", "b")
	must(t, os.Rename(dir+"/a", dir+"/c"))
	wantNames(t, dir, "b", "c")
	must(t, os.Symlink("x", dir+"/d"))
	must(t, os.Link(dir+"/b", dir+"/e"))
	must(t, os.Mkdir(dir+"/f", 0o755))
	wantNames(t, dir, "b", "c", "d", "e", "f")
	must(t, os.Remove(dir+"/f"))
	must(t, os.Remove(dir+"/b"))
	wantNames(t, dir, "c", "d", "e")
}

func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s has %v, want %v", filepath.Base(dir), got, want)
	}
}

// TestCommandsAreSeen: what the kernel believes for a day changes at once when
// something else than the kernel changes it.
func TestCommandsAreSeen(t *testing.T) {
	f := newFakeFS()
	s := mountFor(t, f, Options{})
	dir := s.Mountpoint()
	_, err := os.Stat(dir + "/new")
	wantErr(t, "stat", err, unix.ENOENT)
	wantNames(t, dir)
	wantNames(t, dir)

	// A name that the kernel believes absent, in a directory whose list it has.
	a, err := f.Mknod(fs.RootIno, "new", fs.ModeRegular|0o644, 0, fs.Cred{})
	must(t, err)
	_, err = f.WriteAt(a.Ino, []byte("one"), 0, false)
	must(t, err)
	f.observer.EntryChanged(fs.RootIno, "new")
	s.Settle()
	wantContent(t, dir+"/new", "one")
	wantNames(t, dir, "new")
	wantNames(t, dir, "new")

	// Another inode behind a name, in place of one whose pages the kernel has.
	must(t, f.Unlink(fs.RootIno, "new"))
	a, err = f.Mknod(fs.RootIno, "new", fs.ModeRegular|0o600, 0, fs.Cred{})
	must(t, err)
	_, err = f.WriteAt(a.Ino, []byte("another"), 0, false)
	must(t, err)
	f.observer.EntryChanged(fs.RootIno, "new")
	s.Settle()
	wantContent(t, dir+"/new", "another")

	// A name of which the kernel knows nothing, in a directory whose list it has.
	_, err = f.Mkdir(fs.RootIno, "unheard", 0o755, fs.Cred{})
	must(t, err)
	f.observer.EntryChanged(fs.RootIno, "unheard")
	s.Settle()
	wantNames(t, dir, "new", "unheard")

	// Attributes and data of an inode.
	_, err = f.SetAttr(a.Ino, fs.SetAttr{Valid: fs.SetMode, Mode: 0o751})
	must(t, err)
	_, err = f.WriteAt(a.Ino, []byte("ANOTHER"), 0, false)
	must(t, err)
	f.observer.InodeChanged(a.Ino)
	s.Settle()
	if m := stat(t, dir+"/new").Mode & 0o777; m != 0o751 {
		t.Errorf("mode %o, want 751", m)
	}
	wantContent(t, dir+"/new", "ANOTHER")

	// A name that is gone.
	must(t, f.Unlink(fs.RootIno, "new"))
	f.observer.EntryChanged(fs.RootIno, "new")
	s.Settle()
	_, err = os.Stat(dir + "/new")
	wantErr(t, "stat of what a command removed", err, unix.ENOENT)
}

func wantContent(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s has %q (%v), want %q", filepath.Base(path), got, err, want)
	}
}

// TestRemovedBehind: programs get ENOENT and not a hang or EIO for what a command
// removed a moment before the kernel hears of it.
func TestRemovedBehind(t *testing.T) {
	f := newFakeFS()
	s := mountFor(t, f, Options{})
	path := s.Mountpoint() + "/file"
	must(t, os.WriteFile(path, []byte("x"), 0o644))
	ino := fs.Ino(stat(t, path).Ino)
	f.mu.Lock()
	delete(f.nodes, ino)
	delete(f.nodes[fs.RootIno].children, "file")
	f.mu.Unlock()
	wantErr(t, "chmod", unix.Chmod(path, 0o600), unix.ENOENT)
}

// TestNotifyUnderLoad: notifications wait for locks that requests hold, and nothing
// may come to a halt because of it.
func TestNotifyUnderLoad(t *testing.T) {
	f := newFakeFS()
	s := mountFor(t, f, Options{})
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				p := fmt.Sprintf("%s/%d-%d", s.Mountpoint(), w, i%10)
				if err := os.WriteFile(p, bytes.Repeat([]byte("x"), 5000), 0o644); err != nil {
					t.Error(err)
					return
				}
				os.Remove(p)
			}
		})
	}
	for i := range 3000 {
		f.observer.EntryChanged(fs.RootIno, fmt.Sprintf("%d-%d", i%4, i%10))
		f.observer.InodeChanged(fs.RootIno)
		if i%100 == 0 {
			s.Settle()
		}
	}
	s.Settle()
	close(stop)
	wg.Wait()
}

// TestNotifierQueue checks the queue without a kernel: order, repeats, end.
func TestNotifierQueue(t *testing.T) {
	k := &recordingKernel{gate: make(chan struct{})}
	n := newNotifier(k, quiet)
	n.InodeChanged(7) // the goroutine takes this one and waits at the gate
	eventually(t, "a notification is being sent", func() bool { k.mu.Lock(); defer k.mu.Unlock(); return k.waiting })
	for range 100 {
		n.EntryChanged(1, "a")
		n.InodeChanged(8)
	}
	close(k.gate)
	n.settle()
	want := "[inode 7 entry 1 a inode 1 inode 8]"
	if got := fmt.Sprint(k.sent); got != want {
		t.Errorf("sent %v, want %v", got, want)
	}
	n.stop()
	n.InodeChanged(9)
	n.settle()
	if got := fmt.Sprint(k.sent); got != want {
		t.Errorf("sent after the end: %v", got)
	}
}

type recordingKernel struct {
	gate    chan struct{}
	mu      sync.Mutex
	waiting bool
	sent    []string
}

func (k *recordingKernel) add(s string) gofuse.Status {
	k.mu.Lock()
	k.waiting = true
	k.mu.Unlock()
	<-k.gate
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sent = append(k.sent, s)
	return gofuse.ENOENT
}

func (k *recordingKernel) EntryNotify(parent uint64, name string) gofuse.Status {
	return k.add(fmt.Sprintf("entry %d %s", parent, name))
}

func (k *recordingKernel) InodeNotify(node uint64, off, length int64) gofuse.Status {
	if off != 0 || length != 0 {
		return k.add(fmt.Sprintf("range %d %d", off, length))
	}
	return k.add(fmt.Sprintf("inode %d", node))
}
