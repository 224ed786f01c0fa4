package segment

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"salliefs/crypto"
)

var update = flag.Bool("update", false, "write golden files and fuzz seeds anew; FORMAT.md quotes them")

var errAuth = errors.New("does not authenticate")

// testSealer authenticates without hiding, always the same way, so that tests
// can build what a Sealer would accept.
type testSealer struct{}

func (testSealer) Seal(dst, plaintext, ad []byte) []byte {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(slices.Concat(ad, plaintext), uint64(len(ad))))
	return append(append(dst, sum[:]...), plaintext...)
}

func (s testSealer) Open(dst, sealed, ad []byte) ([]byte, error) {
	if len(sealed) < 32 || !bytes.Equal(s.Seal(nil, sealed[32:], ad), sealed) {
		return nil, errAuth
	}
	return append(dst, sealed[32:]...), nil
}

// crypto.Sealer is what the store passes.
var _ Sealer = (*crypto.Sealer)(nil)

var testHeader = Header{Store: [16]byte{0x5a, 1, 2, 3}, ID: 77}

// block is what a test appends.
type block struct {
	id     uint64
	ns     uint32
	sealed []byte
	hint   []byte
}

func randomBytes(r *rand.Rand, n int) []byte {
	var b []byte
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, r.Uint64())
	}
	return b[:n]
}

// smallBlocks are a few blocks of which the second and third have equal length.
func smallBlocks() []block {
	r := rand.New(rand.NewPCG(1, 2))
	return []block{
		{10, 1, randomBytes(r, 40), []byte("hint of block 10")},
		{11, 1, randomBytes(r, 64), nil},
		{12, 2, randomBytes(r, 64), []byte{0}},
		{13, 0, randomBytes(r, 1), bytes.Repeat([]byte("h"), 50)},
	}
}

// build encodes a segment and checks what Append says on the way.
func build(t testing.TB, h Header, blocks []block, finish bool) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := NewWriter(&buf, h)
	for _, b := range blocks {
		want := w.Size() + EntryOverhead
		off, err := w.Append(b.id, b.ns, b.sealed, b.hint)
		if err != nil || off != want {
			t.Fatalf("append block %d: offset %d, want %d, error %v", b.id, off, want, err)
		}
	}
	switch {
	case finish:
		must(t, w.Finish(testSealer{}, nil))
	case len(blocks) == 0:
		return AppendHeader(nil, h) // it would come with the first block
	}
	if w.Size() != int64(buf.Len()) || w.Blocks() != len(blocks) {
		t.Fatalf("size %d, wrote %d; %d blocks of %d", w.Size(), buf.Len(), w.Blocks(), len(blocks))
	}
	return buf.Bytes()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// entries are what the blocks of a segment become.
func entries(blocks []block) Table {
	var table Table
	next := int64(HeaderSize)
	for _, b := range blocks {
		table = append(table, Entry{b.id, b.ns, next + EntryOverhead, len(b.sealed), b.hint})
		next += EntryOverhead + int64(len(b.sealed))
	}
	return table
}

func sameEntry(a, b Entry) bool {
	return a.Block == b.Block && a.Namespace == b.Namespace && a.Offset == b.Offset && a.Length == b.Length &&
		bytes.Equal(a.Hint, b.Hint)
}

func footer(seg []byte, h Header) (Table, error) {
	return ReadFooter(bytes.NewReader(seg), int64(len(seg)), h, testSealer{})
}

// scan scans seg and fails the test if it passes on anything but a prefix of
// blocks.
func scan(t testing.TB, seg []byte, blocks []block) ScanResult {
	t.Helper()
	table := entries(blocks)
	i := 0
	res, err := Scan(bytes.NewReader(seg), int64(len(seg)), testHeader, func(e Entry, sealed []byte) error {
		if i >= len(blocks) {
			t.Fatalf("entry %d of %d: %+v", i, len(blocks), e)
		}
		want := table[i]
		want.Hint = nil
		if !sameEntry(e, want) || e.Hint != nil || !bytes.Equal(sealed, blocks[i].sealed) {
			t.Fatalf("entry %d: got %+v, want %+v, or other sealed bytes", i, e, want)
		}
		i++
		return nil
	})
	must(t, err)
	end := int64(HeaderSize)
	if i > 0 {
		end = table[i-1].end()
	}
	if res.Blocks != i || res.End != end {
		t.Fatalf("%d entries up to %d: result %+v", i, end, res)
	}
	return res
}

