package fs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// outcome is what became of a mutation.
type outcome struct {
	refused error    // the store could not be opened
	errs    []error  // what reading said
	wrong   []string // what it gave and should not have
}

// damageKind is a kind of mutation, of which there are n.
type damageKind struct {
	name  string
	n     int
	try   func(i int) outcome
	share int // of the budget, beside that of others

	plenty bool // there are many, and they are cheap

	detail func(i int) string // nil: the number tells

	// unseen says why a mutation of this kind can not be found out about without something outside the store. Reading then
	// gives what was true earlier.
	unseen string
}

// one names a mutation.
func (k damageKind) one(i int) string {
	name := fmt.Sprintf("%s, %d of %d", k.name, i, k.n)
	if k.detail != nil {
		name += " (" + k.detail(i) + ")"
	}
	return name
}

// tally counts the outcomes of a kind.
type tally struct{ tried, right, refused, failed, wrong int }

// damageBudget is how many mutations TestEveryBit tries: what a test run has time for, or what `make bits` asks for.
func damageBudget(t *testing.T) int {
	s := os.Getenv("SALLIEFS_TEST_BITS")
	if s == "" {
		return 5_000
	}
	n, err := strconv.Atoi(s)
	must(t, err)
	return n
}

// divide says how often each kind is tried: by its share, but a kind of few mutations whole. What is left goes to those of which
// there are many.
func divide(kinds []damageKind, budget int) (tries []int) {
	shares := 0
	for _, k := range kinds {
		shares += k.share
	}
	left, room := budget, 0
	for _, k := range kinds {
		n := min(k.n, max(budget*k.share/shares, budget/4000, 1))
		tries = append(tries, n)
		left -= n
		if k.plenty {
			room += k.n - n
		}
	}
	for i, k := range kinds {
		if k.plenty && left > 0 {
			tries[i] += min(k.n-tries[i], int((int64(left)*int64(k.n-tries[i])+int64(room)-1)/int64(room)))
		}
	}
	return tries
}

// Limits of one mutation: what takes longer or more memory does not end, or has believed a number.
const (
	damagePatience = 10 * time.Minute // of the wall clock, on a machine that may be busy
	damageMemory   = 256 << 20
)

