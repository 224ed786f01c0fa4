package blockstore_test

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore"
	"salliefs/blockstore/record/disktest"
	"salliefs/blockstore/storetest"
	"salliefs/crypto"
)

// otherProcess is the environment variable that makes a test binary open a store in a process of its own.
const otherProcess = "SALLIEFS_TEST_OPEN"

func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", strconv.Itoa(share(80))); err != nil { // the command line overrides it
		panic(err)
	}
	if dir := os.Getenv(otherProcess); dir != "" {
		master, err := crypto.NewMaster(nil)
		if err == nil {
			_, err = blockstore.Open(dir, master, blockstore.Options{Holder: blockstore.Holder{Mount: "/other"}})
		}
		fmt.Println(err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// openElsewhere says what another process gets that opens a store with a key of its own.
func openElsewhere(t *testing.T, dir string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), otherProcess+"="+dir)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestLock: a store is opened once, in one process or two, by whatever path; and asking who has it does not let go of it.
func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	link := filepath.Join(t.TempDir(), "link")
	st := storetest.Create(t, vfs.Default, dir)
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Dir(dir))
	if info, err := blockstore.Inspect(vfs.Default, dir); err != nil || info.Holder != nil {
		t.Fatalf("Inspect of a free store: %+v, %v", info.Holder, err)
	}
	s := st.Open(t, blockstore.Options{Holder: blockstore.Holder{Mount: "/mnt/x", Socket: "/run/x"}})
	paths := []string{dir, link, "store", dir + "/../store"}
	for range share(2) {
		for _, path := range paths {
			again := storetest.Store{FS: vfs.Default, Dir: path, Master: st.Master}
			_, err := again.TryOpen(blockstore.Options{})
			var in *blockstore.InUseError
			if !errors.Is(err, blockstore.ErrInUse) || !errors.As(err, &in) || in.Holder.PID != os.Getpid() || in.Holder.Mount != "/mnt/x" {
				t.Errorf("%s: %v", path, err)
			}
			info, err := blockstore.Inspect(vfs.Default, path)
			if err != nil || info.Holder == nil || info.Holder.Socket != "/run/x" {
				t.Errorf("Inspect of %s: %+v, %v", path, info.Holder, err)
			}
			if got := openElsewhere(t, path); !strings.Contains(got, "is in use by process") || !strings.Contains(got, "/mnt/x") {
				t.Errorf("another process opens %s: %s", path, got)
			}
		}
	}
	mustClose(t, s)
	if got := openElsewhere(t, dir); !strings.Contains(got, blockstore.ErrWrongKey.Error()) {
		t.Errorf("another process opens the closed store: %s", got)
	}
	if info, err := blockstore.Inspect(vfs.Default, dir); err != nil || info.Holder != nil {
		t.Errorf("Inspect of the closed store: %+v, %v", info.Holder, err)
	}
	// What a crash leaves is not taken for a holder.
	if err := os.WriteFile(filepath.Join(dir, "holder"), []byte(`{"pid": 1, "host": "h"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if info, err := blockstore.Inspect(vfs.Default, dir); err != nil || info.Holder != nil {
		t.Errorf("Inspect after a crash: %+v, %v", info.Holder, err)
	}
	mustClose(t, st.Open(t, blockstore.Options{}))
}

// TestHolderOfOddBytes: the holder file keeps any path, and an error shows it on one line.
func TestHolderOfOddBytes(t *testing.T) {
	for mount, shown := range map[blockstore.PathName]string{
		"/mnt/ünïcode":              "/mnt/ünïcode",
		"/mnt/\xff\xfe":             `"/mnt/\xff\xfe"`,
		"/mnt/a\nb\x1b[31m\"":       `"/mnt/a\nb\x1b[31m\""`,
		`/mnt/{"base64":"Yf8="}`:    `/mnt/{"base64":"Yf8="}`,
		"/mnt/\u2028\ufffd\x00\x7f": `"/mnt/\u2028�\x00\x7f"`,
	} {
		st := storetest.New(t)
		h := blockstore.Holder{Mount: mount, Socket: "/run" + mount}
		s := st.Open(t, blockstore.Options{Holder: h})
		if info, err := blockstore.Inspect(st.FS, st.Dir); err != nil || info.Holder == nil || info.Holder.Mount != h.Mount || info.Holder.Socket != h.Socket {
			t.Errorf("%q: %+v, %v", mount, info.Holder, err)
		}
		if _, err := st.TryOpen(blockstore.Options{}); err == nil || !strings.HasSuffix(err.Error(), ", mounted at "+shown) {
			t.Errorf("%q: %v", mount, err)
		}
		mustClose(t, s)
	}
	if err := (&blockstore.InUseError{Dir: "/a\nb\xff"}).Error(); err != `"/a\nb\xff" is in use` {
		t.Error(err)
	}
}

// TestPrivate: a store is its owner's alone, also one in a directory that was there.
func TestPrivate(t *testing.T) {
	for _, existing := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "store")
		if existing {
			if err := errors.Join(os.Mkdir(dir, 0o755), os.Chmod(dir, 0o755)); err != nil {
				t.Fatal(err)
			}
		}
		s := storetest.Create(t, vfs.Default, dir).Open(t, blockstore.Options{})
		for name, want := range map[string]os.FileMode{".": 0o700, "keyring": 0o600, "salliefs.store": 0o600, "holder": 0o600} {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if got := info.Mode().Perm(); got != want {
				t.Errorf("existing %v: mode of %s is %v, want %v", existing, name, got, want)
			}
		}
		mustClose(t, s)
	}
}

// TestLockBesideInspect: to ask who holds a store takes the lock for a moment, when a crash has left a holder file. Who opens
// the store just then gets it.
func TestLockBesideInspect(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	st := storetest.Create(t, vfs.Default, dir)
	dead := exec.Command(os.Args[0], "-test.run=^$")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	holder := fmt.Sprintf(`{"host": %q, "pid": %d}`, host, dead.Process.Pid)
	if err := os.WriteFile(filepath.Join(dir, "holder"), []byte(holder), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		asking, err := vfs.Default.Lock(filepath.Join(dir, "lock"))
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(20*time.Millisecond, func() {
			if err := asking.Close(); err != nil {
				t.Error(err)
			}
		})
		mustClose(t, st.Open(t, blockstore.Options{}))
	})
}

// TestOpenRefuses gives directories that are no store, or one that this version can not open.
func TestOpenRefuses(t *testing.T) {
	overwrite := func(d *disktest.Disk, name string, change func(b []byte)) error {
		b, err := d.Bytes(d.PathJoin(storetest.Dir, name))
		if err == nil {
			change(b)
		}
		return err
	}
	for name, c := range map[string]struct {
		change func(d *disktest.Disk) error
		want   error
	}{
		"no directory":   {func(d *disktest.Disk) error { return d.RemoveAll(storetest.Dir) }, blockstore.ErrNotStore},
		"no header":      {func(d *disktest.Disk) error { return d.Remove("/store/salliefs.store") }, blockstore.ErrIncomplete},
		"another file":   {func(d *disktest.Disk) error { return overwrite(d, "salliefs.store", func(b []byte) { b[0] = 'X' }) }, blockstore.ErrNotStore},
		"newer format":   {func(d *disktest.Disk) error { return overwrite(d, "salliefs.store", func(b []byte) { b[16] = 2 }) }, blockstore.ErrNewerFormat},
		"damaged header": {func(d *disktest.Disk) error { return overwrite(d, "salliefs.store", func(b []byte) { b[41] ^= 1 }) }, blockstore.ErrCorrupt},
		"no records":     {func(d *disktest.Disk) error { return d.RemoveAll("/store/records") }, blockstore.ErrCorrupt},
		"no segments":    {func(d *disktest.Disk) error { return d.RemoveAll("/store/segments") }, blockstore.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			disk := disktest.New()
			st := storetest.Create(t, disk, storetest.Dir)
			if err := c.change(disk); err != nil {
				t.Fatal(err)
			}
			before := disk.Count(disktest.Write)
			for _, ro := range []bool{true, false} {
				_, err := st.TryOpen(blockstore.Options{ReadOnly: ro})
				if !errors.Is(err, c.want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("read-only %v: %v, want %v", ro, err, c.want)
				}
			}
			if c.want != blockstore.ErrCorrupt && disk.Count(disktest.Write) != before {
				t.Error("something was written")
			}
			if name != "no records" && name != "no segments" {
				if _, err := blockstore.Inspect(disk, storetest.Dir); !errors.Is(err, c.want) {
					t.Errorf("Inspect: %v, want %v", err, c.want)
				}
			}
		})
	}
	t.Run("wrong key", func(t *testing.T) {
		st := storetest.New(t)
		other, err := crypto.NewMaster(nil)
		if err != nil {
			t.Fatal(err)
		}
		st.Master = other
		if _, err := st.TryOpen(blockstore.Options{}); !errors.Is(err, blockstore.ErrWrongKey) {
			t.Errorf("Open: %v", err)
		}
	})
	t.Run("no keyring", func(t *testing.T) {
		st := storetest.New(t)
		if err := st.FS.Remove("/store/keyring"); err != nil {
			t.Fatal(err)
		}
		if _, err := blockstore.ReadKeyring(st.FS, st.Dir); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), st.Dir) {
			t.Errorf("ReadKeyring: %v", err)
		}
		mustClose(t, st.Open(t, blockstore.Options{})) // the key itself is enough
	})
	t.Run("keyring too large", func(t *testing.T) {
		st := storetest.New(t)
		f, err := st.FS.Create("/store/keyring", vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(make([]byte, 2<<20)); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := blockstore.ReadKeyring(st.FS, st.Dir); !errors.Is(err, blockstore.ErrCorrupt) {
			t.Errorf("ReadKeyring: %v", err)
		}
	})
}

// TestFailedOpenWipes: after an open that failed, wherever it did, and after Close, no key works any more.
func TestFailedOpenWipes(t *testing.T) {
	disk := disktest.New()
	st := storetest.Create(t, disk, storetest.Dir)
	s := st.Open(t, manual())
	for _, name := range []string{"stays", "goes"} {
		if _, err := s.CreateNamespace(name, blockstore.NamespaceSettings{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Snapshot("sees both"); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveNamespace("goes", nil); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	o := manual()
	o.Log = slog.New(slog.DiscardHandler)
	seen := make(map[int]int) // how often an open failed with as many keys
	wiped := func(s *blockstore.Store, what string) {
		t.Helper()
		for _, key := range s.Sealers() {
			if _, err := key.Open(nil, make([]byte, crypto.Overhead), nil); !errors.Is(err, crypto.ErrWiped) {
				t.Fatalf("%s: a key is not wiped: %v", what, err)
			}
		}
	}
	for n := int32(0); ; n++ { // 0: what comes when all keys are known
		var ops atomic.Int32
		disk := disk.Crash(nil, 0) // each time the same: an open that succeeds goes on to remove things
		disk.SetHook(func(op disktest.Op) error {
			if ops.Add(1) == n || n == 0 && op.Kind == disktest.List && strings.HasSuffix(op.Path, "segments") {
				return syscall.EIO
			}
			return nil
		})
		o.FS = disk
		s, err := blockstore.OpenAnyway(st.Dir, st.Master, o)
		disk.SetHook(nil)
		if err != nil && s != nil {
			seen[len(s.Sealers())]++
			wiped(s, fmt.Sprintf("operation %d failed", n))
		}
		if err == nil {
			mustClose(t, s)
			wiped(s, "Close")
			if ops.Load() < n {
				break
			}
		}
	}
	if seen[1] == 0 || len(seen) == 1 {
		t.Errorf("of opens that failed, by the number of keys that they had: %v; want some with 1 and with more", seen)
	}
}

// TestInterruptedInit cuts the power at each change of the disk that Create makes. What is left is a store, nothing, or an
// unfinished init that both Open and Create name as such.
func TestInterruptedInit(t *testing.T) {
	master, err := crypto.NewMaster(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer master.Wipe()
	kr := crypto.NewKeyring(crypto.StoreID{1})
	if err := errors.Join(kr.AddContext(blockstore.StandardContext, master), kr.AddRecovery(blockstore.StandardContext, master)); err != nil {
		t.Fatal(err)
	}
	const dir = "/a/b/store" // whose parents are made too
	disk := disktest.New()
	var cuts []*disktest.Disk
	disk.SetHook(func(op disktest.Op) error {
		if op.Kind.Changes() {
			for i, percent := range []int{0, 100, 50, 50, 50, 50, 50, 50} {
				cuts = append(cuts, disk.Crash(rand.New(rand.NewPCG(uint64(len(cuts)), uint64(i))), percent))
			}
		}
		return nil
	})
	create := func(d *disktest.Disk) error {
		return blockstore.Create(dir, kr, master, blockstore.CreateOptions{FS: d})
	}
	if err := create(disk); err != nil {
		t.Fatal(err)
	}
	disk.SetHook(nil)
	finished := storetest.Store{FS: disk.Crash(rand.New(rand.NewPCG(1, 1)), 0), Dir: dir, Master: master}
	if s, err := finished.TryOpen(blockstore.Options{}.Small()); err != nil {
		t.Errorf("the finished store does not survive: %v", err)
	} else {
		mustClose(t, s)
	}
	found := make(map[string]int)
	for i, d := range cuts {
		st := storetest.Store{FS: d, Dir: dir, Master: master}
		s, err := st.TryOpen(blockstore.Options{}.Small())
		switch {
		case err == nil:
			found["a store"]++
			mustCheck(t, s)
			mustClose(t, s)
			if err := create(d); !errors.Is(err, blockstore.ErrExists) {
				t.Errorf("cut %d: Create over a store: %v", i, err)
			}
		case errors.Is(err, blockstore.ErrNotStore):
			found["nothing"]++
			if err := create(d); err != nil {
				t.Errorf("cut %d: Create where nothing is left: %v", i, err)
			}
		case errors.Is(err, blockstore.ErrIncomplete):
			found["an unfinished init"]++
			if err := create(d); !errors.Is(err, blockstore.ErrIncomplete) {
				t.Errorf("cut %d: Create over an unfinished init: %v", i, err)
			}
		default:
			t.Errorf("cut %d: %v", i, err)
		}
	}
	t.Logf("%d cuts left %v", len(cuts), found)
	if len(found) != 3 {
		t.Error("not all outcomes were seen")
	}
}

// TestInitsSideBySide begins an init while another is under way.
func TestInitsSideBySide(t *testing.T) {
	st := storetest.Create(t, disktest.New(), storetest.Dir) // for its keys
	encoded, err := blockstore.ReadKeyring(st.FS, st.Dir)
	if err != nil {
		t.Fatal(err)
	}
	kr, err := crypto.DecodeKeyring(encoded)
	if err != nil {
		t.Fatal(err)
	}
	create := func(d *disktest.Disk, dir string) error {
		return blockstore.Create(dir, kr, st.Master, blockstore.CreateOptions{FS: d})
	}
	opens := func(d *disktest.Disk, dir string) {
		t.Helper()
		s, err := (&storetest.Store{FS: d, Dir: dir, Master: st.Master}).TryOpen(manual())
		if err != nil {
			t.Fatalf("the store that was finished: %v", err)
		}
		mustClose(t, s)
	}
	// during has fn run once, when the first init has written its keyring; what it returns is the disk's error there.
	during := func(d *disktest.Disk, dir string, fn func() error) {
		done := false
		d.SetHook(func(op disktest.Op) error {
			if done || op.Kind != disktest.Mkdir || op.Path != dir+"/records" {
				return nil
			}
			done = true
			return fn()
		})
	}
	t.Run("same directory", func(t *testing.T) {
		d := disktest.New()
		during(d, "/srv/a", func() error {
			if err := blockstore.CheckNew(d, "/srv/a"); !errors.Is(err, blockstore.ErrInUse) {
				t.Errorf("CheckNew: %v", err)
			}
			if err := create(d, "/srv/a"); !errors.Is(err, blockstore.ErrInUse) {
				t.Errorf("the second init: %v", err)
			}
			return nil
		})
		if err := create(d, "/srv/a"); err != nil {
			t.Fatalf("the first init: %v", err)
		}
		opens(d, "/srv/a")
	})
	t.Run("same parent", func(t *testing.T) {
		d := disktest.New()
		during(d, "/srv/b", func() error { return errors.Join(create(d, "/srv/a"), syscall.EIO) })
		if err := create(d, "/srv/b"); !errors.Is(err, syscall.EIO) {
			t.Fatalf("the init that fails: %v", err)
		}
		opens(d, "/srv/a")
		if names, err := d.List("/srv"); err != nil || len(names) != 1 {
			t.Errorf("left: %v, %v", names, err)
		}
	})
	t.Run("nothing is left", func(t *testing.T) {
		d := disktest.New()
		if err := d.MkdirAll("/empty", 0o700); err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{"/srv/deep/a", "/empty"} {
			during(d, dir, func() error { return syscall.EIO })
			if err := create(d, dir); !errors.Is(err, syscall.EIO) {
				t.Fatalf("the init that fails: %v", err)
			}
		}
		if _, err := d.Stat("/srv"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the parents: %v", err)
		}
		if names, err := d.List("/empty"); err != nil || len(names) != 0 {
			t.Errorf("left: %v, %v", names, err)
		}
	})
}

// TestReadOnlyDisk opens a store that a crash left on a disk that takes no changes.
func TestReadOnlyDisk(t *testing.T) {
	disk := disktest.New()
	st := storetest.Create(t, disk, storetest.Dir)
	s := st.Open(t, manual())
	id := putNoise(t, s, 1, 100_000)
	put(t, s, key(1, 1), "x")
	mustSync(t, s)
	putNoise(t, s, 2, 100_000) // lost
	crashed := disk.Crash(rand.New(rand.NewPCG(1, 1)), 50)
	mustClose(t, s)
	crashed.SetReadOnly(true)
	st.FS = crashed
	if _, err := st.TryOpen(manual()); !errors.Is(err, blockstore.ErrReadOnly) {
		t.Fatalf("opening for writing: %v", err)
	}
	o := manual()
	o.ReadOnly = true
	s = st.Open(t, o)
	want(t, s, blockstore.Live, key(1, 1), "x")
	wantNoise(t, s, id, 1, 100_000)
	mustCheck(t, s)
	for what, err := range map[string]error{
		"Update":       s.Update(func(*blockstore.Tx) error { return nil }),
		"Throttle":     s.Throttle(),
		"ThrottleMeta": s.ThrottleMeta(),
		"SetNamespace": s.SetNamespace("", blockstore.NamespaceSettings{}),
		"Snapshot":     func() error { _, err := s.Snapshot("s"); return err }(),
	} {
		if !errors.Is(err, blockstore.ErrReadOnly) {
			t.Errorf("%s: %v", what, err)
		}
	}
	mustSync(t, s)
	mustClose(t, s)
}

// TestNoAccess opens a store for reading in a directory that may not be written. Root, who may write everywhere, becomes
// somebody else for it.
func TestNoAccess(t *testing.T) {
	if os.Getuid() == 0 {
		runAsNobody(t)
		return
	}
	dir := filepath.Join(t.TempDir(), "store")
	st := storetest.Create(t, vfs.Default, dir)
	defer os.Chmod(dir, 0o700)
	for _, path := range []string{dir, filepath.Join(dir, "lock")} { // first it can still be locked
		if err := os.Chmod(path, 0o500); err != nil {
			t.Fatal(err)
		}
		if _, err := st.TryOpen(blockstore.Options{}); !errors.Is(err, os.ErrPermission) {
			t.Errorf("%s is not writable; opening for writing: %v", path, err)
		}
		mustClose(t, st.Open(t, blockstore.Options{ReadOnly: true}))
	}
}

// runAsNobody runs the test that calls it in a process of another user, with a directory for its files.
func runAsNobody(t *testing.T) {
	t.Helper()
	const uid = 65534
	dir, err := os.MkdirTemp("", "salliefs-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chown(dir, uid, uid); errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EPERM) {
		t.Skipf("%s as another user than root: there is none: %v", t.Name(), err)
	} else if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run=^"+t.Name()+"$") // whose directory may be closed to others
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EACCES) {
		t.Skipf("%s as another user than root: root may not become one, or it can not enter %s: %v", t.Name(), dir, err)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("as another user: %v\n%s", err, out)
	}
}
