package integration_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"salliefs/integration/mounttest"
)

// A killWork is a program that works in a store until the daemon is killed. Its deeds are numbered from 1, over all rounds,
// and what deed n leaves behind is known from n alone.
type killWork struct {
	name    string
	program string // what has to be installed, as program of a package of Debian
	pkg     string
	synced  bool // a deed is durable when it is done; unless the round is a quiet one
	quiet   bool // also at work in rounds in which nobody syncs
	pause   time.Duration
	setup   func(dir string) error
	start   func(w *killWorker) (step func(n int) error, err error)
	check   func(c killCase) (found int, err error) // the last deed that is there
}

// A killWorker is a running killWork.
type killWorker struct {
	dir   string
	base  int    // the last deed that is there
	salt  uint64 // of the round
	quiet bool   // nobody syncs
}

var killWorks = []killWork{
	{name: "log0", synced: true, start: startLog, check: checkLog},
	{name: "log1", synced: true, start: startLog, check: checkLog},
	{name: "spool0", quiet: true, pause: 2 * time.Millisecond, setup: setupSpool, start: startSpool, check: checkSpool},
	{name: "spool1", quiet: true, pause: 5 * time.Millisecond, setup: setupSpool, start: startSpool, check: checkSpool},
	{name: "holder", quiet: true, pause: 5 * time.Millisecond, start: startHolder, check: checkHolder},
	{name: "git", program: "git", pkg: "git", synced: true, quiet: true, setup: setupGit, start: startGit, check: checkGit},
	{name: "sqlite-delete", program: "sqlite3", pkg: "sqlite3", synced: true, setup: setupSQLite, start: startSQLite, check: checkSQLite},
	{name: "sqlite-wal", program: "sqlite3", pkg: "sqlite3", synced: true, setup: setupSQLite, start: startSQLite, check: checkSQLite},
}

func killWorkNamed(name string) *killWork {
	for i := range killWorks {
		if killWorks[i].name == name {
			return &killWorks[i]
		}
	}
	return nil
}

