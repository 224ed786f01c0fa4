package blob

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// sink is a file that pieces are written to.
type sink struct {
	mu    sync.Mutex
	data  []byte
	sizes []int
	hold  chan struct{} // received from before each write; nil: no waiting
	fail  error
}

func (s *sink) put(b []byte, off int64) error {
	if s.hold != nil {
		<-s.hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	if off != int64(len(s.data)) {
		return errors.New("not at the end")
	}
	s.data = append(s.data, b...)
	s.sizes = append(s.sizes, len(b))
	return nil
}

func (s *sink) ReadAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.NewReader(s.data).ReadAt(p, off)
}

func newPieces(s *sink, behind bool) *pieces {
	ps := new(pieces)
	ps.init(s.put, behind)
	return ps
}

func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

func collect(t *testing.T, ps *pieces, p []byte) {
	t.Helper()
	if n, err := ps.collect(p); n != len(p) || err != nil {
		t.Fatalf("collected %d of %d, error %v", n, len(p), err)
	}
}

// TestPieces: whatever comes in, what goes out ends at multiples of a piece's size, but for a flush; and all can be read at any
// time.
func TestPieces(t *testing.T) {
	for name, behind := range map[string]bool{"at once": false, "behind": true} {
		t.Run(name, func(t *testing.T) {
			s, data := &sink{}, noise(4*pieceSize+1000)
			ps := newPieces(s, behind)
			flushAt := pieceSize + 300
			for at, n := 0, 1; at < len(data); n = n*3 + 1 {
				if at < flushAt {
					n = min(n, flushAt-at)
				}
				n = min(n, len(data)-at, 2*pieceSize)
				collect(t, ps, data[at:at+n])
				at += n
				got := make([]byte, 2*n+100)
				from := max(0, at-len(got)+50)
				k, err := ps.readAt(got, int64(from), s)
				if err != io.EOF || !bytes.Equal(got[:k], data[from:at]) {
					t.Fatalf("read %d at %d of %d: %d bytes, error %v", len(got), from, at, k, err)
				}
				if at == flushAt {
					if err := ps.flush(); err != nil || len(s.data) != at {
						t.Fatalf("after a flush: %d of %d bytes, error %v", len(s.data), at, err)
					}
				}
			}
			if err := ps.flush(); err != nil {
				t.Fatal(err)
			}
			ps.end()
			want := []int{pieceSize, 300, pieceSize - 300, pieceSize, pieceSize, 1000}
			if !slices.Equal(s.sizes, want) || !bytes.Equal(s.data, data) {
				t.Errorf("wrote %d, want %d", s.sizes, want)
			}
		})
	}
}

// TestPiecesBehind: who collects goes on while a piece is written, up to a bound; what waits can be read.
func TestPiecesBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, data := &sink{hold: make(chan struct{})}, noise(maxPieces*pieceSize)
		ps := newPieces(s, true)
		collect(t, ps, data[:(maxPieces-1)*pieceSize]) // the first one is held
		done := make(chan error)
		go func() {
			_, err := ps.collect(data[(maxPieces-1)*pieceSize:])
			done <- err
		}()
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("all pieces are full, and the writer goes on")
		default:
		}
		got := make([]byte, 2*pieceSize)
		if _, err := ps.readAt(got, 500, s); err != nil || !bytes.Equal(got, data[500:500+len(got)]) {
			t.Errorf("reading what waits: error %v", err)
		}
		s.hold <- struct{}{}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		close(s.hold)
		if err := ps.flush(); err != nil || !bytes.Equal(s.data, data) {
			t.Errorf("%d bytes, error %v", len(s.data), err)
		}
		ps.end()
	})
}

// TestPiecesFail: an error comes with a later call, nothing is written after it, and nobody waits for ever.
func TestPiecesFail(t *testing.T) {
	broken := errors.New("broken")
	synctest.Test(t, func(t *testing.T) {
		s := &sink{fail: broken}
		ps := newPieces(s, true)
		_, err := ps.collect(noise(pieceSize))
		synctest.Wait()
		_, later := ps.collect(noise(5 * pieceSize))
		if err != nil && err != broken || later != broken || ps.flush() != broken {
			t.Errorf("errors %v, %v", err, later)
		}
		s.fail = nil
		if _, err := ps.collect([]byte("x")); err != broken || ps.flush() != broken || len(s.sizes) != 0 {
			t.Errorf("error %v; wrote %d", err, s.sizes)
		}
		ps.end()
	})
}

// TestPiecesEnd: the end does not write what waits, and does wait for what is being written.
func TestPiecesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{hold: make(chan struct{})}
		ps := newPieces(s, true)
		collect(t, ps, noise(2*pieceSize))
		synctest.Wait() // the first one is being written
		ended := false
		go func() { ps.end(); ended = true }()
		synctest.Wait()
		if ended {
			t.Error("it did not wait")
		}
		s.hold <- struct{}{}
		synctest.Wait()
		if !ended || len(s.sizes) != 1 {
			t.Errorf("ended: %v; wrote %d", ended, s.sizes)
		}
	})
}
