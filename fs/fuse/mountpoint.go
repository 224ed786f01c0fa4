package fuse

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// What can be wrong with a mount point. The message says the way out.
var (
	ErrNoDevice     = errors.New("the kernel offers no FUSE (load the module with 'modprobe fuse', or give the container /dev/fuse)")
	ErrNoMountpoint = errors.New("mount point is no directory (make it with mkdir)")
	ErrNotEmpty     = errors.New("mount point is not empty (choose an empty directory)")
	ErrMounted      = errors.New("a store is mounted there already (unmount it with 'salliefs umount', or choose another directory)")
	ErrDead         = errors.New("a mount whose process has died is in the way (remove it with 'fusermount3 -uz' or 'umount -l')")
	ErrPermission   = errors.New("not allowed")
	ErrNotMounted   = errors.New("no store is mounted there")
	ErrElsewhere    = errors.New("unmounted here, but a container or another mount namespace still has the mount; it ends when that does")
	ErrBusy         = errors.New("in use (close the files and leave the directories in it first)")
)

const fuseDevice = "/dev/fuse"

// CheckMountpoint says whether Mount would accept the mount point and the machine,
// without mounting: a command asks before it asks for a passphrase.
func CheckMountpoint(path string, extra ...string) error {
	o := Options{Mountpoint: path, Extra: extra}
	root := os.Geteuid() == 0
	p, err := o.parse(root)
	if err != nil {
		return err
	}
	if _, err := checkMountpoint(path, p.nonempty); err != nil {
		return err
	}
	return checkDevice(root)
}

// checkMountpoint returns the path without symbolic links, as the mount table has it.
func checkMountpoint(path string, nonempty bool) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	real, err := filepath.EvalSymlinks(abs)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return "", fmt.Errorf("%s: %w", path, ErrNoMountpoint)
	case errors.Is(err, unix.ENOTCONN):
		return "", fmt.Errorf("%s: %w", path, ErrDead)
	case err != nil:
		return "", fmt.Errorf("%s: %w", path, err)
	}
	if _, ok := Mounted(real); ok {
		if _, err := os.Stat(real); errors.Is(err, unix.ENOTCONN) {
			return "", fmt.Errorf("%s: %w", path, ErrDead)
		}
		return "", fmt.Errorf("%s: %w", path, ErrMounted)
	}
	return real, checkEmpty(path, real, nonempty)
}

