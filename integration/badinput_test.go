package integration_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"salliefs/integration/mounttest"
)

// Exit codes that the tests rely on. They are part of the command's interface, so they stand
// here as numbers.
const (
	codeUsage    = 2
	codeWrong    = 3
	codeNoStore  = 4
	codeInUse    = 6
	codeNoSpace  = 8
	codeNotFound = 9
	codeMount    = 11
	codeReadOnly = 12
	codeExists   = 14
	codeNoSecret = 16
)

// wantComplaint wants one line that starts as all do, says each of the words, and the exit code.
func wantComplaint(t *testing.T, stderr string, code, wantCode int, words ...string) {
	t.Helper()
	if code != wantCode {
		t.Errorf("exit code %d, want %d: %s", code, wantCode, stderr)
	}
	if !strings.HasPrefix(stderr, "salliefs: ") || strings.Count(stderr, "\n") != 1 || !strings.HasSuffix(stderr, "\n") {
		t.Errorf("want one line that begins with \"salliefs: \", got %q", stderr)
	}
	for _, word := range words {
		if !strings.Contains(stderr, word) {
			t.Errorf("the complaint does not say %q: %s", word, stderr)
		}
	}
}

// TestBadInput gives the command what people give it by mistake. Each gets one line, an exit code
// of its own kind, and leaves the disk as it was.
func TestBadInput(t *testing.T) {
	mounttest.NeedMount(t, "command")
	s := mounttest.Init(t, mounttest.Options{})
	dir := filepath.Dir(s.Dir)
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(
		os.Mkdir(at("empty"), 0o755),
		os.MkdirAll(at("full/of"), 0o755),
		os.WriteFile(at("file"), []byte("x"), 0o644),
		os.WriteFile(at("wrong"), []byte("not the password\n"), 0o644),
		os.WriteFile(at("nothing"), nil, 0o644),
		os.MkdirAll(at("half"), 0o755),
	); err != nil {
		t.Fatal(err)
	}
	pw := []string{"--password-file", s.Password}
	args := func(head string, tail ...string) []string { return append(append([]string{head}, pw...), tail...) }
	for _, c := range []struct {
		name  string
		args  []string
		code  int
		words []string
	}{
		{"mount what is no store", args("mount", at("full"), s.Mnt), codeNoStore, []string{"full"}},
		{"mount an empty directory", args("mount", at("empty"), s.Mnt), codeNoStore, []string{"empty"}},
		{"mount what is not there", args("mount", at("nowhere"), s.Mnt), codeNoStore, []string{"nowhere"}},
		{"mount a file", args("mount", at("file"), s.Mnt), codeNoStore, []string{"file"}},
		{"mount point missing", args("mount", s.Dir, at("nowhere")), codeMount, []string{"nowhere", "mkdir"}},
		{"mount point a file", args("mount", s.Dir, at("file")), codeMount, []string{"file"}},
		{"mount point not empty", args("mount", s.Dir, at("full")), codeMount, []string{"full", "not empty"}},
		{"mount point inside the store", args("mount", s.Dir, s.Dir), codeMount, nil},
		{"wrong password", []string{"mount", "--password-file", at("wrong"), s.Dir, s.Mnt}, codeWrong, []string{"wrong"}},
		{"empty password", []string{"mount", "--password-file", at("nothing"), s.Dir, s.Mnt}, codeNoSecret, []string{"empty"}},
		{"no password file", []string{"mount", "--password-file", at("nowhere"), s.Dir, s.Mnt}, codeNoSecret, []string{"nowhere"}},
		{"two arguments too few", args("mount"), codeUsage, []string{"STORE"}},
		{"unknown option", args("mount", "-o", "nonsense", s.Dir, s.Mnt), codeUsage, []string{"nonsense"}},
		{"unknown command", []string{"mont", s.Dir, s.Mnt}, codeUsage, []string{"mont"}},
		{"flag after the arguments", []string{"umount", s.Mnt, "--lazy"}, codeUsage, []string{"--lazy"}},
		{"umount what is not mounted", []string{"umount", s.Mnt}, codeMount, []string{"mounted"}},
		{"umount what is not there", []string{"umount", at("nowhere")}, codeMount, []string{"nowhere"}},
		{"init over a store", args("init", s.Dir), codeExists, nil},
		{"init over files", args("init", at("full")), codeExists, []string{"full"}},
		{"get what is not there", args("get", "-s", s.Dir, "no/such"), codeNotFound, []string{"no"}},
		{"get without a store", args("get", "no/such"), codeUsage, []string{"--store", "SALLIEFS_STORE"}},
		{"remove what is not there", args("rm", "-s", s.Dir, "no/such"), codeNotFound, []string{"no"}},
		{"bad compression", []string{"ns", "create", "--compression", "zip", "--password-file", s.Password, "-s", s.Dir, "x"}, codeUsage, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := mounttest.Scan(t, dir)
			out, errs, code := mounttest.Try(c.args...)
			wantComplaint(t, errs, code, c.code, c.words...)
			if out != "" {
				t.Errorf("a failure printed on standard output: %q", out)
			}
			for _, line := range mounttest.Diff(before, mounttest.Scan(t, dir), 0) {
				// The record engine rewrites its own files when a store is opened.
				if !isLockFile(line) && !strings.Contains(line, "mtime") && !strings.HasPrefix(line, `"store/records/`) {
					t.Errorf("the disk changed: %s", line)
				}
			}
		})
	}
}

