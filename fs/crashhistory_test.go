package fs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"salliefs/blockstore"
	"salliefs/blockstore/record/disktest"
	"salliefs/blockstore/storetest"
)

// crashPlan says what histories are made of.
type crashPlan struct {
	base   *storetest.Store // a store on a disk, of which each history gets a copy
	start  *state
	ops    int // of one history
	oneIn  int // one of so many changes of the disk is a cut
	broken func(o blockstore.Options) blockstore.Options

	report crashReport
}

// crashReport counts.
type crashReport struct {
	histories, ops, changes, cuts, again int
	sites                                map[string]int
}

// history drives a tree with random operations, knows what it must hold after each, and cuts the power now and then.
type history struct {
	*FS
	st    *blockstore.Store
	plan  *crashPlan
	sim   *disktest.Disk
	clock *fakeClock
	opts  Options
	store blockstore.Options
	rnd   *rand.Rand // of the present operation
	now   *state
	past  []*state // after step i
	refs  map[Ino]int
	trace []string // what was done

	beside sync.WaitGroup // syncs

	started, synced atomic.Int64 // the newest step that was begun, and that is known to be durable

	mu     sync.Mutex // guards what the hook uses
	cutRnd *rand.Rand
	cuts   []powerCut
}

// powerCut is a disk as the power left it, and the steps of which it must be at one.
type powerCut struct {
	disk           *disktest.Disk
	site           string
	synced, newest int64
	again          int // the change during recovery at which the power goes again; 0: never
	seed           uint64
}

// newCrashPlan makes the store that histories start from: two namespaces, a directory.
func newCrashPlan(tb testing.TB) *crashPlan {
	tb.Helper()
	p := &crashPlan{ops: 150, oneIn: 8, report: crashReport{sites: make(map[string]int)}}
	sim := disktest.New()
	p.base = storetest.Create(tb, sim, storetest.Dir)
	h := &history{plan: p, clock: newClock()}
	h.opts = Options{Clock: h.clock.Now}
	h.use(sim)
	must(tb, h.open())
	for _, name := range []string{"n1", "n2"} {
		a, err := h.Mkdir(RootIno, name, 0o755, Cred{})
		must(tb, err)
		_, err = h.Mkdir(a.Ino, "d", 0o755, Cred{})
		must(tb, err)
	}
	var err error
	p.start, err = loadState(h.FS)
	must(tb, err)
	must(tb, h.close())
	p.base.FS = sim
	return p
}

func (p *crashPlan) newHistory(seed uint64) *history {
	setup := rand.New(rand.NewPCG(seed, 1))
	h := &history{
		plan: p, clock: newClock(), now: p.start, past: []*state{p.start}, refs: make(map[Ino]int),
		cutRnd: rand.New(rand.NewPCG(seed, 2)),
	}
	h.clock.advance(time.Hour)
	h.opts = Options{Clock: h.clock.Now, CacheInodes: [...]int{1, 1 << 16}[setup.IntN(2)], Relatime: setup.IntN(2) == 0}
	// Some leave commits to Sync, some have all work in the background beside.
	h.store.CommitInterval = [...]time.Duration{time.Hour, time.Millisecond, 20 * time.Millisecond}[setup.IntN(3)]
	h.store = storetest.Small(h.store)
	if p.broken != nil {
		h.store = p.broken(h.store)
	}
	h.use(p.base.FS.(*disktest.Disk).Crash(setup, 100))
	return h
}

// use takes another disk.
func (h *history) use(sim *disktest.Disk) {
	h.sim = sim
	if h.cutRnd != nil {
		sim.SetHook(h.hook)
	}
}

// openOn opens the store of a disk to look at it.
func (h *history) openOn(sim *disktest.Disk) (*FS, *blockstore.Store, error) {
	o := h.opts
	o.Relatime = false // looking moves no times
	return h.openWith(sim, o)
}

func (h *history) openWith(sim *disktest.Disk, o Options) (*FS, *blockstore.Store, error) {
	disk := *h.plan.base
	disk.FS = sim
	st, err := disk.TryOpen(h.store)
	if err != nil {
		return nil, nil, err
	}
	f, err := Open(st, o)
	if err != nil {
		return nil, nil, errors.Join(err, st.Close())
	}
	f.aheadFrom = 20 << 10 // some of what is written
	return f, st, nil
}

func (h *history) open() (err error) {
	h.FS, h.st, err = h.openWith(h.sim, h.opts)
	return err
}

func (h *history) close() error {
	if h.FS == nil {
		return nil
	}
	h.beside.Wait()
	err := errors.Join(h.FS.Close(), h.st.Close())
	h.FS = nil
	return err
}

