package blockstore_test

import (
	"fmt"
	"testing"

	"salliefs/blockstore"
	"salliefs/blockstore/record/disktest"
	"salliefs/blockstore/storetest"
)

// TestSyncAhead: what SyncAhead has made durable is seen, survives a crash, and does not get in the way of what is done to the
// store before anybody settles it.
func TestSyncAhead(t *testing.T) {
	disk := disktest.New()
	st := storetest.Create(t, disk, storetest.Dir)
	s := st.Open(t, manual())
	value := func(i int) string { return fmt.Sprint("value ", i) }
	var last blockstore.BlockID
	then := []struct {
		name    string
		settles bool
		do      func(i int) error
	}{
		{"nothing", false, func(int) error { return nil }},
		{"Settle", true, func(int) error { s.Settle(); return nil }},
		{"Sync", false, func(int) error { return s.Sync() }},
		{"a snapshot", true, func(i int) error { _, err := s.Snapshot(fmt.Sprint("s", i)); return err }},
		{"another one", false, func(int) error { return s.SyncAhead() }},
		{"an update and Sync", true, func(i int) error { put(t, s, key(3, uint64(i)), value(i)); return s.Sync() }},
		{"a check", true, func(int) error { mustCheck(t, s); return nil }},
	}
	for i := range 5 * len(then) {
		if err := s.Update(func(tx *blockstore.Tx) error {
			if last != 0 {
				tx.FreeBlock(0, last)
			}
			last = tx.PutBlock(0, noise(i, 6000))
			tx.Put(key(1, uint64(i)), []byte(value(i)))
			tx.Put(key(2, 0), []byte(value(i)))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := s.SyncAhead(); err != nil {
			t.Fatal(err)
		}
		crashed := disk.Crash(nil, 0)
		want(t, s, blockstore.Live, key(2, 0), value(i))
		then := then[i%len(then)]
		if err := then.do(i); err != nil {
			t.Fatalf("%s: %v", then.name, err)
		}
		want(t, s, blockstore.Live, key(1, uint64(i)), value(i))
		if n := s.Pending(); then.settles && n != 0 {
			t.Errorf("%d bytes are pending after SyncAhead and %s", n, then.name)
		}
		after := (&storetest.Store{FS: crashed, Dir: storetest.Dir, Master: st.Master}).Open(t, manual())
		want(t, after, blockstore.Live, key(2, 0), value(i))
		mustCheck(t, after)
		mustClose(t, after)
	}
	mustCheck(t, s)
	mustClose(t, s)
}
