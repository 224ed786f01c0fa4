package mounttest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Need skips the test, by name, when a program that it drives is not installed.
// packages says how Debian calls what brings it.
func Need(t testing.TB, program, packages string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed (apt-get install %s)", program, packages)
	}
	return path
}

// NeedRoot skips the test when it is not root, saying for what it has to be.
func NeedRoot(t testing.TB, why string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skipf("only root can %s", why)
	}
}

// NeedMount skips the test when it gets a plain directory, saying what about the
// mount it looks at.
func NeedMount(t testing.TB, what string) {
	t.Helper()
	if Plain() {
		t.Skipf("SALLIEFS_TEST_PLAIN: a plain directory has no %s", what)
	}
	if run.whyNot != "" {
		t.Skip("nothing can be mounted here: " + run.whyNot)
	}
}

// Binary is the command under test.
func Binary(t testing.TB) string {
	t.Helper()
	if run.binary == "" {
		t.Skip("SALLIEFS_TEST_PLAIN: a plain directory has no salliefs command")
	}
	return run.binary
}

// Dir makes an empty directory that every user may enter and that goes with the
// test. Unlike testing.T.TempDir it never removes anything through a mount.
func Dir(t testing.TB) string {
	t.Helper()
	name := strings.Map(func(r rune) rune {
		if r == '/' || r == ' ' {
			return '_'
		}
		return r
	}, t.Name())
	dir, err := os.MkdirTemp(run.root, name+"-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		mounts, err := Mounts()
		if err != nil {
			t.Errorf("removing %s: %v", dir, err)
			return
		}
		for _, m := range mounts {
			if strings.HasPrefix(m.Point, dir+"/") {
				t.Errorf("not removing %s: %s is still mounted in it", dir, m.Point)
				return
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// Command prepares a program that must not find anything on its standard input and
// that prints in the same language everywhere.
func Command(dir, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "LANG=C", "NO_COLOR=1")
	return cmd
}

// Sh runs a program in dir and returns what it printed on standard output. The test
// ends when the program fails, with all that it said.
func Sh(t testing.TB, dir, program string, args ...string) string {
	t.Helper()
	return Output(t, Command(dir, program, args...))
}

// Output runs a prepared command as Sh does.
func Output(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		what := strings.Join(cmd.Args, " ")
		if len(what) > 300 { // a script
			what = what[:300] + "…"
		}
		t.Fatalf("%s: %v\n%s%s", what, err, tail(stdout.String()), tail(stderr.String()))
	}
	return stdout.String()
}

// tail keeps the end of a long output: what went wrong stands there.
func tail(s string) string {
	const most = 4000
	if len(s) > most {
		return "…" + s[len(s)-most:]
	}
	return s
}

// DiskUsage is the space that a tree takes on the disk, in bytes.
func DiskUsage(t testing.TB, dir string) int64 {
	t.Helper()
	var sum int64
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil {
			sum += blocks(info) * 512
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}