// hook cuts the power at some changes of the disk, and goes on: what the history does then did not happen for the cut.
func (h *history) hook(op disktest.Op) error {
	if !op.Kind.Changes() {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.plan.report.changes++
	oneIn := h.plan.oneIn
	if strings.Contains(op.Path, "/segments") { // there are fewer
		oneIn = (oneIn + 3) / 4
	}
	if h.cutRnd.IntN(oneIn) > 0 {
		return nil
	}
	percent := [...]int{0, 20, 50, 80, 100}[h.cutRnd.IntN(5)]
	c := powerCut{site: op.Site(), synced: h.synced.Load(), seed: h.cutRnd.Uint64()}
	if h.cutRnd.IntN(4) == 0 {
		c.again = 1 + h.cutRnd.IntN(30)
	}
	c.disk = h.sim.Crash(h.cutRnd, percent)
	c.newest = h.started.Load()
	h.cuts = append(h.cuts, c)
	return nil
}

// note says what an operation is about.
func (h *history) note(format string, args ...any) {
	last := &h.trace[len(h.trace)-1]
	*last = fmt.Sprintf("%s %s;", *last, fmt.Sprintf(format, args...))
}

// begin is the start of a step. A crash may find it from now on.
func (h *history) begin() *state {
	next := h.now.clone()
	next.step = len(h.past)
	h.past = append(h.past, next)
	h.started.Store(int64(next.step))
	return next
}

// end compares the tree's attributes with the next state's, which learns from the tree what is only the tree's to say: times,
// and what is a hole.
func (h *history) end(next *state) error {
	next.prune(func(ino Ino) bool { return h.refs[ino] > 0 })
	next.derive()
	for ino, n := range next.nodes {
		a, err := h.GetAttr(ino)
		if err != nil {
			return fmt.Errorf("inode %x: %w", uint64(ino), err)
		}
		a.Ino = 0
		if n == h.now.nodes[ino] {
			if a != n.attr {
				return fmt.Errorf("inode %x was not touched and has %+v, want %+v", uint64(ino), a, n.attr)
			}
			continue
		}
		want := a
		want.Mode, want.Nlink, want.UID, want.GID, want.Size = n.attr.Mode, n.attr.Nlink, n.attr.UID, n.attr.GID, n.attr.Size
		if a != want {
			return fmt.Errorf("inode %x has %+v, want %+v", uint64(ino), a, want)
		}
		n.attr = a
		if a.IsRegular() {
			if n.holes, err = loadHoles(h.FS, ino, n.data); err != nil {
				return fmt.Errorf("inode %x: %w", uint64(ino), err)
			}
		}
	}
	next.setSum()
	h.now = next
	return nil
}

// run makes the operations of a seed whose numbers are given; nil: all.
func (h *history) run(seed uint64, numbers []int) (err error) {
	defer func() {
		h.sim.SetHook(nil)
		err = errors.Join(err, h.close())
		if err == nil {
			err = h.verifyCuts()
		}
	}()
	if err := h.open(); err != nil {
		return err
	}
	for _, i := range numbers {
		h.rnd = rand.New(rand.NewPCG(seed, uint64(100+i)))
		op := crashOp(h.rnd)
		h.trace = append(h.trace, fmt.Sprintf("%4d: %s", i, crashMix[op].name))
		h.plan.report.ops++
		if err := crashMix[op].do(h); err != nil {
			return fmt.Errorf("step %d: %w", h.now.step, err)
		}
		h.mu.Lock()
		many := len(h.cuts) >= 16
		h.mu.Unlock()
		if many {
			if err := h.verifyCuts(); err != nil {
				return err
			}
		}
	}
	if err := h.durably(h.close()); err != nil {
		return err
	}
	_, err = h.verify(h.sim, func(f *FS) (*state, error) { return h.now, h.same(f, h.now) })
	return err
}

func crashOp(rnd *rand.Rand) int {
	total := 0
	for _, op := range crashMix {
		total += op.weight
	}
	x := rnd.IntN(total)
	for i, op := range crashMix {
		if x -= op.weight; x < 0 {
			return i
		}
	}
	panic("weights")
}

// verifyCuts looks at what the cuts left that were made so far.
func (h *history) verifyCuts() error {
	h.mu.Lock()
	cuts := h.cuts
	h.cuts = nil
	h.mu.Unlock()
	for _, c := range cuts {
		h.plan.report.cuts++
		h.plan.report.sites[c.site]++
		if err := h.survives(c); err != nil {
			return fmt.Errorf("power cut before %s, with steps %d to %d: %w", c.site, c.synced, c.newest, err)
		}
	}
	return nil
}

// survives opens the store of a cut, and finds out whether it is whole and at one moment of the history. The power may go
// once more meanwhile: then it is at the same moment.
func (h *history) survives(c powerCut) error {
	var second *disktest.Disk
	if c.again > 0 {
		second = h.cutAgain(c)
	}
	at, err := h.verify(c.disk, func(f *FS) (*state, error) { return h.find(f, c) })
	if err != nil || second == nil {
		return err
	}
	h.plan.report.again++
	_, err = h.verify(second, func(f *FS) (*state, error) { return at, h.same(f, at) })
	if err != nil {
		return fmt.Errorf("second power cut, at change %d of recovery: %w", c.again, err)
	}
	return nil
}

// cutAgain opens the store of a copy of a cut, and cuts the power again at a change that this makes to the disk.
func (h *history) cutAgain(c powerCut) (second *disktest.Disk) {
	rnd := rand.New(rand.NewPCG(c.seed, 3))
	first := c.disk.Crash(rnd, 100)
	var mu sync.Mutex
	n := 0
	first.SetHook(func(op disktest.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if op.Kind.Changes() {
			if n++; n == c.again {
				second = first.Crash(rnd, [...]int{0, 50, 100}[rnd.IntN(3)])
			}
		}
		return nil
	})
	if f, st, err := h.openOn(first); err == nil { // else the other copy tells
		f.background.Wait()
		_ = errors.Join(f.Close(), st.Close())
	}
	mu.Lock()
	defer mu.Unlock()
	return second
}

// verify opens the store of a disk, looks for the state it is at, and checks that all fits together and nothing is left over.
func (h *history) verify(sim *disktest.Disk, find func(f *FS) (*state, error)) (at *state, err error) {
	f, st, err := h.openOn(sim)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close(), st.Close()) }()
	if at, err = find(f); err != nil {
		return nil, err
	}
	f.background.Wait()
	return at, checkAll(f, st)
}

