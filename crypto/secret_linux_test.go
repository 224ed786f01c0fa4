package crypto

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
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
	for range 100 {
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
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		t.Fatal(err)
	}
	none := unix.Rlimit{Cur: 0, Max: limit.Max}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &none); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_MEMLOCK, &limit)
	type result struct {
		m   *Master
		err error
	}
	results := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread, which has lost a capability, ends with the goroutine
		m, err := NewMaster(nil)
		if dropIPCLock() == nil {
			m.Wipe()
			m, err = NewMaster(nil)
		}
		results <- result{m, err}
	}()
	r := <-results
	if r.err != nil {
		t.Fatal(r.err)
	}
	defer r.m.Wipe()
	if r.m.Locked() {
		t.Error("says that it is locked into memory")
	}
	if len(RecoveryKey(StandardContext, r.m)) != 79 {
		t.Error("does not work")
	}
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
