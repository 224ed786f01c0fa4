package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// asOtherUser makes this test binary be a client instead of running tests.
const asOtherUser = "SALLIEFS_TEST_DIAL"

func TestMain(m *testing.M) {
	if socket := os.Getenv(asOtherUser); socket != "" {
		c, err := Dial(context.Background(), socket)
		if err == nil {
			_, err = c.Namespaces(context.Background())
		}
		fmt.Println("outcome:", err)
		return
	}
	os.Exit(m.Run())
}

func TestOtherUserIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("peer check against another user: only root can become one")
	}
	dir, err := os.MkdirTemp("", "control")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := Listen(dir, testStore)
	if err != nil {
		t.Fatal(err)
	}
	target := newFake()
	s := NewServer(l, ServerOptions{Target: target})
	s.Serve()
	defer s.Close()
	// Let the other user reach the socket, which its directory would prevent.
	socket := l.Addr().String()
	binary := filepath.Join(dir, "client")
	for _, err := range []error{os.Chmod(dir, 0o755), os.Chmod(socket, 0o777), copyFile(os.Args[0], binary)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	dialAs := func(uid uint32) string {
		cmd := exec.Command(binary)
		cmd.Env = append(os.Environ(), asOtherUser+"="+socket)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	if got := dialAs(65534); !strings.Contains(got, ErrPeer.Error()) {
		t.Errorf("another user got %q", got)
	}
	if got := dialAs(0); !strings.Contains(got, "<nil>") {
		t.Errorf("the same user got %q", got)
	}
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o755)
}

func TestWhoServesAndTrustsWhom(t *testing.T) {
	for _, c := range []struct {
		self, peer    uint32
		serves, trust bool
	}{{1000, 1000, true, true}, {1000, 0, true, true}, {1000, 1001, false, false}, {0, 1000, false, true}, {0, 0, true, true}} {
		if got := mayServe(c.self, c.peer); got != c.serves {
			t.Errorf("a server of %d serves %d: %v", c.self, c.peer, got)
		}
		if got := mayTrust(c.self, c.peer); got != c.trust {
			t.Errorf("a client of %d trusts %d: %v", c.self, c.peer, got)
		}
	}
}

func TestListen(t *testing.T) {
	dir := t.TempDir()
	first, err := Listen(dir, testStore)
	if err != nil {
		t.Fatal(err)
	}
	path := first.Addr().String()
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", fi.Mode(), err)
	}
	// A copy of the store is served beside it.
	second, err := Listen(dir, testStore)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if second.Addr().String() == path {
		t.Error("both have the same socket")
	}
	// A socket that a killed process left is replaced.
	first.SetUnlinkOnClose(false)
	first.Close()
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	third, err := Listen(dir, testStore)
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	if third.Addr().String() != path {
		t.Errorf("the stale socket was not replaced: %s", third.Addr())
	}
	if c, err := net.Dial("unix", path); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
	if _, err := Listen(filepath.Join(dir, strings.Repeat("x", 200)), testStore); err == nil {
		t.Error("a path that fits in no address was taken")
	}
}

// TestListenTogether: of those that find the same stale socket, each gets a socket that can be reached.
func TestListenTogether(t *testing.T) {
	for range 50 {
		dir := t.TempDir()
		left, err := Listen(dir, testStore)
		if err != nil {
			t.Fatal(err)
		}
		left.SetUnlinkOnClose(false)
		left.Close()
		const starters = 4
		begin, made := make(chan struct{}), make(chan *net.UnixListener, starters)
		for range starters {
			go func() {
				<-begin
				l, err := Listen(dir, testStore)
				if err != nil {
					t.Error(err)
				}
				made <- l
			}()
		}
		close(begin)
		paths := map[string]bool{}
		for range starters {
			if l := <-made; l != nil {
				defer l.Close()
				paths[l.Addr().String()] = true
			}
		}
		if len(paths) != starters {
			t.Fatalf("%d processes listen at %d places", starters, len(paths))
		}
	}
}

func TestDialNobody(t *testing.T) {
	if _, err := Dial(t.Context(), filepath.Join(t.TempDir(), "none")); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("got %v", err)
	}
}

func TestRuntimeDir(t *testing.T) {
	own := t.TempDir()
	os.Chmod(own, 0o700)
	t.Setenv("XDG_RUNTIME_DIR", own)
	dir, err := RuntimeDir()
	if err != nil || dir != own+"/salliefs" {
		t.Fatalf("got %s, %v", dir, err)
	}
	if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	// What others can write to is not taken.
	os.Chmod(dir, 0o777)
	if got, err := RuntimeDir(); err == nil && got == dir {
		t.Error("a directory that everyone can write to was taken")
	}
	os.Chmod(dir, 0o700)
	os.Chmod(own, 0o777)
	if got, err := RuntimeDir(); err == nil && got == dir {
		t.Error("a directory in one that everyone can write to was taken")
	}
	if os.Geteuid() == 0 {
		os.Chmod(own, 0o700)
		os.Chown(dir, 65534, 65534)
		if got, err := RuntimeDir(); err == nil && got == dir {
			t.Error("a directory of another user was taken")
		}
	}
	if err := ownDir(filepath.Join(own, "file"), os.Geteuid()); err != nil {
		t.Error(err)
	}
	os.Symlink(own, filepath.Join(own, "link"))
	if err := ownDir(filepath.Join(own, "link"), os.Geteuid()); err == nil {
		t.Error("a symbolic link was taken")
	}
}
