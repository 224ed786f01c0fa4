package blockstore_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"salliefs/blockstore"
	"salliefs/blockstore/record/disktest"
	"salliefs/blockstore/storetest"
)

func TestReclaimMovesLiveBlocks(t *testing.T) {
	disk := storetest.New(t)
	s := disk.Open(t, blockstore.Options{})
	rnd := rand.New(rand.NewPCG(5, 6))
	blocks := make(map[blockstore.BlockID][]byte)
	var ids []blockstore.BlockID
	for range 400 {
		data := make([]byte, 100000)
		for i := range data {
			data[i] = byte(rnd.Uint32())
		}
		if err := s.Update(func(tx *blockstore.Tx) error {
			id := tx.PutBlock(0, data)
			blocks[id] = data
			ids = append(ids, id)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	mustSync(t, s)
	mustClose(t, s) // ends the segment
	s = disk.Open(t, blockstore.Options{})
	before := s.Stats()
	if err := s.Update(func(tx *blockstore.Tx) error {
		for i, id := range ids {
			if i%5 != 0 {
				tx.FreeBlock(0, id)
				delete(blocks, id)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	mustSync(t, s)
	if err := s.Reclaim(context.Background()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return s.Stats().SegmentSize < before.SegmentSize/2 })
	mustCheck(t, s)
	for range 2 {
		for id, data := range blocks {
			dst := make([]byte, len(data))
			if err := s.ReadBlock(0, id, 0, dst); err != nil || !bytes.Equal(dst, data) {
				t.Fatalf("block %d after reclaim: %v or wrong data", id, err)
			}
		}
		mustClose(t, s)
		s = disk.Open(t, blockstore.Options{})
	}
	mustCheck(t, s)
	mustClose(t, s)
}

// putNoise puts a block that does not shrink.
func putNoise(t *testing.T, s *blockstore.Store, seed, n int) (id blockstore.BlockID) {
	t.Helper()
	if err := s.Update(func(tx *blockstore.Tx) error { id = tx.PutBlock(0, noise(seed, n)); return nil }); err != nil {
		t.Fatal(err)
	}
	return id
}

// endedSegment opens a store with n blocks in a segment to which no more will be appended: block i is noise(i, 100_000).
func endedSegment(t *testing.T, n int) (*disktest.Disk, *storetest.Store, *blockstore.Store, []blockstore.BlockID) {
	t.Helper()
	disk := disktest.New()
	st := storetest.Create(t, disk, storetest.Dir)
	s := st.Open(t, manual())
	var ids []blockstore.BlockID
	for i := range n {
		ids = append(ids, putNoise(t, s, i, 100_000))
	}
	mustSync(t, s)
	mustClose(t, s)
	return disk, st, st.Open(t, manual()), ids
}

func free(t *testing.T, s *blockstore.Store, ids ...blockstore.BlockID) {
	t.Helper()
	if err := s.Update(func(tx *blockstore.Tx) error {
		for _, id := range ids {
			tx.FreeBlock(0, id)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func mustReclaim(t *testing.T, s *blockstore.Store) {
	t.Helper()
	if err := s.Reclaim(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func wantNoise(t *testing.T, s *blockstore.Store, id blockstore.BlockID, seed, n int) {
	t.Helper()
	dst := make([]byte, n)
	if err := s.ReadBlock(0, id, 0, dst); err != nil || !bytes.Equal(dst, noise(seed, n)) {
		t.Fatalf("block %d: %v, or other data", id, err)
	}
}

// segmentFiles lists the files of segments.
func segmentFiles(t *testing.T, st *storetest.Store) (names []string) {
	t.Helper()
	list, err := st.FS.List(st.FS.PathJoin(st.Dir, "segments"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range list {
		if strings.HasSuffix(n, ".seg") {
			names = append(names, n)
		}
	}
	return names
}

// TestSmallSegmentsAreMerged: each run of a program leaves a short segment; they do not become ever more.
func TestSmallSegmentsAreMerged(t *testing.T) {
	st := storetest.New(t)
	const runs, size = 40, 100_000
	var ids []blockstore.BlockID
	for i := range runs {
		s := st.Open(t, manual())
		ids = append(ids, putNoise(t, s, i, size))
		mustSync(t, s)
		mustClose(t, s)
	}
	s := st.Open(t, manual())
	mustReclaim(t, s)
	if n := s.Stats().Segments; n > 17 || n != len(segmentFiles(t, st)) {
		t.Fatalf("%d segments in %d files after reclaim", n, len(segmentFiles(t, st)))
	}
	for range 2 {
		for i, id := range ids {
			wantNoise(t, s, id, i, size)
		}
		mustCheck(t, s)
		mustClose(t, s)
		s = st.Open(t, manual())
	}
	mustClose(t, s)
}

// TestEmptySegmentsAreRemoved: also one whose blocks all died while it was the current one, whatever happened since.
func TestEmptySegmentsAreRemoved(t *testing.T) {
	for name, between := range map[string]func(s *blockstore.Store, st *storetest.Store) *blockstore.Store{
		"reopened": func(s *blockstore.Store, st *storetest.Store) *blockstore.Store {
			mustClose(t, s)
			return st.Open(t, manual())
		},
		"crashed": func(s *blockstore.Store, st *storetest.Store) *blockstore.Store {
			crashed := st.FS.(*disktest.Disk).Crash(rand.New(rand.NewPCG(1, 1)), 0)
			mustClose(t, s)
			st.FS = crashed
			return st.Open(t, manual())
		},
	} {
		t.Run(name, func(t *testing.T) {
			st := storetest.Create(t, disktest.New(), storetest.Dir)
			s := st.Open(t, manual())
			id := putNoise(t, s, 1, 100_000)
			mustSync(t, s)
			free(t, s, id)
			mustSync(t, s)
			s = between(s, st)
			mustReclaim(t, s)
			if st := s.Stats(); st.Segments != 0 || st.SegmentSize != 0 {
				t.Errorf("%d segments of %d bytes are left", st.Segments, st.SegmentSize)
			}
			if files := segmentFiles(t, st); len(files) > 0 {
				t.Errorf("left: %v", files)
			}
			mustCheck(t, s)
			mustClose(t, s)
		})
	}
}

// TestDeadCurrentSegment: most of the segment that is written to is dead, and its space comes back all the same.
func TestDeadCurrentSegment(t *testing.T) {
	st := storetest.New(t)
	s := st.Open(t, manual())
	var ids []blockstore.BlockID
	for i := range 300 {
		ids = append(ids, putNoise(t, s, i, 100_000))
	}
	mustSync(t, s)
	free(t, s, ids[5:]...)
	mustSync(t, s)
	mustReclaim(t, s)
	if st := s.Stats(); st.SegmentSize > 2<<20 || st.Reclaimed == 0 {
		t.Errorf("%d bytes of segments, %d reclaimed", st.SegmentSize, st.Reclaimed)
	}
	for i, id := range ids[:5] {
		wantNoise(t, s, id, i, 100_000)
	}
	mustCheck(t, s)
	mustClose(t, s)
}

// TestReclaimRecompresses: blocks that were compressed in a hurry are compressed better when they move, and the counters
// follow.
func TestReclaimRecompresses(t *testing.T) {
	st := storetest.New(t)
	s := st.Open(t, manual())
	text := func(i int) []byte {
		var b []byte
		for rnd := rand.New(rand.NewPCG(uint64(i), 5)); len(b) < blockstore.MaxBlockSize; {
			b = append(b, [...]string{"the quick ", "brown ", "fox ", "jumps over ", "the lazy ", "dog, ", "and "}[rnd.IntN(7)]...)
		}
		return b[:blockstore.MaxBlockSize]
	}
	var ids []blockstore.BlockID
	for i := range 120 {
		if err := s.Update(func(tx *blockstore.Tx) error { ids = append(ids, tx.PutBlock(0, text(i))); return nil }); err != nil {
			t.Fatal(err)
		}
		if i%3 == 2 {
			mustSync(t, s) // in a hurry
		}
	}
	var gone []blockstore.BlockID
	for i, id := range ids {
		if i%4 != 0 {
			gone = append(gone, id)
		}
	}
	free(t, s, gone...)
	mustSync(t, s)
	mustClose(t, s)
	s = st.Open(t, manual())
	before, _ := s.NamespaceByID(0)
	mustReclaim(t, s)
	after, _ := s.NamespaceByID(0)
	if after.Usage.Blocks != before.Usage.Blocks || after.Usage.Stored > before.Usage.Stored*9/10 {
		t.Errorf("%d bytes stored before, %d after", before.Usage.Stored, after.Usage.Stored)
	}
	for range 2 {
		for i, id := range ids {
			if i%4 != 0 {
				continue
			}
			dst := make([]byte, blockstore.MaxBlockSize)
			if err := s.ReadBlock(0, id, 0, dst); err != nil || !bytes.Equal(dst, text(i)) {
				t.Fatalf("block %d: %v, or other data", id, err)
			}
		}
		mustCheck(t, s)
		mustClose(t, s)
		s = st.Open(t, manual())
	}
	mustClose(t, s)
}

// TestReadsDuringReclaim reads blocks at each moment of their being moved.
func TestReadsDuringReclaim(t *testing.T) {
	disk, _, s, ids := endedSegment(t, 60)
	free(t, s, ids[8:]...)
	mustSync(t, s)
	moments := 0
	disk.SetHook(func(op disktest.Op) error {
		if op.Kind.Changes() {
			moments++
			for i, id := range ids[:8] {
				wantNoise(t, s, id, i, 100_000)
			}
		}
		return nil
	})
	mustReclaim(t, s)
	disk.SetHook(nil)
	if moments < 4 {
		t.Errorf("only %d changes of the disk", moments)
	}
	mustCheck(t, s)
	mustClose(t, s)
}

// TestInlineBlocksMove: large blocks of small syncs go to the record engine at first, and to a segment in steps.
func TestInlineBlocksMove(t *testing.T) {
	s := storetest.New(t).Open(t, manual())
	const n, size = 160, 30_000
	var ids []blockstore.BlockID
	for i := range n {
		ids = append(ids, putNoise(t, s, i, size))
		mustSync(t, s)
	}
	if st := s.Stats(); st.Segments != 0 {
		t.Fatalf("%d segments after small syncs", st.Segments)
	}
	free(t, s, ids[:10]...)
	mustSync(t, s)
	before := s.Stats().Commits.Count
	if err := s.MoveInlined(); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.SegmentLive < (n-10)*size || st.Commits.Count != before {
		t.Fatalf("%d live bytes in segments", st.SegmentLive)
	}
	if err := s.MoveInlined(); err != nil {
		t.Fatal(err)
	}
	for i, id := range ids[10:] {
		wantNoise(t, s, id, i+10, size)
	}
	mustCheck(t, s)
	mustClose(t, s)
}

// TestInlineBlocksAreNotForgotten: large blocks leave the record engine when the store is closed, or in the run after a
// crash.
func TestInlineBlocksAreNotForgotten(t *testing.T) {
	disk := disktest.New()
	st := storetest.Create(t, disk, storetest.Dir)
	s := st.Open(t, manual())
	const n, size = 10, 5_000
	var ids []blockstore.BlockID
	inline := func() {
		for range n {
			ids = append(ids, putNoise(t, s, len(ids), size))
			mustSync(t, s)
		}
	}
	verify := func() {
		t.Helper()
		if live := s.Stats().SegmentLive; live < int64(len(ids)*size) {
			t.Errorf("%d live bytes in segments, want all blocks", live)
		}
		for i, id := range ids {
			wantNoise(t, s, id, i, size)
		}
		mustCheck(t, s)
	}
	inline()
	mustClose(t, s)
	s = st.Open(t, manual())
	verify()
	inline()
	crashed := disk.Crash(rand.New(rand.NewPCG(1, 1)), 0)
	mustClose(t, s)
	st.FS = crashed
	s = st.Open(t, manual())
	if live := s.Stats().SegmentLive; live >= int64(len(ids)*size) {
		t.Errorf("%d live bytes in segments after a crash", live)
	}
	if err := s.MoveInlined(); err != nil {
		t.Fatal(err)
	}
	verify()
	mustClose(t, s)
}

// TestInlinedAhead: nor is a block that got its ID long before it came into a group.
func TestInlinedAhead(t *testing.T) {
	const size = 10_000
	disk := disktest.New()
	st := storetest.Create(t, disk, storetest.Dir)
	s := st.Open(t, manual())
	early := s.SealAhead(0, noise(0, size))
	later := putNoise(t, s, 1, size)
	mustSync(t, s)
	var first blockstore.BlockID
	if err := s.Update(func(tx *blockstore.Tx) error {
		first = tx.PutSealed(early, blockstore.BlockHint{})
		tx.Put(key(1, 1), []byte("x"))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	mustSync(t, s)
	st.FS = disk.Crash(nil, 0)
	mustClose(t, s)
	s = st.Open(t, manual())
	if err := s.MoveInlined(); err != nil {
		t.Fatal(err)
	}
	if live := s.Stats().SegmentLive; first >= later || live < 2*size {
		t.Errorf("blocks %d and %d: %d live bytes in segments, want both blocks", first, later, live)
	}
	wantNoise(t, s, first, 0, size)
	wantNoise(t, s, later, 1, size)
	mustCheck(t, s)
	mustClose(t, s)
}

// TestSegmentThatStays: a dead segment that can not be removed is no failure, and goes at the next open.
func TestSegmentThatStays(t *testing.T) {
	disk, st, s, ids := endedSegment(t, 1)
	disk.SetHook(func(op disktest.Op) error {
		if op.Kind == disktest.Remove && strings.HasSuffix(op.Path, ".seg") {
			return syscall.EIO
		}
		return nil
	})
	free(t, s, ids...)
	mustSync(t, s)
	mustCheck(t, s)
	mustClose(t, s)
	if n := len(segmentFiles(t, st)); n != 1 {
		t.Fatalf("%d segments, want the one that stays", n)
	}
	s = st.Open(t, manual()) // and once more in vain
	mustClose(t, s)
	disk.SetHook(nil)
	s = st.Open(t, manual())
	if n := len(segmentFiles(t, st)); n != 0 {
		t.Errorf("%d segments are left", n)
	}
	mustCheck(t, s)
	mustClose(t, s)
}

// TestReadFaultInReclaim: a segment that can not be read for now is tried again, and others are reclaimed meanwhile.
func TestReadFaultInReclaim(t *testing.T) { synctest.Test(t, testReadFaultInReclaim) }

func testReadFaultInReclaim(t *testing.T) {
	for _, fail := range []int32{1, 2, 3, 4, 5, 6} {
		disk := disktest.New()
		st := storetest.Create(t, disk, storetest.Dir)
		var kept, gone []blockstore.BlockID
		for range 2 {
			s := st.Open(t, manual())
			for i := range 40 {
				if id := putNoise(t, s, i, 100_000); i < 5 {
					kept = append(kept, id)
				} else {
					gone = append(gone, id)
				}
			}
			mustClose(t, s)
		}
		s := st.Open(t, manual().Hasty(time.Millisecond))
		mustReclaim(t, s)
		var reads atomic.Int32
		disk.SetHook(func(op disktest.Op) error {
			if op.Kind == disktest.Read && strings.HasSuffix(op.Path, "01.seg") && reads.Add(1) >= fail {
				return syscall.EIO
			}
			return nil
		})
		free(t, s, gone...)
		mustSync(t, s)
		for range 2 { // the store tries by itself, too
			if err := s.Reclaim(context.Background()); err != nil && !errors.Is(err, syscall.EIO) {
				t.Fatalf("Reclaim: %v", err)
			}
			waitFor(t, func() bool { return reads.Load() >= fail && s.Stats().Segments == 2 })
		}
		if files := segmentFiles(t, st); len(files) != 2 || !slices.Contains(files, "0000000000000001.seg") {
			t.Errorf("left after a fault at read %d: %v", fail, files)
		}
		disk.SetHook(nil)
		waitFor(t, func() bool { return len(segmentFiles(t, st)) == 1 })
		for i, id := range kept {
			wantNoise(t, s, id, i%5, 100_000)
		}
		mustCheck(t, s)
		mustClose(t, s)
	}
}

// TestUnreadableSegment: what can not be read can not be moved, and does not keep the rest from it.
func TestUnreadableSegment(t *testing.T) {
	disk, st, s, ids := endedSegment(t, 40)
	free(t, s, ids[10:]...)
	mustSync(t, s)
	name := segmentFiles(t, st)[0]
	b, err := disk.Bytes(disk.PathJoin(st.Dir, "segments", name))
	if err != nil {
		t.Fatal(err)
	}
	b[3*100_000] ^= 1 // in block 2 or 3
	done := make(chan error, 1)
	go func() { done <- s.Reclaim(context.Background()) }()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("Reclaim goes round and round")
	}
	damaged := 0
	for i, id := range ids[:10] {
		dst := make([]byte, 100_000)
		if err := s.ReadBlock(0, id, 0, dst); err != nil {
			damaged++
		} else if !bytes.Equal(dst, noise(i, len(dst))) {
			t.Errorf("block %d: other data", id)
		}
	}
	var problems atomic.Int32
	if err := s.Check(context.Background(), blockstore.CheckOptions{Data: true}, func(blockstore.Problem) { problems.Add(1) }); err != nil {
		t.Fatal(err)
	}
	if damaged != 1 || problems.Load() != 1 || s.Stats().Segments != 2 {
		t.Errorf("%d blocks damaged, %d problems, %d segments", damaged, problems.Load(), s.Stats().Segments)
	}
	mustClose(t, s)
}

// TestUnreadableForOnce: a segment that could not be read is tried again, whatever part of it that was.
func TestUnreadableForOnce(t *testing.T) {
	for n, hit := 1, true; hit; n++ {
		disk, st, s, ids := endedSegment(t, 40)
		mustReclaim(t, s) // nothing
		old := segmentFiles(t, st)[0]
		free(t, s, ids[3:]...)
		mustSync(t, s)
		var reads atomic.Int32
		disk.SetHook(func(op disktest.Op) error {
			if op.Kind == disktest.Read && strings.HasSuffix(op.Path, old) {
				if int(reads.Add(1)) == n {
					return syscall.EIO
				}
			}
			return nil
		})
		err := s.Reclaim(context.Background())
		disk.SetHook(nil)
		if hit = int(reads.Load()) >= n; hit != errors.Is(err, syscall.EIO) {
			t.Fatalf("read %d fails: Reclaim says %v", n, err)
		}
		mustReclaim(t, s)
		if slices.Contains(segmentFiles(t, st), old) {
			t.Errorf("read %d failed, and the segment stays", n)
		}
		for i, id := range ids[:3] {
			wantNoise(t, s, id, i, 100_000)
		}
		mustCheck(t, s)
		mustClose(t, s)
	}
}
