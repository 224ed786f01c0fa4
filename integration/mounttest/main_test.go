package mounttest

import (
	"os"
	"path/filepath"
	"testing"
)

// TestGivenBinaryIsCopied: a daemon that somebody runs from it is no daemon of the run.
func TestGivenBinaryIsCopied(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SALLIEFS_TEST_BINARY", self)
	root := t.TempDir()
	binary, err := build(root)
	if err != nil || filepath.Dir(binary) != root {
		t.Fatalf("the binary under test is %s, %v; want one in %s", binary, err, root)
	}
	if fi, err := os.Stat(binary); err != nil || fi.Mode().Perm()&0o111 != 0o111 {
		t.Errorf("%v, %v", fi, err)
	}
	if pids := processesOf(binary); len(pids) != 0 {
		t.Errorf("processes %v are taken for daemons of the run", pids)
	}
}
