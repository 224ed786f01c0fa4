package blockstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"testing"
	"time"

	"salliefs/blockstore/record"
	"salliefs/crypto"
)

// recordSamples are plaintexts of the store's own records, by what they are.
func recordSamples() map[string][]byte {
	return map[string][]byte{
		"state": storeState{5, 1, 100, 200, 3, 4}.append(nil),
		"namespace": nsRecord{name: "prefs", settings: NamespaceSettings{BlockSize: MaxBlockSize},
			wrapped: make([]byte, crypto.WrappedKeySize)}.append(nil),
		"short namespace":      nsRecord{name: "prefs", settings: NamespaceSettings{BlockSize: MaxBlockSize}, wrapped: []byte{1}}.append(nil),
		"usage":                Usage{2, 100, -140, 1}.append(nil),
		"snapshot":             Snapshot{Name: "monday", firstID: 77}.append(nil),
		"segment":              segmentInfo{live: 5000, blocks: 2}.append(nil),
		"segment with freed":   segmentInfo{live: 5000, blocks: 2, freed: nsBytes{{2, 300}, {5, 4096}}}.append(nil),
		"block":                blockMeta{codec: CodecNone, plainLen: 10, payloadLen: 10}.append(nil),
		"block in a segment":   blockMeta{codec: CodecZstd, plainLen: 131072, payloadLen: 4000, segment: 7, offset: 4096}.append(nil),
		"block with losses":    blockMeta{codec: CodecNone, plainLen: 9, payloadLen: 9, lost: &lost{{1, 2}, {5, 4}}}.append(nil),
		"lost block":           blockMeta{codec: CodecNone, plainLen: 9, lost: allLost(9)}.append(nil),
		"hint":                 hint{parts: hintParts, codec: CodecS2, plainLen: 1, number: 2, offset: 3, space: []byte{4}, files: []byte{5}}.append(nil),
		"descriptions":         fileHint{5, 1, "big", []byte{1}}.append([]byte{9}),
		"inline block":         append([]byte{3}, "metasealed bytes"...),
		"removed namespace":    droppedRecord(300),
		"inlined blocks":       inlinedRecord(70_000),
		"physical key":         record.Key{Namespace: 1, Epoch: 3}.Append(nil),
		"another physical key": record.Key{Namespace: math.MaxUint32, Kind: 7, Inode: 5, Suffix: 6, Epoch: 1}.Append(nil),
	}
}

// FuzzRecords gives stored plaintexts to all decoders. What decodes must encode to the same bytes.
func FuzzRecords(f *testing.F) {
	for _, b := range recordSamples() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { decodeAll(t, b) })
}

func decodeAll(t testing.TB, b []byte) {
	same := func(what string, again []byte, err error) {
		if err == nil && !bytes.Equal(again, b) {
			t.Errorf("%s: %x decodes, and encodes to %x", what, b, again)
		}
	}
	st, err := decodeState(b)
	same("state", st.append(nil), err)
	ns, err := decodeNSRecord(b)
	same("namespace", ns.append(nil), err)
	u, err := decodeUsage(b)
	same("usage", u.append(nil), err)
	sn, err := decodeSnapshot(1, b)
	same("snapshot", sn.append(nil), err)
	seg, err := decodeSegmentInfo(b)
	same("segment", seg.append(nil), err)
	m, err := decodeBlockMeta(b)
	same("block", m.append(nil), err)
	h, err := decodeHint(b)
	same("hint", h.append(nil), err)
	_, _, _ = decodeFileHints(b)
	epoch, err := decodeDropped(b)
	same("removed namespace", droppedRecord(epoch), err)
	first, err := decodeInlined(b)
	same("inlined blocks", inlinedRecord(first), err)
	k, err := record.DecodeKey(b)
	same("physical key", k.Append(nil), err)
	if meta, inline, err := splitBlockRecord(b); err == nil && len(meta)+len(inline)+1 != len(b) {
		t.Errorf("block record %x splits into %x and %x", b, meta, inline)
	}
}

// FuzzHeader decodes headers as they are, and with the checksum mended, since otherwise hardly any would come past it.
func FuzzHeader(f *testing.F) {
	for _, h := range headerSamples() {
		f.Add(h)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, mendHeader(b)} {
			h, err := decodeHeader(b)
			switch {
			case err == nil && !bytes.Equal(h.encode(), b):
				t.Errorf("%x decodes, and encodes to %x", b, h.encode())
			case err != nil && !errors.Is(err, ErrNotStore) && !errors.Is(err, ErrNewerFormat) && !errors.Is(err, ErrCorrupt):
				t.Errorf("%x: an error of no kind: %v", b, err)
			}
		}
	})
}