func TestRoundTrip(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 0))
		blocks := make([]block, r.IntN(60))
		for i := range blocks {
			n := []int{1, 100, 5_000, 60_000, MaxSealedSize - 1}[r.IntN(5)]
			blocks[i] = block{r.Uint64(), r.Uint32(), randomBytes(r, 1+r.IntN(n)), randomBytes(r, r.IntN(40))}
		}
		seg := build(t, testHeader, blocks, true)
		table, err := footer(seg, testHeader)
		must(t, err)
		if !slices.EqualFunc(table, entries(blocks), sameEntry) {
			t.Fatalf("seed %d: footer differs", seed)
		}
		must(t, CheckFooter(bytes.NewReader(seg), int64(len(seg)), testHeader))
		if res := scan(t, seg, blocks); res.Blocks != len(blocks) || !res.Finished || res.Stop != nil {
			t.Fatalf("seed %d: scan %+v", seed, res)
		}
		body := build(t, testHeader, blocks, false)
		if res := scan(t, body, blocks); res.Blocks != len(blocks) || res.Finished || res.Stop != nil {
			t.Fatalf("seed %d: scan without footer %+v", seed, res)
		}
		if _, err := footer(body, testHeader); !errors.Is(err, ErrNoFooter) {
			t.Fatalf("seed %d: footer of an unfinished segment: error %v", seed, err)
		}
		readEach(t, seg, blocks)
	}
}

// readEach reads each block by ReadEntry, without and with a buffer.
func readEach(t *testing.T, seg []byte, blocks []block) {
	t.Helper()
	var buf []byte
	for i, e := range entries(blocks) {
		got, err := ReadEntry(bytes.NewReader(seg), int64(len(seg)), testHeader, e, buf)
		must(t, err)
		if !bytes.Equal(got, blocks[i].sealed) {
			t.Fatalf("block %d: other bytes", e.Block)
		}
		buf = got[:0]
	}
}

func TestReadHeader(t *testing.T) {
	seg := build(t, testHeader, nil, false)
	h, err := ReadHeader(bytes.NewReader(seg), int64(len(seg)))
	if err != nil || h != testHeader {
		t.Fatalf("%v, error %v", h, err)
	}
}

func TestWithCryptoSealer(t *testing.T) {
	s := crypto.NewSealer(bytes.Repeat([]byte{7}, crypto.KeySize))
	var buf bytes.Buffer
	w := NewWriter(&buf, testHeader)
	for _, b := range smallBlocks() {
		_, err := w.Append(b.id, b.ns, b.sealed, b.hint)
		must(t, err)
	}
	must(t, w.Finish(s, nil))
	r, size := bytes.NewReader(buf.Bytes()), int64(buf.Len())
	table, err := ReadFooter(r, size, testHeader, s)
	must(t, err)
	if !slices.EqualFunc(table, entries(smallBlocks()), sameEntry) {
		t.Fatalf("got %+v", table)
	}
	other := crypto.NewSealer(bytes.Repeat([]byte{8}, crypto.KeySize))
	if _, err := ReadFooter(r, size, testHeader, other); !errors.Is(err, crypto.ErrAuth) || !errors.Is(err, ErrDamaged) {
		t.Fatalf("other key: error %v", err)
	}
}

// TestReaderFails tells errors of the disk from damage.
func TestReaderFails(t *testing.T) {
	blocks := smallBlocks()
	seg := build(t, testHeader, blocks, true)
	broken := errors.New("broken disk")
	for at := range len(seg) {
		r := brokenReader{seg, int64(at), broken}
		if _, err := ReadFooter(r, int64(len(seg)), testHeader, testSealer{}); err != nil && !errors.Is(err, broken) {
			t.Fatalf("byte %d unreadable: footer: error %v", at, err)
		}
		_, err := Scan(r, int64(len(seg)), testHeader, func(Entry, []byte) error { return nil })
		inFooter := int64(at) >= entries(blocks)[len(blocks)-1].end() && at < len(seg)-TrailerSize
		if errors.Is(err, broken) == inFooter || errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d unreadable: scan: error %v", at, err)
		}
		for _, e := range entries(blocks) {
			_, err := ReadEntry(r, int64(len(seg)), testHeader, e, nil)
			inEntry := int64(at) >= e.Offset-EntryOverhead && int64(at) < e.end()
			if errors.Is(err, broken) != inEntry || errors.Is(err, ErrDamaged) {
				t.Fatalf("byte %d unreadable: entry %+v: error %v", at, e, err)
			}
		}
	}
	_, err := Scan(bytes.NewReader(seg[:100]), int64(len(seg)), testHeader, nil)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("reader shorter than it says: error %v", err)
	}
}

// brokenReader can not read the byte at offset bad.
type brokenReader struct {
	data []byte
	bad  int64
	err  error
}

func (r brokenReader) ReadAt(p []byte, off int64) (int, error) {
	if off <= r.bad && r.bad < off+int64(len(p)) {
		return copy(p, r.data[off:r.bad]), r.err
	}
	return bytes.NewReader(r.data).ReadAt(p, off)
}

func TestScanCallback(t *testing.T) {
	seg := build(t, testHeader, smallBlocks(), true)
	stop := errors.New("stop")
	n := 0
	res, err := Scan(bytes.NewReader(seg), int64(len(seg)), testHeader, func(Entry, []byte) error {
		if n++; n == 3 {
			return stop
		}
		return nil
	})
	if err != stop || res.Blocks != 2 {
		t.Fatalf("%+v, error %v", res, err)
	}
}
