package fs

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"salliefs/blockstore"
	"salliefs/blockstore/storetest"
)

const (
	// crashShare is how many cuts a plain run makes; SALLIEFS_CRASH_CUTS says another number.
	crashShare = 1000
	// crashTries is how often a seed is tried again that SALLIEFS_CRASH_SEED gives: what works in the background does not do
	// the same each time.
	crashTries = 20
	// leastSites is how many sites there must be.
	leastSites = 30
)

// crashEnv gives a number from the environment.
func crashEnv(t *testing.T, name string) (uint64, bool) {
	v := os.Getenv(name)
	if v == "" {
		return 0, false
	}
	n, err := strconv.ParseUint(v, 10, 64)
	must(t, err)
	return n, true
}

// TestCrash cuts the power at random changes of the disk while random operations change the tree. Each time the store must
// open, be at one moment of its history, no older than the last sync that returned, and fit together.
func TestCrash(t *testing.T) {
	p := newCrashPlan(t)
	if seed, ok := crashEnv(t, "SALLIEFS_CRASH_SEED"); ok {
		for range crashTries {
			p.try(t, seed)
		}
		t.Logf("seed %d: %v, and no failure", seed, &p.report)
		return
	}
	want := crashShare
	if testing.Short() {
		want /= 8
	}
	seed := uint64(1) // the same in each plain run
	if n, ok := crashEnv(t, "SALLIEFS_CRASH_CUTS"); ok {
		want, seed = int(n), rand.Uint64()>>1
	}
	t.Logf("seeds from %d on", seed)
	said := time.Now()
	for ; p.report.cuts < want; seed++ {
		p.try(t, seed)
		if time.Since(said) > 10*time.Second {
			said = time.Now()
			t.Logf("%v", &p.report)
		}
	}
	t.Logf("%v:%s", &p.report, p.report.list())
	if want >= crashShare && len(p.report.sites) < leastSites {
		t.Errorf("the cuts came at %d sites, want %d", len(p.report.sites), leastSites)
	}
}

// try runs a history. One that fails is told in full, and as short as it can be made.
func (p *crashPlan) try(t *testing.T, seed uint64) {
	t.Helper()
	h, err := p.crash(seed, p.all())
	if err == nil {
		return
	}
	t.Errorf("seed %d, to be repeated with SALLIEFS_CRASH_SEED=%d: %v", seed, seed, err)
	t.Logf("after %d cuts: %v", p.report.cuts, &p.report)
	numbers, short, shortErr := p.shrink(seed, time.Minute)
	if shortErr != nil {
		t.Errorf("%d operations do it as well: %v", len(numbers), shortErr)
		h = short
	}
	for _, line := range h.trace {
		t.Log(line)
	}
	t.FailNow()
}

// TestCrashFindsBrokenOrder: a store that forgets what a crash needs does not survive TestCrash.
func TestCrashFindsBrokenOrder(t *testing.T) {
	for name, broken := range map[string]func(o blockstore.Options) blockstore.Options{
		"segment sync skipped": func(o blockstore.Options) blockstore.Options { return storetest.Break(o, true, false) },
		"records first":        func(o blockstore.Options) blockstore.Options { return storetest.Break(o, false, true) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newCrashPlan(t)
			p.broken = broken
			for seed := uint64(1); p.report.cuts < 1000; seed++ {
				if _, err := p.crash(seed, p.all()); err != nil {
					t.Logf("found by cut %d: %v", p.report.cuts, err)
					return
				}
			}
			t.Errorf("%d cuts found nothing", p.report.cuts)
		})
	}
}
