package mounttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Options say how a store is made and mounted. The zero value is the ordinary one.
type Options struct {
	Mount []string // more flags of `salliefs mount`
	Dir   string   // where the store and its mount point are made; a directory of the test's own by default
}

// Store is a store of one test and the place where it is mounted.
type Store struct {
	Dir      string // the store's directory
	Mnt      string // the mount point
	Password string // the file that holds its password

	opts    Options
	daemon  *exec.Cmd
	ended   chan error // the daemon's end, once
	log     *os.File
	mounted bool
}

// New makes a store and mounts it. When the test ends the store is unmounted and
// its structure checked.
func New(t testing.TB, opts Options) *Store {
	t.Helper()
	s := Init(t, opts)
	s.Mount(t)
	return s
}

// Init makes a store without mounting it.
func Init(t testing.TB, opts Options) *Store {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = Dir(t)
	}
	s := &Store{
		Dir:      filepath.Join(opts.Dir, "store"),
		Mnt:      filepath.Join(opts.Dir, "mnt"),
		Password: filepath.Join(opts.Dir, "password"),
		opts:     opts,
	}
	if err := os.Mkdir(s.Mnt, 0o755); err != nil {
		t.Fatal(err)
	}
	if Plain() {
		return s
	}
	NeedMount(t, "mount")
	if err := os.WriteFile(s.Password, []byte("a password of the tests\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// The shortest key derivation that the format allows: what it costs is not what is tested here.
	s.Run(t, "init", "--kdf-time", "1ms", "--password-file", s.Password, s.Dir)
	t.Cleanup(func() { s.end(t) })
	return s
}

// end unmounts and checks the store, and makes sure that nothing stays behind.
func (s *Store) end(t testing.TB) {
	if s.mounted {
		s.Unmount(t)
	}
	if _, there := MountAt(s.Mnt); there { // it did not go: tear it off, so that the next test starts clean
		s.tearOff(t)
		t.Errorf("%s had to be unmounted by force", s.Mnt)
		return
	}
	if t.Failed() {
		t.Logf("the daemon's log:\n%s", s.Log())
	}
	s.Check(t)
}

// Check fails the test when the store's structure has a fault.
func (s *Store) Check(t testing.TB, flags ...string) {
	t.Helper()
	if Plain() {
		return
	}
	args := append([]string{"check", "--password-file", s.Password, "--store", s.Dir}, flags...)
	if out, errs, code := s.Try(args...); code != 0 {
		t.Errorf("salliefs check: exit code %d\n%s%s", code, tail(out), tail(errs))
	}
}

// CheckMounted is Check of a store that is mounted, by way of its daemon.
func (s *Store) CheckMounted(t testing.TB, flags ...string) {
	t.Helper()
	if Plain() {
		return
	}
	if out, errs, code := s.Try(append([]string{"check", "--store", s.Mnt}, flags...)...); code != 0 {
		t.Errorf("salliefs check of the mount: exit code %d\n%s%s", code, tail(out), tail(errs))
	}
}

// Mount mounts the store and returns when the mount answers. The daemon stays a
// child of the test, so that it can be waited for.
func (s *Store) Mount(t testing.TB) {
	t.Helper()
	s.MountWith(t, s.opts.Mount...)
}

// MountWith mounts the store with other flags than its ordinary ones.
func (s *Store) MountWith(t testing.TB, flags ...string) {
	t.Helper()
	if Plain() {
		return
	}
	log, err := os.OpenFile(s.Mnt+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	earlier, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		t.Fatal(err)
	}
	cmd := s.command(t, flags...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.daemon, s.log = cmd, log
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for deadline := time.Now().Add(60 * time.Second); ; {
		if m, ok := MountAt(s.Mnt); ok && m.Type == FSType {
			if _, err := os.Stat(s.Mnt); err == nil && (slices.Contains(flags, "--log-file") || s.says(earlier, "msg=mounted")) {
				break
			}
		}
		select {
		case err := <-ended:
			t.Fatalf("salliefs mount ended before it mounted: %v\n%s", err, s.Log())
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			cmd.Process.Kill()
			t.Fatalf("salliefs mount did not mount within a minute\n%s", s.Log())
		}
	}
	s.ended = ended
	s.mounted = true
}

// says tells whether something is in the daemon's log from an offset on. A mount answers a little before its daemon says that it
// is there, and is guarded against a kill only then.
func (s *Store) says(from int64, what string) bool {
	log, _ := os.ReadFile(s.Mnt + ".log")
	return int64(len(log)) > from && strings.Contains(string(log[from:]), what)
}

// command is a daemon that stays in the foreground.
func (s *Store) command(t testing.TB, flags ...string) *exec.Cmd {
	args := append([]string{"mount", "-f"}, flags...)
	cmd := exec.Command(Binary(t), append(args, "--password-file", s.Password, s.Dir, s.Mnt)...)
	cmd.Env = daemonEnv()
	return cmd
}

// daemonEnv sends the race detector's reports to where Main looks for them.
func daemonEnv() []string {
	return append(os.Environ(), "GORACE=log_path="+filepath.Join(run.root, "race"))
}

// Unmount unmounts by our own command and waits for the daemon to end.
func (s *Store) Unmount(t testing.TB) {
	t.Helper()
	if Plain() {
		return
	}
	if out, errs, code := s.Try("umount", s.Mnt); code != 0 {
		t.Errorf("salliefs umount: exit code %d\n%s%s", code, out, errs)
		return
	}
	s.awaitEnd(t)
}

// awaitEnd waits for a daemon that was told to go, and fails the test when its end
// is not a success or the mount is still there.
func (s *Store) awaitEnd(t testing.TB) {
	t.Helper()
	select {
	case err := <-s.ended:
		if err != nil {
			t.Errorf("the daemon ended badly: %v\n%s", err, s.Log())
		}
	case <-time.After(60 * time.Second):
		t.Errorf("the daemon did not end within a minute\n%s", s.Log())
		return
	}
	s.log.Close()
	if _, ok := MountAt(s.Mnt); ok {
		t.Errorf("the daemon ended but %s is still mounted", s.Mnt)
		return
	}
	s.mounted = false
}

// UnmountBy ends the mount by a way of the caller's: a signal, fusermount3.
func (s *Store) UnmountBy(t testing.TB, way func(pid int) error) {
	t.Helper()
	NeedMount(t, "daemon")
	if err := way(s.daemon.Process.Pid); err != nil {
		t.Fatal(err)
	}
	s.awaitEnd(t)
}

// Remount unmounts and mounts again, so that what is read next comes from the store
// and not from any cache. A test that holds files open must close them first.
func (s *Store) Remount(t testing.TB) {
	t.Helper()
	if Plain() {
		return
	}
	s.Unmount(t)
	if s.mounted {
		t.FailNow()
	}
	s.Mount(t)
}

// Kill ends the daemon as a crash would and takes the dead mount away. What the
// kernel has not handed over by then is lost.
func (s *Store) Kill(t testing.TB) {
	t.Helper()
	s.KillDaemon(t)
	s.TakeAway(t)
}

// KillDaemon is Kill without the end: the mount is still there, and gives errors to those who use it.
func (s *Store) KillDaemon(t testing.TB) {
	t.Helper()
	NeedMount(t, "daemon to kill")
	if err := s.daemon.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.awaitDeath(t, s.ended)
	s.log.Close()
}

// TakeAway removes the mount of a daemon that is dead.
func (s *Store) TakeAway(t testing.TB) {
	t.Helper()
	if _, there := MountAt(s.Mnt); there {
		if err := detach(s.Mnt); err != nil {
			t.Fatal(err)
		}
	}
	s.mounted = false
}

// awaitDeath waits for a daemon that was killed. One that waits for its own mount does not die: then
// the kernel is told to give the mount up, so that nobody else hangs.
func (s *Store) awaitDeath(t testing.TB, ended <-chan error) {
	t.Helper()
	select {
	case <-ended:
		return
	case <-time.After(60 * time.Second):
	}
	t.Errorf("the daemon was killed a minute ago and is still there")
	if err := abort(s.Mnt); err != nil {
		t.Fatal(err)
	}
	<-ended
}

// KillMounting begins to mount the store and kills the daemon after a while, mounted or not.
func (s *Store) KillMounting(t testing.TB, after time.Duration) {
	t.Helper()
	NeedMount(t, "daemon to kill")
	cmd := s.command(t, s.opts.Mount...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(after)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	s.awaitDeath(t, ended)
	if _, there := MountAt(s.Mnt); there {
		if err := detach(s.Mnt); err != nil {
			t.Fatal(err)
		}
	}
}

// tearOff kills the daemon and detaches the mount, whatever state they are in. A daemon in the
// background is not a child of ours, so every process of the binary has to go.
func (s *Store) tearOff(t testing.TB) {
	for _, pid := range processesOf(run.binary) {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	if _, ok := MountAt(s.Mnt); ok {
		if err := detach(s.Mnt); err != nil {
			t.Errorf("detaching %s: %v", s.Mnt, err)
		}
	}
	s.mounted = false
}

// PID is the daemon's process.
func (s *Store) PID(t testing.TB) int {
	t.Helper()
	NeedMount(t, "daemon")
	return s.daemon.Process.Pid
}

// Log is what the daemons of this store have said.
func (s *Store) Log() string {
	raw, err := os.ReadFile(s.Mnt + ".log")
	if err != nil {
		return err.Error()
	}
	return tail(string(raw))
}

// Namespace makes a namespace with mkdir, as people do, and returns its path.
func (s *Store) Namespace(t testing.TB, name string) string {
	t.Helper()
	dir := filepath.Join(s.Mnt, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Run runs the command with the given arguments and returns its standard output; a
// failure ends the test.
func (s *Store) Run(t testing.TB, args ...string) string {
	t.Helper()
	out, errs, code := s.Try(args...)
	if code != 0 {
		t.Fatalf("salliefs %s: exit code %d\n%s%s", strings.Join(args, " "), code, tail(out), tail(errs))
	}
	return out
}

// Try runs the command and returns all that came of it. The code is -1 when it could
// not be started or did not end by itself.
func (s *Store) Try(args ...string) (stdout, stderr string, code int) {
	return Try(args...)
}

// Try runs the command for tests that have no store.
func Try(args ...string) (stdout, stderr string, code int) { return TryWith(nil, args...) }

// TryWith runs the command with something on its standard input.
func TryWith(stdin io.Reader, args ...string) (stdout, stderr string, code int) {
	if run.binary == "" {
		return "", "no binary in a plain run", -1
	}
	var out, errs bytes.Buffer
	cmd := exec.Command(run.binary, args...)
	cmd.Env, cmd.Stdin = daemonEnv(), stdin
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal to ask on, wherever the tests run
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = 10 * time.Second // a daemon must not keep the pipes of the command that started it
	err := cmd.Run()
	if err == nil {
		return out.String(), errs.String(), 0
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return out.String(), errs.String(), exit.ExitCode()
	}
	return out.String(), errs.String() + fmt.Sprintln(err), -1
}
