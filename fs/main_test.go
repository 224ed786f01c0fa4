package fs

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"salliefs/blockstore"
	"salliefs/blockstore/storetest"
)

// world is a tree on a store in memory that can be closed and opened again.
type world struct {
	*FS
	tb    testing.TB
	disk  *storetest.Store
	st    *blockstore.Store
	clock *fakeClock
	opts  Options
	ahead int // from how many bytes on a write is sealed ahead; 0: as it is
}

// fakeClock moves by a microsecond each time that it is read.
type fakeClock struct{ ns atomic.Int64 }

func newClock() *fakeClock {
	c := new(fakeClock)
	c.ns.Store(1_700_000_000_123_456_789)
	return c
}

func (c *fakeClock) Now() time.Time          { return time.Unix(0, c.ns.Add(1000)) }
func (c *fakeClock) advance(d time.Duration) { c.ns.Add(int64(d)) }

func newWorld(tb testing.TB, o Options) *world {
	tb.Helper()
	w := &world{tb: tb, disk: storetest.New(tb), clock: newClock(), opts: o}
	w.opts.Clock = w.clock.Now
	w.opts.Log = slog.New(slog.DiscardHandler)
	w.open()
	tb.Cleanup(w.close)
	return w
}

func (w *world) open() {
	w.tb.Helper()
	w.st = w.disk.Open(w.tb, blockstore.Options{})
	var err error
	if w.FS, err = Open(w.st, w.opts); err != nil {
		w.tb.Fatal(err)
	}
	if w.ahead != 0 {
		w.aheadFrom = w.ahead
	}
}

func (w *world) close() {
	if w.FS == nil {
		return
	}
	if err := w.FS.Close(); err != nil {
		w.tb.Error(err)
	}
	if err := w.st.Close(); err != nil {
		w.tb.Error(err)
	}
	w.FS = nil
}

// check fails the test if Check finds anything.
func (w *world) check() {
	w.tb.Helper()
	must(w.tb, w.Check(context.Background(), CheckOptions{Block: w.readBlock}, func(p Problem) { w.tb.Errorf("check: %+v", p) }))
	must(w.tb, w.st.Check(context.Background(), blockstore.CheckOptions{}, func(p blockstore.Problem) { w.tb.Errorf("store check: %v", p) }))
}

// readBlock is for Check: it reads each piece of data, as a file's reader would.
func (w *world) readBlock(ns NamespaceID, id blockstore.BlockID, off, n int) error {
	return w.st.ReadBlock(ns, id, off, make([]byte, n))
}

func (w *world) remount() {
	w.tb.Helper()
	w.close()
	w.open()
}

// ns makes a namespace and returns its top directory.
func (w *world) ns(name string) Ino {
	w.tb.Helper()
	a, err := w.Mkdir(RootIno, name, 0o755, Cred{})
	must(w.tb, err)
	return a.Ino
}

func (w *world) file(dir Ino, name string) Ino {
	w.tb.Helper()
	a, err := w.Mknod(dir, name, ModeRegular|0o644, 0, Cred{})
	must(w.tb, err)
	return a.Ino
}

func (w *world) dir(dir Ino, name string) Ino {
	w.tb.Helper()
	a, err := w.Mkdir(dir, name, 0o755, Cred{})
	must(w.tb, err)
	return a.Ino
}

func (w *world) write(ino Ino, off int64, data string) {
	w.tb.Helper()
	n, err := w.WriteAt(ino, []byte(data), off, false)
	must(w.tb, err)
	if n != len(data) {
		w.tb.Fatalf("WriteAt wrote %d bytes of %d", n, len(data))
	}
}

func (w *world) read(ino Ino) string {
	w.tb.Helper()
	a, err := w.GetAttr(ino)
	must(w.tb, err)
	buf := make([]byte, a.Size+10)
	n, err := w.ReadAt(ino, buf, 0)
	must(w.tb, err)
	return string(buf[:n])
}

func (w *world) attr(ino Ino) Attr {
	w.tb.Helper()
	a, err := w.GetAttr(ino)
	must(w.tb, err)
	return a
}

// names lists a directory in the order in which it comes.
func (w *world) names(dir Ino) (list []string) {
	w.tb.Helper()
	must(w.tb, w.ReadDir(dir, 0, false, func(e *DirEntry) bool {
		list = append(list, e.Name)
		return true
	}))
	return list
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func wantErr(tb testing.TB, err, want error) {
	tb.Helper()
	if !errors.Is(err, want) {
		tb.Errorf("error %v, want %v", err, want)
	}
}
