package integration_test

import (
	"os"
	"path/filepath"
	"testing"

	"salliefs/integration/mounttest"
)

// TestOrdinaryUser makes, mounts, uses and unmounts a store as a user without rights, through
// fusermount3, from a shell as such a user has it.
func TestOrdinaryUser(t *testing.T) {
	mounttest.NeedMount(t, "fusermount3")
	mounttest.Need(t, "fusermount3", "fuse3")
	script := `set -eu
cd "$1"; bin=$2 fusermount=$3
run=$(mktemp -d /tmp/run.XXXXXX) # the path of a socket must be short
trap 'rm -rf "$run"' EXIT
export HOME=$PWD XDG_RUNTIME_DIR=$run
mkdir mnt
echo secret >password
"$bin" init --kdf-time 1ms --password-file password store >/dev/null
"$bin" mount --password-file password store mnt
grep -q " $PWD/mnt fuse.salliefs " /proc/mounts
mkdir mnt/notes
echo hello >mnt/notes/key
test "$("$bin" get -s store notes/key)" = hello        # through the daemon
"$bin" set -s mnt notes/other there
test "$(cat mnt/notes/other)" = there
test "$(stat -c %u mnt/notes/key)" = "$(id -u)"
if chown 0 mnt/notes/key 2>/dev/null; then echo "an ordinary user gave a file away"; exit 1; fi
"$bin" umount mnt
test -z "$(ls mnt)"
test "$("$bin" get --password-file password -s store notes/other)" = there
"$bin" mount --password-file password store mnt
test "$(cat mnt/notes/key)" = hello
echo more >mnt/notes/more
"$fusermount" -u mnt
for i in $(seq 1200); do "$bin" check --password-file password -s store >/dev/null 2>check.err && break; sleep .05; done # the daemon ends after fusermount3 returned
"$bin" check --data --password-file password -s store >/dev/null
test "$("$bin" get --password-file password -s store notes/more)" = more
echo all done
`
	dir := mounttest.Dir(t)
	fusermount := mounttest.Need(t, "fusermount3", "fuse3")
	args := []string{"-c", script, "bash", dir, mounttest.Binary(t), fusermount}
	cmd := mounttest.Command(dir, "bash", args...)
	if os.Geteuid() == 0 {
		// In a mount namespace of its own, with a /dev/fuse that everybody may open: some machines
		// close theirs to all but root.
		mounttest.Need(t, "unshare", "util-linux")
		mounttest.Need(t, "setpriv", "util-linux")
		cred := nobody(t)
		if err := os.Chown(dir, int(cred.Uid), int(cred.Gid)); err != nil {
			t.Fatal(err)
		}
		outer := `set -eu
node=$1; shift
for m in $(awk '$3 == "fuse.salliefs" { print $2 }' /proc/mounts); do umount -l "$m" || true; done # copies of others' mounts
mknod -m 666 "$node" c 10 229
mount --bind "$node" /dev/fuse
exec setpriv --reuid nobody --regid nogroup --clear-groups "$@"
`
		if out, err := mounttest.Command(dir, "unshare", "--mount", "true").CombinedOutput(); err != nil {
			t.Skipf("no mount namespace can be made here: %v: %s", err, out)
		}
		cmd = mounttest.Command(dir, "unshare", append([]string{"--mount", "bash", "-c", outer, "bash",
			filepath.Join(mounttest.Dir(t), "fuse"), "bash"}, args...)...)
	}
	if out := mounttest.Output(t, cmd); out != "all done\n" {
		t.Errorf("the session printed %q", out)
	}
}

// TestOthersStayOut wants other users, root among them where the mounting user is not root, to see
// nothing unless allow_other was given, and then what modes and owners allow.
func TestOthersStayOut(t *testing.T) {
	mounttest.NeedMount(t, "owner")
	mounttest.NeedRoot(t, "become another user")
	mounttest.Need(t, "setpriv", "util-linux")
	nobody(t)
	other := func(args ...string) error {
		return mounttest.Command("/", "setpriv", append([]string{"--reuid", "nobody", "--regid", "nogroup", "--clear-groups"}, args...)...).Run()
	}
	prepare := func(s *mounttest.Store) (open, closed string) {
		dir := s.Namespace(t, "ns")
		open, closed = dir+"/open", dir+"/closed"
		for path, mode := range map[string]os.FileMode{open: 0o644, closed: 0o600} {
			if err := os.WriteFile(path, []byte("x"), mode); err != nil {
				t.Fatal(err)
			}
		}
		return open, closed
	}
	s := mounttest.New(t, mounttest.Options{})
	open, _ := prepare(s)
	if other("cat", open) == nil {
		t.Error("without allow_other another user can read in the mount")
	}
	s = mounttest.New(t, mounttest.Options{Mount: []string{"-o", "allow_other"}})
	open, closed := prepare(s)
	if err := other("cat", open); err != nil {
		t.Errorf("with allow_other another user cannot read a file of mode 644: %v", err)
	}
	if other("cat", closed) == nil {
		t.Error("with allow_other another user can read a file of mode 600")
	}
	if other("rm", "-f", open) == nil {
		t.Error("with allow_other another user can remove a file from a directory of mode 755")
	}
}
