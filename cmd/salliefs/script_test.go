package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"salliefs/cmd/salliefs/internal/session"
)

var errUnknownCondition = errors.New("unknown condition; there are fuse, root and device")

// mountable says why this machine can not mount, or nothing.
func mountable() string {
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return err.Error()
	}
	f.Close()
	if _, err := exec.LookPath("fusermount3"); err != nil && os.Geteuid() != 0 {
		return "fusermount3 is not installed"
	}
	return ""
}

// canMakeDevice says whether device nodes can be made and opened in dir.
func canMakeDevice(dir string) bool {
	name := filepath.Join(dir, "null")
	if unix.Mknod(name, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))) != nil {
		return false
	}
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// setup gives a script a home of its own, and takes every mount and daemon away that it leaves.
func setup(env *testscript.Env) error {
	runtime := filepath.Join(env.WorkDir, ".run")
	if err := os.Mkdir(runtime, 0o700); err != nil {
		return err
	}
	env.Setenv("XDG_RUNTIME_DIR", runtime)
	env.Setenv("NO_COLOR", "1")
	env.Setenv("SALLIEFS_STORE", "")
	if limit := os.Getenv("GORACE"); limit != "" {
		env.Setenv("GORACE", limit)
	}
	work := env.WorkDir
	env.Values[held{}] = map[string]*os.File{}
	env.Defer(func() {
		for _, f := range env.Values[held{}].(map[string]*os.File) {
			f.Close()
		}
		for _, at := range mountsBelow(work) {
			pid := holderOf(at)
			if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
				exec.Command("fusermount3", "-u", "-z", at).Run()
			}
			if pid > 1 {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	})
	return nil
}

// mountsBelow lists the mounts at and in a directory, the innermost first.
func mountsBelow(dir string) []string {
	raw, _ := os.ReadFile("/proc/self/mounts")
	var found []string
	for line := range strings.Lines(string(raw)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1]+"/", dir+"/") {
			found = append(found, f[1])
		}
	}
	slices.Reverse(found)
	return found
}

// holderOf is the process that has a store open; 0 for none.
func holderOf(path string) int {
	i, err := session.Inspect(context.Background(), path)
	if err != nil && i.ID == "" || i.Holder == nil {
		return 0
	}
	return i.Holder.PID
}

// exits CODE program [arg...] runs a program, which must end with the exit code.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE program [arg...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
	if said := strings.TrimSpace(ts.ReadFile("stderr")); want != 0 && strings.Contains(said, "\n") && !strings.Contains(said, "warning:") {
		ts.Fatalf("the error has several lines")
	}
}

// shape FILE prints the JSON in FILE with each value replaced by its type.
func cmdShape(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: shape FILE")
	}
	var v any
	d := json.NewDecoder(strings.NewReader(ts.ReadFile(args[0])))
	ts.Check(d.Decode(&v))
	if d.More() {
		ts.Fatalf("more than one JSON value")
	}
	e := json.NewEncoder(ts.Stdout())
	e.SetIndent("", "  ")
	ts.Check(e.Encode(shapeOf(v)))
}

func shapeOf(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for k, x := range v {
			m[k] = shapeOf(x)
		}
		return m
	case []any:
		if len(v) == 0 {
			return []any{}
		}
		return []any{shapeOf(v[0])}
	case nil:
		return nil
	}
	return strings.Replace(fmt.Sprintf("%T", v), "float64", "number", 1)
}

// signal TERM|INT|KILL STORE signals the process that has a store open.
func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: signal SIGNAL STORE")
	}
	sig := unix.SignalNum("SIG" + args[0])
	pid := holderOf(ts.MkAbs(args[1]))
	if pid == 0 || sig == 0 {
		ts.Fatalf("signal %d, process %d", sig, pid)
	}
	ts.Check(syscall.Kill(pid, sig))
}

// patience is how long a script waits for what must happen at all.
const patience = time.Minute

