package fs

import (
	"errors"
	"fmt"
	"testing"
)

// TestUnlinkedFile uses a file that has no name any more.
func TestUnlinkedFile(t *testing.T) {
	w := newWorld(t, Options{})
	ns := w.ns("n")
	f := w.sparse(ns, "f", 3)
	must(t, w.SetXattr(f, "user.a", []byte("x"), 0))
	w.Ref(f)
	w.Ref(f)
	must(t, w.Unlink(ns, "f"))
	w.write(f, 4, "more")
	if a := w.attr(f); a.Nlink != 0 {
		t.Errorf("%+v", a)
	}
	w.check()
	w.Unref(f, 1)
	w.read(f)
	w.Unref(f, 1)
	_, err := w.GetAttr(f)
	wantErr(t, err, ErrNotExist)
	w.check()
	d, _ := w.NamespaceStats("n")
	if d.Usage.Files != 0 || d.Usage.Logical != 0 {
		t.Errorf("left: %+v", d.Usage)
	}
}

// TestOrphansOfEarlierRuns ends a process with open files that have no names: the next one deletes them.
func TestOrphansOfEarlierRuns(t *testing.T) {
	for _, clean := range []bool{true, false} {
		t.Run(fmt.Sprint("clean=", clean), func(t *testing.T) {
			w := newWorld(t, Options{})
			ns := w.ns("n")
			var inos []Ino
			for i := range 3 * orphanBatch / 2 {
				f := w.file(ns, fmt.Sprint(i))
				w.Ref(f)
				must(t, w.Unlink(ns, fmt.Sprint(i)))
				inos = append(inos, f)
			}
			big := w.sparse(ns, "big", 2*stepRegions)
			w.Ref(big)
			must(t, w.Unlink(ns, "big"))
			tmp, err := w.Tmpfile(ns, 0o600, Cred{})
			must(t, err)
			inos = append(inos, big, tmp.Ino)
			w.check()
			if !clean { // as if the process had ended here
				w.background.Wait() // which needs the store
				must(t, w.st.Close())
				w.open()
			} else {
				w.remount()
			}
			w.background.Wait()
			for _, ino := range inos {
				if _, err := w.GetAttr(ino); !errors.Is(err, ErrNotExist) {
					t.Errorf("inode %d: %v", ino, err)
				}
			}
			w.check()
			d, _ := w.NamespaceStats("n")
			if d.Usage.Files != 0 || d.Usage.Logical != 0 {
				t.Errorf("left: %+v", d.Usage)
			}
		})
	}
}

func TestTmpfile(t *testing.T) {
	w := newWorld(t, Options{})
	ns := w.ns("n")
	a, err := w.Tmpfile(ns, 0o600, Cred{UID: 5})
	must(t, err)
	w.Ref(a.Ino)
	w.write(a.Ino, 0, "data")
	if got, err := w.Link(a.Ino, ns, "named"); err != nil || got.Nlink != 1 || got.UID != 5 {
		t.Errorf("%+v, %v", got, err)
	}
	w.Unref(a.Ino, 1)
	w.remount()
	if got := w.read(a.Ino); got != "data" {
		t.Errorf("%q", got)
	}
	w.check()
	b, err := w.Tmpfile(ns, 0o600, Cred{})
	must(t, err)
	w.Ref(b.Ino)
	w.Unref(b.Ino, 1)
	_, err = w.GetAttr(b.Ino)
	wantErr(t, err, ErrNotExist)
	w.check()
}

// TestRemoveNamespaceInUse removes a namespace while a file of it is open.
func TestRemoveNamespaceInUse(t *testing.T) {
	w := newWorld(t, Options{})
	ns := w.ns("n")
	f := w.file(ns, "f")
	w.Ref(f)
	w.write(f, 0, "data")
	must(t, w.Unlink(ns, "f"))
	must(t, w.Rmdir(RootIno, "n"))
	_, err := w.Lookup(RootIno, "n")
	wantErr(t, err, ErrNotExist)
	if got := w.names(RootIno); len(got) != 2 || w.attr(RootIno).Nlink != 2 {
		t.Errorf("%q, nlink %d", got, w.attr(RootIno).Nlink)
	}
	w.write(f, 4, " more")
	if got := w.read(f); got != "data more" {
		t.Errorf("%q", got)
	}
	_, err = w.Mknod(ns, "f", ModeRegular, 0, Cred{})
	wantErr(t, err, ErrNotExist)
	w.ns("n") // the name is free
	w.check()
	w.Unref(f, 1)
	if len(w.st.Namespaces()) != 2 {
		t.Errorf("namespaces %+v", w.st.Namespaces())
	}
	// The same, and the process ends.
	ns2, err := w.Lookup(RootIno, "n")
	must(t, err)
	f = w.file(ns2.Ino, "f")
	w.Ref(f)
	must(t, w.Unlink(ns2.Ino, "f"))
	must(t, w.Rmdir(RootIno, "n"))
	w.background.Wait() // which needs the store
	must(t, w.st.Close())
	w.open()
	w.background.Wait()
	if len(w.st.Namespaces()) != 1 {
		t.Errorf("namespaces %+v", w.st.Namespaces())
	}
	w.check()
}
