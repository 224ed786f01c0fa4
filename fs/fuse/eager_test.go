package fuse

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"

	"salliefs/fs"
)

// TestEagerCommits: a file that is written and synced by turns is committed before FSYNC comes, once; one that is written
// twice between syncs is not.
func TestEagerCommits(t *testing.T) {
	f := newFakeFS()
	s := mountFor(t, f, Options{})
	file, err := os.Create(filepath.Join(s.Mountpoint(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var mu sync.Mutex
	var ops []string // since the last FSYNC
	f.setHook(func(op string, _ fs.Ino) error {
		mu.Lock()
		defer mu.Unlock()
		ops = append(ops, op)
		return nil
	})
	page := make([]byte, 4096)
	// round writes some pages apart from each other, syncs, and gives the operations that this took.
	round := func(i, pages int) []string {
		mu.Lock()
		ops = nil
		mu.Unlock()
		for p := range pages {
			if _, err := file.WriteAt(page, int64(i%32+64*p)*4096); err != nil {
				t.Fatal(err)
			}
		}
		if err := file.Sync(); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(ops)
	}
	// A commit may be late, and then it is seen after FSYNC, or in the next round.
	const rounds = 200
	early := 0
	for i := range rounds {
		got := round(i, 1)
		if early += syncs(got); early > max(0, i+1-eagerStreak) || !slices.Contains(got, "fsync") {
			t.Fatalf("round %d, %d commits: %v", i, early, got)
		}
	}
	if early == 0 { // how many it are is for the machine to say: FSYNC may be read before the commit begins
		t.Error("no commit began before FSYNC")
	}
	t.Logf("%d of %d commits began before FSYNC", early, rounds)
	again := 0
	for i := range 20 {
		again += syncs(round(i, 2))
	}
	if again > 2 { // a late one, and one to learn that there are two writes now
		t.Errorf("two writes, again: %d commits", again)
	}
}

func syncs(ops []string) (n int) {
	for _, op := range ops {
		if op == "syncahead" {
			n++
		}
	}
	return n
}

// TestEagerGuess: a commit is due after the last request before FSYNC of a file that was synced after each write, and only
// then.
func TestEagerGuess(t *testing.T) {
	const ino, other = fs.Ino(5), fs.Ino(6)
	e := &eager{}
	due := func(what string, want bool) {
		t.Helper()
		if got := e.take(); got != want {
			t.Errorf("%s: due %v, want %v", what, got, want)
		}
		if e.take() {
			t.Errorf("%s: due twice", what)
		}
	}
	e.synced(ino)
	for i := range eagerStreak {
		e.wrote(ino, 4096, false)
		due(fmt.Sprint("write ", i), false)
		e.synced(ino)
	}
	e.wrote(ino, 4096, false)
	due("after the streak", true)
	e.wrote(ino, 4096, false)
	due("a second write", false)
	for range eagerStreak + 1 {
		e.synced(ino)
		e.wrote(ino, 4096, false)
	}
	due("a streak again", true)
	e.synced(ino)
	e.wrote(other, 4096, false)
	due("a write of another file", false)
	e.wrote(ino, eagerWrite+1, false)
	due("a large write", false)

	// The kernel has a new time to send before FSYNC.
	e = &eager{ino: ino, streak: eagerStreak, mtime: 1}
	e.wrote(ino, 4096, true)
	due("a write with a time to come", false)
	e.setTimes(&gofuse.SetAttrIn{SetAttrInCommon: gofuse.SetAttrInCommon{
		InHeader: gofuse.InHeader{NodeId: uint64(ino)}, Valid: gofuse.FATTR_MTIME, Mtime: 2,
	}})
	due("after the time", true)
}
