package fs

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"salliefs/blockstore"
)

var printExamples = flag.Bool("print-examples", false, "print the worked examples of FORMAT.md as they should be")

// inodeValue is an inode record with its extents.
type inodeValue struct {
	rec inodeRec
	ext []extent
}

// sample is a stored value with what it means.
type sample struct {
	name  string
	value any
}

const sampleTime = 1_700_000_000_000_000_001

var samples = []sample{
	{"inode-file", inodeValue{
		inodeRec{mode: ModeRegular | 0o644, uid: 1000, gid: 100, nlink: 1, parent: 1, size: 5000, alloc: 5000,
			atime: sampleTime, mtime: sampleTime + 2, ctime: sampleTime + 2, btime: sampleTime},
		[]extent{{off: 0, len: 4096, id: 7}, {off: 4096, len: 904, id: 9, boff: 128, shared: true}},
	}},
	{"inode-directory", inodeValue{
		inodeRec{mode: ModeDir | ModeSticky | 0o777, flags: hasDefaultACL, nlink: 3, parent: 1, size: 12, xattrs: 1,
			atime: sampleTime - 1, mtime: sampleTime, ctime: sampleTime, btime: sampleTime}, nil,
	}},
	{"inode-symlink", inodeValue{
		inodeRec{mode: ModeSymlink | 0o777, nlink: 1, parent: 300, size: 6, target: "target",
			atime: sampleTime, mtime: sampleTime, ctime: sampleTime, btime: sampleTime}, nil,
	}},
	{"inode-device", inodeValue{
		inodeRec{mode: ModeChar | 0o666, nlink: 1, parent: 1, rdev: 0x103,
			atime: sampleTime, mtime: sampleTime, ctime: sampleTime, btime: sampleTime}, nil,
	}},
	{"dirent", []dirent{{name: "theme", n: 42, typ: ModeRegular >> typeShift, slot: 0}}},
	{"dirent-collision", []dirent{
		{name: "a", n: 42, typ: ModeRegular >> typeShift, slot: 1}, {name: "b", n: 1000, typ: ModeDir >> typeShift, slot: 0},
	}},
	{"region", []extent{{off: 0, len: 65536, id: 300}, {off: 65536, len: 4096}, {off: 73728, len: 4096, id: 299, boff: 8192}}},
	{"xattr", []xattr{{"user.a", []byte("value")}, {"user.b", []byte{}}}},
	{"orphan", orphan{orphanDelete, 0x0102030405060708}},
	{"summary", summary{mode: ModeRegular | 0o644, uid: 1000, gid: 100, size: 5000, mtime: sampleTime + 2}},
	{"target", strings.Repeat("x/", 150)},
}

func (s sample) encode() []byte {
	switch v := s.value.(type) {
	case inodeValue:
		return encodeInode(&v.rec, v.ext)
	case []dirent:
		b := []byte{recordVersion}
		for i := range v {
			b = appendDirent(b, &v[i])
		}
		return b
	case []extent:
		return encodeRegion(v)
	case []xattr:
		return encodeXattrs(v)
	case orphan:
		return encodeOrphan(v)
	case summary:
		return v.append(nil)
	case string:
		return encodeTarget(v)
	}
	panic(s.name)
}

// decodeLike decodes a value of the same kind as s.
func (s sample) decodeLike(b []byte) (any, error) {
	switch s.value.(type) {
	case inodeValue:
		var v inodeValue
		var err error
		v.ext, err = decodeInode(b, &v.rec, nil)
		return v, err
	case []dirent:
		var list []dirent
		err := eachDirent(b, func(e dirent, name []byte, _, _ int) {
			e.name = string(name)
			list = append(list, e)
		})
		return list, err
	case []extent:
		return decodeRegion(b)
	case []xattr:
		return decodeXattrs(b)
	case orphan:
		return decodeOrphan(b)
	case summary:
		return decodeSummary(b)
	case string:
		return decodeTarget(b)
	}
	panic(s.name)
}

