package integration_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"salliefs/integration/mounttest"
)

// TestSQLite writes a database while others read it, in both ways that SQLite keeps a
// journal. Every transaction moves an amount between rows, so that the sum tells
// whether a reader ever saw half of one.
func TestSQLite(t *testing.T) {
	mounttest.Need(t, "sqlite3", "sqlite3")
	s := mounttest.New(t, mounttest.Options{})
	dir := s.Namespace(t, "sqlite")
	for _, mode := range []string{"delete", "wal"} {
		t.Run(mode, func(t *testing.T) {
			db := filepath.Join(dir, mode+".db")
			const rows, start = 500, 1000
			if got := sql(t, db, fmt.Sprintf(`pragma journal_mode=%s;
				create table account(id integer primary key, amount integer, note text);
				with recursive n(i) as (select 1 union all select i+1 from n where i<%d)
				insert into account select i, %d, hex(randomblob(200)) from n;`, mode, rows, start)); strings.TrimSpace(got) != mode {
				t.Fatalf("journal_mode is %q, want %s", got, mode)
			}
			done := make(chan struct{})
			var readers sync.WaitGroup
			reads := make([]int, 3)
			for i := range reads {
				readers.Go(func() {
					for {
						out, err := trySQL(db, "select sum(amount), count(*) from account;")
						if err != nil {
							t.Errorf("reader: %v", err)
							return
						}
						if want := fmt.Sprintf("%d|%d", rows*start, rows); strings.TrimSpace(out) != want {
							t.Errorf("a reader saw %q, want %s", out, want)
							return
						}
						reads[i]++
						select {
						case <-done:
							return
						default:
						}
					}
				})
			}
			transactions := mounttest.Scale(150, 2000)
			var script strings.Builder
			for i := range transactions {
				fmt.Fprintf(&script, `begin immediate; update account set amount=amount-%[1]d, note=hex(randomblob(150)) where id=%[2]d;
					update account set amount=amount+%[1]d where id=%[3]d; commit;`, i, 1+i%rows, 1+(i*7+1)%rows)
			}
			sql(t, db, script.String())
			close(done)
			readers.Wait()
			t.Logf("%d transactions beside %v reads", transactions, reads)

			want := sql(t, db, "select sum(amount), total(id*amount), count(*) from account;")
			s.Remount(t)
			if got := sql(t, db, "pragma integrity_check;"); strings.TrimSpace(got) != "ok" {
				t.Errorf("integrity_check after a remount: %s", got)
			}
			if got := sql(t, db, "select sum(amount), total(id*amount), count(*) from account;"); got != want {
				t.Errorf("after a remount the rows give %s, want %s", got, want)
			}
			sql(t, db, "vacuum;")
			if got := sql(t, db, "pragma integrity_check;"); strings.TrimSpace(got) != "ok" {
				t.Errorf("integrity_check after vacuum: %s", got)
			}
			if size := sql(t, db, "pragma page_count;"); !isPositive(size) {
				t.Errorf("page_count is %q", size)
			}
		})
	}
}

func isPositive(s string) bool {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	return err == nil && n > 0
}

func sql(t *testing.T, db, script string) string {
	t.Helper()
	out, err := trySQL(db, script)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// trySQL runs a script in a process of its own, which waits up to a minute for another's lock.
func trySQL(db, script string) (string, error) {
	cmd := exec.Command("sqlite3", "-bail", "-cmd", ".timeout 60000", db)
	cmd.Stdin = strings.NewReader(script)
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := err.(*exec.ExitError); ok {
			return "", fmt.Errorf("sqlite3: %w: %s", err, exit.Stderr)
		}
		return "", err
	}
	return string(out), nil
}
