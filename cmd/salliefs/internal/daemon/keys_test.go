package daemon

import (
	"bufio"
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"

	"salliefs/blockstore/storetest"
	"salliefs/crypto"
)

// failingStart starts a daemon where nothing can be mounted. It tells whether the store was opened, and what was logged.
func failingStart(t *testing.T, dir string, secret []byte) (opened bool, log string) {
	t.Helper()
	var logged bytes.Buffer
	d := &daemon{
		c:   &Config{Store: dir, Passphrase: secret, Mountpoint: filepath.Join(dir, "missing")},
		log: slog.New(slog.NewTextHandler(&logged, nil)),
	}
	if err := d.open(t.Context()); err == nil {
		t.Error("mounted where nothing is")
	}
	return d.opened != nil, logged.String()
}

func testStore(t *testing.T) (dir, secret string) {
	t.Helper()
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	st := storetest.Create(t, vfs.Default, filepath.Join(t.TempDir(), "store"))
	return st.Dir, crypto.RecoveryKey(crypto.StandardContext, st.Master)
}

// TestFailedStartWipesMaster: a start that fails after the key was unlocked leaves no key, whether the store opens or not.
func TestFailedStartWipesMaster(t *testing.T) {
	dir, secret := testStore(t)
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which would also free what was forgotten
	for _, opens := range []bool{true, false} {
		if !opens {
			if err := os.RemoveAll(filepath.Join(dir, "records")); err != nil {
				t.Fatal(err)
			}
		}
		before := secretMemory(t)
		if before == 0 {
			t.Fatal("the test's own key is not seen")
		}
		if opened, _ := failingStart(t, dir, []byte(secret)); opened != opens {
			t.Fatalf("the store was opened: %v", opened)
		}
		if after := secretMemory(t); after != before {
			t.Errorf("opened %v: %d kB of memory for keys, before %d kB", opens, after, before)
		}
	}
}

// secretMemory is how much memory is kept out of core dumps as the keys' memory is, in kB.
func secretMemory(t *testing.T) (sum int) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		_, _ = fmt.Sscanf(lines.Text(), "Size: %d kB", &size)
		if flags, ok := strings.CutPrefix(lines.Text(), "VmFlags:"); ok && strings.Contains(flags, " wr") && strings.Contains(flags, " dd") {
			sum += size
		}
	}
	return sum
}

// TestUnlockedMemoryIsLogged: who runs the daemon hears that the key may be swapped out, and only then.
func TestUnlockedMemoryIsLogged(t *testing.T) {
	const warning = "may be swapped out"
	dir, secret := testStore(t)
	m, err := crypto.NewMaster(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Wipe()
	if _, logged := failingStart(t, dir, []byte(secret)); strings.Contains(logged, warning) == m.Locked() {
		t.Errorf("memory can be locked: %v; logged:\n%s", m.Locked(), logged)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_MEMLOCK, &limit)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread, which has lost a capability, ends with the goroutine
		if err := dropIPCLock(); err != nil {
			t.Errorf("giving up the right to lock memory beyond the limit: %v", err)
			return
		}
		if _, logged := failingStart(t, dir, []byte(secret)); strings.Count(logged, warning) != 1 {
			t.Errorf("logged:\n%s", logged)
		}
	}()
	<-done
}

// dropIPCLock takes the capability to lock memory beyond the limit from the current thread.
func dropIPCLock() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	data[0].Effective &^= 1 << unix.CAP_IPC_LOCK
	return unix.Capset(&header, &data[0])
}
