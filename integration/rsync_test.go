package integration_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"salliefs/integration/mounttest"
)

// TestRsync copies a tree of everything that a filesystem can hold into the mount and back
// again with rsync -aHAX, and wants nothing to differ.
func TestRsync(t *testing.T) {
	mounttest.Need(t, "rsync", "rsync")
	scratch := mounttest.Dir(t)
	source := filepath.Join(scratch, "source")
	makeEverything(t, source)
	s := mounttest.New(t, mounttest.Options{Mount: []string{"-o", "acl"}})
	dir := filepath.Join(s.Namespace(t, "rsync"), "tree")
	want := mounttest.Scan(t, source)

	rsync := func(args ...string) string {
		t.Helper()
		return mounttest.Sh(t, scratch, "rsync", append([]string{"-aHAX", "--numeric-ids"}, args...)...)
	}
	rsync("--sparse", source+"/", dir+"/")
	mounttest.Same(t, want, mounttest.Scan(t, dir), 0)
	s.Remount(t)
	mounttest.Same(t, want, mounttest.Scan(t, dir), 0)
	if changes := rsync("-n", "--checksum", "--delete", "--itemize-changes", source+"/", dir+"/"); changes != "" {
		t.Errorf("rsync would still change:\n%s", changes)
	}

	back := filepath.Join(scratch, "back")
	rsync(dir+"/", back+"/")
	mounttest.Same(t, want, mounttest.Scan(t, back), 0)

	// The second run of a backup: some files changed, some gone, compared by size and time.
	if err := errors.Join(appendTo(source+"/text", "more"), os.Remove(source+"/many/5"), os.WriteFile(source+"/many/new", []byte("new"), 0o600),
		os.Chtimes(source+"/many", time.Unix(2e9, 7), time.Unix(2e9, 7))); err != nil {
		t.Fatal(err)
	}
	changes := rsync("--delete", "--itemize-changes", source+"/", dir+"/")
	if !strings.Contains(changes, "many/new\n") || !strings.Contains(changes, "deleting   many/5\n") || strings.Contains(changes, "many/6") {
		t.Errorf("a second run changes the wrong files:\n%s", changes)
	}
	s.Remount(t)
	mounttest.Same(t, mounttest.Scan(t, source), mounttest.Scan(t, dir), 0)
}

// makeEverything makes a tree with every kind of inode and attribute that this user may make.
func makeEverything(t *testing.T, root string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(root+"/many/deep/deeper", 0o755))
	must(os.WriteFile(root+"/text", []byte(strings.Repeat("a line of text\n", 5000)), 0o644))
	must(os.WriteFile(root+"/empty", nil, 0o600))
	for i := range 300 {
		must(os.WriteFile(fmt.Sprintf("%s/many/%d", root, i), pattern(byte(i), int64(i*i)), 0o640))
	}
	must(os.Link(root+"/text", root+"/many/deep/twin"))
	must(os.Link(root+"/text", root+"/many/deep/deeper/triplet"))
	must(os.Symlink("../text", root+"/many/link"))
	must(os.Symlink("/nowhere/at all", root+"/dangling"))
	must(unix.Mkfifo(root+"/fifo", 0o622))
	must(unix.Mknod(root+"/socket", unix.S_IFSOCK|0o755, 0))
	sparse, err := os.Create(root + "/sparse")
	must(err)
	_, err = sparse.WriteAt([]byte("far"), 50<<20)
	must(errors.Join(err, sparse.Close()))
	must(unix.Chmod(root+"/many", 0o3775))
	must(os.WriteFile(root+"/name \xff\n with all", []byte("x"), 0o444))

	if err := unix.Setxattr(root+"/text", "user.note", []byte("a value \x00 with a zero"), 0); err == unix.ENOTSUP {
		t.Skip("the filesystem of TMPDIR has no user attributes to copy")
	}
	must(unix.Setxattr(root+"/many", "user.on a directory", []byte(strings.Repeat("v", 1000)), 0))
	setfacl := mounttest.Need(t, "setfacl", "acl")
	mounttest.Sh(t, root, setfacl, "-m", "u:1234:rw,g:4321:r", "text")
	mounttest.Sh(t, root, setfacl, "-d", "-m", "u:1234:rwx", "many/deep")
	if os.Geteuid() == 0 {
		must(unix.Mknod(root+"/char", unix.S_IFCHR|0o600, int(unix.Mkdev(5, 260))))
		must(unix.Mknod(root+"/block", unix.S_IFBLK|0o660, int(unix.Mkdev(259, 70000))))
		must(os.WriteFile(root+"/owned", []byte("x"), 0o644))
		must(os.Chown(root+"/owned", 4000000000, 65534))
		must(os.Lchown(root+"/dangling", 33, 44))
		must(unix.Chmod(root+"/owned", 0o6755))
		must(unix.Setxattr(root+"/text", "trusted.t", []byte("t"), 0))
		must(unix.Setxattr(root+"/owned", "security.capability", []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0))
	}
	// Times of their own, with nanoseconds, one before 1970: rsync leaves a time alone that
	// is right to the second, as those of new files would be.
	n := int64(0)
	must(filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		n++
		at := unix.NsecToTimespec((n-5)*1e15 + n)
		return errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW))
	}))
}
