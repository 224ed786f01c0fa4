package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
)

// readable counts the blocks that ReadEntry gives back. It fails the test when
// one comes back changed.
func readable(t *testing.T, seg []byte, blocks []block) int {
	t.Helper()
	n := 0
	for i, e := range entries(blocks) {
		sealed, err := ReadEntry(bytes.NewReader(seg), int64(len(seg)), testHeader, e, nil)
		if err == nil {
			n++
			if !bytes.Equal(sealed, blocks[i].sealed) {
				t.Fatalf("block %d came back changed", e.Block)
			}
		} else if !errors.Is(err, ErrDamaged) {
			t.Fatalf("block %d: error %v", e.Block, err)
		}
	}
	return n
}

// TestFlipEachBit: each single bit is noticed by exactly those that read it.
func TestFlipEachBit(t *testing.T) {
	blocks := smallBlocks()
	seg := build(t, testHeader, blocks, true)
	table := entries(blocks)
	footerAt := table[len(table)-1].end()
	for bit := range 8 * len(seg) {
		at := int64(bit / 8)
		bad := bytes.Clone(seg)
		bad[at] ^= 1 << (bit % 8)
		got, err := footer(bad, testHeader)
		if plain := CheckFooter(bytes.NewReader(bad), int64(len(bad)), testHeader); (plain == nil) != (err == nil) {
			t.Fatalf("bit %d: with the key: error %v, without: %v", bit, err, plain)
		}
		if at < HeaderSize {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("bit %d of the header: error %v", bit, err)
			}
			if _, err := Scan(bytes.NewReader(bad), int64(len(bad)), testHeader, nil); !errors.Is(err, ErrDamaged) {
				t.Fatalf("bit %d of the header: scan: error %v", bit, err)
			}
			continue
		}
		res := scan(t, bad, blocks)
		switch {
		case at < footerAt:
			hit := slices.IndexFunc(table, func(e Entry) bool { return at < e.end() })
			if err != nil || !slices.EqualFunc(got, table, sameEntry) {
				t.Fatalf("bit %d of entry %d: footer changed, error %v", bit, hit, err)
			}
			if res.Blocks != hit || res.Finished || !errors.Is(res.Stop, ErrDamaged) {
				t.Fatalf("bit %d of entry %d: scan %+v", bit, hit, res)
			}
			if n := readable(t, bad, blocks); n != len(blocks)-1 {
				t.Fatalf("bit %d of entry %d: %d blocks readable", bit, hit, n)
			}
		case at < int64(len(seg)-TrailerSize):
			if !errors.Is(err, ErrDamaged) || !res.Finished {
				t.Fatalf("bit %d of the footer: error %v, scan %+v", bit, err, res)
			}
		default:
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("bit %d of the trailer: error %v", bit, err)
			}
			if res.Blocks != len(blocks) || res.Finished || !errors.Is(res.Stop, ErrDamaged) {
				t.Fatalf("bit %d of the trailer: scan %+v", bit, res)
			}
		}
	}
}

// TestReadEntryWantsItsBlock: an index that points to an intact entry of another
// block is as wrong as damage.
func TestReadEntryWantsItsBlock(t *testing.T) {
	blocks := smallBlocks()
	seg := build(t, testHeader, blocks, true)
	for name, change := range map[string]func(*Entry){
		"block":     func(e *Entry) { e.Block++ },
		"namespace": func(e *Entry) { e.Namespace++ },
		"length":    func(e *Entry) { e.Length-- },
		"offset":    func(e *Entry) { e.Offset++ },
	} {
		for _, e := range entries(blocks) {
			change(&e)
			if _, err := ReadEntry(bytes.NewReader(seg), int64(len(seg)), testHeader, e, nil); !errors.Is(err, ErrDamaged) {
				t.Errorf("other %s, %+v: error %v", name, e, err)
			}
		}
	}
}

