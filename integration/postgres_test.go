package integration_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"salliefs/integration/mounttest"
)

// postgres is a database cluster in the mount and the user who owns it: PostgreSQL refuses to
// run as root.
type postgres struct {
	bin  map[string]string
	data string
	sock string
	cred *syscall.Credential
}

// TestPostgres makes a cluster, runs pgbench on it, stops it, and finds the books balanced
// after a remount.
func TestPostgres(t *testing.T) {
	pg := &postgres{bin: map[string]string{}}
	for _, name := range []string{"initdb", "pg_ctl", "pgbench", "psql"} {
		pg.bin[name] = postgresProgram(t, name)
	}
	var opts mounttest.Options
	if os.Geteuid() == 0 {
		pg.cred = nobody(t)
		opts.Mount = []string{"-o", "allow_other"}
	}
	s := mounttest.New(t, opts)
	// Its own directory for the socket: a path of a socket must be short.
	sock, err := os.MkdirTemp("", "pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sock) })
	pg.sock, pg.data = sock, filepath.Join(s.Namespace(t, "postgres"), "data")
	for _, dir := range []string{sock, filepath.Dir(pg.data)} {
		if err := os.Chown(dir, pg.uid(), -1); err != nil {
			t.Fatal(err)
		}
	}

	pg.run(t, "initdb", "-D", pg.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale")
	pg.start(t)
	seconds, scale := mounttest.Scale(6, 120), mounttest.Scale(2, 20)
	pg.run(t, "pgbench", "-h", sock, "-U", "postgres", "-i", "-q", "-s", fmt.Sprint(scale), "postgres")
	report := pg.run(t, "pgbench", "-h", sock, "-U", "postgres", "-c", "8", "-j", "2", "-T", fmt.Sprint(seconds), "postgres")
	done := transactions(t, report)
	t.Logf("%d transactions in %d s", done, seconds)
	pg.balanced(t, done)
	pg.stop(t)

	s.Remount(t)
	pg.start(t)
	pg.balanced(t, done)
	// Reads every page of every table, and its toast tables.
	pg.sql(t, "select sum(hashtext(a::text)) from pgbench_accounts a")
	pg.sql(t, "reindex database postgres")
	pg.balanced(t, done)
	pg.stop(t)
}

// postgresProgram finds a program of PostgreSQL, also where Debian puts those that are not
// for everybody.
func postgresProgram(t *testing.T, name string) string {
	t.Helper()
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name); len(found) > 0 {
		return found[len(found)-1]
	}
	return mounttest.Need(t, name, "postgresql postgresql-contrib")
}

// nobody is the ordinary user that tests become when they are root.
func nobody(t *testing.T) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Skipf("no user nobody to become: %v", err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err1 != nil || err2 != nil {
		t.Skipf("user nobody has the IDs %s and %s", u.Uid, u.Gid)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func (pg *postgres) uid() int {
	if pg.cred == nil {
		return os.Getuid()
	}
	return int(pg.cred.Uid)
}

func (pg *postgres) command(program string, args ...string) *exec.Cmd {
	cmd := mounttest.Command(pg.sock, pg.bin[program], args...)
	cmd.Env = append(cmd.Env, "HOME="+pg.sock)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: pg.cred}
	return cmd
}

func (pg *postgres) run(t *testing.T, program string, args ...string) string {
	t.Helper()
	return mounttest.Output(t, pg.command(program, args...))
}

func (pg *postgres) sql(t *testing.T, query string) string {
	t.Helper()
	return strings.TrimSpace(pg.run(t, "psql", "-h", pg.sock, "-U", "postgres", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", query, "postgres"))
}

// start starts the server and takes it down when the test ends before it does.
func (pg *postgres) start(t *testing.T) {
	t.Helper()
	log := filepath.Join(pg.sock, "log")
	// Not Output: the server keeps what it inherits open, and waiting for the end of its output would not end.
	cmd := pg.command("pg_ctl", "-D", pg.data, "-w", "-l", log, "-o", "-k "+pg.sock+" -c listen_addresses= -c fsync=on", "start")
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(log)
		t.Fatalf("pg_ctl start: %v\n%s", err, said)
	}
	t.Cleanup(func() { pg.command("pg_ctl", "-D", pg.data, "-m", "immediate", "stop").Run() })
}

func (pg *postgres) stop(t *testing.T) {
	t.Helper()
	pg.run(t, "pg_ctl", "-D", pg.data, "-w", "-m", "fast", "stop")
	log, err := os.ReadFile(filepath.Join(pg.sock, "log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"PANIC", "could not fsync", "invalid page", "Input/output"} {
		if bytes.Contains(log, []byte(bad)) {
			t.Errorf("the server's log says %q:\n%s", bad, log)
		}
	}
}

// balanced wants the sums that every transaction of pgbench keeps equal to be equal, and one
// line of history for each transaction that was reported as done.
func (pg *postgres) balanced(t *testing.T, done int) {
	t.Helper()
	got := pg.sql(t, `select (select sum(abalance) from pgbench_accounts) = (select sum(bbalance) from pgbench_branches),
		(select sum(tbalance) from pgbench_tellers) = (select sum(bbalance) from pgbench_branches),
		(select sum(delta) from pgbench_history) = (select sum(bbalance) from pgbench_branches),
		(select count(*) from pgbench_history)`)
	if want := fmt.Sprintf("t|t|t|%d", done); got != want {
		t.Errorf("the books say %s, want %s", got, want)
	}
}

// transactions reads how many pgbench did.
func transactions(t *testing.T, report string) int {
	t.Helper()
	for _, line := range strings.Split(report, "\n") {
		if count, ok := strings.CutPrefix(line, "number of transactions actually processed: "); ok {
			n, err := strconv.Atoi(strings.TrimSpace(count))
			if err != nil || n == 0 {
				t.Fatalf("pgbench did %q transactions", count)
			}
			return n
		}
	}
	t.Fatalf("pgbench does not say how many transactions it did:\n%s", report)
	return 0
}
