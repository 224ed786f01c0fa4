package integration_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"salliefs/integration/mounttest"
)

// TestModel does the same random operations in a namespace and in a directory of the
// machine's own filesystem, and wants the same results: the same bytes, the same
// errors, and in the end the same tree, also after a remount. The model is the
// filesystem that people know.
func TestModel(t *testing.T) {
	s := mounttest.New(t, mounttest.Options{})
	plain := mounttest.Dir(t)
	s.Namespace(t, "model")
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		m := &model{rt: rt, open: map[int][2]*os.File{}}
		m.roots = [2]string{
			filepath.Join(plain, fmt.Sprint(n)),
			filepath.Join(s.Mnt, "model", fmt.Sprint(n)),
		}
		for _, root := range m.roots {
			if err := populate(root); err != nil {
				rt.Fatal(err)
			}
		}
		defer m.closeAll()
		actions := m.actions()
		actions["remount"] = func(rt *rapid.T) {
			// Rare: a remount costs as much as thousands of the other operations.
			if rapid.IntRange(0, 30).Draw(rt, "remount if 0") != 0 {
				rt.Skip()
			}
			m.closeAll()
			s.Remount(t)
		}
		rt.Repeat(actions)
		m.closeAll()
		m.compare("at the end")
		if n%8 == 0 {
			s.Remount(t)
			m.compare("after a remount")
		}
		for _, root := range m.roots {
			if err := os.RemoveAll(root); err != nil {
				rt.Fatal(err)
			}
		}
	})
}

// populate is what every run starts with.
func populate(root string) error {
	for _, dir := range []string{"", "d", "d/e", "e"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	for i, file := range []string{"a", "d/a", "d/e/a", "e/a"} {
		if err := os.WriteFile(filepath.Join(root, file), pattern(byte(i), int64(i)*100_000), 0o644); err != nil {
			return err
		}
	}
	return os.Symlink("a", filepath.Join(root, "c"))
}

// model is one run of random operations on two directories: the model's and ours.
type model struct {
	rt    *rapid.T
	roots [2]string
	open  map[int][2]*os.File // handles, which outlive the names they were opened by
}

// both does one operation in each directory and compares what they tell.
func (m *model) both(what string, do func(root string) string) {
	m.rt.Helper()
	want, got := do(m.roots[0]), do(m.roots[1])
	m.rt.Logf("%s → %s", what, clip(want))
	if got != want {
		m.rt.Fatalf("%s\n got %s\nwant %s", what, clip(got), clip(want))
	}
}

// compare wants both trees to be the same. Times are compared when they are set.
func (m *model) compare(when string) {
	m.rt.Helper()
	var trees [2]mounttest.Tree
	for i, root := range m.roots {
		tree, err := mounttest.TryScan(root)
		if err != nil {
			m.rt.Fatalf("%s: %v", when, err)
		}
		trees[i] = tree
	}
	for _, line := range mounttest.Diff(trees[0], trees[1], mounttest.Times) {
		m.rt.Errorf("%s: %s", when, line)
	}
}

func (m *model) closeAll() {
	for slot, pair := range m.open {
		for _, f := range pair {
			f.Close()
		}
		delete(m.open, slot)
	}
}

// clip shortens what would fill the screen.
func clip(s string) string {
	if len(s) > 200 {
		return fmt.Sprintf("%s… (%d bytes)", s[:200], len(s))
	}
	return s
}
