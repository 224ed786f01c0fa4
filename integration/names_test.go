package integration_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"salliefs/integration/mounttest"
)

// everyByte is names that hold every byte that a name may hold, at the start, in the
// middle, at the end, and all at once.
func everyByte() []string {
	var names []string
	var all []byte
	for b := 1; b < 256; b++ {
		if b == '/' {
			continue
		}
		all = append(all, byte(b))
		c := string([]byte{byte(b)})
		names = append(names, c+"x", "x"+c+"x", "x"+c)
		if b != '.' {
			names = append(names, c)
		}
	}
	names = append(names, string(all[:127]), string(all[127:]), string(all)) // the last is 254 bytes
	names = append(names, strings.Repeat("ü", 127)+"u", strings.Repeat("\xff", 255))
	names = append(names, "...", "-rf", "--help", ".hidden", " ", "a b", "é", "e\u0301", "A", "a")
	slices.Sort(names)
	return slices.Compact(names)
}

func TestNamesOfEveryByte(t *testing.T) {
	s := mounttest.New(t, mounttest.Options{})
	dir := s.Namespace(t, "names")
	names := everyByte()
	for _, name := range names {
		path := filepath.Join(dir, "d-"+name)
		if len(name) <= 253 {
			if err := os.Mkdir(path, 0o755); err != nil {
				t.Fatalf("mkdir: %q: %v", name, err)
			}
		}
		// Not filepath.Join, which would clean "..." right but need not be trusted with the rest.
		if err := os.WriteFile(dir+"/"+name, []byte(name), 0o644); err != nil {
			t.Fatalf("write: %q: %v", name, err)
		}
		if err := os.Symlink(name, dir+"/link-"+fmt.Sprintf("%x", name)[:min(200, 2*len(name))]+fmt.Sprint(len(name))); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatalf("symlink to %q: %v", name, err)
		}
	}
	before := mounttest.Scan(t, dir)
	s.Remount(t)
	mounttest.Same(t, before, mounttest.Scan(t, dir), 0)

	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, e := range entries {
		if listed[e.Name()] {
			t.Errorf("%q is listed twice", e.Name())
		}
		listed[e.Name()] = true
	}
	for _, name := range names {
		if !listed[name] {
			t.Errorf("%q is not listed", name)
		}
		if data, err := os.ReadFile(dir + "/" + name); err != nil || string(data) != name {
			t.Errorf("%q holds %q, %v", name, data, err)
		}
		if err := os.Remove(dir + "/" + name); err != nil {
			t.Errorf("removing %q: %v", name, err)
		}
	}
}

func TestNamesTooLong(t *testing.T) {
	s := mounttest.New(t, mounttest.Options{})
	dir := s.Namespace(t, "names")
	long := dir + "/" + strings.Repeat("n", 256)
	for what, err := range map[string]error{
		"create":  os.WriteFile(long, nil, 0o644),
		"mkdir":   os.Mkdir(long, 0o755),
		"symlink": os.Symlink("x", long),
		"stat":    func() error { _, err := os.Lstat(long); return err }(),
		"rename":  os.Rename(dir, s.Mnt+"/"+strings.Repeat("n", 256)),
	} {
		if !errors.Is(err, unix.ENAMETOOLONG) {
			t.Errorf("%s of a name of 256 bytes: %v, want ENAMETOOLONG", what, err)
		}
	}
	if err := os.Symlink(strings.Repeat("t", 4095), dir+"/link"); err != nil {
		t.Errorf("a link to a target of 4095 bytes: %v", err)
	}
	s.Remount(t)
	if target, err := os.Readlink(dir + "/link"); err != nil || len(target) != 4095 {
		t.Errorf("after a remount the target has %d bytes, %v", len(target), err)
	}
}

// TestNamespaceNames makes namespaces, by mkdir, whose names are not the ordinary ones.
func TestNamespaceNames(t *testing.T) {
	s := mounttest.New(t, mounttest.Options{})
	names := []string{"plain", "with space", "ünïcode", "-o", "new\nline", "\xff\xfe", strings.Repeat("x", 255)}
	for _, name := range names {
		dir := s.Mnt + "/" + name
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Errorf("mkdir %q: %v", name, err)
			continue
		}
		if err := os.WriteFile(dir+"/key", []byte(name), 0o644); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	s.Remount(t)
	for _, name := range names {
		if data, err := os.ReadFile(s.Mnt + "/" + name + "/key"); err != nil || string(data) != name {
			t.Errorf("%q: %q, %v", name, data, err)
		}
		if err := os.RemoveAll(s.Mnt + "/" + name); err != nil {
			t.Errorf("removing %q: %v", name, err)
		}
	}
	if entries, err := os.ReadDir(s.Mnt); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}
