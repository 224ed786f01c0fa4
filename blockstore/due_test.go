package blockstore_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"salliefs/blockstore"
	"salliefs/blockstore/record/disktest"
	"salliefs/blockstore/storetest"
)

// TestGroupsAreOnTime: a group's time runs from its first change on, also while the commit before it takes long.
func TestGroupsAreOnTime(t *testing.T) { synctest.Test(t, testGroupsAreOnTime) }

func testGroupsAreOnTime(t *testing.T) {
	const interval = time.Second
	disk := disktest.New()
	s := storetest.Create(t, disk, storetest.Dir).Open(t, blockstore.Options{CommitInterval: interval})
	synctest.Wait() // until it has nothing of its own to do
	begun, slow := make(chan struct{}), atomic.Bool{}
	slow.Store(true)
	disk.SetHook(func(op disktest.Op) error {
		if op.Kind == disktest.Sync && strings.Contains(op.Path, "/records/") && slow.Swap(false) {
			close(begun)
			time.Sleep(interval)
		}
		return nil
	})
	put(t, s, key(1, 1), "in the slow commit")
	<-begun
	put(t, s, key(1, 2), "after it was sealed")
	start := time.Now()
	waitFor(t, func() bool { return s.Pending() == 0 })
	if age := time.Since(start); age > interval+waitStep {
		t.Errorf("committed at an age of %v, want %v", age, interval)
	}
	mustClose(t, s)
}

// TestDueAfterFailedSnapshot: a group that a change of the store's own records was the first in, in vain, has its time too.
func TestDueAfterFailedSnapshot(t *testing.T) {
	w := newFullWorld(t, blockstore.Options{CommitInterval: 10 * time.Millisecond}.Small())
	w.disk.SetCapacity(1 << 40)
	waitFor(t, func() bool { return w.s.Pending() == 0 })
	w.disk.Fill(0)
	for err := error(nil); err == nil; { // the log takes some
		_, err = w.s.Snapshot(time.Now().String())
	}
	w.disk.SetCapacity(1 << 40)
	put(t, w.s, key(1, 1), "x")
	waitFor(t, func() bool { return w.s.Pending() == 0 })
	mustClose(t, w.s)
}
