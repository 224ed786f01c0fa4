package blockstore_test

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"testing"

	"salliefs/blockstore/record/disktest"
	"salliefs/blockstore/storetest"
	"salliefs/crypto"
)

// TestPageReads: a page of a large uncompressed block is read with its window once, and alone after that.
func TestPageReads(t *testing.T) {
	const size, page = 128 << 10, 4096
	disk := disktest.New()
	st := storetest.Create(t, disk, storetest.Dir)
	s := st.Open(t, manual())
	id := putNoise(t, s, 1, size)
	mustSync(t, s)
	mustClose(t, s)
	s = st.Open(t, manual())
	var reads []int
	read := func(off int, want ...int) {
		t.Helper()
		reads = nil
		dst := make([]byte, page)
		if err := s.ReadBlock(0, id, off, dst); err != nil || !bytes.Equal(dst, noise(1, size)[off:off+page]) {
			t.Fatalf("at %d: %v, or other data", off, err)
		}
		if !slices.Equal(reads, want) {
			t.Errorf("at %d: reads of %v bytes, want %v", off, reads, want)
		}
	}
	wantNoise(t, s, id, 1, size) // opens the segment
	disk.SetHook(func(op disktest.Op) error {
		if op.Kind == disktest.Read && strings.Contains(op.Path, "segments") {
			reads = append(reads, op.Size)
		}
		return nil
	})
	const frame = page + crypto.TagSize
	read(40960, crypto.NonceSize, 4*frame)
	read(40960, frame)
	read(32768, frame)
	read(45056, frame)
	read(0, 4*frame)
	read(size-page, 4*frame)
	read(size-2*page, frame)
	read(65536-100, 5*frame) // the last page of a window, and one behind it
	read(65536-page, frame)
	read(65536, 4*frame)
}

// TestSlowReadsHoldUpNobody: while the disk takes its time for one segment, others are read.
func TestSlowReadsHoldUpNobody(t *testing.T) {
	const size = 100_000
	for _, c := range []struct {
		name string
		kind disktest.Kind
		slow int // which of the segments
	}{
		{"a read of the current one", disktest.Read, 2},
		{"a read of another one", disktest.Read, 0},
		{"opening another one", disktest.Open, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := disktest.New()
			st := storetest.Create(t, disk, storetest.Dir)
			s := st.Open(t, manual())
			for i := range 2 {
				putNoise(t, s, i, size)
				mustSync(t, s)
				mustClose(t, s)
				s = st.Open(t, manual())
			}
			putNoise(t, s, 2, size)
			mustSync(t, s) // the current segment
			names := segmentFiles(t, st)
			slices.Sort(names)
			if len(names) != 3 {
				t.Fatalf("segments %v", names)
			}
			ids := s.BlockIDs()
			read := func(i int) { wantNoise(t, s, ids[i], i, size) }
			hit, release := make(chan struct{}, 8), make(chan struct{})
			disk.SetHook(func(op disktest.Op) error {
				if op.Kind == c.kind && strings.HasSuffix(op.Path, names[c.slow]) {
					hit <- struct{}{}
					<-release
				}
				return nil
			})
			slow := make(chan struct{})
			go func() { defer close(slow); read(c.slow) }()
			<-hit
			within(t, "a read of another segment", func() {
				for i := range ids {
					if i != c.slow {
						read(i)
					}
				}
			})
			close(release)
			<-slow
			disk.SetHook(nil)
			mustCheck(t, s)
			mustClose(t, s)
		})
	}
}

// TestReadWhileItsSegmentEnds: a read of the current segment that goes on while the segment ends, and those that come
// meanwhile, find the data.
func TestReadWhileItsSegmentEnds(t *testing.T) {
	s := storetest.New(t).Open(t, manual())
	const size = 100_000
	for i := range 60 {
		putNoise(t, s, i, size)
	}
	mustSync(t, s)
	ids := s.BlockIDs()
	free(t, s, ids[2:]...)
	mustSync(t, s)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					dst := make([]byte, size)
					if err := s.ReadBlock(0, ids[0], 0, dst); err != nil || !bytes.Equal(dst, noise(0, size)) {
						t.Errorf("block %d: %v, or other data", ids[0], err)
						return
					}
				}
			}
		})
	}
	within(t, "reclaim", func() { mustReclaim(t, s) })
	close(stop)
	within(t, "a reader", readers.Wait)
	wantNoise(t, s, ids[1], 1, size)
	mustCheck(t, s)
	mustClose(t, s)
}
