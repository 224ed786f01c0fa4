package integration_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"salliefs/integration/mounttest"
)

// TestCompareSeesDifferences changes one thing of a tree at a time: a comparison
// that could not see it would make every test that uses it worthless.
func TestCompareSeesDifferences(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(dir string) error
		want   string
	}{
		{"byte", func(d string) error { return overwrite(d+"/file", []byte("contenT")) }, "content"},
		{"length", func(d string) error { return appendTo(d+"/file", "x") }, "size"},
		{"mode", func(d string) error { return os.Chmod(d+"/file", 0o600) }, "mode"},
		{"set-user-ID", func(d string) error { return unix.Chmod(d+"/file", 0o4644) }, "mode"},
		{"time by a nanosecond", func(d string) error {
			return os.Chtimes(d+"/file", time.Time{}, time.Unix(1e9, 1))
		}, "mtime"},
		{"missing", func(d string) error { return os.Remove(d + "/sub/deep") }, "is missing"},
		{"additional", func(d string) error { return os.WriteFile(d+"/sub/new", nil, 0o644) }, "should not be there"},
		{"target", func(d string) error {
			return replace(d+"/link", func(p string) error { return os.Symlink("elsewhere", p) })
		}, "target"},
		{"type", func(d string) error {
			return replace(d+"/link", func(p string) error { return os.WriteFile(p, []byte("file"), 0o777) })
		}, "mode"},
		{"hard link cut", func(d string) error {
			return replace(d+"/twin", func(p string) error { return os.WriteFile(p, []byte("content"), 0o644) })
		}, "same inode as"},
		{"empty directory", func(d string) error { return os.Mkdir(d+"/empty", 0o755) }, "should not be there"},
		{"attribute", func(d string) error { return unix.Setxattr(d+"/file", "user.a", []byte("2"), 0) }, "xattrs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := mounttest.Dir(t)
			fillSample(t, dir)
			before := mounttest.Scan(t, dir)
			if lines := mounttest.Diff(before, mounttest.Scan(t, dir), 0); len(lines) > 0 {
				t.Fatalf("a tree differs from itself: %q", lines)
			}
			if err := c.change(dir); err != nil {
				if c.name == "attribute" && err == unix.ENOTSUP {
					t.Skip("the filesystem of TMPDIR has no user attributes")
				}
				t.Fatal(err)
			}
			lines := mounttest.Diff(before, mounttest.Scan(t, dir), 0)
			if !strings.Contains(strings.Join(lines, "\n"), c.want) {
				t.Errorf("the change went unseen: got %q, want a line with %q", lines, c.want)
			}
		})
	}
}

func fillSample(t *testing.T, dir string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(dir+"/sub", 0o755))
	must(os.WriteFile(dir+"/file", []byte("content"), 0o644))
	must(os.Link(dir+"/file", dir+"/twin"))
	must(os.WriteFile(dir+"/sub/deep", []byte("deep"), 0o644))
	must(os.Symlink("file", dir+"/link"))
	if err := unix.Setxattr(dir+"/file", "user.a", []byte("1"), 0); err != nil && err != unix.ENOTSUP {
		t.Fatal(err)
	}
	for _, p := range []string{"file", "sub/deep", "sub", "."} {
		must(os.Chtimes(filepath.Join(dir, p), time.Time{}, time.Unix(1e9, 0)))
	}
}

func overwrite(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Close()
}

func appendTo(path, data string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(data); err != nil {
		return err
	}
	return f.Close()
}

func replace(path string, with func(string) error) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return with(path)
}
