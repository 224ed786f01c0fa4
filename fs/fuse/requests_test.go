package fuse

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"salliefs/fs"
)

// The bars for a small file, all requests counted but FORGET: what doc.go accounts for, and
// a little for the directory.
const (
	maxUntarRequests = 10.5
	maxCallRequests  = 8.5
)

// TestUntarRequests counts what the kernel asks per file for the calls that tar makes,
// and for tar itself.
func TestUntarRequests(t *testing.T) {
	const files = 200
	for name, c := range map[string]struct {
		most  float64
		untar func(t *testing.T, dir string)
	}{
		"calls": {maxCallRequests, func(t *testing.T, dir string) {
			for i := range files {
				h, err := os.OpenFile(fmt.Sprintf("%s/%d", dir, i), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
				must(t, err)
				_, err = h.WriteString("small file")
				must(t, err)
				must(t, h.Chmod(0o644))
				must(t, unix.Futimes(int(h.Fd()), []unix.Timeval{{Sec: 1}, {Sec: 2}}))
				must(t, h.Close())
			}
		}},
		"tar": {maxUntarRequests, func(t *testing.T, dir string) {
			src := t.TempDir()
			for i := range files {
				must(t, os.WriteFile(fmt.Sprintf("%s/%d", src, i), []byte("small file"), 0o644))
			}
			must(t, exec.Command("tar", "-cf", src+".tar", "-C", src, ".").Run())
			defer os.Remove(src + ".tar")
			if out, err := exec.Command("tar", "-xf", src+".tar", "-C", dir).CombinedOutput(); err != nil {
				t.Fatalf("tar: %s", out)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, Options{}, func(t *testing.T, m *mounted) {
				m.ResetRequests()
				c.untar(t, m.dir)
				count, total := m.Requests(), uint64(0)
				for kind, n := range count {
					if kind != "FORGET" && kind != "BATCH_FORGET" { // they come when the kernel needs memory
						total += n
					}
				}
				perFile := float64(total) / files
				t.Logf("%.2f requests per file: %v", perFile, count)
				if perFile > c.most {
					t.Errorf("%.2f requests per file, want at most %v", perFile, c.most)
				}
			})
		})
	}
}

func TestRequestCounters(t *testing.T) {
	var r requests
	r.count(1)
	r.count(1)
	r.count(50)
	r.count(10_000) // of a kernel to come
	got := r.snapshot()
	if len(got) != 2 || got["LOOKUP"] != 2 || got["OPCODE-50"] != 1 {
		t.Errorf("counted %v", got)
	}
	r.reset()
	if got := r.snapshot(); len(got) > 0 {
		t.Errorf("after the reset: %v", got)
	}
}

// TestInterrupt: signals do not turn into EINTR for programs that do not expect it, and
// a slow request does not hold up others.
func TestInterrupt(t *testing.T) {
	f := newFakeFS()
	s := mountFor(t, f, Options{})
	path := s.Mountpoint() + "/slow"
	must(t, os.WriteFile(path, []byte("slow data"), 0o644))
	ino := fs.Ino(stat(t, path).Ino)
	s.bridge.drop(ino, 0, 0)
	release, reading := make(chan struct{}), make(chan struct{})
	var once sync.Once
	f.setHook(func(op string, i fs.Ino) error {
		if op == "read" && i == ino {
			once.Do(func() { close(reading) })
			<-release
		}
		return nil
	})

	read := exec.Command("cat", path)
	out, err := read.StdoutPipe()
	must(t, err)
	must(t, read.Start())
	<-reading
	for range 5 {
		must(t, read.Process.Signal(unix.SIGSTOP))
		time.Sleep(5 * time.Millisecond)
		must(t, read.Process.Signal(unix.SIGCONT))
		time.Sleep(5 * time.Millisecond)
	}
	killed := exec.Command("cat", path)
	must(t, killed.Start())
	must(t, os.WriteFile(s.Mountpoint()+"/other", []byte("x"), 0o644)) // others go on
	must(t, killed.Process.Kill())
	close(release)
	data, err := io.ReadAll(out)
	if err != nil || string(data) != "slow data" {
		t.Errorf("interrupted read: %q, %v", data, err)
	}
	must(t, read.Wait())
	if err := killed.Wait(); err == nil {
		t.Error("a killed reader ended well")
	}
}
