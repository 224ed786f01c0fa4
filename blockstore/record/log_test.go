package record

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"salliefs/blockstore/record/disktest"
)

// TestLogFormat decodes the example in FORMAT.md, and encodes it again.
func TestLogFormat(t *testing.T) {
	text, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```hex commit\n(.*?)```").FindSubmatch(text)
	if m == nil {
		t.Fatal("there is no example")
	}
	example, err := hex.DecodeString(strings.Join(strings.Fields(string(m[1])), ""))
	if err != nil {
		t.Fatal(err)
	}
	sectors := make([]byte, sectorSize)
	copy(sectors, example)
	batch, ok := decodeCommit(bytes.Clone(sectors), 7)
	if want := []byte{0, 1, 2}; !ok || !bytes.Equal(batch, want) {
		t.Fatalf("the example is a batch of %x, %v", batch, ok)
	}
	if got := appendCommit(nil, 7, batch); !bytes.Equal(got, sectors) {
		t.Fatalf("encoded again it is %x", got)
	}
}

// part makes a sector of a commit of n sectors.
func part(number uint64, part, n uint32) sector {
	s := sector{state: written, number: number, part: part}
	if part == 0 {
		s.size = n*sectorPayload - commitHead
	}
	return s
}

// TestRecover: what a log means beside tables of a position. Each case gives the sectors of both files.
func TestRecover(t *testing.T) {
	none, odd := sector{}, sector{state: bad}
	whole := func(numbers ...uint64) (s []sector) {
		for _, n := range numbers {
			s = append(s, part(n, 0, 2), part(n, 1, 2))
		}
		return s
	}
	join := func(lists ...[]sector) (s []sector) {
		for _, l := range lists {
			s = append(s, l...)
		}
		return s
	}
	for _, c := range []struct {
		name     string
		files    [2][]sector
		position uint64
		want     string // replayed, place of the next one, torn; "" for damage
	}{
		{"nothing yet", [2][]sector{}, 0, "[] 0:0"},
		{"all in tables", [2][]sector{whole(1, 2)}, 2, "[] 1:0"},
		{"some in tables", [2][]sector{whole(1, 2, 3)}, 1, "[2 3] 0:6"},
		{"none in tables", [2][]sector{whole(1, 2, 3)}, 0, "[1 2 3] 0:6"},
		{"two files", [2][]sector{whole(4, 5), whole(2, 3)}, 1, "[2 3 4 5] 0:4"},
		{"an earlier turn behind", [2][]sector{whole(4, 2), whole(3)}, 3, "[4] 0:2"},
		{"torn, the first part is there", [2][]sector{join(whole(1), []sector{part(2, 0, 3), none, part(2, 2, 3)})}, 0, "[1] 0:2 torn 0:2"},
		{"torn, the first part is not there", [2][]sector{join(whole(1), []sector{none, part(2, 1, 3)})}, 0, "[1] 0:2 torn 0:2"},
		{"torn over an earlier turn", [2][]sector{join(whole(4), []sector{part(5, 0, 2), part(2, 1, 2)}), whole(3)}, 3, "[4] 0:2 torn 0:2"},
		{"torn at a turn", [2][]sector{{none, part(4, 1, 2)}, whole(2, 3)}, 3, "[] 0:0 torn 0:0"},
		{"torn, all in tables", [2][]sector{join(whole(1), []sector{part(2, 0, 2)})}, 1, "[] 1:0 torn 0:2"},
		{"behind it some of a longer one of its number", [2][]sector{join(whole(1, 2), []sector{none, part(2, 3, 5)})}, 0, "[1 2] 0:4"},
		{"bad where nothing is", [2][]sector{join(whole(1), []sector{none, odd})}, 0, "[1] 0:2"},
		{"bad in an earlier turn", [2][]sector{join(whole(3), []sector{none, odd}), join(whole(1), []sector{odd})}, 2, "[3] 0:2"},

		{"older than the tables", [2][]sector{whole(1, 2)}, 3, ""},
		{"empty beside tables", [2][]sector{}, 1, ""},
		{"a commit is missing", [2][]sector{whole(1, 3)}, 0, ""},
		{"the first one is missing", [2][]sector{whole(3)}, 1, ""},
		{"one before the last is torn", [2][]sector{join([]sector{part(1, 0, 2), none}, whole(2))}, 0, ""},
		{"bad in the last one", [2][]sector{join(whole(1), []sector{part(2, 0, 2), odd})}, 0, ""},
		{"bad in place of the first part of the last one", [2][]sector{join(whole(1), []sector{odd, part(2, 1, 2)})}, 0, ""},
		{"bad in one before", [2][]sector{join([]sector{odd, part(1, 1, 2)}, whole(2))}, 0, ""},
		{"bad in place of the last one", [2][]sector{join(whole(1), []sector{odd})}, 0, ""},
		{"bad in place of the only one", [2][]sector{{odd}}, 0, ""},
		{"bad at a turn", [2][]sector{whole(1), {odd}}, 0, ""},
		{"parts exchanged", [2][]sector{{part(1, 1, 2), part(1, 0, 2)}}, 0, ""},
		{"commits exchanged in part", [2][]sector{{part(1, 0, 2), part(2, 1, 2), part(2, 0, 2), part(1, 1, 2)}}, 0, ""},
		{"a part at another place", [2][]sector{join(whole(1), []sector{part(2, 0, 2), none, part(2, 1, 2)})}, 0, ""},
		{"a part in the other file", [2][]sector{join(whole(1), []sector{part(2, 0, 2)}), {none, part(2, 1, 2)}}, 0, ""},
		{"an earlier one is in both files", [2][]sector{whole(2, 3), whole(2)}, 3, ""},
		{"an earlier one is there twice", [2][]sector{whole(2, 2, 3)}, 3, ""},
		{"a part before the beginning", [2][]sector{{part(1, 1, 2)}}, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &logContent{found: make(map[uint64]*span), names: logNames}
			for file, sectors := range c.files {
				for at, s := range sectors {
					l.add(file, int64(at), s)
				}
			}
			r, err := l.recover(c.position)
			if c.want == "" {
				if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "commits-") {
					t.Fatalf("%v, want damage of a file", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			numbers := []uint64{}
			for _, e := range r.replay {
				numbers = append(numbers, e.number)
			}
			got := fmt.Sprintf("%v %d:%d", numbers, r.file, r.at)
			if r.torn != nil {
				got += fmt.Sprintf(" torn %d:%d", r.torn.file, r.torn.start)
			}
			if got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// TestLogTurns: the log stays small while tables are written, grows while they can not be, and shrinks again.
func TestLogTurns(t *testing.T) {
	d := testDisk(t)
	e, err := Open("/records", testOptions(d))
	if err != nil {
		t.Fatal(err)
	}
	size := func() (n int64) {
		for _, name := range logNames {
			info, err := d.Stat("/records/" + name)
			if err != nil {
				t.Fatal(err)
			}
			n += info.Size()
		}
		return n
	}
	step := 0
	commits := func(n int) {
		t.Helper()
		for range n {
			if err := put(e, step+1); err != nil {
				t.Fatal(err)
			}
			step++
		}
	}
	commits(400)
	if n := size(); n > 8*smallTables {
		t.Errorf("after %d commits of some kB the log takes %d bytes", step, n)
	}
	var full atomic.Bool
	full.Store(true)
	d.SetHook(func(op disktest.Op) error {
		if full.Load() && op.Kind == disktest.Create && strings.HasSuffix(op.Path, ".sst") {
			return syscall.ENOSPC
		}
		return nil
	})
	for put(e, step+1) == nil {
		step++
	}
	grown := size()
	crashed, err := Open("/records", testOptions(d.Crash(nil, 0)))
	if err != nil {
		t.Fatal(err)
	}
	if got := last(t, crashed); got != step {
		t.Errorf("step %d after a crash while tables could not be written, want %d", got, step)
	}
	if err := crashed.Close(); err != nil {
		t.Fatal(err)
	}
	full.Store(false)
	within(t, "going on", func() {
		for put(e, step+1) != nil {
		}
		step++
	})
	commits(400)
	if n := size(); n > 8*smallTables {
		t.Errorf("the log takes %d bytes, after it had grown to %d", n, grown)
	}
	for range 2 { // once after Close, once more
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if n := size(); n > 4*zeroAheadInMemory {
			t.Errorf("the log of a closed engine takes %d bytes", n)
		}
		if e, err = Open("/records", testOptions(d)); err != nil {
			t.Fatal(err)
		}
		if got := last(t, e); got != step {
			t.Fatalf("step %d, want %d", got, step)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestShrinkAfterTurn: the last commit filled a file, so that it has become the other one's turn when the engine is closed. If
// the power fails then, or the disk is full, the commit is not in both.
func TestShrinkAfterTurn(t *testing.T) {
	for name, full := range map[string]bool{"crash": false, "full disk": true} {
		t.Run(name, func(t *testing.T) {
			d := testDisk(t)
			e, err := Open("/records", testOptions(d))
			if err != nil {
				t.Fatal(err)
			}
			l, step := e.(*engine).log, 0
			for turn := l.turn; l.turn == turn || l.size.Load() <= 4*l.files[0].piece; step++ {
				turn = l.turn
				if err := put(e, step+1); err != nil {
					t.Fatal(err)
				}
				if step > 20_000 {
					t.Fatal("the log does not grow")
				}
			}
			made, after := 0, d
			d.SetHook(func(op disktest.Op) error {
				if op.Kind == disktest.Create && strings.HasSuffix(op.Path, newLog) {
					if made++; made == 2 && full {
						return syscall.ENOSPC
					} else if made == 2 {
						after = d.Crash(nil, 0)
					}
				}
				return nil
			})
			if err := e.Close(); err != nil || made != 2 {
				t.Fatalf("%d files were made again; error %v", made, err)
			}
			d.SetHook(nil)
			if e, err = Open("/records", testOptions(after)); err != nil {
				t.Fatalf("after step %d: %v", step, err)
			}
			if got := last(t, e); got != step {
				t.Errorf("opens at step %d, want %d", got, step)
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestTornIsWiped: what is left of a torn commit does not get in the way of a shorter one of the same number.
func TestTornIsWiped(t *testing.T) {
	d := testDisk(t)
	e, err := Open("/records", testOptions(d))
	if err != nil {
		t.Fatal(err)
	}
	if err := put(e, 1); err != nil {
		t.Fatal(err)
	}
	b := e.NewBatch(0)
	b.Set(testKey(99), 20<<10, func(dst []byte) []byte { return append(dst, make([]byte, 20<<10)...) })
	if err := commit(e, b); err != nil {
		t.Fatal(err)
	}
	d, number, wiped := d.Crash(nil, 0), e.(*engine).log.last, 0
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range logNames {
		b := content(t, d, name)
		for at := 0; at < len(b); at += sectorSize {
			if s := decodeSector(b[at:]); s.state == written && s.number == number && s.part < 20 {
				clear(b[at:][:sectorSize])
				wiped++
			}
		}
	}
	if wiped != 20 {
		t.Fatalf("%d sectors of the last commit were found", wiped)
	}
	for step := 2; step < 5; step++ {
		if e, err = Open("/records", testOptions(d)); err != nil {
			t.Fatal(err)
		}
		if err := put(e, step); err != nil {
			t.Fatal(err)
		}
		crashed := d.Crash(nil, 0)
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		d = crashed
	}
	if e, err = Open("/records", testOptions(d)); err != nil {
		t.Fatal(err)
	}
	if got := last(t, e); got != 4 {
		t.Errorf("step %d, want 4", got)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLogKeeps: a file of the log is used again when the tables hold what is in it, and not before.
func TestLogKeeps(t *testing.T) {
	fs := testDisk(t)
	d := newDisk(fs, "/records", nil, nil)
	l, err := createLog(d, 8<<10)
	if err != nil {
		t.Fatal(err)
	}
	var held uint64
	tables := func() uint64 { return held }
	batch := make([]byte, 3000)
	turns, made := 0, fs.Count(disktest.Rename)
	for n := range uint64(300) {
		if n%20 == 19 && (n < 100 || n > 200) { // between, files grow past what is used again
			held = n - 10
		}
		if err := l.reserve(len(batch), tables); err != nil {
			t.Fatal(err)
		}
		before := l.turn
		l.append(batch)
		l.takeTurns(tables)
		if l.turn != before {
			turns++
		}
		replayed, crashed := 0, newDisk(fs.Crash(nil, 0), "/records", nil, nil)
		if err := readLog(crashed, held, func([]byte) error { replayed++; return nil }); err != nil || uint64(replayed) != n+1-held {
			t.Fatalf("after commit %d, with %d in tables: %d replayed, %v", n+1, held, replayed, err)
		}
	}
	if turns < 5 || fs.Count(disktest.Rename) == made {
		t.Errorf("%d turns, %d new files", turns, fs.Count(disktest.Rename)-made)
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
}

// TestLogOnFullDisk: when there is no room to grow, the other file is used before its time.
func TestLogOnFullDisk(t *testing.T) {
	fs := testDisk(t)
	d := newDisk(fs, "/records", nil, nil)
	l, err := createLog(d, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	tables := func() uint64 { return l.last }
	batch := make([]byte, 3000)
	fs.Fill(0)
	n := 0
	for {
		if err := l.reserve(len(batch), tables); errors.Is(err, syscall.ENOSPC) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if l.append(batch); d.failure() != nil {
			t.Fatal(d.failure())
		}
		if n++; n == 1000 {
			tables = func() uint64 { return 0 } // it would go on for ever
		}
	}
	if n < 1000 {
		t.Errorf("%d commits on a full disk, although tables hold all that is in the other file", n)
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
}
