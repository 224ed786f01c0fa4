package segment

import (
	"bytes"
	"errors"
	"testing"
)

func TestWriterFills(t *testing.T) {
	for _, test := range []struct {
		name         string
		sealed, hint int
	}{
		{"large blocks", 128<<10 + 152, 24},
		{"largest blocks and hints", MaxSealedSize, MaxHintSize},
		{"tiny blocks: the footer is full first", 1, 300},
	} {
		t.Run(test.name, func(t *testing.T) {
			var buf bytes.Buffer
			w := NewWriter(&buf, testHeader)
			// Full blocks, then halves of the room that is left.
			for n := test.sealed; n > 0; {
				fits := w.Fits(n, test.hint)
				_, err := w.Append(uint64(w.Blocks()), 1, make([]byte, n), make([]byte, test.hint))
				if fits != (err == nil) || err != nil && !errors.Is(err, ErrFull) {
					t.Fatalf("block of %d bytes at %d: fits %v, error %v", n, w.Size(), fits, err)
				}
				if err != nil {
					n /= 2
				}
			}
			blocks := w.Blocks()
			must(t, w.Finish(testSealer{}, nil))
			if buf.Len() > MaxSize || w.Size() != int64(buf.Len()) {
				t.Fatalf("segment of %d bytes, says %d", buf.Len(), w.Size())
			}
			table, err := footer(buf.Bytes(), testHeader)
			if err != nil || len(table) != blocks {
				t.Fatalf("%d of %d blocks, error %v", len(table), blocks, err)
			}
			t.Logf("%d blocks in %d bytes", blocks, buf.Len())
		})
	}
}

func TestWriterLimits(t *testing.T) {
	var buf bytes.Buffer
	w := NewWriter(&buf, testHeader)
	for _, test := range []struct{ sealed, hint int }{{0, 0}, {MaxSealedSize + 1, 0}, {1, MaxHintSize + 1}} {
		if _, err := w.Append(1, 1, make([]byte, test.sealed), make([]byte, test.hint)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%+v: error %v", test, err)
		}
	}
	_, err := w.Append(1, 1, []byte("x"), nil)
	must(t, err)
	if err := w.Finish(paddingSealer{}, nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("sealer that adds too much: error %v", err)
	}
	must(t, w.Finish(testSealer{}, nil))
	_, err = w.Append(2, 1, []byte("x"), nil)
	for _, err := range []error{err, w.Finish(testSealer{}, nil)} {
		if !errors.Is(err, ErrFinished) {
			t.Errorf("after Finish: error %v", err)
		}
	}
	table, err := footer(buf.Bytes(), testHeader)
	if err != nil || len(table) != 1 {
		t.Fatalf("%+v, error %v", table, err)
	}
}

type paddingSealer struct{ testSealer }

func (s paddingSealer) Seal(dst, plaintext, ad []byte) []byte {
	return append(s.testSealer.Seal(dst, plaintext, ad), make([]byte, 33)...)
}

// pieces counts writes, and fails after some.
type pieces struct {
	sizes []int
	fail  int // the write that fails, from 1; 0 for none
	err   error
}

func (p *pieces) Write(b []byte) (int, error) {
	p.sizes = append(p.sizes, len(b))
	if len(p.sizes) == p.fail {
		return len(b) / 2, p.err
	}
	return len(b), nil
}

func TestWriterStaysFailed(t *testing.T) {
	broken := errors.New("broken disk")
	for _, err := range []error{broken, nil} { // nil: a short write
		p := &pieces{fail: 2, err: err}
		w := NewWriter(p, testHeader)
		var got error
		for i := 0; got == nil && i < 1000; i++ {
			_, got = w.Append(uint64(i), 1, make([]byte, 100_000), nil)
		}
		_, later := w.Append(1, 1, []byte("x"), nil)
		for _, e := range []error{later, w.Finish(testSealer{}, nil)} {
			if got == nil || e != got || err != nil && !errors.Is(got, broken) {
				t.Fatalf("first error %v, later %v", got, e)
			}
		}
		if len(p.sizes) != 2 {
			t.Fatalf("wrote %d times", len(p.sizes))
		}
	}
}

// BenchmarkAppend shows what encoding costs beyond the write itself.
func BenchmarkAppend(b *testing.B) {
	sealed := make([]byte, 128<<10)
	b.SetBytes(int64(len(sealed)))
	w := NewWriter(discard{}, testHeader)
	for b.Loop() {
		if !w.Fits(len(sealed), 16) {
			w = NewWriter(discard{}, testHeader)
		}
		if _, err := w.Append(1, 1, sealed, sealed[:16]); err != nil {
			b.Fatal(err)
		}
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
