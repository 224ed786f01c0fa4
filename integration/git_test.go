package integration_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"salliefs/integration/mounttest"
)

// TestGit puts a part of Go's source under git's control: init, add, commit, branches, gc,
// fsck, clone, and the same state after remounts.
func TestGit(t *testing.T) {
	mounttest.Need(t, "git", "git")
	root := goroot(t)
	s := mounttest.New(t, mounttest.Options{})
	dir := s.Namespace(t, "git")
	repo := filepath.Join(dir, "repo")
	git := func(args ...string) string {
		t.Helper()
		cmd := mounttest.Command(repo, "git", args...)
		cmd.Env = append(cmd.Env, "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
		return mounttest.Output(t, cmd)
	}
	clean := func(when string) {
		t.Helper()
		if status := git("status", "--porcelain"); status != "" {
			t.Errorf("%s: git status: %.500s", when, status)
		}
		git("fsck", "--full", "--strict")
	}
	if err := os.Mkdir(repo, 0o755); err != nil {
		t.Fatal(err)
	}
	git("init", "-q", "-b", "main")
	copyTree(t, filepath.Join(root, "src"), repo, "encoding", "net", "os")
	git("add", "-A")
	git("commit", "-q", "-m", "one")
	clean("after a commit")
	s.Remount(t)
	clean("after a remount")

	git("checkout", "-q", "-b", "other")
	git("rm", "-rq", "net/http")
	git("mv", "os", "moved")
	if err := appendTo(filepath.Join(repo, "encoding", "encoding.go"), "// changed\n"); err != nil {
		t.Fatal(err)
	}
	git("commit", "-aqm", "two")
	git("checkout", "-q", "main")
	git("merge", "-q", "--no-ff", "-m", "three", "other")
	git("gc", "-q", "--prune=now")
	clean("after gc")
	head := git("rev-parse", "HEAD")
	s.Remount(t)
	clean("after gc and a remount")

	git("clone", "-q", "--no-hardlinks", repo, filepath.Join(dir, "copy"))
	git("clone", "-q", repo, filepath.Join(dir, "linked")) // objects are hard links
	for _, clone := range []string{"copy", "linked"} {
		if got := git("-C", filepath.Join(dir, clone), "rev-parse", "HEAD"); got != head {
			t.Errorf("%s: head %s, want %s", clone, got, head)
		}
		git("-C", filepath.Join(dir, clone), "fsck", "--full")
		if files := git("-C", filepath.Join(dir, clone), "ls-files"); !strings.Contains(files, "moved/") || strings.Contains(files, "net/http/") {
			t.Errorf("%s: not the files of the merge", clone)
		}
	}
}
