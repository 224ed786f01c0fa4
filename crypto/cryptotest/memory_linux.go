package cryptotest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// SecretMemory is how much memory of this process is left out of core dumps, as that of master keys is, in KiB. A master that
// was forgotten counts until the garbage collector finds it.
func SecretMemory(tb testing.TB) (sum int) {
	tb.Helper()
	b, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		tb.Fatal(err)
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

// WithoutLocking calls fn on a thread that may not lock memory into RAM.
func WithoutLocking(tb testing.TB, fn func()) {
	tb.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		tb.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Max: limit.Max}); err != nil {
		tb.Fatal(err)
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread, which has lost a capability, ends with the goroutine
		err := dropIPCLock()
		if err == nil {
			fn()
		}
		done <- err
	}()
	err := <-done
	if err := errors.Join(err, unix.Setrlimit(unix.RLIMIT_MEMLOCK, &limit)); err != nil {
		tb.Fatal(err)
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