// TestFooterIsSealed damages the footer and mends every checksum: what is left
// to notice it is the Sealer.
func TestFooterIsSealed(t *testing.T) {
	blocks := smallBlocks()
	seg := build(t, testHeader, blocks, true)
	footerAt := entries(blocks)[len(blocks)-1].end()
	for at := footerAt; at < int64(len(seg)-TrailerSize); at++ {
		bad := bytes.Clone(seg)
		bad[at] ^= 1
		_, err := footer(mendTrailer(bad, footerAt), testHeader)
		if !errors.Is(err, errAuth) || !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d: error %v", at, err)
		}
	}
}

// mendTrailer gives seg a trailer that fits a footer from offset at on.
func mendTrailer(seg []byte, at int64) []byte {
	body := seg[:len(seg)-TrailerSize]
	identity := testHeader.identity()
	t := trailer{at, int64(len(body)) - at, checksum(identity, at, body[at:])}
	return appendTrailer(body, identity, t)
}

func TestTruncateAtEachLength(t *testing.T) {
	blocks := smallBlocks()
	seg := build(t, testHeader, blocks, true)
	table := entries(blocks)
	footerAt := table[len(table)-1].end()
	for n := range int64(len(seg)) {
		cut := seg[:n]
		_, err := footer(cut, testHeader)
		if n < HeaderSize {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("%d bytes: error %v", n, err)
			}
			if _, err := Scan(bytes.NewReader(cut), n, testHeader, nil); !errors.Is(err, ErrDamaged) {
				t.Fatalf("%d bytes: scan: error %v", n, err)
			}
			continue
		}
		if !errors.Is(err, ErrNoFooter) {
			t.Fatalf("%d bytes: error %v", n, err)
		}
		whole, clean := 0, n == HeaderSize
		for _, e := range table {
			if e.end() <= n {
				whole++
			}
			clean = clean || e.end() == n
		}
		res := scan(t, cut, blocks)
		if res.Blocks != whole || res.Finished || (res.Stop == nil) != clean {
			t.Fatalf("%d bytes, %d whole entries, footer at %d: scan %+v", n, whole, footerAt, res)
		}
		if got := readable(t, cut, blocks); got != whole {
			t.Fatalf("%d bytes: %d blocks readable of %d", n, got, whole)
		}
	}
}

