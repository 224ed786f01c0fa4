package integration_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"salliefs/integration/mounttest"
)

// killDeeds is how many deeds TestKillChecks looks at.
const killDeeds = 60

// TestKillChecks gives each check of TestKill what a worker leaves behind, on an ordinary disk, and then with faults of every
// kind: one that finds none of them proves nothing.
func TestKillChecks(t *testing.T) {
	for _, c := range []struct {
		work, fault string
		spoil       func(dir string) error
	}{
		{"log0", "", nil},
		{"log0", "a line is missing at the end", func(dir string) error { return cut(dir+"/log", len(killLine(killDeeds))) }},
		{"log0", "the last line is cut short", func(dir string) error { return cut(dir+"/log", 1) }},
		{"log0", "a line is missing within", func(dir string) error { return cutOut(dir+"/log", len(killLine(1)), len(killLine(2))) }},
		{"log0", "a byte is different", func(dir string) error { return flip(dir+"/log", 100) }},
		{"log0", "a line that nobody wrote", func(dir string) error { return appendTo(dir+"/log", killLine(killDeeds+1)) }},
		{"log0", "zeros follow", func(dir string) error { return appendTo(dir+"/log", string(make([]byte, 4096))) }},
		{"log0", "it is gone", func(dir string) error { return os.Remove(dir + "/log") }},

		{"spool0", "", nil},
		{"spool0", "a file is cut short", func(dir string) error { return cut(filepath.Join(dir, killSlot(killDeeds-3)), 1) }},
		{"spool0", "a file is empty", func(dir string) error { return os.Truncate(filepath.Join(dir, killSlot(killDeeds-3)), 0) }},
		{"spool0", "a byte is different", func(dir string) error { return flip(filepath.Join(dir, killSlot(killDeeds-3)), 20) }},
		{"spool0", "a rename is undone", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, killSlot(killDeeds-3)), killMail(killDeeds-3-killSlots), 0o644)
		}},
		{"spool0", "a file is gone", func(dir string) error { return os.Remove(filepath.Join(dir, killSlot(killDeeds-3))) }},
		{"spool0", "the last rename is undone", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, killSlot(killDeeds)), killMail(killDeeds-killSlots), 0o644)
		}},

		{"holder", "", nil},
		{"holder", "the end is missing", func(dir string) error { return cut(dir+"/held", 1) }},
		{"holder", "a byte is different", func(dir string) error { return flip(dir+"/held", 5*killRecord+1) }},
		{"holder", "the removed file is there", func(dir string) error { return os.WriteFile(dir+"/gone", nil, 0o644) }},

		{"git", "", nil},
		{"git", "the last commit is missing", func(dir string) error { _, err := runGit(dir, "reset", "-q", "--hard", "HEAD~1"); return err }},
		{"git", "an object is missing", func(dir string) error { return eachObject(dir, os.Remove) }},
		{"git", "an object is empty", func(dir string) error {
			return eachObject(dir, func(path string) error { return errors.Join(os.Chmod(path, 0o644), os.Truncate(path, 0)) })
		}},
		{"git", "the branch is empty", func(dir string) error { return os.WriteFile(dir+"/.git/refs/heads/main", nil, 0o644) }},

		{"sqlite-delete", "", nil},
		{"sqlite-delete", "the last transaction is missing", func(dir string) error {
			_, err := trySQL(dir+"/db", fmt.Sprintf("delete from deed where n=%d; update total set n=n-1;", killDeeds))
			return err
		}},
		{"sqlite-delete", "half of a transaction", func(dir string) error { _, err := trySQL(dir+"/db", "update total set n=n-1;"); return err }},
		{"sqlite-delete", "a page is zeros", func(dir string) error { return zeroPage(dir+"/db", 3) }},
		{"sqlite-delete", "the end is missing", func(dir string) error { return cut(dir+"/db", 4096) }},
		{"sqlite-wal", "", nil},
		{"sqlite-wal", "the journal is missing", func(dir string) error { return os.Remove(dir + "/db-wal") }},
	} {
		name := c.fault
		if name == "" {
			name = "whole"
		}
		t.Run(c.work+"/"+name, func(t *testing.T) {
			work := killWorkNamed(c.work)
			if work.program != "" {
				mounttest.Need(t, work.program, work.pkg)
			}
			dir := filepath.Join(t.TempDir(), work.name)
			begun := killDeeds
			if work.name == "git" {
				begun = 5 // they take long, and none has a gc
			}
			k := killCase{dir: dir, salt: 7, owed: begun, begun: begun}
			if err := leave(work, k); err != nil {
				t.Fatal(err)
			}
			if c.spoil == nil {
				if found, err := work.check(k); err != nil || found != begun {
					t.Errorf("of %d deeds %d are found, %v", begun, found, err)
				}
				return
			}
			if err := c.spoil(dir); err != nil {
				t.Fatal(err)
			}
			if found, err := work.check(k); err == nil {
				t.Errorf("it finds %d of %d deeds and no fault", found, begun)
			} else {
				t.Logf("%.200v", err)
			}
		})
	}
}

// leave does the deeds of a worker.
func leave(work *killWork, k killCase) error {
	if err := os.Mkdir(k.dir, 0o755); err != nil {
		return err
	}
	if work.setup != nil {
		if err := work.setup(k.dir); err != nil {
			return err
		}
	}
	step, err := work.start(&killWorker{dir: k.dir, salt: k.salt})
	for n := 1; n <= k.begun && err == nil; n++ {
		err = step(n)
	}
	return err
}

func cut(path string, n int) error {
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, fi.Size()-int64(n))
}

// cutOut takes n bytes out of a file.
func cutOut(path string, at, n int) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data[:at:at], data[at+n:]...), 0o644)
}

func flip(path string, at int) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	data[at] ^= 1
	return os.WriteFile(path, data, 0o644)
}

func zeroPage(path string, page int) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(make([]byte, 4096), int64(page)*4096)
	return errors.Join(err, f.Close())
}

// eachObject does something to the loose objects of a repository.
func eachObject(dir string, do func(path string) error) error {
	list, err := filepath.Glob(dir + "/.git/objects/??/*")
	if err == nil && len(list) == 0 {
		err = errors.New("there are no objects")
	}
	for _, path := range list {
		err = errors.Join(err, do(path))
	}
	return err
}
