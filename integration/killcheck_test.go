package integration_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A killCase is what is known of a killWork when the store is looked at after a kill. Of its deeds, those up to owed have to
// be there; those after begun can not be.
type killCase struct {
	dir   string
	salt  uint64
	base  int // what was there when the round began
	owed  int
	begun int
}

func (c killCase) judge(found int) error {
	switch {
	case found < c.owed:
		return fmt.Errorf("deeds %d to %d are lost", found+1, c.owed)
	case found > c.begun:
		return fmt.Errorf("deed %d is there, and the last that was begun is %d", found, c.begun)
	}
	return nil
}

// checkLog wants whole lines, in order. Only the last, which nobody was told is there, may have been cut short.
func checkLog(c killCase) (int, error) {
	data, err := os.ReadFile(c.dir + "/log")
	if err != nil && !(errors.Is(err, fs.ErrNotExist) && c.owed == 0) {
		return 0, err
	}
	found := 0
	for {
		line := killLine(found + 1)
		if !bytes.HasPrefix(data, []byte(line)) {
			if found < c.owed || len(data) > len(line) {
				return found, fmt.Errorf("line %d of %d that were synced is %.80q, want %.80q", found+1, c.owed, data, line)
			}
			return found, c.judge(found)
		}
		data = data[len(line):]
		found++
	}
}

// checkSpool wants each file to be whole, and all of them to be of one moment: the newest says how far the worker had come,
// and each slot holds what was last renamed over it by then.
func checkSpool(c killCase) (int, error) {
	found := 0
	slots := map[string]int{}
	list, err := os.ReadDir(c.dir + "/new")
	if err != nil {
		return 0, err
	}
	for _, e := range list {
		name := "new/" + e.Name()
		n, err := openMail(filepath.Join(c.dir, name))
		if err != nil {
			return 0, err
		}
		slots[name] = n
		found = max(found, n)
	}
	want := map[string]int{}
	for n := max(1, found-killSlots+1); n <= found; n++ {
		want[killSlot(n)] = n
	}
	for slot, n := range want {
		if slots[slot] != n {
			return found, fmt.Errorf("%s has file %d, and file %d was renamed over it before file %d was made", slot, slots[slot], n, found)
		}
	}
	if len(slots) != len(want) {
		return found, fmt.Errorf("%d slots, want %d", len(slots), len(want))
	}
	// What was not renamed may be of any length, but not unreadable.
	left, err := filepath.Glob(c.dir + "/tmp/*")
	for _, name := range left {
		_, readErr := os.ReadFile(name)
		err = errors.Join(err, readErr)
	}
	return found, errors.Join(err, c.judge(found))
}

// openMail reads a file of the spool, and wants what it says of itself to be true.
func openMail(path string) (n int, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	head, text, _ := bytes.Cut(data, []byte("\n"))
	var length int
	var sum uint32
	if _, err := fmt.Sscanf(string(head), "%d %d %x", &n, &length, &sum); err != nil {
		return 0, fmt.Errorf("%s, %d bytes, begins with %.60q: %w", path, len(data), head, err)
	}
	if len(text) != length || crc32.ChecksumIEEE(text) != sum || !bytes.Equal(data, killMail(n)) {
		return 0, fmt.Errorf("%s, number %d, is not whole: %d bytes, want %d", path, n, len(text), length)
	}
	return n, nil
}

// checkHolder wants what was written long enough ago into a file that stayed open. What came later may be there in part, as
// the kernel hands pages over in any order.
func checkHolder(c killCase) (int, error) {
	if _, err := os.Lstat(c.dir + "/gone"); !errors.Is(err, fs.ErrNotExist) && c.owed > c.base {
		return 0, fmt.Errorf("the file that was removed while it was open: %v", err)
	}
	data, err := os.ReadFile(c.dir + "/held")
	if err != nil && !(errors.Is(err, fs.ErrNotExist) && c.owed <= c.base) {
		return 0, err
	}
	for n := c.base + 1; n <= c.owed; n++ {
		at := (n - c.base - 1) * killRecord
		if want := heldRecord(n, c.salt); len(data) < at+killRecord || !bytes.Equal(data[at:at+killRecord], want) {
			return n - 1, fmt.Errorf("record %d of %d that had to be there is lost or different; the file has %d bytes", n-c.base, c.owed-c.base, len(data))
		}
	}
	return c.begun, nil // the next round begins another file
}

// checkGit wants a repository without a fault in which each commit follows the one before.
func checkGit(c killCase) (int, error) {
	if _, err := runGit(c.dir, "fsck", "--full", "--strict"); err != nil {
		return 0, err
	}
	if _, err := runGit(c.dir, "rev-parse", "-q", "--verify", "main"); err != nil { // no commit yet
		return 0, c.judge(0)
	}
	subjects, err := runGit(c.dir, "log", "--format=%s", "main")
	if err != nil {
		return 0, err
	}
	list := strings.Fields(subjects)
	for i, subject := range list {
		if n := len(list) - i; subject != strconv.Itoa(n) {
			return 0, fmt.Errorf("commit %d is called %q", n, subject)
		}
	}
	n := len(list)
	blob, err := runGit(c.dir, "show", fmt.Sprintf("main:d%d/f%d", n%5, n%11))
	if err == nil && blob != string(deedBytes(n, 3, 3000)) {
		err = fmt.Errorf("the file of commit %d has other bytes", n)
	}
	return n, errors.Join(err, c.judge(n))
}

// checkSQLite wants a database without a fault in which each transaction happened or did not.
func checkSQLite(c killCase) (int, error) {
	out, err := trySQL(c.dir+"/db", "pragma integrity_check; select count(*), coalesce(max(n), 0), (select n from total) from deed;")
	if err != nil {
		return 0, err
	}
	verdict, counts, _ := strings.Cut(strings.TrimSpace(out), "\n")
	var rows, last, total int
	if _, err := fmt.Sscanf(counts, "%d|%d|%d", &rows, &last, &total); err != nil || verdict != "ok" {
		return 0, fmt.Errorf("integrity_check: %.500s", out)
	}
	if rows != last || total != last {
		return last, fmt.Errorf("%d rows up to number %d, and the counter is %d", rows, last, total)
	}
	return last, c.judge(last)
}

// A ledger is what a worker noted in a round.
type ledger struct{ begun, done map[int]time.Time }

func readLedger(path string) (l ledger, err error) {
	l = ledger{map[int]time.Time{}, map[int]time.Time{}}
	f, err := os.Open(path)
	if err != nil {
		return l, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var what string
		var n int
		var at int64
		if _, err := fmt.Sscanf(lines.Text(), "%s %d %d", &what, &n, &at); err != nil {
			return l, fmt.Errorf("%s: %q: %w", path, lines.Text(), err)
		}
		map[string]map[int]time.Time{"begun": l.begun, "done": l.done}[what][n] = time.Unix(0, at)
	}
	return l, nil
}

// last is the last deed whose time is not after t.
func last(deeds map[int]time.Time, t time.Time) int {
	most := 0
	for n, at := range deeds {
		if n > most && !at.After(t) {
			most = n
		}
	}
	return most
}
