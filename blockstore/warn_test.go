package blockstore_test

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"salliefs/blockstore"
	"salliefs/blockstore/record/disktest"
	"salliefs/blockstore/storetest"
)

// warnings counts what is logged of disk space.
type warnings struct {
	slog.Handler
	n *atomic.Int32
}

func (w warnings) Enabled(context.Context, slog.Level) bool { return true }

func (w warnings) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "waits for disk space") {
		w.n.Add(1)
	}
	return nil
}

// TestFullDiskWarnsSeldom: the committer tries again each second, and tells so once in half a minute.
func TestFullDiskWarnsSeldom(t *testing.T) { synctest.Test(t, testFullDiskWarnsSeldom) }

func testFullDiskWarnsSeldom(t *testing.T) {
	disk := disktest.New()
	st := storetest.Create(t, disk, storetest.Dir)
	w := warnings{slog.DiscardHandler, new(atomic.Int32)}
	o := blockstore.Options{CommitInterval: 10 * time.Millisecond, Log: slog.New(w)}.Small()
	s := st.Open(t, o)
	disk.Fill(0)
	putNoise(t, s, 1, 100_000)
	tries := s.Stats().SealStalls.Count // each is sealing a group, and opening it again
	for i := range int32(3) {
		time.Sleep(29 * time.Second)
		synctest.Wait()
		if n := w.n.Load(); n != i+1 {
			t.Errorf("%d warnings after %d s", n, 29*(i+1))
		}
	}
	if n := (s.Stats().SealStalls.Count - tries) / 2; n < 80 || n > 88 {
		t.Errorf("%d tries in 87 s", n)
	}
	disk.SetCapacity(0)
	mustClose(t, s)
}
