package blob_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"salliefs/blockstore/blob"
)

var ctx = context.Background()

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// probe counts calls into a filesystem and fails those that fail says.
type probe struct {
	mu    sync.Mutex
	fail  func(errorfs.Op) error
	calls []errorfs.Op
}

func (p *probe) MaybeError(op errorfs.Op) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, op)
	if p.fail == nil {
		return nil
	}
	return p.fail(op)
}

func (p *probe) String() string { return "probe" }

// count says how many calls of a kind there were on paths with this suffix.
func (p *probe) count(kind errorfs.OpKind, suffix string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, op := range p.calls {
		if op.Kind == kind && strings.HasSuffix(op.Path, suffix) {
			n++
		}
	}
	return n
}

// failOn fails each call of a kind.
func failOn(kind errorfs.OpKind, err error) func(errorfs.Op) error {
	return func(op errorfs.Op) error {
		if op.Kind == kind {
			return err
		}
		return nil
	}
}

func probed(t *testing.T) (*blob.Local, *probe, *vfs.MemFS) {
	p, mem := &probe{}, vfs.NewMem()
	return openLocal(t, errorfs.Wrap(mem, p), "objects"), p, mem
}

func TestSyncsOfOneObject(t *testing.T) {
	l, p, _ := probed(t)
	p.calls = nil
	w, err := l.Create(ctx, "obj")
	must(t, err)
	for range 3 {
		_, err = w.Write(make([]byte, 1000))
		must(t, err)
		must(t, w.Sync())
		must(t, w.Sync())
	}
	must(t, w.Close())
	if n := p.count(errorfs.OpFileSyncData, "/obj"); n != 3 {
		t.Errorf("data synced %d times for 3 writes", n)
	}
	if n := p.count(errorfs.OpFileSync, "objects"); n != 1 {
		t.Errorf("directory synced %d times", n)
	}
	if n := p.count(errorfs.OpFileSync, ""); n != 1 {
		t.Errorf("%d full syncs", n)
	}
}

func TestFailedWriterStaysFailed(t *testing.T) {
	for _, test := range []struct {
		name   string
		kind   errorfs.OpKind
		inject error
		want   error
	}{
		{"write", errorfs.OpFileWrite, syscall.ENOSPC, blob.ErrNoSpace},
		{"write, quota", errorfs.OpFileWrite, syscall.EDQUOT, blob.ErrNoSpace},
		{"data sync", errorfs.OpFileSyncData, syscall.EIO, syscall.EIO},
		{"directory sync", errorfs.OpFileSync, syscall.EIO, syscall.EIO},
		{"directory open", errorfs.OpOpenDir, syscall.EMFILE, syscall.EMFILE},
		{"writeback", errorfs.OpFileSyncTo, syscall.EIO, syscall.EIO},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, p, _ := probed(t)
			w, err := l.Create(ctx, "obj")
			must(t, err)
			p.fail = failOn(test.kind, test.inject)
			_, err = w.Write(make([]byte, blob.DefaultWriteback))
			err = errors.Join(err, w.Sync())
			if !errors.Is(err, test.want) || !errors.Is(err, test.inject) || !strings.Contains(err.Error(), `object "obj": `) {
				t.Fatalf("first error %v", err)
			}
			calls := p.count(test.kind, "")
			p.fail = nil
			_, err = w.Write([]byte("x"))
			for _, err := range []error{err, w.Sync(), w.Sync(), w.Close()} {
				if !errors.Is(err, test.want) {
					t.Fatalf("later error %v", err)
				}
			}
			if n := p.count(test.kind, ""); n != calls {
				t.Fatalf("tried again %d times", n-calls)
			}
			if _, err := l.Stat(ctx, "obj"); !errors.Is(err, blob.ErrNotExist) {
				t.Fatalf("object that was never synced: error %v", err)
			}
		})
	}
}

func TestFailedWriterKeepsWhatWasSynced(t *testing.T) {
	l, p, _ := probed(t)
	w, err := l.Create(ctx, "obj")
	must(t, err)
	_, err = w.Write([]byte("synced"))
	must(t, err)
	must(t, w.Sync())
	p.fail = failOn(errorfs.OpFileWrite, syscall.ENOSPC)
	_, err = w.Write([]byte(" not"))
	if err := errors.Join(err, w.Sync()); !errors.Is(err, blob.ErrNoSpace) {
		t.Fatal(err)
	}
	got := make([]byte, 6)
	if _, err := w.ReadAt(got, 0); err != nil || string(got) != "synced" {
		t.Fatalf("%q, error %v", got, err)
	}
	must(t, w.Abort())
	info, err := l.Stat(ctx, "obj")
	if err != nil || info.Size != 6 {
		t.Fatalf("%+v, error %v", info, err)
	}
}

// TestPutFails fails each call that Put makes, in turn.
func TestPutFails(t *testing.T) {
	for n := 1; ; n++ {
		l, p, mem := probed(t)
		must(t, l.Put(ctx, "dir/obj", []byte("old")))
		calls := 0
		p.fail = func(errorfs.Op) error {
			if calls++; calls == n {
				return syscall.EIO
			}
			return nil
		}
		err := l.Put(ctx, "dir/obj", []byte("new"))
		p.fail = nil
		if calls < n {
			must(t, err)
			if n < 5 {
				t.Fatalf("Put makes only %d calls", calls)
			}
			return
		}
		if !errors.Is(err, syscall.EIO) {
			t.Fatalf("call %d failed, error %v", n, err)
		}
		data, err := mem.UnsafeGetFileDataBuffer("objects/dir/obj")
		if s := string(data); err != nil || s != "old" && s != "new" {
			t.Fatalf("call %d failed: object is %q, error %v", n, s, err)
		}
		names, err := mem.List("objects/dir")
		if err != nil || len(names) != 1 {
			t.Fatalf("call %d failed: directory holds %q, error %v", n, names, err)
		}
	}
}

