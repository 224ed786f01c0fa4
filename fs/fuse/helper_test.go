package fuse

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// helperEnv makes the test binary, started once more, run a helper instead of the
// tests.
const helperEnv = "SALLIEFS_FUSE_TEST_HELPER"

func helper() int {
	what, arg, _ := strings.Cut(os.Getenv(helperEnv), " ")
	switch what {
	case "serve":
		return helpServe(arg)
	case "map":
		return helpMap(arg)
	}
	fmt.Fprintln(os.Stderr, "no such helper")
	return 2
}

// helpServe mounts an empty filesystem in memory, says "mounted", and unmounts when its
// standard input ends.
func helpServe(arg string) int {
	s, err := mount(newFakeFS(), Options{Mountpoint: arg, FSName: "helper"})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		if err := s.Unmount(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}()
	fmt.Println("mounted")
	s.Wait()
	fmt.Println("ended")
	return 0
}

// helpMap writes to a file through a mapping, in steps: it says what it has done, and
// goes on with each line of standard input.
//
// A process that answers the requests of a mount must not map files in it: a thread that
// waits for a page does not let go of the Go scheduler as one in a system call does, and
// the garbage collector waits for it.
func helpMap(path string) int {
	step := func(err error, done string) {
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(done)
		os.Stdin.Read(make([]byte, 1))
	}
	fd, err := unix.Open(path, unix.O_RDWR, 0)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	m, err := unix.Mmap(fd, 0, 3*4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	unix.Close(fd) // the mapping alone keeps the file
	copy(m[5000:], "through the mapping")
	step(unix.Msync(m, unix.MS_SYNC), "synced")
	fmt.Printf("%q\n", m[100:107])
	copy(m[9000:], "last words")
	step(unix.Munmap(m), "unmapped")
	return 0
}

// process is a helper that runs.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
}

// startServer starts a helper that mounts, as the given user.
func startServer(t *testing.T, mountpoint string, uid uint32) *process {
	t.Helper()
	p := startHelper(t, "serve "+mountpoint, uid)
	p.want(t, "mounted")
	return p
}

func startHelper(t *testing.T, what string, uid uint32) *process {
	t.Helper()
	bin := os.Args[0]
	if uid != 0 {
		bin = publicCopy(t, bin)
	}
	s := &process{cmd: exec.Command(bin)}
	s.cmd.Env = append(os.Environ(), helperEnv+"="+what)
	s.cmd.Stderr = os.Stderr
	s.cmd.Dir = "/"
	if uid != 0 {
		s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	var err error
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	must(t, err)
	s.stdout = bufio.NewReader(out)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.cmd.Process.Kill()
		s.cmd.Wait()
	})
	return s
}

// want reads a line of the helper's.
func (s *process) want(t *testing.T, want string) {
	t.Helper()
	if line, err := s.stdout.ReadString('\n'); strings.TrimSpace(line) != want {
		t.Fatalf("the helper says %q (%v), want %q", line, err, want)
	}
}

// goOn lets the helper take its next step.
func (s *process) goOn(t *testing.T) {
	t.Helper()
	_, err := s.stdin.Write([]byte{'\n'})
	must(t, err)
}

// publicCopy copies the test binary to where every user may run it.
func publicCopy(t *testing.T, bin string) string {
	t.Helper()
	dir := mountDir(t)
	data, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	dst := filepath.Join(dir, "test")
	if err := os.WriteFile(dst, data, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(dst) })
	for _, f := range []string{dir, dst} {
		if err := os.Chmod(f, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dst
}

// nobody is a user without rights.
const nobody = 65534

// asUser runs fn with the user and group IDs of a user without rights, and with no
// capabilities, on a thread that ends with it. Tests that need it run as root.
func asUser(t *testing.T, uid int, fn func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skipf("%s skipped: it takes root to become another user", t.Name())
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: nobody else gets the thread
		done <- become(uid)
		fn()
		close(done)
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	<-done
}

// become changes the calling thread alone, unlike syscall.Setresuid.
func become(uid int) error {
	for _, call := range [][4]uintptr{
		{unix.SYS_SETGROUPS, 0, 0, 0},
		{unix.SYS_SETRESGID, uintptr(uid), uintptr(uid), uintptr(uid)},
		{unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)},
	} {
		if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
			return errno
		}
	}
	return nil
}

// patience is how long a test waits for what must happen at all: longer than the slowest machine takes for it.
const patience = time.Minute

// eventually waits for a condition that comes about by itself.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	within(t, patience, what, ok)
}

func within(t *testing.T, d time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", d, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantErr checks a system call's error.
func wantErr(t *testing.T, what string, got error, want unix.Errno) {
	t.Helper()
	if e, ok := got.(*os.PathError); ok {
		got = e.Err
	}
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func stat(t *testing.T, path string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatalf("stat %s: %v", path, err)
	}
	return st
}
