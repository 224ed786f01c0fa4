package fs

import (
	"strings"
	"testing"
)

func TestSmoke(t *testing.T) {
	w := newWorld(t, Options{})
	ns := w.ns("a")
	f := w.file(ns, "file")
	w.write(f, 0, "hello")
	w.write(f, 5, " world")
	w.write(f, 300000, "far")
	d := w.dir(ns, "dir")
	w.file(d, "x")
	must(t, w.Rename(ns, "file", d, "y", 0))
	w.check()
	w.remount()
	w.check()
	if got := w.read(f); !strings.HasPrefix(got, "hello world\x00") || !strings.HasSuffix(got, "far") || len(got) != 300003 {
		t.Errorf("%q", got[:20])
	}
	t.Log(w.names(RootIno), w.names(ns), w.names(d))
	must(t, w.Unlink(d, "y"))
	_, err := w.GetAttr(f)
	wantErr(t, err, ErrNotExist)
	wantErr(t, w.Rmdir(RootIno, "a"), ErrNotEmpty)
	must(t, w.Unlink(d, "x"))
	must(t, w.Rmdir(ns, "dir"))
	must(t, w.Rmdir(RootIno, "a"))
	t.Log(w.names(RootIno))
	w.check()
}