// TestMisplaced moves whole, intact pieces to where they do not belong.
func TestMisplaced(t *testing.T) {
	blocks := smallBlocks()
	seg := build(t, testHeader, blocks, true)
	table := entries(blocks)
	footerAt := table[len(table)-1].end()
	raw := func(i int) []byte { return seg[table[i].Offset-EntryOverhead : table[i].end()] }
	other := build(t, Header{Store: testHeader.Store, ID: 78}, blocks, true)
	foreign := build(t, Header{Store: [16]byte{1}, ID: 77}, blocks, true)
	older := build(t, testHeader, blocks[:2], true)
	olderFooter := older[table[1].end():]

	for _, test := range []struct {
		name     string
		seg      []byte
		footer   error // of ReadFooter
		blocks   int   // that Scan passes on
		readable int
	}{
		{"entries of equal length swapped", slices.Concat(seg[:table[0].end()], raw(2), raw(1), seg[table[2].end():]), nil, 1, 2},
		{"entry twice", slices.Concat(seg[:table[1].end()], raw(1), seg[table[2].end():]), nil, 2, 3},
		{"entry of another segment", slices.Concat(seg[:table[0].end()], other[table[0].end():table[1].end()], seg[table[1].end():]), nil, 1, 3},
		{"entry of another store", slices.Concat(seg[:table[2].end()], foreign[table[2].end():footerAt], seg[footerAt:]), nil, 3, 3},
		{"body of another segment", slices.Concat(seg[:HeaderSize], other[HeaderSize:]), ErrDamaged, 0, 0},
		{"footer of another segment", slices.Concat(seg[:footerAt], other[footerAt:]), ErrDamaged, 4, 4},
		{"footer of another segment, trailer mended", mendTrailer(slices.Concat(seg[:footerAt], other[footerAt:]), footerAt), errAuth, 4, 4},
		{"footer of a shorter past", slices.Concat(seg[:footerAt], olderFooter), ErrDamaged, 4, 4},
		{"footer of a shorter past, trailer mended", mendTrailer(slices.Concat(seg[:footerAt], olderFooter), footerAt), errAuth, 4, 4},
		{"header of another segment", slices.Concat(other[:HeaderSize], seg[HeaderSize:]), ErrWrongSegment, -1, 4},
		{"another segment", other, ErrWrongSegment, -1, 0},
		{"another store", foreign, ErrWrongSegment, -1, 0},
		{"byte behind the trailer", append(bytes.Clone(seg), 0), ErrNoFooter, 4, 4},
		{"trailer twice", slices.Concat(seg, seg[len(seg)-TrailerSize:]), ErrDamaged, 4, 4},
		{"footer twice", slices.Concat(seg, seg[footerAt:]), ErrDamaged, 4, 4},
		{"entry removed", slices.Concat(seg[:table[1].end()], seg[table[2].end():]), ErrDamaged, 2, 2},
		{"second entry zero", slices.Concat(seg[:table[0].end()], make([]byte, 88), seg[table[1].end():]), nil, 1, 3},
		{"zeros behind the last entry", slices.Concat(seg[:footerAt], make([]byte, 5000)), ErrNoFooter, 4, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, err := footer(test.seg, testHeader); !errors.Is(err, test.footer) {
				t.Errorf("footer: error %v, want %v", err, test.footer)
			} else if err == nil && !slices.EqualFunc(got, table, sameEntry) {
				t.Errorf("footer changed: %+v", got)
			}
			if n := readable(t, test.seg, blocks); n != test.readable {
				t.Errorf("%d blocks readable, want %d", n, test.readable)
			}
			if test.blocks < 0 {
				_, err := Scan(bytes.NewReader(test.seg), int64(len(test.seg)), testHeader, nil)
				if !errors.Is(err, ErrWrongSegment) {
					t.Errorf("scan: error %v", err)
				}
				return
			}
			if res := scan(t, test.seg, blocks); res.Blocks != test.blocks {
				t.Errorf("scan %+v, want %d blocks", res, test.blocks)
			}
		})
	}
}

// TestTornTail loses each sector of an unfinished segment in turn, as a crash
// can lose what was not synced.
func TestTornTail(t *testing.T) {
	var blocks []block
	for i := range uint64(40) {
		blocks = append(blocks, block{id: i, ns: 1, sealed: bytes.Repeat([]byte{byte(i), 0x80}, 10+100*int(i%7))})
	}
	seg := build(t, testHeader, blocks, false)
	table := entries(blocks)
	for at := 512; at < len(seg); at += 512 {
		torn := bytes.Clone(seg)
		clear(torn[at:min(at+512, len(torn))])
		want := slices.IndexFunc(table, func(e Entry) bool { return e.end() > int64(at) })
		if res := scan(t, torn, blocks); res.Blocks != want || !errors.Is(res.Stop, ErrDamaged) {
			t.Fatalf("sector at %d lost: scan %+v, want %d blocks", at, res, want)
		}
	}
}

