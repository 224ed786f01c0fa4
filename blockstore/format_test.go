package blockstore

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"salliefs/blockstore/record"
	"salliefs/blockstore/segment"
	"salliefs/crypto"
)

var exampleBlock = regexp.MustCompile("(?s)```hex ([a-z ]+)\n(.*?)```")

// formatExamples reads the worked examples of FORMAT.md.
func formatExamples(t *testing.T) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := make(map[string][]byte)
	for _, m := range exampleBlock.FindAllStringSubmatch(string(text), -1) {
		b, err := hex.DecodeString(strings.Join(strings.Fields(m[2]), ""))
		if err != nil {
			t.Fatalf("example %q: %v", m[1], err)
		}
		examples[m[1]] = b
	}
	return examples
}

func TestFormatExamples(t *testing.T) {
	id := crypto.StoreID{1, 2, 3}
	zstd := blockMeta{codec: CodecZstd, plainLen: 131072, payloadLen: 4000, segment: 7, offset: 4096}
	encode := map[string][]byte{
		"header":       header{version: 1, id: id}.encode(),
		"physical key": record.Key{Namespace: 2, Kind: 0x10, Inode: uint64(MakeIno(2, 1)), Suffix: 3, Epoch: 1}.Append(nil),
		"state":        storeState{5, 1, 100, 200, 3, 4}.append(nil),
		"namespace": nsRecord{name: "prefs", created: time.Unix(0, 1), keyEpoch: 1, wrapped: []byte{0xaa, 0xbb},
			settings: NamespaceSettings{BlockSize: MaxBlockSize, Quota: 1000}}.append(nil),
		"usage":                 Usage{2, 100, 140, 1}.append(nil),
		"snapshot":              Snapshot{Name: "monday", Created: time.Unix(0, 2), firstID: 77}.append(nil),
		"segment":               segmentInfo{live: 5000, blocks: 2, freed: nsBytes{{2, 300}, {5, 4096}}}.append(nil),
		"removed namespace":     droppedRecord(3),
		"sweep":                 {sweepVersion},
		"inlined blocks":        inlinedRecord(300),
		"block":                 zstd.append(nil),
		"lost block":            blockMeta{codec: CodecNone, plainLen: 8192, payloadLen: 8192, lost: &lost{{4096, 4096}}}.append(nil),
		"hint":                  hint{parts: hintPlace, codec: CodecZstd, plainLen: 131072, number: 5, offset: 262144}.append(nil),
		"descriptions":          fileHint{5, 1, "big", []byte{0xaa, 0xbb}}.append([]byte{9}),
		"block associated data": blockAD(nil, id, 2, 9, zstd),
	}
	decode := map[string]func(b []byte) ([]byte, error){
		"header":            func(b []byte) ([]byte, error) { h, err := decodeHeader(b); return h.encode(), err },
		"physical key":      func(b []byte) ([]byte, error) { k, err := record.DecodeKey(b); return k.Append(nil), err },
		"state":             func(b []byte) ([]byte, error) { x, err := decodeState(b); return x.append(nil), err },
		"namespace":         func(b []byte) ([]byte, error) { x, err := decodeNSRecord(b); return x.append(nil), err },
		"usage":             func(b []byte) ([]byte, error) { x, err := decodeUsage(b); return x.append(nil), err },
		"snapshot":          func(b []byte) ([]byte, error) { x, err := decodeSnapshot(1, b); return x.append(nil), err },
		"segment":           func(b []byte) ([]byte, error) { x, err := decodeSegmentInfo(b); return x.append(nil), err },
		"removed namespace": func(b []byte) ([]byte, error) { x, err := decodeDropped(b); return droppedRecord(x), err },
		"hint":              func(b []byte) ([]byte, error) { x, err := decodeHint(b); return x.append(nil), err },
		"lost block":        func(b []byte) ([]byte, error) { x, err := decodeBlockMeta(b); return x.append(nil), err },
		"block":             func(b []byte) ([]byte, error) { x, err := decodeBlockMeta(b); return x.append(nil), err },
	}
	examples := formatExamples(t)
	if len(examples) != len(encode) {
		t.Errorf("FORMAT.md has %d examples, the test knows %d", len(examples), len(encode))
	}
	for name, b := range encode {
		if !bytes.Equal(examples[name], b) {
			t.Errorf("%s: FORMAT.md says\n%x, the code\n%x", name, examples[name], b)
		}
		if fn := decode[name]; fn != nil {
			again, err := fn(b)
			if err != nil || !bytes.Equal(again, b) {
				t.Errorf("%s: decoded and encoded again: %x, %v", name, again, err)
			}
			for n := range b {
				if _, err := fn(b[:n]); err == nil {
					t.Errorf("%s: cut to %d bytes it decodes", name, n)
				}
			}
			if _, err := fn(append(b[:len(b):len(b)], 0)); err == nil {
				t.Errorf("%s: with a byte too many it decodes", name)
			}
		}
	}
}

// TestSegmentCounts: the counts of namespaces in a segment's record are in order, not 0, and take no more than is reserved.
func TestSegmentCounts(t *testing.T) {
	for name, counts := range map[string]nsBytes{
		"out of order": {{5, 1}, {2, 1}}, "twice": {{2, 1}, {2, 1}}, "zero": {{2, 0}},
		"no namespace": {{MaxNamespaceID + 1, 1}}, "too much": {{2, segment.MaxSize + 1}},
	} {
		if i, err := decodeSegmentInfo(segmentInfo{freed: counts}.append(nil)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %+v, %v", name, i, err)
		}
	}
	if i, err := decodeSegmentInfo([]byte{1, 0, 0, 100, 1, 1}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("more counts than there are bytes for: %+v, %v", i, err)
	}
	most := segmentInfo{freed: nsBytes{{MaxNamespaceID, segment.MaxSize}}}.append(nil)
	if n := len(most) - len(segmentInfo{}.append(nil)); n > nsCountSize {
		t.Errorf("a count takes %d bytes", n)
	}
}