func headerSamples() [][]byte {
	good := header{version: 1, id: crypto.StoreID{1, 2, 3}}.encode()
	return [][]byte{good, good[:20], header{version: 2}.encode(), header{version: 1, required: 1 << 40, optional: 3}.encode(), nil}
}

func mendHeader(b []byte) []byte {
	if len(b) != headerSize {
		return b
	}
	sum := sha256.Sum256(b[:headerSize-32])
	return append(bytes.Clone(b[:headerSize-32]), sum[:]...)
}

// FuzzHolder decodes holder files. They say what a process says of itself, or nothing.
func FuzzHolder(f *testing.F) {
	for _, b := range holderSamples() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h := decodeHolder(b)
		if h == nil {
			return
		}
		again, err := json.Marshal(h)
		if err != nil {
			return // a year past 9999
		}
		if other := decodeHolder(again); h.PID == 0 || other == nil || !other.Since.Equal(h.Since) || other.PID != h.PID {
			t.Errorf("%q is %+v, which is written as %s", b, h, again)
		}
	})
}

func holderSamples() [][]byte {
	good, err := json.Marshal(Holder{Host: "vm", PID: 77, Mount: "/home/you/sallie", Socket: "/run/s", Since: time.Unix(1_700_000_000, 5).UTC()})
	if err != nil {
		panic(err)
	}
	return [][]byte{good, []byte(`{"host": "vm", "pid": -1}`), []byte(`{"pid": 1e300}`), []byte("null"), good[:len(good)/2], nil}
}

// TestSamplesDecode: each target begins with inputs that come all the way through.
func TestSamplesDecode(t *testing.T) {
	seen := make(map[string]bool)
	for what, b := range recordSamples() {
		for name, decode := range map[string]func() error{
			"state":     func() error { _, err := decodeState(b); return err },
			"namespace": func() error { _, err := decodeNSRecord(b); return err },
			"usage":     func() error { _, err := decodeUsage(b); return err },
			"snapshot":  func() error { _, err := decodeSnapshot(1, b); return err },
			"segment":   func() error { _, err := decodeSegmentInfo(b); return err },
			"block":     func() error { _, err := decodeBlockMeta(b); return err },
			"dropped":   func() error { _, err := decodeDropped(b); return err },
			"inlined":   func() error { _, err := decodeInlined(b); return err },
			"key":       func() error { _, err := record.DecodeKey(b); return err },
			"split":     func() error { _, _, err := splitBlockRecord(b); return err },
		} {
			if decode() == nil {
				seen[name] = true
			}
		}
		decodeAll(t, b)
		_ = what
	}
	if len(seen) != 10 {
		t.Errorf("only these decode: %v", seen)
	}
	if h, err := decodeHeader(headerSamples()[0]); err != nil || h.version != 1 {
		t.Errorf("header: %+v, %v", h, err)
	}
	if h := decodeHolder(holderSamples()[0]); h == nil || !reflect.DeepEqual(h.Mount, PathName("/home/you/sallie")) {
		t.Errorf("holder: %+v", h)
	}
}

// TestAllocationBounds: a stored count or length is worth no memory by itself. What decodes takes some bytes for each of the
// record's, whatever they say.
func TestAllocationBounds(t *testing.T) {
	hostile := [][]byte{bytes.Repeat([]byte{0xff}, 1000), append([]byte{1}, bytes.Repeat([]byte{0xff}, 1000)...)}
	for _, b := range recordSamples() {
		hostile = append(hostile, withLargeNumbers(b)...)
	}
	for i, b := range hostile {
		if n, most := allocated(func() { decodeAll(t, b) }), uint64(20_000+100*len(b)); n > most {
			t.Errorf("input %d: %d bytes make it allocate %d", i, len(b), n)
		}
	}
	for name, b := range map[string][]byte{
		"mount":       fmt.Appendf(nil, `{"pid": 1, "mount": "%s"}`, bytes.Repeat([]byte{'x'}, maxHolder)),
		"deep":        bytes.Repeat([]byte{'['}, maxHolder),
		"deep object": bytes.Repeat([]byte(`{"x":`), maxHolder/5),
	} {
		if n := allocated(func() { decodeHolder(b) }); n > 64*maxHolder {
			t.Errorf("holder with %s: %d bytes make it allocate %d", name, len(b), n)
		}
	}
}

// withLargeNumbers puts the largest number that there is at each place of a value.
func withLargeNumbers(b []byte) (list [][]byte) {
	large := append(bytes.Repeat([]byte{0xff}, 8), 0x7f)
	for i := range b {
		list = append(list, append(append(bytes.Clone(b[:i]), large...), b[i:]...), append(append(bytes.Clone(b[:i]), large...), b[i+1:]...))
	}
	return list
}

// allocated is how many bytes fn allocates.
func allocated(fn func()) uint64 {
	const runs = 10
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		fn()
	}
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) / runs
}