func checkEmpty(path, real string, nonempty bool) error {
	dir, err := os.Open(real)
	if err != nil {
		return fmt.Errorf("mount point: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(1)
	switch {
	case errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("%s: %w", path, ErrNoMountpoint)
	case err != nil && err != io.EOF:
		return fmt.Errorf("mount point: %w", err)
	case len(names) > 0 && !nonempty:
		return fmt.Errorf("%s: %w", path, ErrNotEmpty)
	}
	return nil
}

// checkDevice looks for what mounting takes. A user needs fusermount3, which opens
// the device itself.
func checkDevice(root bool) error {
	if _, err := os.Stat(fuseDevice); err != nil {
		return fmt.Errorf("%s: %w", fuseDevice, ErrNoDevice)
	}
	if root {
		return nil
	}
	if _, err := fusermount(); err != nil {
		return fmt.Errorf("%w: fusermount3 is not installed (package fuse3), and you are not root", ErrPermission)
	}
	if unix.Access(fuseDevice, unix.R_OK|unix.W_OK) != nil {
		return fmt.Errorf("%s: %w to you (root can allow it with 'chmod 666 %s')", fuseDevice, ErrPermission, fuseDevice)
	}
	return nil
}

func fusermount() (string, error) {
	for _, name := range []string{"fusermount3", "/bin/fusermount3", "fusermount", "/bin/fusermount"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", exec.ErrNotFound
}

func mountError(mountpoint string, root bool, err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%s: %w: %w", mountpoint, ErrPermission, err)
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return fmt.Errorf("%s: %w", mountpoint, ErrNoDevice)
	case !root:
		// fusermount3 has said why on standard error.
		return fmt.Errorf("%s: %w: %s", mountpoint, ErrPermission, strings.TrimSpace(err.Error()))
	}
	return fmt.Errorf("%s: mount: %w", mountpoint, err)
}

// Unmount takes a mount of this program's away, whichever process serves it. It does
// not wait for that process. A lazy unmount succeeds while the mount is in use; see
// Server.Detach.
func Unmount(mountpoint string, lazy bool) error {
	path, err := mountedPath(mountpoint)
	if err != nil {
		return err
	}
	unmount := unmountByCall
	if os.Geteuid() != 0 {
		unmount = unmountByFusermount
	}
	for try := 0; ; try++ {
		err = unmount(path, lazy)
		// A file that was closed this moment can keep the mount busy a little longer.
		if err != ErrBusy || try == 5 {
			break
		}
		time.Sleep(settlePause << try)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", mountpoint, err)
	}
	return nil
}

func unmountByCall(path string, lazy bool) error {
	flags := unix.UMOUNT_NOFOLLOW
	if lazy {
		flags |= unix.MNT_DETACH
	}
	switch err := apart(func() error { return unix.Unmount(path, flags) }); err { // it writes back what is dirty
	case unix.EBUSY:
		return ErrBusy
	case unix.EINVAL, unix.ENOENT:
		return ErrNotMounted
	case unix.EPERM:
		return ErrPermission
	default:
		return err
	}
}

func unmountByFusermount(path string, lazy bool) error {
	bin, err := fusermount()
	if err != nil {
		return fmt.Errorf("%w: fusermount3 is not installed", ErrPermission)
	}
	args := []string{"-u", path}
	if lazy {
		args = []string{"-u", "-z", path}
	}
	said, err := exec.Command(bin, args...).CombinedOutput()
	if err == nil {
		return nil
	}
	if _, ok := Mounted(path); !ok {
		return ErrNotMounted
	}
	if strings.Contains(string(said), "busy") { // strerror(EBUSY); fusermount3 is not translated
		return ErrBusy
	}
	return fmt.Errorf("%w: %s", ErrPermission, strings.TrimSpace(string(said)))
}

// mountedPath is mountpoint as the mount table has it. It does not touch the mount
// itself, which may be dead.
func mountedPath(mountpoint string) (string, error) {
	abs, err := filepath.Abs(mountpoint)
	if err != nil {
		return "", fmt.Errorf("%s: %w", mountpoint, err)
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
		abs = filepath.Join(dir, filepath.Base(abs))
	}
	if target, err := os.Readlink(abs); err == nil && !filepath.IsAbs(target) {
		abs = filepath.Join(filepath.Dir(abs), target)
	} else if err == nil {
		abs = filepath.Clean(target)
	}
	if _, ok := Mounted(abs); !ok {
		return "", fmt.Errorf("%s: %w", mountpoint, ErrNotMounted)
	}
	return abs, nil
}

// Mounted says whether the topmost mount at path, absolute and without symbolic
// links, is one of this program's, and what it was mounted from.
func Mounted(path string) (source string, ok bool) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", false
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		if at, kind, from := parseMountinfo(sc.Text()); at == path {
			source, ok = from, kind == "fuse."+typeName
		}
	}
	if !ok {
		source = ""
	}
	return source, ok
}

// parseMountinfo reads a line of /proc/self/mountinfo; see proc(5).
func parseMountinfo(line string) (at, kind, source string) {
	left, right, ok := strings.Cut(line, " - ")
	l, r := strings.Fields(left), strings.Fields(right)
	if !ok || len(l) < 5 || len(r) < 2 {
		return "", "", ""
	}
	return unescape(l[4]), r[0], unescape(r[1])
}

// unescape undoes the octal escapes of blanks, tabs, newlines and backslashes.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`, `\043`, "#").Replace(s)
}
