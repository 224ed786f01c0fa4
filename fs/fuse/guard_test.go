package fuse

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAbort: the file that a guard writes to gives up its mount and no other, wherever its directory is mounted.
func TestAbort(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skipf("%s skipped: it takes root to mount", t.Name())
	}
	const dir = "/sys/fs/fuse/connections"
	for name, mount := range map[string]func() error{
		"mounted":     func() error { return unix.Mount("fusectl", dir, "fusectl", 0, "") },
		"not mounted": func() error { return unix.Mount("tmpfs", dir, "tmpfs", 0, "") },
	} {
		t.Run(name, func(t *testing.T) {
			s, other := mountFor(t, newFakeFS(), Options{}), newMounted(t, newFakeFS(), Options{})
			var f *os.File
			must(t, inMountNamespace(func() (err error) {
				if err = mount(); err == nil {
					f, err = openAbort(s.dev.Load())
				}
				return err
			}))
			defer f.Close()
			_, err := f.WriteString("1")
			must(t, err)
			ended(t, s)
			must(t, os.WriteFile(other.dir+"/file", []byte("x"), 0o644))
		})
	}
}

// inMountNamespace runs fn on a thread whose mounts nobody else sees.
func inMountNamespace(fn func() error) error {
	done := make(chan error)
	go onThread(func() {
		err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil {
			err = fn()
		}
		done <- err
	})
	return <-done
}
