package control

import (
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore"
)

// Stats implements Target.
func (l *Local) Stats(_ context.Context, o StatsOptions) (Stats, error) {
	st := l.o.Store.Stats()
	s := Stats{
		Mounted:      l.o.Mounted,
		DeadBytes:    st.SegmentSize - st.SegmentLive,
		Segments:     int64(st.Segments),
		SegmentBytes: st.SegmentSize,
		RecordBytes:  st.Records.DiskBytes,
		Caches: []Cache{
			{Name: "blocks", Bytes: st.PlainBytes, Hits: st.PlainHits, Misses: st.PlainMisses},
			{Name: "records", Bytes: st.Records.CacheBytes, Hits: st.Records.CacheHits, Misses: st.Records.CacheMisses},
		},
		Commits: Commits{
			Groups: int64(st.Commits.Count), SegmentBytes: st.SegmentBytes, RecordBytes: st.RecordBytes,
			Latency: latency(st.Commits), SealStall: latency(st.SealStalls),
		},
		PendingBytes: st.Pending,
		Failure:      st.FailureReason,
	}
	s.Namespaces = l.namespaces(st)
	for _, n := range s.Namespaces {
		s.Files += n.Files
		s.LogicalBytes += n.LogicalBytes
		s.StoredBytes += n.StoredBytes
	}
	s.Ratio = ratio(s.LogicalBytes, s.StoredBytes)
	var err error
	s.Disk.TotalBytes, s.Disk.FreeBytes, s.Disk.ReserveBytes, err = l.o.Store.DiskFree()
	if err != nil && !errors.Is(err, vfs.ErrUnsupported) {
		return Stats{}, err
	}
	if o.Requests && l.o.Requests != nil {
		s.Requests = l.o.Requests(o.Reset)
	}
	return s, nil
}

// ratio is how much of the logical size is stored.
func ratio(logical, stored int64) *float64 {
	if logical == 0 {
		return nil
	}
	r := float64(stored) / float64(logical)
	return &r
}

func latency(l blockstore.Latency) Latency {
	return Latency{P50: l.P50.Nanoseconds(), P99: l.P99.Nanoseconds(), Max: l.Max.Nanoseconds()}
}
