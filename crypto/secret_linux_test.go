package crypto

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"salliefs/crypto/cryptotest"
)

func TestSecretMemoryIsProtected(t *testing.T) {
	s, err := newSecretMemory(KeySize)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.bytes) != KeySize || cap(s.bytes) != KeySize {
		t.Errorf("%d bytes with room for %d", len(s.bytes), cap(s.bytes))
	}
	address := uintptr(unsafe.Pointer(&s.bytes[0]))
	flags := vmFlags(t, address)
	if !strings.Contains(flags, " dd") {
		t.Errorf("not left out of core dumps: %q", flags)
	}
	if got := strings.Contains(flags, " lo"); got != s.locked {
		t.Errorf("locked is %v, but the system has %q", s.locked, flags)
	}
	s.release()
	if s.bytes != nil || vmFlags(t, address) != "" {
		t.Error("still there after its release")
	}
}

// A master that nobody wiped goes when nobody can reach it any more.
func TestForgottenSecretMemory(t *testing.T) {
	address := func() uintptr {
		s, err := newSecretMemory(KeySize)
		if err != nil {
			t.Fatal(err)
		}
		return uintptr(unsafe.Pointer(&s.bytes[0]))
	}()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		runtime.GC()
		if !strings.Contains(vmFlags(t, address), " dd") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("still there")
}

// Where no memory may be locked, masters work all the same and say so.
func TestSecretMemoryWithoutLocking(t *testing.T) {
	cryptotest.WithoutLocking(t, func() {
		m, err := NewMaster(nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer m.Wipe()
		if m.Locked() {
			t.Error("says that it is locked into memory")
		}
		if len(RecoveryKey(StandardContext, m)) != 79 {
			t.Error("does not work")
		}
	})
}

// A master that a keyring does not let through, although its slot opened, is wiped.
func TestRefusedMasterIsWiped(t *testing.T) {
	k, standard, _ := testKeyring(t)
	k = reopened(t, k)
	k.mac[0] ^= 1
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which would also free what was forgotten
	before := cryptotest.SecretMemory(t)
	for _, secret := range []string{"open sesame", RecoveryKey(StandardContext, standard)} {
		if m, err := k.Unlock(StandardContext, []byte(secret)); !errors.Is(err, ErrKeyringDamaged) || m != nil {
			t.Errorf("unlocked a damaged keyring: %v", err)
		}
		if after := cryptotest.SecretMemory(t); after > before || before == 0 {
			t.Errorf("%d KiB of memory for keys, before %d KiB", after, before)
		}
	}
}

func TestProtectProcess(t *testing.T) {
	defer unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	if err := ProtectProcess(); err != nil {
		t.Fatal(err)
	}
	if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || dumpable != 0 {
		t.Errorf("dumpable is %d, %v", dumpable, err)
	}
}

// vmFlags returns what the system says about the mapping that begins at address, "" if there is none.
func vmFlags(t *testing.T, address uintptr) string {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	within := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		var start, end uintptr
		if n, _ := fmt.Sscanf(line, "%x-%x ", &start, &end); n == 2 {
			within = start <= address && address < end
		}
		if flags, ok := strings.CutPrefix(line, "VmFlags:"); ok && within {
			return flags
		}
	}
	return ""
}
