package integration_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"salliefs/integration/mounttest"
)

// goroot is the tree of the Go that runs the tests.
func goroot(t *testing.T) string {
	t.Helper()
	root := strings.TrimSpace(mounttest.Sh(t, ".", "go", "env", "GOROOT"))
	if _, err := os.Stat(filepath.Join(root, "src", "cmd", "gofmt")); err != nil {
		t.Skipf("the Go installation has no source of gofmt: %v", err)
	}
	return root
}

// copyTree copies directories with tar, as people unpack things.
func copyTree(t *testing.T, from, to string, dirs ...string) {
	t.Helper()
	args := append([]string{"-c", `from=$1 to=$2; shift 2; set -o pipefail; tar -C "$from" -cf - "$@" | tar -C "$to" -xf -`, "bash", from, to}, dirs...)
	mounttest.Sh(t, to, "bash", args...)
}

// TestGoTree unpacks the source of Go, compares it byte for byte after a remount, looks
// at what it takes on the disk, and builds gofmt where it lies.
func TestGoTree(t *testing.T) {
	root := goroot(t)
	mounttest.Need(t, "tar", "tar")
	s := mounttest.New(t, mounttest.Options{})
	dir := s.Namespace(t, "go")
	dirs := []string{"src"}
	if mounttest.Long() {
		dirs = append(dirs, "test")
	}
	copyTree(t, root, dir, dirs...)
	s.Remount(t)
	for _, d := range dirs {
		// The tree belongs to whoever installed Go; tar gives what it makes to us unless we are root.
		var ignore mounttest.Aspect
		if os.Geteuid() != 0 {
			ignore |= mounttest.Owners
		}
		want := mounttest.Scan(t, filepath.Join(root, d))
		mounttest.Same(t, want, mounttest.Scan(t, filepath.Join(dir, d)), ignore|mounttest.LinkCount|mounttest.Xattrs)
		t.Logf("%s: %d names are equal after a remount", d, len(want))
	}
	t.Run("stored size", func(t *testing.T) { storedSize(t, s, dir) })
	t.Run("build", func(t *testing.T) { buildGofmt(t, s, root, dir) })
}

// storedSize wants the whole store to take at most 40 % of the bytes in it.
func storedSize(t *testing.T, s *mounttest.Store, dir string) {
	mounttest.NeedMount(t, "compression")
	var logical int64
	for _, e := range mounttest.Scan(t, dir) {
		logical += e.Size
	}
	s.Unmount(t)
	stored := mounttest.DiskUsage(t, s.Dir)
	s.Mount(t)
	share := float64(stored) / float64(logical)
	t.Logf("%.1f MB stored for %.1f MB: %.1f %%", float64(stored)/1e6, float64(logical)/1e6, 100*share)
	if share > 0.40 {
		t.Errorf("the store takes %.1f %% of the data in it, want at most 40 %%", 100*share)
	}
}

// buildGofmt builds gofmt from the tree in the mount, with the build cache in the mount
// too, and runs what came out of it, from the mount.
func buildGofmt(t *testing.T, s *mounttest.Store, root, dir string) {
	tools := filepath.Join("pkg", "tool", runtime.GOOS+"_"+runtime.GOARCH)
	need := []string{"pkg/include", "bin/go", "VERSION", "go.env"}
	for _, tool := range []string{"asm", "compile", "link", "cgo"} {
		if _, err := os.Stat(filepath.Join(root, tools, tool)); err == nil {
			need = append(need, filepath.Join(tools, tool))
		}
	}
	copyTree(t, root, dir, need...)
	work := s.Namespace(t, "work")
	cmd := mounttest.Command(filepath.Join(dir, "src", "cmd", "gofmt"), filepath.Join(dir, "bin", "go"), "build", "-o", filepath.Join(work, "gofmt"), ".")
	cmd.Env = append(cmd.Env, "GOROOT="+dir, "GOCACHE="+filepath.Join(work, "cache"), "GOTMPDIR="+work, "GOFLAGS=", "GOTOOLCHAIN=local", "CGO_ENABLED=0")
	mounttest.Output(t, cmd)
	s.Remount(t)

	crooked := filepath.Join(work, "crooked.go")
	if err := os.WriteFile(crooked, []byte("package   x\nfunc f( ) {  }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := mounttest.Sh(t, work, filepath.Join(work, "gofmt"), crooked); got != "package x\n\nfunc f() {}\n" {
		t.Errorf("the gofmt that was built prints %q", got)
	}
}
