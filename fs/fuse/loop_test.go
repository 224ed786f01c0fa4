package fuse

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"salliefs/fs"
)

// TestSlowRequests: requests that wait for long, many of them, do not keep others waiting, whether or not the watcher was
// asleep when they came; and when they are over, few workers stay.
func TestSlowRequests(t *testing.T) {
	f := newFakeFS()
	s := mountFor(t, f, Options{})
	for _, idle := range []bool{false, true} {
		if idle {
			eventually(t, "the watcher sleeps", s.loop.sleeping.Load)
		}
		const slow = 20
		var inside atomic.Int32
		release := make(chan struct{})
		var once sync.Once
		letGo := func() { once.Do(func() { close(release) }) }
		t.Cleanup(letGo) // whatever happens, nobody hangs in the mount
		f.setHook(func(op string, ino fs.Ino) error {
			if op == "lookup" && inside.Load() < slow {
				inside.Add(1)
				<-release
			}
			return nil
		})
		var wg sync.WaitGroup
		for i := range slow {
			wg.Go(func() { os.Stat(fmt.Sprintf("%s/slow-%v-%d", s.Mountpoint(), idle, i)) })
		}
		eventually(t, "all slow requests are under way", func() bool { return inside.Load() == slow })
		answered := make(chan error, 1)
		go func() { _, err := os.Stat(fmt.Sprintf("%s/quick-%v", s.Mountpoint(), idle)); answered <- err }()
		select {
		case err := <-answered:
			if !os.IsNotExist(err) {
				t.Errorf("a quick request among slow ones: %v", err)
			}
		case <-time.After(patience):
			t.Error("a quick request waits for slow ones")
		}
		letGo()
		wg.Wait()
		f.setHook(nil)
		eventually(t, "few workers stay", func() bool {
			s.loop.mu.Lock()
			defer s.loop.mu.Unlock()
			return len(s.loop.ready) <= keepReady
		})
	}
}

// TestManyClients: programs that ask by turns get their own answers.
func TestManyClients(t *testing.T) { onEach(t, Options{}, testManyClients) }

func testManyClients(t *testing.T, s *mounted) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			path := fmt.Sprintf("%s/file-%d", s.dir, i)
			for n := range 60 {
				want := fmt.Sprintf("%d of %d", n, i)
				if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
					t.Error(err)
					return
				}
				if got, err := os.ReadFile(path); err != nil || string(got) != want {
					t.Errorf("%s: %q, %v, want %q", path, got, err, want)
					return
				}
				if err := os.Remove(path); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestCrowd(t *testing.T) {
	var c crowd
	ask := func(pids ...uint32) (many bool) {
		for i := range 2 * crowdRound {
			many = c.note(pids[i%len(pids)])
		}
		return many
	}
	for _, test := range []struct {
		pids []uint32
		want bool
	}{
		{[]uint32{7}, false},
		{[]uint32{7, 8}, true},
		{[]uint32{8}, false},
		{[]uint32{8, 0}, false}, // the kernel's own requests are of nobody
		{[]uint32{1, 2, 3, 0}, true},
	} {
		if got := ask(test.pids...); got != test.want {
			t.Errorf("requests of %v by turns: many is %v", test.pids, got)
		}
	}
}
