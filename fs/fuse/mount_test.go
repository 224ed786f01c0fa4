package fuse

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"salliefs/fs"
)

// mountLine is the mount's line in /proc/self/mountinfo.
func mountLine(t *testing.T, at string) string {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	for line := range strings.Lines(string(table)) {
		if got, _, _ := parseMountinfo(line); got == at {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// TestMountTable: type, source and flags are as the options say.
func TestMountTable(t *testing.T) {
	for _, c := range []struct {
		options      Options
		want, unwant []string
	}{
		{Options{}, []string{"rw,nosuid,nodev,relatime", " fuse.salliefs salliefs ", "default_permissions"},
			[]string{"allow_other", "noexec", "ro,"}},
		{Options{FSName: "/path/of the store", AllowOther: true}, []string{`/path/of\040the\040store`, "allow_other", "default_permissions"}, nil},
		{Options{ReadOnly: true, NoAtime: true}, []string{" ro,nosuid,nodev,noatime"}, nil},
		{Options{ACL: true}, []string{"default_permissions"}, nil},
		{Options{Extra: []string{"dev", "suid", "noexec"}}, []string{" rw,noexec,relatime"}, []string{"nodev", "nosuid"}},
		{Options{Extra: []string{"defaults", "noauto", "x-systemd.automount", "_netdev", "ro", "rw"}}, []string{" rw,nosuid,nodev"}, nil},
	} {
		t.Run(fmt.Sprintf("%+v", c.options), func(t *testing.T) {
			s := mountFor(t, newFakeFS(), c.options)
			line := mountLine(t, s.Mountpoint())
			for _, w := range c.want {
				if !strings.Contains(line, w) {
					t.Errorf("the mount table lacks %q: %s", w, line)
				}
			}
			for _, w := range c.unwant {
				if strings.Contains(line, w) {
					t.Errorf("the mount table has %q: %s", w, line)
				}
			}
			if source, ok := Mounted(s.Mountpoint()); !ok || c.options.FSName != "" && source != c.options.FSName {
				t.Errorf("Mounted: %q, %v", source, ok)
			}
		})
	}
}

func TestOptionErrors(t *testing.T) {
	for _, c := range []struct {
		word string
		root bool
		ok   bool
	}{
		{"dev", true, true}, {"dev", false, false}, {"suid", false, false}, {"nosuid", false, true},
		{"exec", false, true}, {"nonsense", true, false}, {"allow_other", true, false}, {"x-gvfs-hide", false, true},
		{"comment=a store", true, true}, {"", true, true}, {"nonempty", false, true},
	} {
		o := Options{Extra: []string{c.word}}
		_, err := o.parse(c.root)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrOption) {
			t.Errorf("%q, root %v: %v", c.word, c.root, err)
		}
	}
	o := Options{Extra: []string{"rw", "atime", "suid", "nosuid"}, ReadOnly: true, NoAtime: true}
	p, err := o.parse(true)
	if want := uintptr(unix.MS_RDONLY | unix.MS_NOATIME | unix.MS_NOSUID | unix.MS_NODEV); err != nil || p.flags != want {
		t.Errorf("flags %#x (%v), want %#x", p.flags, err, want)
	}
	if len(o.Extra) != 4 {
		t.Errorf("parse changed the caller's options: %q", o.Extra)
	}
	m := (&Options{ACL: true}).goFuse(parsed{words: []string{"noexec"}}, false, quiet)
	if m.DirectMountStrict || !slices.Contains(m.Options, "noexec") || !slices.Contains(m.Options, "default_permissions") {
		t.Errorf("an ordinary user's mount: %+v", m)
	}
	if m.ExtraCapabilities&gofuse.CAP_DONT_MASK == 0 || !m.EnableAcl {
		t.Error("ACLs without DONT_MASK")
	}
	for name, c := range map[string]uint64{"writeback cache": gofuse.CAP_WRITEBACK_CACHE,
		"killpriv": gofuse.CAP_HANDLE_KILLPRIV_V2, "parallel O_DIRECT": gofuse.CAP_ASYNC_DIO} {
		if m.ExtraCapabilities&c == 0 {
			t.Errorf("%s is not asked for", name)
		}
	}
	if !m.ExplicitDataCacheControl || !m.EnableSymlinkCaching || m.MaxWrite != 1<<20 || m.EnableLocks {
		t.Errorf("caches, size of requests, locks: %+v", m)
	}
}

func TestReadOnlyMount(t *testing.T) {
	f := newFakeFS()
	_, err := f.Mknod(fs.RootIno, "file", fs.ModeRegular|0o644, 0, fs.Cred{})
	must(t, err)
	s := mountFor(t, f, Options{ReadOnly: true})
	wantErr(t, "write", os.WriteFile(s.Mountpoint()+"/file", nil, 0o644), unix.EROFS)
	wantErr(t, "mkdir", os.Mkdir(s.Mountpoint()+"/dir", 0o755), unix.EROFS)
	wantErr(t, "chmod", unix.Chmod(s.Mountpoint()+"/file", 0o600), unix.EROFS)
	wantNames(t, s.Mountpoint(), "file")
}

// TestBadMountpoints: each gets its own error and changes nothing.
func TestBadMountpoints(t *testing.T) {
	needFUSE(t)
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/file", nil, 0o644))
	full := filepath.Join(dir, "full")
	must(t, os.MkdirAll(full+"/x", 0o755))
	s := mountFor(t, newFakeFS(), Options{})
	for path, want := range map[string]error{
		dir + "/absent": ErrNoMountpoint, dir + "/file": ErrNoMountpoint, dir + "/file/x": ErrNoMountpoint,
		full: ErrNotEmpty, s.Mountpoint(): ErrMounted,
	} {
		if _, err := mount(newFakeFS(), Options{Mountpoint: path}); !errors.Is(err, want) || !strings.Contains(err.Error(), path) {
			t.Errorf("mount at %s: %v, want %v", path, err, want)
		}
		if err := CheckMountpoint(path); !errors.Is(err, want) {
			t.Errorf("check of %s: %v, want %v", path, err, want)
		}
	}
	if err := CheckMountpoint(full, "nonempty"); err != nil {
		t.Errorf("nonempty: %v", err)
	}
	if err := CheckMountpoint(full, "nonsense"); !errors.Is(err, ErrOption) {
		t.Errorf("unknown option: %v", err)
	}
	for _, path := range []string{dir, "/", "/proc", dir + "/absent"} {
		if err := Unmount(path, false); !errors.Is(err, ErrNotMounted) {
			t.Errorf("unmount of %s, which is not ours: %v", path, err)
		}
	}
}

// TestTakeBack: what is removed after a failure is the mount of that store alone.
func TestTakeBack(t *testing.T) {
	s := mountFor(t, newFakeFS(), Options{FSName: "/store of another"})
	takeBack(s.Mountpoint(), "/store")
	if source, ok := Mounted(s.Mountpoint()); !ok || source != "/store of another" {
		t.Errorf("another's mount is gone: %q, %v", source, ok)
	}
	takeBack(s.Mountpoint(), "/store of another")
	if _, ok := Mounted(s.Mountpoint()); ok {
		t.Error("the mount that failed is still there")
	}
}

// TestMountpointSpellings: a symbolic link and a relative path lead to the mount, for
// mounting and for unmounting.
func TestMountpointSpellings(t *testing.T) {
	needFUSE(t)
	dir := mountDir(t)
	link := filepath.Join(t.TempDir(), "a b")
	must(t, os.Symlink(dir, link))
	s, err := mount(newFakeFS(), Options{Mountpoint: link})
	must(t, err)
	if s.Mountpoint() != dir {
		t.Errorf("mounted at %s, want %s", s.Mountpoint(), dir)
	}
	must(t, Unmount(link, false))
	s.Wait()

	t.Chdir(filepath.Dir(dir))
	s, err = mount(newFakeFS(), Options{Mountpoint: filepath.Base(dir)})
	must(t, err)
	must(t, Unmount("./"+filepath.Base(dir)+"/", false))
	s.Wait()
}

func TestMountsOfOneProcess(t *testing.T) {
	a := mountFor(t, newFakeFS(), Options{})
	b := mountFor(t, newFakeFS(), Options{})
	must(t, os.WriteFile(a.Mountpoint()+"/file", []byte("a"), 0o644))
	must(t, os.WriteFile(b.Mountpoint()+"/file", []byte("b"), 0o644))
	wantContent(t, a.Mountpoint()+"/file", "a")
	wantContent(t, b.Mountpoint()+"/file", "b")
}

// TestOthersStayOut: without allow_other nobody else gets in, not even to look.
func TestOthersStayOut(t *testing.T) {
	s := mountFor(t, newFakeFS(), Options{})
	must(t, unix.Chmod(s.Mountpoint(), 0o777))
	asUser(t, nobody, func() {
		var st unix.Stat_t
		wantErr(t, "stat by another user", unix.Stat(s.Mountpoint(), &st), unix.EACCES)
	})
	s = mountFor(t, newFakeFS(), Options{AllowOther: true})
	must(t, os.WriteFile(s.Mountpoint()+"/secret", []byte("x"), 0o600))
	asUser(t, nobody, func() {
		var st unix.Stat_t
		if err := unix.Stat(s.Mountpoint()+"/secret", &st); err != nil {
			t.Errorf("allow_other: %v", err)
		}
		_, err := unix.Open(s.Mountpoint()+"/secret", unix.O_RDONLY, 0)
		wantErr(t, "a file of mode 600", err, unix.EACCES)
		wantErr(t, "a directory of mode 755", unix.Mkdir(s.Mountpoint()+"/dir", 0o755), unix.EACCES)
	})
}

// TestOrdinaryUser mounts by fusermount3, uses the mount, and unmounts.
func TestOrdinaryUser(t *testing.T) {
	needFUSE(t)
	if os.Geteuid() != 0 {
		t.Skipf("%s skipped: it takes root to become another user", t.Name())
	}
	bin, err := exec.LookPath("fusermount3")
	if err != nil {
		t.Skipf("%s skipped: fusermount3 is not installed", t.Name())
	}
	if fi, err := os.Stat(bin); err != nil || fi.Mode()&os.ModeSetuid == 0 {
		t.Skipf("%s skipped: %s is not set-user-ID root", t.Name(), bin)
	}
	// Some machines give the device to root alone.
	var dev unix.Stat_t
	must(t, unix.Stat(fuseDevice, &dev))
	must(t, unix.Chmod(fuseDevice, 0o666))
	defer unix.Chmod(fuseDevice, dev.Mode&0o777)
	dir := mountDir(t)
	must(t, os.Chown(dir, nobody, nobody))
	p := startServer(t, dir, nobody)
	line := mountLine(t, dir)
	for _, w := range []string{"rw,nosuid,nodev", " fuse.salliefs helper ", fmt.Sprintf("user_id=%d", nobody), "default_permissions"} {
		if !strings.Contains(line, w) {
			t.Errorf("the mount table lacks %q: %s", w, line)
		}
	}
	asUser(t, nobody, func() {
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil {
			t.Errorf("stat by the mount's owner: %v", err)
		}
	})
	var st unix.Stat_t
	wantErr(t, "stat by root", unix.Stat(dir, &st), unix.EACCES)
	must(t, p.stdin.Close())
	p.want(t, "ended")
	must(t, p.cmd.Wait())
	if line := mountLine(t, dir); line != "" {
		t.Errorf("still in the mount table: %s", line)
	}
}

func TestReadAhead(t *testing.T) {
	s := mountFor(t, newFakeFS(), Options{})
	dev := s.writeback.dev
	got, err := os.ReadFile(fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", unix.Major(dev), unix.Minor(dev)))
	if os.Geteuid() != 0 || err != nil {
		t.Skipf("%s skipped: it takes root and sysfs (%v)", t.Name(), err)
	}
	if strings.TrimSpace(string(got)) != "1024" {
		t.Errorf("read-ahead is %s KiB, want 1024", got)
	}
}

func TestParseMountinfo(t *testing.T) {
	for line, want := range map[string][3]string{
		`36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`:             {"/mnt2", "ext3", "/dev/root"},
		`51 25 0:47 / /tmp/a\040b\134c rw,nosuid shared:3 - fuse.salliefs /my\040store rw,user_id=0`: {`/tmp/a b\c`, "fuse.salliefs", "/my store"},
		`51 25 0:47 / /x rw - fuse.salliefs  rw`:                                                     {"/x", "fuse.salliefs", "rw"},
		``:                                                                                           {},
		`nonsense - x`:                                                                               {},
	} {
		at, kind, source := parseMountinfo(line)
		if got := [3]string{at, kind, source}; got != want {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
}
