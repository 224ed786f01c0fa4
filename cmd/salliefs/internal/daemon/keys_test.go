package daemon

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore/storetest"
	"salliefs/crypto"
	"salliefs/crypto/cryptotest"
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
		before := cryptotest.SecretMemory(t)
		if before == 0 {
			t.Fatal("the test's own key is not seen")
		}
		if opened, _ := failingStart(t, dir, []byte(secret)); opened != opens {
			t.Fatalf("the store was opened: %v", opened)
		}
		if after := cryptotest.SecretMemory(t); after > before { // less: of another test, freed late
			t.Errorf("opened %v: %d KiB of memory for keys, before %d KiB", opens, after, before)
		}
	}
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
	cryptotest.WithoutLocking(t, func() {
		if _, logged := failingStart(t, dir, []byte(secret)); strings.Count(logged, warning) != 1 {
			t.Errorf("logged:\n%s", logged)
		}
	})
}
