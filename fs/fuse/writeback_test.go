package fuse

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"salliefs/fs"
)

// TestOpenFileIsWrittenBack: what a program writes and leaves open reaches us within
// some seconds with nobody asking for it. The kernel alone takes 30 s.
func TestOpenFileIsWrittenBack(t *testing.T) {
	onEach(t, Options{WritebackInterval: writebackEvery}, testOpenFileIsWrittenBack)
}

func testOpenFileIsWrittenBack(t *testing.T, s *mounted) {
	h, err := os.Create(s.dir + "/file")
	must(t, err)
	defer h.Close()
	start := time.Now()
	_, err = h.WriteString("held open")
	must(t, err)
	within(t, 25*time.Second, "the data arrive", func() bool { return string(s.fs.content("file")) == "held open" })
	t.Logf("data arrived after %v", time.Since(start).Round(time.Millisecond))

	st := stat(t, s.dir+"/file")
	eventually(t, "the mtime arrives", func() bool { a, _ := s.fs.GetAttr(fs.Ino(st.Ino)); return a.Mtime == st.Mtim.Nano() })
}

// TestIdleMountIsQuiet: the rounds cause no requests when there is nothing to write.
func TestIdleMountIsQuiet(t *testing.T) { onEach(t, Options{}, testIdleMountIsQuiet) }

func testIdleMountIsQuiet(t *testing.T, s *mounted) {
	must(t, os.WriteFile(s.dir+"/file", []byte("x"), 0o644))
	must(t, s.Writeback())
	s.ResetRequests()
	for range 20 {
		must(t, s.writeback.run(nil))
	}
	if got := s.Requests(); len(got) > 0 {
		t.Errorf("20 rounds on an idle mount caused %v", got)
	}
}

// TestWritebackDoesNotHoldTheMount: another process's umount does not meet our rounds.
func TestWritebackDoesNotHoldTheMount(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skipf("%s skipped: only root can hide the rounds", t.Name())
	}
	s := mountFor(t, newFakeFS(), Options{})
	must(t, os.WriteFile(s.Mountpoint()+"/file", make([]byte, 10000), 0o644))
	fd, err := s.writeback.openRoot()
	must(t, err)
	if err := unix.Unmount(s.Mountpoint(), 0); err != nil {
		t.Errorf("unmount in the midst of a round: %v", err)
	}
	must(t, unix.Syncfs(fd))
	must(t, unix.Close(fd))
	ended(t, s)
}

// TestOwnUnmountWaitsForARound: with the visible mount opened for the rounds, as for
// an ordinary user, our own unmount is not told that the mount is busy.
func TestOwnUnmountWaitsForARound(t *testing.T) {
	f := newFakeFS()
	s := mountFor(t, f, Options{})
	inside, release := make(chan struct{}), make(chan struct{})
	go s.writeback.exclude(func() error {
		fd, err := unix.Open(s.Mountpoint(), unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		close(inside)
		<-release
		return unix.Close(fd)
	})
	<-inside
	if err := unix.Unmount(s.Mountpoint(), 0); err != unix.EBUSY {
		t.Fatalf("unmount with a descriptor open: %v; the test proves nothing", err)
	}
	time.AfterFunc(time.Second, func() { close(release) }) // longer than Unmount tries again
	must(t, s.Unmount())
}

// TestWritebackUnderLoad: rounds, writers, SEEK_DATA and replies do not wait for each
// other in a circle, also when storing is slow.
func TestWritebackUnderLoad(t *testing.T) {
	f := newFakeFS()
	f.setHook(func(op string, _ fs.Ino) error {
		if op == "write" {
			time.Sleep(200 * time.Microsecond)
		}
		return nil
	})
	s := newMounted(t, f, Options{WritebackInterval: time.Millisecond})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			name := fmt.Sprintf("%s/%d", s.dir, w)
			h, err := os.Create(name)
			if err != nil {
				t.Error(err)
				return
			}
			defer h.Close()
			for i := range 100 {
				if _, err := h.WriteAt(bytes.Repeat([]byte{byte(i)}, 10000), int64(i)*10000); err != nil {
					t.Error(err)
				}
				if i%10 == 0 {
					if _, err := unix.Seek(int(h.Fd()), 0, unix.SEEK_HOLE); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	must(t, s.Writeback())
	for w := range 4 {
		if got := f.content(fmt.Sprint(w)); len(got) != 1e6 || got[999_999] != 99 {
			t.Errorf("file %d has %d bytes", w, len(got))
		}
	}
}

func TestTrouble(t *testing.T) {
	var tr trouble
	start := time.Now()
	for _, c := range []struct {
		after time.Duration
		err   error
		want  bool
	}{
		{0, nil, false}, {1 * time.Second, errElsewhere, false}, {3 * time.Second, errElsewhere, false},
		{7 * time.Second, errElsewhere, true}, {9 * time.Second, errElsewhere, false}, {10 * time.Second, nil, false},
		{11 * time.Second, errElsewhere, false}, {20 * time.Second, errElsewhere, true},
	} {
		if got := tr.worthALine(c.err, start.Add(c.after)); got != c.want {
			t.Errorf("after %v: %v, want %v", c.after, got, c.want)
		}
	}
}

// TestWritebackWaits: when Writeback returns, all that was written is here, also with
// slow replies. (No more WRITEs than the kernel sends at once: see inProgress.settle.)
func TestWritebackWaits(t *testing.T) {
	f := newFakeFS()
	f.setHook(func(op string, _ fs.Ino) error {
		if op == "write" {
			time.Sleep(500 * time.Microsecond)
		}
		return nil
	})
	s := newMounted(t, f, Options{})
	h, err := os.Create(s.dir + "/file")
	must(t, err)
	defer h.Close()
	for round := range 20 {
		const pages = 40 // each apart from the next, so that each is a WRITE
		for i := range int64(pages) {
			_, err := h.WriteAt([]byte{byte(round + 1)}, i*8192)
			must(t, err)
		}
		must(t, s.Writeback())
		got := f.content("file")
		for i := range pages {
			if len(got) <= i*8192 || got[i*8192] != byte(round+1) {
				t.Fatalf("round %d: write %d has not arrived", round, i)
			}
		}
	}
}

// TestSettleEnds: where others never stop to write, waiting has an end.
func TestSettleEnds(t *testing.T) { synctest.Test(t, testSettleEnds) }

func testSettleEnds(t *testing.T) {
	var p inProgress
	start := time.Now()
	must(t, p.settle(func() error { p.begin(); p.end(); return nil }))
	if d := time.Since(start); d != maxCalmWait {
		t.Errorf("waited %v, want %v", d, maxCalmWait)
	}
	if err := p.settle(func() error { return unix.ENOTCONN }); err != unix.ENOTCONN {
		t.Errorf("a barrier that fails: %v", err)
	}
	start = time.Now()
	must(t, p.settle(func() error { return nil }))
	if d := time.Since(start); d != calmRounds*calm {
		t.Errorf("waited %v for nothing", d)
	}
}

func TestWritebackElsewhere(t *testing.T) {
	dir := t.TempDir()
	w := newWriteback(dir, quiet)
	must(t, w.run(nil)) // nothing is mounted yet
	w.start(12345, 0)
	if err := w.run(nil); !errors.Is(err, errElsewhere) {
		t.Errorf("a round where something else lies: %v", err)
	}
	w.stop()
	must(t, w.run(nil))
}
