package blockstore

import (
	"math/bits"
	"sync/atomic"
	"time"

	"salliefs/blockstore/record"
)

// counters are the store's running numbers.
type counters struct {
	commits, stalls histogram
	bytesRecords    atomic.Int64
	bytesSegments   atomic.Int64
	reclaimed       atomic.Int64
}

// histogram counts durations in buckets that grow by a quarter.
type histogram struct {
	buckets [4 * 64]atomic.Uint64
	max     atomic.Int64
}

// bucketOf keeps two bits below the leading one.
func bucketOf(d time.Duration) int {
	n := uint64(max(d, 1))
	b := bits.Len64(n) - 1
	if b < 2 {
		return 4 * b
	}
	return 4*b + int(n>>(b-2)&3)
}

func bucketTop(i int) time.Duration {
	b := i / 4
	if b < 2 {
		return time.Duration(1 << b)
	}
	return time.Duration(uint64(4+i%4+1)<<(b-2) - 1)
}

func (h *histogram) record(d time.Duration) {
	h.buckets[bucketOf(d)].Add(1)
	for {
		old := h.max.Load()
		if int64(d) <= old || h.max.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

func (h *histogram) latency() Latency {
	var counts [4 * 64]uint64
	var l Latency
	for i := range h.buckets {
		counts[i] = h.buckets[i].Load()
		l.Count += counts[i]
	}
	l.Max = time.Duration(h.max.Load())
	at := func(q float64) time.Duration {
		want := uint64(q * float64(l.Count))
		var seen uint64
		for i, c := range counts {
			if seen += c; c > 0 && seen > want {
				return min(bucketTop(i), l.Max)
			}
		}
		return l.Max
	}
	if l.Count > 0 {
		l.P50, l.P99 = at(0.50), at(0.99)
	}
	return l
}

// Latency sums durations up. Percentiles are right to a quarter.
type Latency struct {
	Count         uint64
	P50, P99, Max time.Duration
}

// Stats are a store's numbers since it was opened.
type Stats struct {
	Commits       Latency // of whole commits
	SealStalls    Latency // how long sealing a group, or opening it again on a full disk, stopped Updates
	Pending       int64   // bytes of memory with what is not committed
	RecordBytes   int64   // written to the record engine
	SegmentBytes  int64   // appended to segments
	Segments      int
	SegmentSize   int64                 // bytes of all segments
	SegmentLive   int64                 // bytes of sealed blocks in them that are in use
	SegmentFreed  map[NamespaceID]int64 // bytes of those that are not in use any more, by namespace; also of removed ones
	Reclaimed     int64                 // bytes that moving live blocks gave back
	PlainHits     int64
	PlainMisses   int64
	PlainBytes    int64
	Generation    uint64
	Epoch         Epoch
	SweepPending  bool // blocks that may be free now, such as shared ones, wait for a sweep
	FailureReason string
	Records       record.Metrics
}

// Stats reads the counters.
func (s *Store) Stats() Stats {
	st := Stats{
		Commits:      s.stats.commits.latency(),
		SealStalls:   s.stats.stalls.latency(),
		Pending:      s.pendingBytes(),
		RecordBytes:  s.stats.bytesRecords.Load(),
		SegmentBytes: s.stats.bytesSegments.Load(),
		Reclaimed:    s.stats.reclaimed.Load(),
		SweepPending: s.sweepWanted.Load(),
		Records:      s.engine.Metrics(),
		Generation:   s.generation.Load(),
		Epoch:        s.view.Load().open.epoch,
	}
	st.Segments, st.SegmentSize, st.SegmentLive, st.SegmentFreed = s.segments.totals()
	s.plain.mu.Lock()
	st.PlainHits, st.PlainMisses, st.PlainBytes = s.plain.hits, s.plain.misses, s.plain.size
	s.plain.mu.Unlock()
	if err := s.Failed(); err != nil {
		st.FailureReason = err.Error()
	}
	return st
}
