package integration_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"salliefs/integration/mounttest"
)

// TestSealStall writes, syncs and makes files from several sides for some seconds and looks at how
// long sealing a group stopped everybody. The bar is 1 ms at the 99th percentile on a machine that does
// nothing else, as in a long run. An ordinary run, on any machine, only rules out that a group's work is
// done while all wait: then the moments would be as long as the commits.
func TestSealStall(t *testing.T) {
	mounttest.NeedMount(t, "groups")
	s := mounttest.New(t, mounttest.Options{})
	dir := s.Namespace(t, "load")
	end := time.Now().Add(time.Duration(mounttest.Scale(5, 60)) * time.Second)
	var all sync.WaitGroup
	for i := range 3 {
		all.Go(func() {
			for n := 0; time.Now().Before(end); n++ {
				path := filepath.Join(dir, fmt.Sprintf("%d-%d", i, n%200))
				var err error
				switch i {
				case 0: // a stream
					err = os.WriteFile(path, noise(n, 2<<20), 0o644)
				case 1: // small files
					err = os.WriteFile(path, noise(n, 2000), 0o644)
				default: // something that keeps syncing
					err = writeSync(path, noise(n, 5000))
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	c := s.Stats(t).Commits
	t.Logf("%d groups; sealing stopped operations for %v (p50), %v (p99), %v (most); commits took %v (p50), %v (p99)", c.Groups,
		time.Duration(c.SealStall.P50), time.Duration(c.SealStall.P99), time.Duration(c.SealStall.Max), time.Duration(c.Latency.P50), time.Duration(c.Latency.P99))
	if c.Groups < 5 || c.SealStall.Max == 0 {
		t.Errorf("%d groups, longest stop %d ns: nothing was measured", c.Groups, c.SealStall.Max)
	}
	if stall, commit := time.Duration(c.SealStall.P50), time.Duration(c.Latency.P50); stall > commit/4 {
		t.Errorf("half of the groups stop operations for %v and more when they are sealed, beside %v for the whole commit", stall, commit)
	}
	if stall := time.Duration(c.SealStall.P99); stall > time.Millisecond && mounttest.Long() && !mounttest.Race() {
		t.Errorf("sealing a group stops operations for %v at the 99th percentile, want at most 1 ms", stall)
	}
}
