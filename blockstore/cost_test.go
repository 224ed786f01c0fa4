package blockstore_test

import (
	"testing"
	"testing/synctest"
	"time"

	"salliefs/blockstore"
	"salliefs/blockstore/record/disktest"
	"salliefs/blockstore/storetest"
)

// TestCostOfSync: a small synced overwrite is one flush of the disk, and writes little. Now and then the record engine
// begins another log.
func TestCostOfSync(t *testing.T) {
	disk := disktest.New()
	s := storetest.Create(t, disk, storetest.Dir).Open(t, blockstore.Options{CommitInterval: time.Hour})
	var last blockstore.BlockID
	overwrite := func(i int) {
		t.Helper()
		if err := s.Update(func(tx *blockstore.Tx) error {
			if last != 0 {
				tx.FreeBlock(0, last)
			}
			last = tx.PutBlock(0, noise(i, 4096))
			tx.Put(key(1, 0), make([]byte, 150))
			tx.Put(key(1, uint64(1+i%500)), make([]byte, 150))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		mustSync(t, s)
	}
	flushes := func() int { return disk.Count(disktest.Sync) + disk.Count(disktest.SyncDir) }
	const n = 500
	single, most, written := 0, 0, disk.Written()
	for i := range n {
		before := flushes()
		overwrite(i)
		took := flushes() - before
		if took == 1 {
			single++
		}
		most = max(most, took)
	}
	each := (disk.Written() - written) / n
	t.Logf("%d of %d overwrites took one flush, one took %d; %d bytes each", single, n, most, each)
	if single < n*97/100 || each >= 16<<10 {
		t.Error("that is too much")
	}
	mustClose(t, s)
}

// TestIdle: a store that nobody uses does nothing to the disk.
func TestIdle(t *testing.T) { synctest.Test(t, testIdle) }

func testIdle(t *testing.T) {
	disk := disktest.New()
	s := storetest.Create(t, disk, storetest.Dir).Open(t, blockstore.Options{CommitInterval: 1})
	put(t, s, key(1, 1), "x")
	mustSync(t, s)
	mustReclaim(t, s)
	synctest.Wait()
	ops := disk.Count(disktest.Write) + disk.Count(disktest.Sync)
	for range 5 {
		mustSync(t, s)
		mustReclaim(t, s)
		time.Sleep(time.Hour)
	}
	if now := disk.Count(disktest.Write) + disk.Count(disktest.Sync); now != ops {
		t.Errorf("%d writes and syncs for nothing", now-ops)
	}
	mustClose(t, s)
}
