package integration_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"salliefs/integration/mounttest"
)

// stressOps is how many operations each process makes at the least, however slow the machine is.
const stressOps = 100

// TestStress has 8 processes change a tree at once, for SALLIEFS_STRESS ("5m"), else some seconds. They share directories, but
// each has files of its own, of which it knows what they hold: at each moment, at the end, and after the store was mounted again.
func TestStress(t *testing.T) {
	d := 3 * time.Second
	if v := os.Getenv("SALLIEFS_STRESS"); v != "" {
		var err error
		if d, err = time.ParseDuration(v); err != nil {
			t.Fatal(err)
		}
	}
	s := mounttest.New(t, mounttest.Options{})
	dir, notes := s.Namespace(t, "stress"), mounttest.Dir(t)
	for _, sub := range stressDirs[1:] {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d, %v", seed, d)
	atOnce(t, workers, func(i int) *exec.Cmd {
		return helper("stresser", dir, fmt.Sprint(i), fmt.Sprint(seed), d.String(), filepath.Join(notes, fmt.Sprint(i)))
	})
	if t.Failed() {
		return
	}
	want := map[string]string{}
	for i := range workers {
		list, err := os.ReadFile(filepath.Join(notes, fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(list)) {
			sum, name, _ := strings.Cut(strings.TrimSpace(line), " ")
			want[name] = sum
		}
	}
	for _, when := range []string{"at once", "after a remount"} {
		if got := sums(t, dir); !maps.Equal(got, want) {
			for name := range want {
				if got[name] != want[name] {
					t.Errorf("%s: %s has the sum %q, want %q", when, name, got[name], want[name])
				}
			}
			t.Errorf("%s: %d files, want %d", when, len(got), len(want))
		}
		s.Remount(t)
	}
	s.Unmount(t)
	s.Check(t, "--data")
}

// sums tells what the files below dir hold.
func sums(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		got[name] = sumOf(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func sumOf(b []byte) string { return fmt.Sprintf("%d-%x", len(b), sha256.Sum256(b)) }

var stressDirs = []string{"", "d", "e"}

// stresser is one of the processes: DIR NUMBER SEED TIME NOTES. It writes to NOTES what its files hold in the end.
func stresser(args []string) error {
	me, err1 := strconv.Atoi(args[1])
	seed, err2 := strconv.ParseUint(args[2], 10, 64)
	d, err3 := time.ParseDuration(args[3])
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	p := stressProcess{dir: args[0], me: me, rnd: rand.New(rand.NewPCG(seed, uint64(me))), files: map[string][]byte{}}
	for end := time.Now().Add(d); p.ops < stressOps || time.Now().Before(end); p.ops++ {
		if err := p.step(); err != nil {
			return fmt.Errorf("operation %d: %w", p.ops, err)
		}
	}
	var notes bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(p.files)) {
		if err := p.same(name); err != nil {
			return err
		}
		fmt.Fprintf(&notes, "%s %s\n", sumOf(p.files[name]), name)
	}
	return os.WriteFile(args[4], notes.Bytes(), 0o644)
}

// stressProcess knows what its files hold.
type stressProcess struct {
	dir   string
	me    int
	rnd   *rand.Rand
	files map[string][]byte
	ops   int
}

// any gives one of its names, which may be in use or not.
func (p *stressProcess) any() string {
	return filepath.Join(stressDirs[p.rnd.IntN(len(stressDirs))], fmt.Sprintf("%d-%d", p.me, p.rnd.IntN(6)))
}

func (p *stressProcess) path(name string) string { return filepath.Join(p.dir, name) }

// step makes one operation, and looks at what it is about.
func (p *stressProcess) step() error {
	name, other := p.any(), p.any()
	data, there := p.files[name]
	if !there {
		p.files[name] = noise(p.rnd.IntN(1<<20), 1+p.rnd.IntN(100_000))
		return os.WriteFile(p.path(name), p.files[name], 0o644)
	}
	if err := p.same(name); err != nil {
		return err
	}
	_, taken := p.files[other]
	switch op := p.rnd.IntN(10); {
	case op == 0:
		delete(p.files, name)
		return os.Remove(p.path(name))
	case op == 1 && name != other:
		p.files[other] = data
		delete(p.files, name)
		return os.Rename(p.path(name), p.path(other))
	case op == 2 && name != other && taken:
		p.files[name], p.files[other] = p.files[other], data
		return unix.Renameat2(unix.AT_FDCWD, p.path(name), unix.AT_FDCWD, p.path(other), unix.RENAME_EXCHANGE)
	case op == 3: // as editors do
		p.files[name] = noise(p.rnd.IntN(1<<20), 1+p.rnd.IntN(100_000))
		temp := p.path(fmt.Sprintf("%d.tmp", p.me))
		return errors.Join(writeSync(temp, p.files[name]), os.Rename(temp, p.path(name)))
	case op == 4:
		size := p.rnd.IntN(200_000)
		p.files[name] = append(bytes.Clone(data[:min(size, len(data))]), make([]byte, max(0, size-len(data)))...)
		return os.Truncate(p.path(name), int64(size))
	case op == 5:
		if err := makeAndRemove(p.path(fmt.Sprintf("%d.tree", p.me))); err != nil {
			return err
		}
	}
	return p.change(name, p.rnd.IntN(3) == 0)
}

// change writes into a file, or to its end.
func (p *stressProcess) change(name string, atEnd bool) error {
	data := bytes.Clone(p.files[name])
	off := len(data)
	if !atEnd {
		off = p.rnd.IntN(200_000)
	}
	b := noise(p.rnd.IntN(1<<20), 1+p.rnd.IntN(20_000))
	data = append(data, make([]byte, max(0, off+len(b)-len(data)))...)
	copy(data[off:], b)
	p.files[name] = data
	f, err := os.OpenFile(p.path(name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, int64(off))
	if err == nil && p.rnd.IntN(8) == 0 {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// same compares a file with what it must hold.
func (p *stressProcess) same(name string) error {
	got, err := os.ReadFile(p.path(name))
	if err == nil && !bytes.Equal(got, p.files[name]) {
		err = fmt.Errorf("%s has %d bytes, want %d others", name, len(got), len(p.files[name]))
	}
	return err
}