// TestStoreInUse wants who comes second to be told who holds the store, and commands to go to that
// one.
func TestStoreInUse(t *testing.T) {
	mounttest.NeedMount(t, "holder")
	s := mounttest.New(t, mounttest.Options{})
	second := filepath.Join(filepath.Dir(s.Dir), "second")
	if err := os.Mkdir(second, 0o755); err != nil {
		t.Fatal(err)
	}
	_, errs, code := s.Try("mount", "--password-file", s.Password, s.Dir, second)
	wantComplaint(t, errs, code, codeInUse, s.Mnt)
	_, errs, code = s.Try("mount", "--password-file", s.Password, s.Dir, s.Mnt)
	if code != codeInUse && code != codeMount {
		t.Errorf("mounting over the mount: exit code %d, want %d or %d: %s", code, codeInUse, codeMount, errs)
	}
	if _, mounted := mounttest.MountAt(second); mounted {
		t.Error("the store is mounted twice")
	}
}

// TestBusyUnmount wants an unmount with a file open to say so and leave the mount as it is.
func TestBusyUnmount(t *testing.T) {
	mounttest.NeedMount(t, "unmounting")
	s := mounttest.New(t, mounttest.Options{})
	path := filepath.Join(s.Namespace(t, "ns"), "key")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, errs, code := s.Try("umount", s.Mnt)
	wantComplaint(t, errs, code, codeMount, "in use")
	if _, err := f.WriteString("still works"); err != nil {
		t.Errorf("after a refused unmount: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	s.Remount(t)
	if data, err := os.ReadFile(path); err != nil || string(data) != "still works" {
		t.Errorf("%q, %v", data, err)
	}
}

// TestOddKeys uses the commands on keys that look like options and on values larger than the quota.
func TestOddKeys(t *testing.T) {
	mounttest.NeedMount(t, "commands")
	s := mounttest.New(t, mounttest.Options{})
	for _, name := range []string{"mounted", "not mounted"} { // in this order
		t.Run(name, func(t *testing.T) {
			store := s.Mnt
			if name == "not mounted" {
				s.Unmount(t)
				store = s.Dir
			}
			flags := []string{"--password-file", s.Password, "-s", store}
			run := func(command string, tail ...string) string {
				t.Helper()
				return s.Run(t, append(append([]string{command}, flags...), tail...)...)
			}
			ns := strings.ReplaceAll(name, " ", "-")
			s.Run(t, append(append([]string{"ns", "create", "--quota", "1MiB"}, flags...), ns)...)
			for _, key := range []string{"--help", "-rf", "a b", "ünï", "deep/er/key"} {
				run("set", "--", ns+"/"+key, "-value of "+key)
				if got := run("get", "--", ns+"/"+key); got != "-value of "+key {
					t.Errorf("get %q: %q", key, got)
				}
			}
			if list := run("ls", ns); !strings.Contains(list, "--help") || !strings.Contains(list, "ünï") {
				t.Errorf("ls: %q", list)
			}
			large := filepath.Join(filepath.Dir(s.Dir), "large")
			if err := os.WriteFile(large, noise(1, 2<<20), 0o644); err != nil {
				t.Fatal(err)
			}
			value, err := os.Open(large)
			if err != nil {
				t.Fatal(err)
			}
			defer value.Close()
			_, errs, code := mounttest.TryWith(value, append(append([]string{"set"}, flags...), ns+"/large")...)
			wantComplaint(t, errs, code, codeNoSpace, "quota")
			if _, _, code := s.Try(append(append([]string{"get"}, flags...), ns+"/large")...); code != codeNotFound {
				t.Errorf("a value that was refused is there all the same: exit code %d", code)
			}
			run("rm", "--", ns+"/--help")
			if _, _, code := s.Try(append(append([]string{"get"}, flags...), "--", ns+"/--help")...); code != codeNotFound {
				t.Errorf("get of a removed key: exit code %d", code)
			}
		})
	}
}

// TestCommandsReachTheMount changes keys by command while the kernel has the old state in its caches.
func TestCommandsReachTheMount(t *testing.T) {
	mounttest.NeedMount(t, "commands")
	s := mounttest.New(t, mounttest.Options{})
	path := filepath.Join(s.Namespace(t, "ns"), "key")
	if _, err := os.Stat(path); !os.IsNotExist(err) { // the kernel remembers that it is not there
		t.Fatal(err)
	}
	see := func(want string) {
		t.Helper()
		var last string
		err := eventually(time.Minute, func() error {
			data, err := os.ReadFile(path)
			if last = string(data); err != nil || last != want {
				return errors.Join(err, errors.New("not yet"))
			}
			return nil
		})
		if err != nil {
			t.Errorf("the mount shows %q, want %q: %v", last, want, err)
		}
	}
	s.Run(t, "set", "-s", s.Mnt, "ns/key", "one")
	see("one")
	s.Run(t, "set", "-s", s.Mnt, "ns/key", "two, and longer")
	see("two, and longer")
	if err := os.WriteFile(path, []byte("by hand"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := s.Run(t, "get", "-s", s.Dir, "ns/key"); got != "by hand" {
		t.Errorf("get right after a write by hand: %q", got)
	}
	s.Run(t, "rm", "-s", s.Mnt, "ns/key")
	if err := eventually(time.Minute, func() error {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			return errors.New("it is still there")
		}
		return nil
	}); err != nil {
		t.Errorf("after rm: %v", err)
	}
}