// TestLengthBounds has lengths that no Writer writes, under checksums that are
// right.
func TestLengthBounds(t *testing.T) {
	h := testHeader
	for _, length := range []uint32{0, MaxSealedSize + 1, 1 << 20, 1 << 31, 1<<32 - 1} {
		present := min(int(length), 2<<20)
		seg := AppendHeader(nil, h)
		start := len(seg)
		seg = append(seg, entryMagic...)
		seg = binary.BigEndian.AppendUint32(seg, length)
		seg = append(seg, make([]byte, 12)...)
		sealed := make([]byte, present)
		seg = binary.BigEndian.AppendUint32(seg, checksum(h.identity(), HeaderSize, seg[start:], sealed))
		seg = append(seg, sealed...)
		if res := scan(t, seg, nil); res.Blocks != 0 || !errors.Is(res.Stop, ErrDamaged) {
			t.Errorf("entry of length %d: scan %+v", length, res)
		}
		e := Entry{Offset: HeaderSize + EntryOverhead, Length: int(length)}
		if _, err := ReadEntry(bytes.NewReader(seg), int64(len(seg)), h, e, nil); !errors.Is(err, ErrDamaged) {
			t.Errorf("entry of length %d: error %v", length, err)
		}
	}
	for _, e := range []Entry{{Offset: 0, Length: 1}, {Offset: HeaderSize, Length: 1}, {Offset: -1 << 63, Length: 1},
		{Offset: 1<<63 - 1, Length: 1}, {Offset: HeaderSize + EntryOverhead, Length: -1}} {
		seg := build(t, h, smallBlocks(), true)
		if _, err := ReadEntry(bytes.NewReader(seg), int64(len(seg)), h, e, nil); !errors.Is(err, ErrDamaged) {
			t.Errorf("%+v: error %v", e, err)
		}
	}
	big := make([]byte, MaxSize+1)
	copy(big, build(t, h, nil, false))
	if _, err := footer(big, h); !errors.Is(err, ErrDamaged) {
		t.Errorf("segment of %d bytes: error %v", len(big), err)
	}
}

// TestTrailerBounds has trailers whose checksum is right and whose footer is
// nowhere. Nothing may be read or allocated for them.
func TestTrailerBounds(t *testing.T) {
	identity := testHeader.identity()
	const size = 1000
	for _, tr := range []trailer{
		{0, size - TrailerSize, 0}, {HeaderSize - 1, size - TrailerSize - HeaderSize + 1, 0}, {500, size - TrailerSize - 499, 0},
		{500, size - TrailerSize - 501, 0}, {500, 1<<32 - 1, 0}, {-1, size - TrailerSize + 1, 0}, {1 << 40, 10, 0}, {size, 0, 0},
	} {
		b := binary.BigEndian.AppendUint64(nil, uint64(tr.footerOffset))
		b = binary.BigEndian.AppendUint32(b, uint32(tr.footerLength))
		b = append(b, make([]byte, 8)...)
		b = binary.BigEndian.AppendUint32(b, checksum(identity, size-TrailerSize, b))
		b = append(b, trailerMagic...)
		if _, err := decodeTrailer(b, identity, size); !errors.Is(err, ErrDamaged) {
			t.Errorf("%+v: error %v", tr, err)
		}
	}
	long := int64(MaxFooterSize + 1)
	b := appendTrailer(nil, identity, trailer{HeaderSize, long, 0})
	if _, err := decodeTrailer(b, identity, HeaderSize+long+TrailerSize); !errors.Is(err, ErrDamaged) {
		t.Errorf("footer of %d bytes: error %v", long, err)
	}
	b = appendTrailer(nil, identity, trailer{HeaderSize, 10, 0})
	b[16] = 1
	binary.BigEndian.PutUint32(b[20:], checksum(identity, HeaderSize+10, b[:20]))
	if _, err := decodeTrailer(b, identity, HeaderSize+10+TrailerSize); !errors.Is(err, ErrDamaged) {
		t.Errorf("reserved bytes: error %v", err)
	}
}