// TestFormat decodes the worked examples of FORMAT.md and encodes what they mean.
func TestFormat(t *testing.T) {
	text, err := os.ReadFile("FORMAT.md")
	must(t, err)
	examples := make(map[string][]byte)
	for _, m := range regexp.MustCompile(`(?m)^    example ([a-z-]+)\n((?:    [0-9a-f ]+(?: *;.*)?\n)+)`).FindAllSubmatch(text, -1) {
		var digits strings.Builder
		for line := range strings.Lines(string(m[2])) {
			code, _, _ := strings.Cut(line, ";")
			digits.WriteString(strings.Join(strings.Fields(code), ""))
		}
		b, err := hex.DecodeString(digits.String())
		if err != nil {
			t.Errorf("example %s: %v", m[1], err)
		}
		examples[string(m[1])] = b
	}
	for _, s := range samples {
		want := s.encode()
		if *printExamples {
			t.Logf("    example %s\n    % x", s.name, want)
		}
		if s.name == "target" {
			continue // long, and told in words
		}
		got, ok := examples[s.name]
		if !ok || !bytes.Equal(got, want) {
			t.Errorf("example %s is\n% x, want\n% x", s.name, got, want)
			continue
		}
		v, err := s.decodeLike(got)
		if err != nil || !reflect.DeepEqual(v, s.value) {
			t.Errorf("example %s means %+v, %v, want %+v", s.name, v, err, s.value)
		}
		delete(examples, s.name)
	}
	for name := range examples {
		t.Errorf("example %s is not known to the test", name)
	}
}

// TestDecodeDamaged changes, cuts and extends values: no panic, and what still decodes encodes to the same bytes.
func TestDecodeDamaged(t *testing.T) {
	for _, s := range samples {
		value := s.encode()
		for i := range value {
			if _, err := s.decodeLike(value[:i]); err == nil && s.name != "dirent-collision" && s.name != "target" && s.name != "xattr" {
				t.Errorf("%s: the first %d bytes of %d decode", s.name, i, len(value))
			}
			for bit := range 8 {
				b := bytes.Clone(value)
				b[i] ^= 1 << bit
				s.roundTrip(t, b)
			}
		}
		if _, err := s.decodeLike(append(bytes.Clone(value), 0)); err == nil && s.name != "target" {
			t.Errorf("%s: a byte too many is not noticed", s.name)
		}
	}
}

func (s sample) roundTrip(t *testing.T, b []byte) {
	t.Helper()
	v, err := s.decodeLike(b)
	if err != nil {
		return
	}
	if again := (sample{s.name, v}).encode(); !bytes.Equal(again, b) {
		t.Errorf("%s: % x decodes to %+v, which encodes to % x", s.name, b, v, again)
	}
}

// seed gives a fuzz target the samples of one kind.
func seed(f *testing.F, like sample) {
	n := 0
	for _, s := range samples {
		if reflect.TypeOf(s.value) == reflect.TypeOf(like.value) {
			f.Add(s.encode())
			n++
		}
	}
	if n == 0 {
		f.Fatal("no seeds")
	}
}

func fuzz(f *testing.F, like sample) {
	seed(f, like)
	f.Fuzz(func(t *testing.T, b []byte) { like.roundTrip(t, b) })
}

func FuzzInode(f *testing.F)   { fuzz(f, sample{"inode", inodeValue{}}) }
func FuzzDirents(f *testing.F) { fuzz(f, sample{"dirent", []dirent(nil)}) }
func FuzzRegion(f *testing.F)  { fuzz(f, sample{"region", []extent(nil)}) }
func FuzzXattrs(f *testing.F)  { fuzz(f, sample{"xattr", []xattr(nil)}) }
func FuzzOrphan(f *testing.F)  { fuzz(f, sample{"orphan", orphan{}}) }
func FuzzSummary(f *testing.F) { fuzz(f, sample{"summary", summary{}}) }
func FuzzTarget(f *testing.F)  { fuzz(f, sample{"target", ""}) }

func FuzzACL(f *testing.F) {
	f.Add(encodeACL([]aclEntry{{aclUserObj, 7, 0}, {aclUser, 5, 1000}, {aclGroupObj, 5, 0}, {aclMask, 5, 0}, {aclOther, 0, 0}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := decodeACL(b)
		if err == nil && len(list) > 0 && !bytes.Equal(encodeACL(list), b) {
			t.Errorf("% x decodes to %+v, which encodes otherwise", b, list)
		}
	})
}

// TestBlockRefs finds all blocks that records name, so that the sweep keeps them.
func TestBlockRefs(t *testing.T) {
	for kind, s := range map[blockstore.Kind]sample{kindInode: samples[0], kindRegion: samples[6]} {
		var got []blockstore.BlockID
		must(t, blockRefs(kind, s.encode(), func(id blockstore.BlockID) { got = append(got, id) }))
		if len(got) != 2 {
			t.Errorf("%s names %v", s.name, got)
		}
	}
}