// TestEveryBit damages a small store with all kinds of content in each way, and reads all of it. What it says is true, or
// an error that names what is damaged.
func TestEveryBit(t *testing.T) {
	if testing.Short() {
		t.Skip("TestEveryBit tries 5,000 kinds of damage, which takes half a minute")
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	v := makeVictim(t)
	kinds := v.kinds()
	tries := divide(kinds, damageBudget(t))
	var all tally
	unseen := 0
	start, told := time.Now(), time.Now()
	for x, k := range kinds {
		n, from, sum, began := tries[x], rnd.IntN(k.n), tally{}, time.Now()
		for j := range n {
			i := (from + j*k.n/n) % k.n
			o := guarded(t, k, i)
			sum.add(o)
			if len(o.wrong) > 0 && k.unseen == "" && sum.wrong < 5 {
				t.Errorf("%s: wrong answers: %s", k.one(i), strings.Join(o.wrong[:min(4, len(o.wrong))], "; "))
			}
			if err := o.unnamed(); err != nil {
				t.Errorf("%s: an error that does not say where: %v", k.one(i), err)
			}
			if time.Since(told) > 10*time.Second {
				told = time.Now()
				fmt.Printf("%v: %d mutations, %d wrong answers; %s: %d of %d\n", time.Since(start).Round(time.Second), all.tried+sum.tried, all.wrong+sum.wrong, k.name, j+1, n)
			}
		}
		t.Logf("%-58s %7d of %8d: %7d right, %6d refused, %6d errors, %d wrong, %v", k.name, sum.tried, k.n, sum.right, sum.refused, sum.failed, sum.wrong, time.Since(began).Round(time.Millisecond))
		if k.unseen != "" {
			t.Logf("    it can not be told: %s", k.unseen)
			unseen += sum.wrong
			sum.wrong = 0
		}
		all.join(sum)
	}
	t.Logf("%d mutations in %v: %d right, %d refused, %d errors, %d wrong answers; %d that nothing inside a store can tell",
		all.tried, time.Since(start).Round(time.Second), all.right, all.refused, all.failed, all.wrong, unseen)
}

func (s *tally) add(o outcome) {
	s.tried++
	switch {
	case len(o.wrong) > 0:
		s.wrong++
	case o.refused != nil:
		s.refused++
	case len(o.errs) > 0:
		s.failed++
	default:
		s.right++
	}
}

func (s *tally) join(o tally) {
	s.tried += o.tried
	s.right += o.right
	s.refused += o.refused
	s.failed += o.failed
	s.wrong += o.wrong
}

// guarded tries a mutation, and fails the test if that has no end or takes much memory.
func guarded(t *testing.T, k damageKind, i int) outcome {
	hang := time.AfterFunc(damagePatience, func() { panic(k.one(i) + ": no end") })
	defer hang.Stop()
	defer func() {
		if p := recover(); p != nil {
			panic(fmt.Sprintf("%s: %v", k.one(i), p))
		}
	}()
	if last := os.Getenv("SALLIEFS_TEST_BITS_LAST"); last != "" { // for a panic of another goroutine
		must(t, os.WriteFile(last, fmt.Appendln(nil, k.one(i)), 0o600))
	}
	before := heapAllocated()
	o := k.try(i)
	if n := heapAllocated() - before; n > damageMemory {
		t.Errorf("%s: %d bytes of memory", k.one(i), n)
	}
	return o
}

func heapAllocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// namedPlace is what an error names: a file of the store, a record, a block, or a file in it.
var namedPlace = regexp.MustCompile(`/store/|^/store: |record engine in|record \(|record kind|block \d+ of namespace \d+|segment [0-9a-f]{16}|namespace \d+`)

// unnamed finds an error that does not say what is damaged.
func (o outcome) unnamed() error {
	if o.refused != nil && !namedPlace.MatchString(o.refused.Error()) {
		return o.refused
	}
	for _, err := range o.errs {
		if errors.Is(err, ErrNotExist) {
			continue // a wrong answer
		}
		var e *Error
		if !errors.As(err, &e) || e.where() == "" {
			return err
		}
	}
	return nil
}

// How a damaged store is read. Pebble takes some 50 ms to say that a block of a table is damaged, so that most of the time
// the third error is the last one.
type how struct {
	readOnly bool
	most     int // errors
}

// variant spreads the ways of reading over the mutations of a kind: one in so many is on a store open for writing.
func variant(i, writers int) how {
	h := how{readOnly: i*7919%writers != 0, most: 2}
	if i*104729%64 == 0 {
		h.most = 1000
	}
	return h
}

// try opens a damaged store and reads all of it. One that is opened for writing is closed and read once more.
func (v *victim) try(m image, want *tree, h how) outcome {
	disk := m.disk(v.tb)
	o := v.read(disk, want, h)
	if !h.readOnly && o.refused == nil {
		h.readOnly = true
		again := v.read(disk, want, h)
		o.wrong = append(o.wrong, again.wrong...)
	}
	return o
}

func (v *victim) read(disk vfs.FS, want *tree, h how) (o outcome) {
	st, f, err := v.open(disk, h.readOnly)
	if err != nil {
		return outcome{refused: err}
	}
	o = v.look(f, want, h.most)
	_ = f.Close() // what it says now is of no use to a reader
	_ = st.Close()
	return o
}

// look reads all of an open store.
func (v *victim) look(f *FS, want *tree, most int) (o outcome) {
	t := readTree(f, most)
	o.wrong = append(t.differs(want), t.lookups(f, most, want)...)
	o.errs = t.errs
	return o
}