func checkAll(f *FS, st *blockstore.Store) error {
	var found []error
	note := func(what any) { found = append(found, fmt.Errorf("check: %+v", what)) }
	ctx := context.Background()
	found = append(found, f.Check(ctx, CheckOptions{}, func(p Problem) { note(p) }))
	found = append(found, st.Check(ctx, blockstore.CheckOptions{Data: true}, func(p blockstore.Problem) { note(p) }))
	for _, d := range st.Namespaces() {
		found = append(found, st.Scan(blockstore.Live, blockstore.MakeIno(d.ID, 1), kindOrphan, 0, func(n uint64, _ []byte) bool {
			note(fmt.Sprintf("inode %d of %q is left over", n, d.Name))
			return true
		}))
	}
	return errors.Join(found...)
}

// find tells which step a tree is at.
func (h *history) find(f *FS, c powerCut) (*state, error) {
	have, err := loadState(f)
	if err != nil {
		return nil, err
	}
	for i := c.newest; i >= c.synced; i-- {
		if h.past[i].sum == have.sum {
			return h.past[i], nil
		}
	}
	var best []string
	nearest := -1
	for i, s := range h.past {
		if d := have.compare(s); nearest < 0 || len(d) < len(best) {
			best, nearest = d, i
		}
	}
	if len(best) == 0 {
		return nil, fmt.Errorf("it is at step %d, want %d to %d", nearest, c.synced, c.newest)
	}
	return nil, fmt.Errorf("it is at no step from %d to %d; nearest is step %d: %s", c.synced, c.newest, nearest, some(best))
}

// same fails unless a tree is in a state.
func (h *history) same(f *FS, want *state) error {
	have, err := loadState(f)
	if err == nil && have.sum != want.sum {
		err = fmt.Errorf("it is not at step %d: %s", want.step, some(have.compare(want)))
	}
	return err
}

func some(list []string) string {
	if len(list) > 6 {
		list = append(list[:6:6], fmt.Sprintf("and %d more", len(list)-6))
	}
	return strings.Join(list, "; ")
}

// crash runs one history.
func (p *crashPlan) crash(seed uint64, numbers []int) (*history, error) {
	h := p.newHistory(seed)
	p.report.histories++
	return h, h.run(seed, numbers)
}

// all are the numbers of all operations.
func (p *crashPlan) all() []int {
	numbers := make([]int, p.ops)
	for i := range numbers {
		numbers[i] = i
	}
	return numbers
}

// shrink looks for fewer operations of a seed that fail as well, for some time. What works in the background does not do the
// same each time, so it may keep some that it could do without.
func (p *crashPlan) shrink(seed uint64, d time.Duration) ([]int, *history, error) {
	numbers := p.all()
	fails := func(numbers []int) (*history, error) {
		for range 3 {
			if h, err := p.crash(seed, numbers); err != nil {
				return h, err
			}
		}
		return nil, nil
	}
	var last *history
	var failure error
	end := time.Now().Add(d)
	for size := len(numbers) / 2; size > 0; size /= 2 {
		for at := 0; at < len(numbers) && time.Now().Before(end); {
			fewer := append(append([]int(nil), numbers[:at]...), numbers[min(at+size, len(numbers)):]...)
			if h, err := fails(fewer); err != nil {
				numbers, last, failure = fewer, h, err
			} else {
				at += size
			}
		}
	}
	return numbers, last, failure
}

func (r *crashReport) String() string {
	return fmt.Sprintf("%d cuts, %d of them with a second one during recovery, at %d sites, in %d changes of the disk by %d operations of %d histories",
		r.cuts, r.again, len(r.sites), r.changes, r.ops, r.histories)
}

// list tells how often each site was hit.
func (r *crashReport) list() string {
	var b strings.Builder
	for _, site := range slices.Sorted(maps.Keys(r.sites)) {
		fmt.Fprintf(&b, "\n%6d %s", r.sites[site], site)
	}
	return b.String()
}
