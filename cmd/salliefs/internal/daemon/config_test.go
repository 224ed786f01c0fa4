package daemon

import (
	"errors"
	"os"
	"testing"

	"salliefs/blockstore"
)

func TestWithin(t *testing.T) {
	for _, c := range []struct {
		path, dir string
		want      bool
	}{
		{"/a/b", "/a/b", true}, {"/a/b/c", "/a/b", true}, {"/a/bc", "/a/b", false}, {"/a", "/a/b", false}, {"/a", "/", true},
	} {
		if got := within(c.path, c.dir); got != c.want {
			t.Errorf("%s within %s: %v", c.path, c.dir, got)
		}
	}
}

func TestPrepareWithoutStore(t *testing.T) {
	c := Config{Store: t.TempDir(), Mountpoint: t.TempDir()}
	if err := c.Prepare(t.Context()); !errors.Is(err, blockstore.ErrNotStore) {
		t.Errorf("got %v", err)
	}
}

func TestUsersNamesThisProcess(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(dir + "/file")
	if err != nil {
		t.Fatal(err)
	}
	if got := Users(dir); len(got) != 1 {
		t.Errorf("with a file open: %q", got)
	}
	f.Close()
	if got := Users(dir); len(got) != 0 {
		t.Errorf("with no file open: %q", got)
	}
}