// killWorking is the process of a killWork: NAME DIR LEDGER BASE SALT QUIET. It notes in the ledger, which is not in the
// mount, what it begins and what it was told is done.
func killWorking(args []string) error {
	work := killWorkNamed(args[0])
	base, err1 := strconv.Atoi(args[3])
	salt, err2 := strconv.ParseUint(args[4], 10, 64)
	quiet, err3 := strconv.ParseBool(args[5])
	ledger, err4 := os.OpenFile(args[2], os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	step, err := work.start(&killWorker{dir: args[1], base: base, salt: salt, quiet: quiet})
	if err != nil {
		return err
	}
	for n := base + 1; ; n++ {
		if err := note(ledger, "begun", n); err != nil {
			return err
		}
		if err := step(n); err != nil {
			return fmt.Errorf("deed %d: %w", n, err)
		}
		if err := note(ledger, "done", n); err != nil {
			return err
		}
		time.Sleep(work.pause)
	}
}

func note(ledger io.Writer, what string, n int) error {
	_, err := fmt.Fprintf(ledger, "%s %d %d\n", what, n, time.Now().UnixNano())
	return err
}

// deedBytes are up to most bytes that belong to deed n.
func deedBytes(n int, salt uint64, most int) []byte {
	rnd := rand.New(rand.NewPCG(uint64(n), salt))
	data := make([]byte, rnd.IntN(most+1))
	for i := range data {
		data[i] = byte(rnd.IntN(64)) + ' '
	}
	return data
}

// The log: a line for each deed, synced.

func killLine(n int) string {
	text := deedBytes(n, 1, 300)
	return fmt.Sprintf("%d %08x %s\n", n, crc32.ChecksumIEEE(text), text)
}

func startLog(w *killWorker) (func(int) error, error) {
	f, err := os.OpenFile(w.dir+"/log", os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	whole := 0
	for n := range w.base {
		whole += len(killLine(n + 1))
	}
	if err := f.Truncate(int64(whole)); err != nil { // a line that was cut short goes
		return nil, err
	}
	return func(n int) error {
		if _, err := f.WriteString(killLine(n)); err != nil {
			return err
		}
		return f.Sync()
	}, nil
}

// The spool: a deed writes a file beside and renames it over one of the slots, and syncs nothing.

const killSlots = 40

func killSlot(n int) string { return fmt.Sprintf("new/%02d", n*7%killSlots) }

// killMail is the file of deed n: its number, the length and checksum of what follows, and that.
func killMail(n int) []byte {
	most := 30_000
	if n%50 == 0 {
		most = 600_000
	}
	text := deedBytes(n, 2, most)
	return append(fmt.Appendf(nil, "%d %d %08x\n", n, len(text), crc32.ChecksumIEEE(text)), text...)
}

func setupSpool(dir string) error {
	return errors.Join(os.Mkdir(dir+"/new", 0o755), os.Mkdir(dir+"/tmp", 0o755))
}

func startSpool(w *killWorker) (func(int) error, error) {
	left, err := filepath.Glob(w.dir + "/tmp/*")
	for _, name := range left {
		err = errors.Join(err, os.Remove(name))
	}
	return func(n int) error {
		tmp := fmt.Sprintf("%s/tmp/%d", w.dir, n)
		f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		for data := killMail(n); len(data) > 0 && err == nil; {
			piece := data[:min(len(data), 50_000)]
			data = data[len(piece):]
			_, err = f.Write(piece)
		}
		slot := filepath.Join(w.dir, killSlot(n))
		if n > killSlots && n%3 == 0 && err == nil { // some close it afterwards
			return errors.Join(os.Rename(tmp, slot), f.Close())
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		return os.Rename(tmp, slot)
	}, err
}

// The holder: its files stay open, one without a name. A deed writes a record into each.

const killRecord = 1024

func heldRecord(n int, salt uint64) []byte {
	data := deedBytes(n, salt, killRecord)
	return append(data, make([]byte, killRecord-len(data))...)
}

func startHolder(w *killWorker) (func(int) error, error) {
	named, err1 := os.Create(w.dir + "/held")
	gone, err2 := os.Create(w.dir + "/gone")
	return func(n int) error {
		data, at := heldRecord(n, w.salt), int64(n-w.base-1)*killRecord
		_, err1 := named.WriteAt(data, at)
		_, err2 := gone.WriteAt(data, at)
		back := make([]byte, killRecord)
		_, err3 := gone.ReadAt(back, at)
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
		if !bytes.Equal(back, data) {
			return fmt.Errorf("the file without a name gives other bytes at %d", at)
		}
		return nil
	}, errors.Join(err1, err2, os.Remove(w.dir+"/gone"))
}

// git: a deed is a commit, now and then with a gc. Git itself does not sync the directories in which it renames, so that the
// worker does. In a quiet round git syncs nothing at all.

func killGit(dir string, args ...string) *exec.Cmd {
	cmd := mounttest.Command(dir, "git", args...)
	cmd.Env = append(cmd.Env, "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
	return cmd
}

func runGit(dir string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := killGit(dir, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return stdout.String(), nil
}

func setupGit(dir string) error {
	_, err1 := runGit(dir, "init", "-q", "-b", "main")
	_, err2 := runGit(dir, "config", "gc.auto", "0")
	return errors.Join(err1, err2)
}

func startGit(w *killWorker) (func(int) error, error) {
	// Whom a crash of the machine left with locks has to remove them, on any filesystem.
	err := filepath.WalkDir(w.dir+"/.git", func(path string, _ os.DirEntry, err error) error {
		if err == nil && (strings.HasSuffix(path, ".lock") || filepath.Base(path) == "gc.pid") {
			err = os.Remove(path)
		}
		return err
	})
	sync := "core.fsync=all"
	if w.quiet {
		sync = "core.fsync=none"
	}
	return func(n int) error {
		name := fmt.Sprintf("%s/d%d/f%d", w.dir, n%5, n%11)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, deedBytes(n, 3, 3000), 0o644); err != nil {
			return err
		}
		commands := [][]string{{"add", "-A"}, {"commit", "-q", "--allow-empty", "-m", strconv.Itoa(n)}}
		if n%12 == 0 {
			commands = append(commands, []string{"gc", "-q", "--prune=now"})
		}
		for _, args := range commands {
			if _, err := runGit(w.dir, append([]string{"-c", sync}, args...)...); err != nil {
				return err
			}
		}
		if w.quiet {
			return nil
		}
		return errors.Join(syncDir(w.dir+"/.git/refs/heads"), syncDir(w.dir+"/.git"))
	}, err
}

// SQLite: a deed is a transaction that adds a row, changes an old one and counts. Its end is what the name says of the
// journal: in mode delete SQLite does not sync the directory from which the journal goes, so that the worker does.

func sqliteMode(dir string) string {
	_, mode, _ := strings.Cut(filepath.Base(dir), "-")
	return mode
}

func setupSQLite(dir string) error {
	_, err := trySQL(dir+"/db", "pragma journal_mode="+sqliteMode(dir)+`;
		create table deed(n integer primary key, note text); create table total(n integer); insert into total values(0);`)
	return err
}

func startSQLite(w *killWorker) (func(int) error, error) {
	mode := sqliteMode(w.dir)
	cmd := exec.Command("sqlite3", "-bail", "-cmd", ".timeout 60000", w.dir+"/db")
	cmd.Stderr = os.Stderr
	in, err1 := cmd.StdinPipe()
	pipe, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		return nil, err
	}
	out := bufio.NewReader(pipe)
	ask := func(script, want string) error {
		if _, err := io.WriteString(in, script); err != nil {
			return err
		}
		switch line, err := out.ReadString('\n'); {
		case err != nil:
			return err
		case strings.TrimSpace(line) != want:
			return fmt.Errorf("sqlite3 answers %q, want %s", line, want)
		}
		return nil
	}
	if err := ask("pragma synchronous=full; pragma journal_mode="+mode+";\n", mode); err != nil {
		return nil, err
	}
	return func(n int) error {
		if err := ask(fmt.Sprintf(`begin immediate; insert into deed values(%[1]d, hex(randomblob(%[2]d)));
			update deed set note=hex(randomblob(%[2]d)) where n=1+abs(random())%%%[1]d;
			update total set n=n+1; commit; select %[1]d;
			`, n, 20+n%90), strconv.Itoa(n)); err != nil {
			return err
		}
		if mode == "delete" {
			return syncDir(w.dir)
		}
		return nil
	}, nil
}