// TestTableBounds has tables that only who holds the key can have sealed; they
// are checked all the same.
func TestTableBounds(t *testing.T) {
	blocks := smallBlocks()
	table := entries(blocks)
	end := table[len(table)-1].end()
	encode := func(count uint32, change func(i int, e *Entry)) []byte {
		b := binary.BigEndian.AppendUint32(nil, count)
		for i, e := range table {
			if change != nil {
				change(i, &e)
			}
			b = appendTableEntry(b, e)
		}
		return b
	}
	good := encode(4, nil)
	if got, err := decodeTable(good, end); err != nil || !slices.EqualFunc(got, table, sameEntry) {
		t.Fatalf("%+v, error %v", got, err)
	}
	bad := map[string][]byte{
		"count too small": encode(3, nil),
		"count too large": encode(5, nil),
		"count huge":      encode(1<<32-1, nil),
		"byte behind":     append(bytes.Clone(good), 0),
		"offset":          encode(4, func(i int, e *Entry) { e.Offset += int64(i / 3) }),
		"gap":             encode(4, func(i int, e *Entry) { e.Length -= (i + 1) % 2 }),
		"length 0":        encode(4, func(i int, e *Entry) { e.Length *= min(1, 3-i) }),
		"length huge":     encode(4, func(i int, e *Entry) { e.Length |= i / 3 << 31 }),
		"hint too long":   encode(4, func(i int, e *Entry) { e.Hint = make([]byte, i/3*(MaxHintSize+1)) }),
	}
	for n := range good {
		bad[fmt.Sprintf("cut to %d bytes", n)] = good[:n]
	}
	for name, b := range bad {
		if _, err := decodeTable(b, end); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	for _, wrong := range []int64{end - 1, end + 1, HeaderSize} {
		if _, err := decodeTable(good, wrong); !errors.Is(err, ErrDamaged) {
			t.Errorf("end %d instead of %d: error %v", wrong, end, err)
		}
	}
}

// TestAllocationBounds: a stored count or length is worth no memory by itself.
func TestAllocationBounds(t *testing.T) {
	huge := bytes.Repeat([]byte{0xff}, 1000)
	seg := slices.Concat(build(t, testHeader, nil, false), []byte(entryMagic), huge)
	for name, decode := range map[string]func(){
		"table": func() { _, _ = decodeTable(huge, MaxSize) },
		"scan": func() {
			_, _ = Scan(bytes.NewReader(seg), int64(len(seg)), testHeader, nil)
		},
		"entry": func() {
			_, _ = ReadEntry(bytes.NewReader(seg), int64(len(seg)), testHeader, Entry{Offset: 100, Length: 1 << 40}, nil)
		},
	} {
		const runs = 100
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			decode()
		}
		runtime.ReadMemStats(&after)
		if n := (after.TotalAlloc - before.TotalAlloc) / runs; n > 10_000 {
			t.Errorf("%s: 1000 bytes make it allocate %d", name, n)
		}
	}
}

func TestDamageError(t *testing.T) {
	err := error(&DamageError{Part: "footer", Offset: 160, Why: "does not open", Err: errAuth})
	if got := err.Error(); got != "segment damaged: footer at offset 160: does not open: does not authenticate" {
		t.Error(got)
	}
	var d *DamageError
	if !errors.As(fmt.Errorf("outer: %w", err), &d) || !errors.Is(err, ErrDamaged) || !errors.Is(err, errAuth) {
		t.Error("does not unwrap")
	}
}

func TestHeaderVersions(t *testing.T) {
	for version, want := range map[uint16]error{0: ErrDamaged, Version + 1: ErrNewerFormat, 0xffff: ErrNewerFormat} {
		b := AppendHeader(nil, testHeader)
		binary.BigEndian.PutUint16(b[8:], version)
		mendHeader(b)
		if _, err := DecodeHeader(b); !errors.Is(err, want) {
			t.Errorf("version %d: error %v", version, err)
		}
	}
	for _, at := range []int{10, 15, 40, 59} {
		b := AppendHeader(nil, testHeader)
		b[at] = 1
		mendHeader(b)
		if _, err := DecodeHeader(b); !errors.Is(err, ErrDamaged) {
			t.Errorf("reserved byte %d: error %v", at, err)
		}
	}
}