// ended STORE waits until nobody has the store open.
func cmdEnded(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] ended STORE")
	}
	dir := ts.MkAbs(args[0])
	if neg {
		time.Sleep(300 * time.Millisecond)
		if holderOf(dir) == 0 {
			ts.Fatalf("nobody has %s open", dir)
		}
		return
	}
	for deadline := time.Now().Add(patience); holderOf(dir) != 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("process %d still has %s open", holderOf(dir), dir)
		}
	}
}

// mounted DIR waits until something is mounted there.
func cmdMounted(ts *testscript.TestScript, neg bool, args []string) {
	at := ts.MkAbs(args[0])
	for deadline := time.Now().Add(patience); !slices.Contains(mountsBelow(filepath.Dir(at)), at); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("nothing is mounted at %s", at)
		}
	}
}

type held struct{}

// hold FILE keeps a file open, so that the mount that it is on is in use.
func cmdHold(ts *testscript.TestScript, neg bool, args []string) {
	f, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Value(held{}).(map[string]*os.File)[args[0]] = f
}

// release FILE closes it.
func cmdRelease(ts *testscript.TestScript, neg bool, args []string) {
	files := ts.Value(held{}).(map[string]*os.File)
	ts.Check(files[args[0]].Close())
	delete(files, args[0])
}

// logged FILE TEXT waits until a file has a text in it.
func cmdLogged(ts *testscript.TestScript, neg bool, args []string) {
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		b, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && bytes.Contains(b, []byte(args[1])) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s has no %q in it:\n%s", args[0], args[1], b)
		}
	}
}

// damage FILE... flips a bit in the middle of each file.
func cmdDamage(ts *testscript.TestScript, neg bool, args []string) {
	for _, pattern := range args {
		names, err := filepath.Glob(ts.MkAbs(pattern))
		ts.Check(err)
		if len(names) == 0 {
			ts.Fatalf("no file %s", pattern)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			ts.Check(err)
			b[len(b)/2] ^= 4
			ts.Check(os.WriteFile(name, b, 0o600))
		}
	}
}

// newer STORE makes a store look as if a later version had made it: the version is the number after the magic.
func cmdNewer(ts *testscript.TestScript, neg bool, args []string) {
	name := filepath.Join(ts.MkAbs(args[0]), "salliefs.store")
	b, err := os.ReadFile(name)
	ts.Check(err)
	binary.LittleEndian.PutUint32(b[16:], 999)
	ts.Check(os.WriteFile(name, b, 0o600))
}

// blob FILE SIZE makes a file of incompressible bytes, the same ones each time.
func cmdBlob(ts *testscript.TestScript, neg bool, args []string) {
	size, err := parseSize(args[1])
	ts.Check(err)
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{}).Read(b)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
}

// ! secret TEXT STORE fails if TEXT stands in the arguments or the environment of the process that has a store open.
func cmdSecret(ts *testscript.TestScript, neg bool, args []string) {
	if !neg || len(args) != 2 {
		ts.Fatalf("usage: ! secret TEXT STORE")
	}
	pid := holderOf(ts.MkAbs(args[1]))
	if pid == 0 {
		ts.Fatalf("nobody has %s open", args[1])
	}
	out, err := exec.Command("ps", "eww", "-p", strconv.Itoa(pid)).Output()
	if err == nil && !bytes.Contains(out, []byte("daemon "+ts.MkAbs(args[1]))) {
		ts.Fatalf("ps does not show the daemon:\n%s", out)
	}
	if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil && string(comm) != "salliefs\n" {
		ts.Fatalf("the daemon calls itself %q", comm)
	}
	if bytes.Contains(out, []byte(args[0])) {
		ts.Fatalf("ps shows %q", args[0])
	}
	for _, file := range []string{"cmdline", "environ"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if os.IsPermission(err) && os.Geteuid() != 0 {
			ts.Logf("/proc/%d/%s can not even be read by its own user", pid, file)
			continue
		}
		ts.Check(err)
		if file == "cmdline" && len(b) == 0 {
			ts.Fatalf("process %d has no arguments", pid)
		}
		if bytes.Contains(b, []byte(args[0])) {
			ts.Fatalf("%q stands in /proc/%d/%s", args[0], pid, file)
		}
	}
}
