package integration_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"salliefs/integration/mounttest"
)

// TestBackgroundMount mounts as people do: the command returns when the mount answers and leaves
// a daemon behind that holds nothing of the terminal's.
func TestBackgroundMount(t *testing.T) {
	mounttest.NeedMount(t, "daemon")
	s := mounttest.Init(t, mounttest.Options{})
	log := s.Mnt + ".background.log"
	for range 2 {
		out := s.Run(t, "mount", "--log-file", log, "--password-file", s.Password, s.Dir, s.Mnt)
		if out != "" {
			t.Errorf("mount printed %q", out)
		}
		m, ok := mounttest.MountAt(s.Mnt)
		if !ok || m.Type != mounttest.FSType {
			t.Fatalf("mount returned, but mounted is %v, %+v", ok, m)
		}
		if m.Source != s.Dir {
			t.Errorf("the mount's source is %q, want the store %q", m.Source, s.Dir)
		}
		dir := filepath.Join(s.Mnt, "ns")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Error(err)
		}
		if err := appendTo2(filepath.Join(dir, "key"), "x"); err != nil {
			t.Error(err)
		}
		for _, args := range mounttest.DaemonArguments() {
			if strings.Contains(args, "a password of the tests") {
				t.Errorf("the password can be seen in ps: %s", args)
			}
		}
		s.Run(t, "umount", s.Mnt)
		// Unmounted and durable means: the next one can have the store at once.
		if got := s.Run(t, "get", "--password-file", s.Password, "-s", s.Dir, "ns/key"); strings.Trim(got, "x") != "" || got == "" {
			t.Errorf("the key holds %q", got)
		}
	}
	if got := s.Run(t, "get", "--password-file", s.Password, "-s", s.Dir, "ns/key"); got != "xx" {
		t.Errorf("after two mounts the key holds %q, want xx", got)
	}
	if raw, err := os.ReadFile(log); err != nil || !strings.Contains(string(raw), "mounted") {
		t.Errorf("the log file holds %q, %v", raw, err)
	}
}

// appendTo2 is appendTo that makes the file.
func appendTo2(path, data string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(data); err != nil {
		return err
	}
	return f.Close()
}

// TestMountHelper mounts with mount(8) and from fstab, by the name that `make install` puts into
// /sbin.
func TestMountHelper(t *testing.T) {
	mounttest.NeedMount(t, "helper")
	mounttest.NeedRoot(t, "use mount(8)")
	mounttest.Need(t, "unshare", "util-linux")
	s := mounttest.Init(t, mounttest.Options{})
	scratch := mounttest.Dir(t)
	script := `set -eu
for m in $(awk '$3 == "fuse.salliefs" { print $2 }' /proc/mounts); do umount -l "$m" || true; done # copies of others' mounts
cd "$1"; bin=$2 store=$3 mnt=$4 pw=$5
mkdir sbin up work
ln -s "$bin" sbin/mount.fuse.salliefs
real=$(readlink -f /sbin)
mount -t overlay overlay -o "lowerdir=$PWD/sbin:$real" "$real" || { echo "no overlay"; exit 0; }
mount -t fuse.salliefs -o "password_file=$pw,noatime" "$store" "$mnt"
grep " $mnt fuse.salliefs " /proc/mounts | grep -q noatime
mkdir "$mnt/ns"; echo by mount >"$mnt/ns/key"
umount "$mnt"
for i in $(seq 1200); do "$bin" get --password-file "$pw" -s "$store" ns/key >out 2>err && break; sleep .05; done
test "$(cat out)" = "by mount"
echo "$store $mnt fuse.salliefs noauto,nofail,ro,password_file=$pw 0 0" >fstab
mount --fstab "$PWD/fstab" "$mnt"
test "$(cat "$mnt/ns/key")" = "by mount"
if touch "$mnt/ns/new" 2>/dev/null; then echo "ro of fstab is not obeyed"; exit 1; fi
"$bin" umount "$mnt"
echo all done
`
	cmd := mounttest.Command(scratch, "unshare", "--mount", "bash", "-c", script, "bash", scratch, mounttest.Binary(t), s.Dir, s.Mnt, s.Password)
	switch out := mounttest.Output(t, cmd); out {
	case "all done\n":
	case "no overlay\n":
		t.Skip("the kernel has no overlayfs to put the helper into /sbin for a moment")
	default:
		t.Errorf("the session printed %q", out)
	}
}

// TestIdle wants a daemon that nobody asks anything to do nothing and to be small.
func TestIdle(t *testing.T) {
	mounttest.NeedMount(t, "daemon")
	if mounttest.Race() {
		t.Skip("the race detector's memory and time are not the daemon's")
	}
	s := mounttest.New(t, mounttest.Options{})
	if err := os.WriteFile(filepath.Join(s.Namespace(t, "ns"), "key"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	time.Sleep(8 * time.Second) // past the commit, and what follows it
	wait := time.Duration(mounttest.Scale(6, 60)) * time.Second
	var used time.Duration
	for range 5 { // on a busy machine that takes longer
		before := s.CPU(t)
		time.Sleep(wait)
		if used = s.CPU(t) - before; used <= wait/100 {
			break
		}
	}
	now, _ := s.Memory(t)
	t.Logf("idle for %v: %v of processor time, %d MB resident", wait, used, now/1e6)
	if used > wait/100 {
		t.Errorf("the idle daemon used %v of processor time in %v", used, wait)
	}
	if now > 80<<20 {
		t.Errorf("the idle daemon takes %d MB, want less than 80", now>>20)
	}
}
