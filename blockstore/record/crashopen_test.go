package record

import (
	"math/rand/v2"
	"sync"
	"testing"

	"salliefs/blockstore/record/disktest"
)

// TestCrashWhileOpening cuts the power at each change that opening an engine makes to the disk, several times: whatever
// subset of the changes of its directory comes to the disk, it opens again with all that was committed.
func TestCrashWhileOpening(t *testing.T) {
	d := testDisk(t)
	e, err := Open("/records", testOptions(d))
	if err != nil {
		t.Fatal(err)
	}
	if err := put(e, 1); err != nil {
		t.Fatal(err)
	}
	before := d.Crash(nil, 0)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	cuts := 0
	for seed := range uint64(10) {
		for _, c := range cutOpening(t, before, seed) {
			cuts++
			e, err := Open("/records", testOptions(c.disk))
			if err != nil {
				t.Fatalf("seed %d, power cut before %v: %v", seed, c.op, err)
			}
			if err := e.Get(testKey(1), func([]byte) error { return nil }); err != nil {
				t.Errorf("seed %d, power cut before %v: %v", seed, c.op, err)
			}
			if err := e.Close(); err != nil {
				t.Errorf("seed %d, power cut before %v: %v", seed, c.op, err)
			}
		}
	}
	t.Logf("%d cuts", cuts)
}

type openingCut struct {
	op   disktest.Op
	disk *disktest.Disk
}

// cutOpening opens and closes the engine of a copy of a disk, and gives what a power cut before each change would leave.
func cutOpening(t *testing.T, before *disktest.Disk, seed uint64) (cuts []openingCut) {
	t.Helper()
	var mu sync.Mutex
	rnd := rand.New(rand.NewPCG(seed, 1))
	d := before.Crash(nil, 0)
	d.SetHook(func(op disktest.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if op.Kind.Changes() {
			cuts = append(cuts, openingCut{op, d.Crash(rnd, 50)})
		}
		return nil
	})
	e, err := Open("/records", testOptions(d))
	if err == nil {
		err = e.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return cuts
}
