package segment

import (
	"bytes"
	"encoding/hex"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"salliefs/crypto"
)

// The example of FORMAT.md. Its "sealed" blocks are made up, its footer is
// sealed for real.
var (
	exampleHeader = Header{
		Store: [16]byte{0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff},
		ID:    7,
	}
	exampleBlocks = []block{
		{41, 1, []byte("not really sealed: block 41, 40 bytes..."), []byte("hint")},
		{42, 2, []byte("block 42"), nil},
	}
)

const goldenFile = "testdata/segment-v1.bin"

// exampleSealer has the key 00 01 … 1f.
func exampleSealer() *crypto.Sealer {
	key := make([]byte, crypto.KeySize)
	for i := range key {
		key[i] = byte(i)
	}
	return crypto.NewSealer(key)
}

func writeExample(t *testing.T, s Sealer) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := NewWriter(&buf, exampleHeader)
	for _, b := range exampleBlocks {
		_, err := w.Append(b.id, b.ns, b.sealed, b.hint)
		must(t, err)
	}
	must(t, w.Finish(s, nil))
	return buf.Bytes()
}

// replaySealer seals as the golden file was sealed, once it has seen that the
// plaintext and the associated data are the same.
type replaySealer struct {
	*crypto.Sealer
	t      *testing.T
	sealed []byte
}

func (s replaySealer) Seal(dst, plaintext, ad []byte) []byte {
	was, err := s.Open(nil, s.sealed, ad)
	if err != nil || !bytes.Equal(was, plaintext) {
		s.t.Errorf("footer is now %x, error %v", plaintext, err)
	}
	return append(dst, s.sealed...)
}

func TestGolden(t *testing.T) {
	if *update {
		must(t, os.WriteFile(goldenFile, writeExample(t, exampleSealer()), 0o644))
	}
	golden, err := os.ReadFile(goldenFile)
	must(t, err)
	r, size := bytes.NewReader(golden), int64(len(golden))
	table, err := ReadFooter(r, size, exampleHeader, exampleSealer())
	must(t, err)
	if !slices.EqualFunc(table, entries(exampleBlocks), sameEntry) {
		t.Errorf("footer: %+v", table)
	}
	for i, e := range table {
		got, err := ReadEntry(r, size, exampleHeader, e, nil)
		if err != nil || !bytes.Equal(got, exampleBlocks[i].sealed) {
			t.Errorf("entry %d: %q, error %v", i, got, err)
		}
	}
	tr, err := readTrailer(r, size, exampleHeader.identity())
	must(t, err)
	sealed := golden[tr.footerOffset:][:tr.footerLength]
	if !bytes.Equal(writeExample(t, replaySealer{exampleSealer(), t, sealed}), golden) {
		t.Error("the same segment is not written as the same bytes any more")
	}
}

// TestFormatDocument decodes the worked example of FORMAT.md: lines of an offset,
// up to 16 bytes in hex, and an explanation.
func TestFormatDocument(t *testing.T) {
	doc, err := os.ReadFile("FORMAT.md")
	must(t, err)
	golden, err := os.ReadFile(goldenFile)
	must(t, err)
	var whole []byte
	for _, part := range []string{"header", "entry 1", "entry 2", "footer", "trailer"} {
		whole = append(whole, example(t, string(doc), part)...)
	}
	if !bytes.Equal(whole, golden) {
		t.Errorf("FORMAT.md's example is not %s:\n%s", goldenFile, hex.Dump(golden))
	}
	plain := example(t, string(doc), "footer, opened")
	table, err := decodeTable(plain, 0xa0)
	must(t, err)
	if !slices.EqualFunc(table, entries(exampleBlocks), sameEntry) {
		t.Errorf("opened footer: %+v", table)
	}
	if !strings.Contains(string(doc), hex.EncodeToString(footerAD(exampleHeader, 0xa0))) {
		t.Errorf("FORMAT.md lacks the associated data %x", footerAD(exampleHeader, 0xa0))
	}
}

// example returns the bytes of the code block that the line "name:" precedes.
func example(t *testing.T, doc, name string) []byte {
	t.Helper()
	_, rest, found := strings.Cut(doc, "\n"+name+":\n\n```\n")
	text, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatalf("FORMAT.md has no example %q", name)
	}
	line := regexp.MustCompile(`^[0-9a-f]{4}  ((?:[0-9a-f]{2} ?)+)(?:  .*)?$`)
	var b []byte
	for l := range strings.Lines(text) {
		m := line.FindStringSubmatch(strings.TrimRight(l, "\n"))
		if m == nil {
			t.Fatalf("example %q: line %q", name, l)
		}
		part, err := hex.DecodeString(strings.ReplaceAll(m[1], " ", ""))
		must(t, err)
		b = append(b, part...)
	}
	return b
}
