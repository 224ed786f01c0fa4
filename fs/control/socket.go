package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"salliefs/crypto"
)

// maxSocketPath is what a sockaddr_un holds, less its terminating zero.
const maxSocketPath = 107

// maxSameID bounds how many stores of one ID, that is copies of one store, can be served at a time.
const maxSameID = 16

// RuntimeDir is the directory for sockets and other files that live as long as a daemon. It is made if need be and is
// the user's own, closed to everyone else.
func RuntimeDir() (string, error) {
	uid := os.Geteuid()
	var tried []error
	for _, dir := range runtimeDirs(os.Getenv("XDG_RUNTIME_DIR"), uid) {
		err := ownDir(dir, uid)
		if err == nil {
			return dir, nil
		}
		tried = append(tried, err)
	}
	return "", fmt.Errorf("no safe directory for the control socket (set XDG_RUNTIME_DIR to one of your own): %w", errors.Join(tried...))
}

// runtimeDirs lists where the sockets of a user may be, best first.
func runtimeDirs(xdg string, uid int) []string {
	id := strconv.Itoa(uid)
	var dirs []string
	if filepath.IsAbs(xdg) {
		dirs = append(dirs, filepath.Join(xdg, "salliefs"))
	}
	dirs = append(dirs, filepath.Join("/run/user", id, "salliefs"))
	if uid == 0 {
		dirs = append(dirs, "/run/salliefs")
	}
	return append(dirs, filepath.Join(os.TempDir(), "salliefs-"+id))
}

// ownDir makes dir if it is missing, and fails if anyone but uid could have put something into it. The parent is looked
// at too, so that root under sudo does not leave its files in the runtime directory of the user.
func ownDir(dir string, uid int) error {
	if parent := filepath.Dir(dir); parent != "/run" && parent != filepath.Clean(os.TempDir()) {
		if err := ownedBy(parent, uid, 0o022); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return ownedBy(dir, uid, 0o077)
}

// ownedBy checks that path is a directory of uid's own with none of the permissions in closed.
func ownedBy(path string, uid int, closed fs.FileMode) error {
	fi, err := os.Lstat(path)
	if err != nil {
		return err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	switch {
	case !ok || !fi.IsDir():
		return fmt.Errorf("%s is not a directory", path)
	case int(st.Uid) != uid:
		return fmt.Errorf("%s belongs to another user", path)
	case fi.Mode().Perm()&closed != 0:
		return fmt.Errorf("%s is open to other users (mode %o)", path, fi.Mode().Perm())
	}
	return nil
}

// Listen makes the socket of a store in dir. A socket that nobody listens on is replaced. A copy of the store that is
// being served keeps its socket, and this one gets another name; the store's holder file says which.
func Listen(dir string, id crypto.StoreID) (*net.UnixListener, error) {
	unlock, err := lockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	defer unlock()
	for _, path := range Sockets(dir, id) {
		if len(path) > maxSocketPath {
			return nil, fmt.Errorf("control socket %s: the path is longer than %d bytes: set XDG_RUNTIME_DIR to a shorter one", path, maxSocketPath)
		}
		l, err := listenAt(path)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("control socket: %w", err)
		}
		return l, nil
	}
	return nil, fmt.Errorf("control socket: %d copies of store %s are mounted already", maxSameID, id)
}

// Sockets lists where in dir the sockets of a store and of its copies are, if they are served at all.
func Sockets(dir string, id crypto.StoreID) []string {
	paths := []string{filepath.Join(dir, id.String()+".sock")}
	for n := 2; n <= maxSameID; n++ {
		paths = append(paths, filepath.Join(dir, fmt.Sprintf("%s-%d.sock", id, n)))
	}
	return paths
}

// lockDir has processes take turns: of two that find a socket stale, the second would remove what the first has put in
// its place.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil // which ends the lock
}

func listenAt(path string) (*net.UnixListener, error) {
	addr := &net.UnixAddr{Name: path, Net: "unix"}
	l, err := net.ListenUnix("unix", addr)
	if errors.Is(err, syscall.EADDRINUSE) && stale(path) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		l, err = net.ListenUnix("unix", addr)
	}
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// stale says whether path is a socket that nobody listens on.
func stale(path string) bool {
	c, err := net.DialTimeout("unix", path, 2*time.Second)
	if err == nil {
		_ = c.Close()
		return false
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
