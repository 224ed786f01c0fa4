package blockstore_test

import (
	"context"
	"strings"
	"testing"

	"salliefs/blockstore"
	"salliefs/blockstore/record/disktest"
	"salliefs/blockstore/segment"
	"salliefs/blockstore/storetest"
)

// problems lists what Check finds.
func problems(t *testing.T, s *blockstore.Store, data bool) (found []string) {
	t.Helper()
	err := s.Check(context.Background(), blockstore.CheckOptions{Data: data}, func(p blockstore.Problem) { found = append(found, p.String()) })
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// segmentOnDisk makes a store with a segment of three blocks, of which the first is not in use any more, and gives access to
// the segment's bytes. A crash leaves it without a footer.
func segmentOnDisk(t *testing.T, finished bool) (s *blockstore.Store, bytes []byte) {
	t.Helper()
	disk := disktest.New()
	st := storetest.Create(t, disk, storetest.Dir)
	s = st.Open(t, manual())
	var ids []blockstore.BlockID
	for i := range 3 {
		ids = append(ids, putNoise(t, s, i, 5000))
	}
	mustSync(t, s)
	if err := s.MoveInlined(); err != nil {
		t.Fatal(err)
	}
	free(t, s, ids[0])
	mustSync(t, s)
	if !finished {
		st.FS = disk.Crash(nil, 0)
		disk = st.FS.(*disktest.Disk)
	}
	mustClose(t, s)
	s = st.Open(t, manual())
	names := segmentFiles(t, st)
	if len(names) != 1 {
		t.Fatalf("segments %v, want one", names)
	}
	bytes, err := disk.Bytes(disk.PathJoin(st.Dir, "segments", names[0]))
	if err != nil {
		t.Fatal(err)
	}
	mustCheck(t, s)
	return s, bytes
}

// TestCheckReadsEverySegmentByte flips a bit of each byte of a segment by turns, of the blocks themselves only here and there.
func TestCheckReadsEverySegmentByte(t *testing.T) {
	for name, finished := range map[string]bool{"finished": true, "unfinished": false} {
		t.Run(name, func(t *testing.T) {
			s, bytes := segmentOnDisk(t, finished)
			const entry = segment.EntryOverhead + 5056 // a block of 5000 bytes in two frames
			for i := range bytes {
				inside := (i - segment.HeaderSize) % entry
				entries := i >= segment.HeaderSize && i < segment.HeaderSize+3*entry
				if entries && inside >= segment.EntryOverhead && inside%101 > 0 {
					continue
				}
				bytes[i] ^= 1 << (i % 8)
				if len(problems(t, s, true)) == 0 {
					t.Errorf("byte %d of %d: no problem with data", i, len(bytes))
				}
				if !entries && len(problems(t, s, false)) == 0 {
					t.Errorf("byte %d of %d: no problem", i, len(bytes))
				}
				bytes[i] ^= 1 << (i % 8)
			}
			mustCheck(t, s)
			mustClose(t, s)
		})
	}
}

// TestCheckReadsTheStoresOwnRecords: also those that nobody needs as long as the store is open.
func TestCheckReadsTheStoresOwnRecords(t *testing.T) {
	s := storetest.New(t).Open(t, manual())
	put(t, s, key(1, 0), "x")
	sn, err := s.Snapshot("monday")
	if err != nil {
		t.Fatal(err)
	}
	mustCheck(t, s)
	s.DamageSnapshot(sn.Epoch)
	if found := problems(t, s, false); len(found) != 1 || !strings.Contains(found[0], "kind 0x04") {
		t.Errorf("problems: %q", found)
	}
	mustClose(t, s)
}
