package fs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path"
	"slices"
	"strings"

	"salliefs/blockstore/storetest"
)

// scene is a store at one moment, and what it should say.
type scene struct {
	name  string
	image image
	truth *tree
}

// kinds lists all ways in which the store is damaged.
func (v *victim) kinds() (list []damageKind) {
	scenes := []scene{{"after a close", v.closed, v.atClosed}, {"after a crash", v.crashed, v.atCrash}}
	for _, s := range scenes {
		list = append(list, v.bits(s)...)
		list = append(list, v.pieces(s)...)
		list = append(list, v.wholeFiles(s)...)
		list = append(list, v.blocks(s)...)
		list = append(list, v.records(s)...)
	}
	return append(list, v.keyring()...)
}

// cutOff is why what is missing at the end of the log can not be told from what a crash kept from the disk.
const cutOff = "after a crash, the last commit may be torn, or be in an older copy of the log"

// lasting is where the part of a file begins that a crash may have kept from the disk: the last commit, in the log.
func (s scene) lasting(p string) int {
	b := s.image[p]
	if s.image[storetest.Dir+"/holder"] == nil || !strings.Contains(p, "/commits-") {
		return len(b)
	}
	newest, at := uint64(0), len(b)
	for _, q := range s.image.paths("records/commits-*") {
		for off := 0; off+512 <= len(s.image[q]); off += 512 {
			if n := binary.LittleEndian.Uint64(s.image[q][off+8:]); n > newest {
				newest, at = n, len(b)
				if q == p {
					at = off
				}
			}
		}
	}
	return at
}

// class is one sort of a store's files.
type class struct {
	name, pattern string
	share         int // of the budget, for its bits; a part of it for what else is done to it
	writers       int // one mutation in so many is tried on a store that is opened for writing
}

var classes = []class{
	{"the header", "salliefs.store", 50, 8}, {"the holder file", "holder", 5, 8},
	{"the manifest", "records/MANIFEST-*", 200, 16}, {"the options", "records/OPTIONS-*", 20, 16},
	{"the log", "records/commits-*", 400, 32}, {"the other engine's log", "records/*.log", 5, 8}, {"tables", "records/*.sst", 30, 64},
	{"segments", "segments/*", 50, 16},
}

// bits flips each bit of each file.
func (v *victim) bits(s scene) (list []damageKind) {
	for _, c := range classes {
		ends := []int{0}
		paths := s.image.paths(c.pattern)
		for _, p := range paths {
			ends = append(ends, ends[len(ends)-1]+8*used(s.image[p]))
		}
		if n := ends[len(ends)-1]; n > 0 {
			list = append(list, damageKind{name: fmt.Sprintf("a bit of %s %s", c.name, s.name), n: n, share: c.share, try: func(i int) outcome {
				f, _ := slices.BinarySearch(ends, i+1)
				p, bit := paths[f-1], i-ends[f-1]
				return v.try(s.image.with(p, flipped(s.image[p], bit)), s.truth, variant(i, c.writers))
			}})
		}
	}
	return list
}

func flipped(b []byte, bit int) []byte {
	b = bytes.Clone(b)
	b[bit/8] ^= 1 << (bit % 8)
	return b
}

// used is the length of a file without most of the zeros at its end.
func used(b []byte) int { return min(len(b), len(bytes.TrimRight(b, "\x00"))+200) }

// pieces truncates each file at each length, and overwrites its sectors.
func (v *victim) pieces(s scene) (list []damageKind) {
	for _, c := range classes {
		for _, p := range s.image.paths(c.pattern) {
			b := s.image[p]
			name := fmt.Sprintf("%s %s", strings.TrimPrefix(p, storetest.Dir+"/"), s.name)
			if len(b) == 0 {
				continue
			}
			unseen, ends := "", s.lasting(p)
			if ends < len(b) {
				unseen = cutOff
			}
			list = append(list, damageKind{name: "cut " + name, n: len(b), share: max(1, c.share/4), unseen: unseen, try: func(i int) outcome {
				return v.try(s.image.with(p, b[:i]), s.truth, variant(i, c.writers))
			}})
			list = append(list, damageKind{name: "appended to " + name, n: 3, share: 1, try: func(i int) outcome {
				more := [][]byte{make([]byte, 512), b, []byte("x")}[i]
				return v.try(s.image.with(p, slices.Concat(b, more)), s.truth, variant(i, c.writers))
			}})
			if n := min(len(b), ends) / 512; n > 1 {
				list = append(list, damageKind{name: "a sector of zeros in " + name, n: n, share: max(1, c.share/10), try: func(i int) outcome {
					d := bytes.Clone(b)
					clear(d[i*512 : i*512+512])
					return v.try(s.image.with(p, d), s.truth, variant(i, c.writers))
				}}, damageKind{name: "a sector over another in " + name, n: n * n, share: max(1, c.share/10), try: func(i int) outcome {
					d := bytes.Clone(b)
					copy(d[i/n*512:][:512], b[i%n*512:])
					return v.try(s.image.with(p, d), s.truth, variant(i, c.writers))
				}})
			}
		}
	}
	return list
}

// wholeFiles removes each file, and puts each in the place of others and of what it was earlier.
func (v *victim) wholeFiles(s scene) (list []damageKind) {
	paths := s.image.paths("*")
	for _, c := range classes {
		if strings.Contains(c.pattern, "/") {
			paths = append(paths, s.image.paths(c.pattern)...)
		}
	}
	file := func(i int) string { return paths[i/2] }
	list = append(list, damageKind{name: "without a file " + s.name, n: 2 * len(paths), share: 50, detail: file, try: func(i int) outcome {
		return v.try(s.image.with(paths[i/2], nil), s.truth, how{i%2 == 0, 1000})
	}})
	var pairs [][2]string
	for _, a := range paths {
		for _, b := range paths {
			if a != b && path.Dir(a) == path.Dir(b) {
				pairs = append(pairs, [2]string{a, b})
			}
		}
	}
	pair := func(i int) string { return pairs[i][0] + ", " + pairs[i][1] }
	list = append(list, damageKind{name: "a file over another " + s.name, n: len(pairs), share: 200, detail: pair, try: func(i int) outcome {
		return v.try(s.image.with(pairs[i][0], s.image[pairs[i][1]]), s.truth, variant(i, 8))
	}}, damageKind{name: "two files exchanged " + s.name, n: len(pairs), share: 200, detail: pair, try: func(i int) outcome {
		a, b := pairs[i][0], pairs[i][1]
		return v.try(s.image.with(a, s.image[b]).with(b, s.image[a]), s.truth, variant(i, 8))
	}})
	for _, p := range s.image.differing(v.earlier) {
		unseen := ""
		if s.lasting(p) < len(s.image[p]) {
			unseen = cutOff
		}
		k := damageKind{unseen: unseen, name: fmt.Sprintf("an older %s %s", strings.TrimPrefix(p, storetest.Dir+"/"), s.name), n: 2, share: 1}
		k.try = func(i int) outcome { return v.try(s.image.with(p, v.earlier[p]), s.truth, how{i == 0, 1000}) }
		list = append(list, k)
	}
	return list
}
