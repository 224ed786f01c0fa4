package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"
)

// Each target decodes bytes as they are and with the checksum mended, since
// otherwise hardly any input would come past it. What decodes must encode to the
// same bytes.

func FuzzHeader(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		try := func(b []byte) {
			if h, err := DecodeHeader(b); err == nil && !bytes.Equal(AppendHeader(nil, h), b[:HeaderSize]) {
				t.Fatalf("%x decodes to %v, which encodes to other bytes", b, h)
			}
		}
		try(b)
		if len(b) >= HeaderSize {
			try(mendHeader(bytes.Clone(b)))
		}
	})
}

func mendHeader(b []byte) []byte {
	binary.BigEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}

// FuzzEntry scans a segment that has the input between header and end.
func FuzzEntry(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		scanFuzzed(t, b)
		if len(b) < EntryOverhead {
			return
		}
		b = bytes.Clone(b)
		end := min(uint64(len(b)), EntryOverhead+uint64(binary.BigEndian.Uint32(b[4:])))
		sum := checksum(testHeader.identity(), HeaderSize, b[:20], b[EntryOverhead:end])
		binary.BigEndian.PutUint32(b[20:], sum)
		scanFuzzed(t, b)
	})
}

func scanFuzzed(t *testing.T, body []byte) {
	seg := append(AppendHeader(nil, testHeader), body...)
	size := int64(len(seg))
	res, err := Scan(bytes.NewReader(seg), size, testHeader, func(e Entry, sealed []byte) error {
		raw := seg[e.Offset-EntryOverhead : e.end()]
		again := append(appendEntryHeader(nil, testHeader.identity(), e, sealed), sealed...)
		if !bytes.Equal(again, raw) {
			t.Fatalf("%x decodes to %+v, which encodes to other bytes", raw, e)
		}
		if _, err := ReadEntry(bytes.NewReader(seg), size, testHeader, e, nil); err != nil {
			t.Fatalf("%+v passes Scan and not ReadEntry: %v", e, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if res.End < HeaderSize || res.End > size || res.Stop != nil && !errors.Is(res.Stop, ErrDamaged) {
		t.Fatalf("%d bytes: %+v", size, res)
	}
}

// FuzzFooter decodes the plaintext of a footer.
func FuzzFooter(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte, end int64) {
		table, err := decodeTable(b, end)
		if err != nil {
			return
		}
		again := binary.BigEndian.AppendUint32(nil, uint32(len(table)))
		for _, e := range table {
			again = appendTableEntry(again, e)
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("%x decodes to %+v, which encodes to other bytes", b, table)
		}
	})
}

func FuzzTrailer(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		identity := testHeader.identity()
		try := func(b []byte) {
			tr, err := decodeTrailer(b, identity, size)
			if err == nil && !bytes.Equal(appendTrailer(nil, identity, tr), b) {
				t.Fatalf("%x decodes to %+v, which encodes to other bytes", b, tr)
			}
			if err == nil && (tr.footerOffset < HeaderSize || tr.footerOffset+tr.footerLength != size-TrailerSize) {
				t.Fatalf("footer of %+v is not inside %d bytes", tr, size)
			}
		}
		try(b)
		if len(b) == TrailerSize {
			b = bytes.Clone(b)
			binary.BigEndian.PutUint32(b[20:], checksum(identity, size-TrailerSize, b[:20]))
			copy(b[24:], trailerMagic)
			try(b)
		}
	})
}

// seeds are the inputs that each fuzz target starts from, by target and name.
func seeds(t *testing.T) map[string]map[string][]any {
	blocks := smallBlocks()
	seg := build(t, testHeader, blocks, true)
	body := build(t, testHeader, blocks, false)
	end := int64(len(body))
	table := binary.BigEndian.AppendUint32(nil, uint32(len(blocks)))
	for _, e := range entries(blocks) {
		table = appendTableEntry(table, e)
	}
	tail := seg[len(seg)-TrailerSize:]
	return map[string]map[string][]any{
		"FuzzHeader": {
			"good": {seg[:HeaderSize]}, "short": {seg[:HeaderSize-1]}, "zero": {make([]byte, HeaderSize)},
		},
		"FuzzEntry": {
			"entries": {body[HeaderSize:]}, "finished": {seg[HeaderSize:]}, "short": {body[HeaderSize:][:100]},
			"long": {append([]byte(entryMagic), bytes.Repeat([]byte{0xff}, 60)...)},
		},
		"FuzzFooter": {
			"good": {table, end}, "empty": {make([]byte, 4), int64(HeaderSize)}, "count": {bytes.Repeat([]byte{0xff}, 60), end},
		},
		"FuzzTrailer": {
			"good": {tail, int64(len(seg))}, "size": {tail, int64(-1)}, "zero": {make([]byte, TrailerSize), int64(0)},
		},
	}
}

// TestFuzzSeeds asserts that each target has the seeds in testdata/fuzz.
func TestFuzzSeeds(t *testing.T) {
	for target, named := range seeds(t) {
		for name, args := range named {
			file := filepath.Join("testdata", "fuzz", target, name)
			want := "go test fuzz v1\n"
			for _, arg := range args {
				switch arg := arg.(type) {
				case []byte:
					want += fmt.Sprintf("[]byte(%q)\n", arg)
				case int64:
					want += fmt.Sprintf("int64(%d)\n", arg)
				}
			}
			if *update {
				must(t, os.MkdirAll(filepath.Dir(file), 0o755))
				must(t, os.WriteFile(file, []byte(want), 0o644))
			}
			got, err := os.ReadFile(file)
			must(t, err)
			if string(got) != want {
				t.Errorf("%s is not what the format gives today", file)
			}
		}
		found, err := os.ReadDir(filepath.Join("testdata", "fuzz", target))
		if err != nil || len(found) < len(named) {
			t.Errorf("%s has %d seeds, error %v", target, len(found), err)
		}
	}
}
