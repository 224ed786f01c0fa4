package blockstore_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore"
	"salliefs/blockstore/storetest"
)

// mountDisk mounts a small disk of its own, or skips the test.
func mountDisk(t *testing.T, kind string, size string) (dir string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skipf("not root: a full %s", kind)
	}
	work := t.TempDir()
	dir = filepath.Join(work, "disk")
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Skipf("%s %v: %v: %s: a full %s", name, args, err, out, kind)
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if kind == "tmpfs" {
		run("mount", "-t", kind, "-o", "size="+size, "none", dir)
	} else {
		image := filepath.Join(work, "image")
		run("truncate", "-s", size, image)
		run("mkfs."+kind, "-q", image)
		run("mount", "-o", "loop", image, dir)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

// TestFullRealDisk fills real filesystems to the last byte.
func TestFullRealDisk(t *testing.T) {
	for _, kind := range []string{"tmpfs", "ext4"} {
		t.Run(kind, func(t *testing.T) {
			dir := mountDisk(t, kind, "100M")
			st := storetest.Create(t, vfs.Default, filepath.Join(dir, "store"))
			w := &fullWorld{st: st, s: st.Open(t, blockstore.Options{})}
			n := 0
			fill := func() {
				t.Helper()
				for ; ; n++ {
					if err := w.write(n); errors.Is(err, blockstore.ErrNoSpace) {
						return
					} else if err != nil {
						t.Fatal(err)
					}
				}
			}
			fill()
			mustSync(t, w.s)
			stored := w.verify(t)
			t.Logf("%d blocks of %d bytes", stored, fullBlock)
			// Now others take what is left.
			ballast := filepath.Join(dir, "ballast")
			f, err := os.Create(ballast)
			for piece := make([]byte, 1<<20); err == nil; {
				_, err = f.Write(piece)
				if err != nil && len(piece) > 1 {
					piece, err = piece[:len(piece)/2], nil
				}
			}
			_ = f.Close()
			waitFor(t, func() bool { // what the store knows of the disk may be a second old
				_, free, _, err := w.s.DiskFree()
				return err == nil && free <= 64<<10
			})
			if err := w.write(n); !errors.Is(err, blockstore.ErrNoSpace) {
				t.Fatalf("writing: %v", err)
			}
			w.verify(t)
			removed := 0
			w.blocks.Range(func(i, _ any) bool {
				if i.(int)%10 != 0 {
					if err := w.remove(i.(int)); err != nil {
						t.Fatal(err)
					}
					removed++
				}
				return true
			})
			within(t, "Sync", func() {
				if err := w.s.Sync(); err != nil {
					t.Errorf("removing with a full disk: %v", err)
				}
			})
			if err := w.s.Reclaim(context.Background()); err != nil && !errors.Is(err, blockstore.ErrNoSpace) {
				t.Fatal(err)
			}
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			mustReclaim(t, w.s)
			before := n
			fill()
			if n-before < removed/2 {
				t.Errorf("%d blocks were removed, and there was room for %d", removed, n-before)
			}
			mustSync(t, w.s)
			w.verify(t)
			mustCheck(t, w.s)
			mustClose(t, w.s)
			w.s = st.Open(t, blockstore.Options{})
			w.verify(t)
			mustCheck(t, w.s)
			mustClose(t, w.s)
		})
	}
}
