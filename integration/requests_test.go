package integration_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"salliefs/integration/mounttest"
)

// requestsPerFile is how many FUSE requests unpacking a small file may cost. The kernel asks
// 17.8 of a server that leaves everything to it.
const requestsPerFile = 11.5

// TestRequestsPerFile unpacks small files with tar and counts, with the server's own counters,
// what the kernel asks.
func TestRequestsPerFile(t *testing.T) {
	mounttest.NeedMount(t, "requests")
	mounttest.Need(t, "tar", "tar")
	const dirs, files = 40, 50
	scratch := mounttest.Dir(t)
	for d := range dirs {
		dir := fmt.Sprintf("%s/tree/dir%d", scratch, d)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for f := range files {
			if err := os.WriteFile(fmt.Sprintf("%s/file%d", dir, f), pattern(byte(f), int64(500+f*100)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	archive := filepath.Join(scratch, "tree.tar")
	mounttest.Sh(t, scratch, "tar", "-cf", archive, "tree")
	s := mounttest.New(t, mounttest.Options{})
	dir := s.Namespace(t, "untar")
	count := s.Requests(t, func() { mounttest.Sh(t, dir, "sh", "-c", "tar -xf "+archive+" && sync -f .") })
	// The kernel forgets inodes when it needs memory or somebody drops its caches, not because of tar.
	forgotten := count["FORGET"] + count["BATCH_FORGET"]
	delete(count, "FORGET")
	delete(count, "BATCH_FORGET")
	var sum uint64
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(count)) {
		sum += count[kind]
		if count[kind] > 0 {
			kinds = append(kinds, fmt.Sprintf("%s %.2f", kind, float64(count[kind])/(dirs*files)))
		}
	}
	per := float64(sum) / (dirs * files)
	t.Logf("%.2f requests for each of %d files: %s; %d FORGET", per, dirs*files, strings.Join(kinds, ", "), forgotten)
	if per > requestsPerFile {
		t.Errorf("%.2f requests for each small file of tar x, want at most %v", per, requestsPerFile)
	}
	if per < 1 {
		t.Errorf("%.2f requests for each file: the counters do not count", per)
	}
}

// TestCachedReadsAskNothing reads and stats files again: the kernel has all that it needs. What is
// left is one GETATTR a file: at a close the kernel forgets how many blocks a file has, as it does not
// count them itself.
func TestCachedReadsAskNothing(t *testing.T) {
	s := mounttest.New(t, mounttest.Options{})
	dir := s.Namespace(t, "cached")
	for i := range 200 {
		if err := os.WriteFile(fmt.Sprintf("%s/%d", dir, i), pattern(byte(i), 3000), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s.Remount(t)
	read := func() { mounttest.Scan(t, dir) }
	read()
	count := s.Requests(t, read)
	// Listing attributes' names is not cached by any kernel.
	delete(count, "LISTXATTR")
	delete(count, "GETXATTR")
	delete(count, "STATFS")
	delete(count, "FORGET") // the kernel needs memory
	delete(count, "BATCH_FORGET")
	if count["GETATTR"] > 210 {
		t.Errorf("%d GETATTR for 200 files", count["GETATTR"])
	}
	delete(count, "GETATTR")
	var sum uint64
	for kind, n := range count {
		if n > 0 {
			t.Logf("%s: %d", kind, n)
		}
		sum += n
	}
	if sum > 20 {
		t.Errorf("reading 200 files once more took %d requests, want nearly none", sum)
	}
}