func TestPutNewWithoutHardLinks(t *testing.T) {
	l, p, _ := probed(t)
	p.fail = failOn(errorfs.OpLink, syscall.EPERM)
	must(t, l.PutNew(ctx, "obj", []byte("first")))
	if err := l.PutNew(ctx, "obj", []byte("second")); !errors.Is(err, blob.ErrExist) {
		t.Fatalf("error %v", err)
	}
	r, err := l.Open(ctx, "obj")
	must(t, err)
	got := make([]byte, 5)
	if _, err := r.ReadAt(got, 0); err != nil || string(got) != "first" {
		t.Fatalf("%q, error %v", got, err)
	}
	must(t, r.Close())
}

func TestWriteback(t *testing.T) {
	for _, test := range []struct {
		option int64
		full   bool // the filesystem waits for the disk instead of just asking
		want   int
	}{{0, false, 4}, {2 << 20, false, 2}, {-1, false, 0}, {0, true, 1}} {
		p := &probe{}
		fs := errorfs.Wrap(fullSyncFS{vfs.NewMem(), test.full}, p)
		l, err := blob.CreateLocal(fs, "objects", blob.LocalOptions{Writeback: test.option})
		must(t, err)
		for _, name := range []string{"a", "b"} {
			w, err := l.Create(ctx, name)
			must(t, err)
			for range 8 {
				_, err = w.Write(make([]byte, 256<<10))
				must(t, err)
			}
			must(t, w.Close())
		}
		if n := p.count(errorfs.OpFileSyncTo, ""); n != test.want {
			t.Errorf("%+v: writeback was started %d times", test, n)
		}
	}
}

type fullSyncFS struct {
	vfs.FS
	full bool
}

func (fs fullSyncFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	return fullSyncFile{f, fs.full}, err
}

type fullSyncFile struct {
	vfs.File
	full bool
}

func (f fullSyncFile) SyncTo(int64) (bool, error) { return f.full, nil }

func TestForeignFiles(t *testing.T) {
	l, _, mem := probed(t)
	must(t, l.Put(ctx, "dir/obj", nil))
	must(t, mem.MkdirAll("objects/lost+found", 0o700))
	foreign := []string{"objects/.tmp.left", "objects/dir/.tmp.left", "objects/lost+found/.tmp.x", "objects/.nfs01", "objects/README"}
	for _, name := range foreign {
		f, err := mem.Create(name, vfs.WriteCategoryUnspecified)
		must(t, err)
		must(t, f.Close())
	}
	var names []string
	must(t, l.List(ctx, "", func(i blob.Info) error {
		names = append(names, i.Name)
		return nil
	}))
	if !slices.Equal(names, []string{"dir/obj"}) {
		t.Fatalf("listed: %q", names)
	}
	must(t, l.Clean(ctx))
	for i, name := range foreign {
		if _, err := mem.Stat(name); (err == nil) != (i >= 2) {
			t.Errorf("after Clean, %s: error %v", name, err)
		}
	}
}

func TestMemoryLimit(t *testing.T) {
	m := &blob.Memory{Limit: 1000}
	must(t, m.Put(ctx, "a", make([]byte, 600)))
	must(t, m.Put(ctx, "a", make([]byte, 900)))
	if err := m.Put(ctx, "b", make([]byte, 101)); !errors.Is(err, blob.ErrNoSpace) {
		t.Fatalf("error %v", err)
	}
	w, err := m.Create(ctx, "b")
	must(t, err)
	_, err = w.Write(make([]byte, 100))
	must(t, err)
	if _, err := w.Write(make([]byte, 1)); !errors.Is(err, blob.ErrNoSpace) {
		t.Fatalf("error %v", err)
	}
	must(t, w.Abort())
	must(t, m.Remove(ctx, "a"))
	must(t, m.Put(ctx, "c", make([]byte, 1000)))
}

// BenchmarkWrite writes and syncs objects of 64 MiB on the disk of the
// temporary directory, in pieces as segments come.
func BenchmarkWrite(b *testing.B) {
	piece := bytes.Repeat([]byte("sealed bytes, already. "), 1<<20/23)
	for name, o := range map[string]blob.LocalOptions{"writeback": {}, "none": {Writeback: -1}} {
		b.Run(name, func(b *testing.B) {
			l, err := blob.CreateLocal(vfs.Default, b.TempDir()+"/objects", o)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(64 * int64(len(piece)))
			for b.Loop() {
				writeAndRemove(b, l, piece)
			}
		})
	}
}

func writeAndRemove(b *testing.B, l *blob.Local, piece []byte) {
	w, err := l.Create(ctx, "obj")
	if err != nil {
		b.Fatal(err)
	}
	for range 64 {
		if _, err := w.Write(piece); err != nil {
			b.Fatal(err)
		}
	}
	if err := errors.Join(w.Sync(), w.Close(), l.Remove(ctx, "obj")); err != nil {
		b.Fatal(err)
	}
}
