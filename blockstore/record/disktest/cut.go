package disktest

import (
	"maps"
	"math/bits"
	"math/rand/v2"
	"slices"
	"time"
)

// sectorSize is what a disk writes whole, in bytes.
const sectorSize = 512

// bitset is a set of small numbers.
type bitset []uint64

func (b *bitset) add(from, to int) {
	if more := (to+63)/64 - len(*b); more > 0 {
		*b = append(*b, make(bitset, more)...)
	}
	for i := from; i < to; i++ {
		(*b)[i/64] |= 1 << (i % 64)
	}
}

// all gives the members, in order.
func (b bitset) all(yield func(i int) bool) {
	for w, word := range b {
		for ; word != 0; word &= word - 1 {
			if !yield(w*64 + bits.TrailingZeros64(word)) {
				return
			}
		}
	}
}

// writeAt writes to a file, of which nothing is durable before sync.
func (n *node) writeAt(p []byte, off int) {
	if len(p) == 0 {
		return
	}
	n.mod = time.Now()
	end := off + len(p)
	from := off
	if end > len(n.data) {
		from = min(from, len(n.data)) // the zeros between are new too
		n.data = append(n.data, make([]byte, end-len(n.data))...)
	}
	copy(n.data[off:], p)
	n.unsynced.add(from/sectorSize, (end+sectorSize-1)/sectorSize)
}

// sync makes a file's bytes durable.
func (n *node) sync() {
	if more := len(n.data) - len(n.synced); more > 0 {
		n.synced = append(n.synced, make([]byte, more)...)
	}
	for i := range n.unsynced.all {
		copy(n.synced[i*sectorSize:], n.sector(i))
	}
	clear(n.unsynced)
}

func (n *node) sector(i int) []byte { return n.data[i*sectorSize : min((i+1)*sectorSize, len(n.data))] }

// survivors draws what a power cut leaves of what was not synced.
type survivors struct {
	rnd     *rand.Rand
	percent int
}

// draw gives the percentage for one file, or for all changes of directories: that of the whole disk, or none or all, as one
// file may have been written back while another waited.
func (s survivors) draw() int {
	if s.percent == 0 || s.percent == 100 {
		return s.percent
	}
	return [...]int{s.percent, s.percent, 0, 100}[s.rnd.IntN(4)]
}

func (s survivors) happens(percent int) bool { return percent > 0 && s.rnd.IntN(100) < percent }

// cut gives what a power cut at this moment leaves.
func (m *media) cut(s survivors) *media {
	m.mu.Lock()
	defer m.mu.Unlock()
	left := make(map[*node]map[string]*node)
	percent := s.draw()
	for _, c := range m.changes {
		if !s.happens(percent) {
			continue
		}
		for _, e := range c {
			if left[e.dir] == nil {
				left[e.dir] = maps.Clone(e.dir.durable)
			}
			e.apply(left[e.dir])
		}
	}
	copies := make(map[*node]*node) // a file may have several names
	var clone func(n *node) *node
	clone = func(n *node) *node {
		if c := copies[n]; c != nil {
			return c
		}
		if n.entries == nil {
			c := n.cut(s)
			copies[n] = c
			return c
		}
		c := newDir()
		copies[n] = c
		entries, changed := left[n]
		if !changed {
			entries = n.durable
		}
		for _, name := range slices.Sorted(maps.Keys(entries)) { // the same for the same draws
			c.entries[name] = clone(entries[name])
		}
		c.durable = maps.Clone(c.entries)
		return c
	}
	return &media{root: clone(m.root)}
}

// cut gives a file as a power cut leaves it. Where its length has come to the disk and a sector has not, there are zeros.
func (n *node) cut(s survivors) *node {
	data := slices.Clone(n.synced)
	percent := s.draw()
	if len(n.data) > len(data) && s.happens(percent) && s.rnd.IntN(2) == 0 {
		data = append(data, make([]byte, len(n.data)-len(data))...)
	}
	for i := range n.unsynced.all {
		if !s.happens(percent) {
			continue
		}
		piece := n.sector(i)
		if more := i*sectorSize + len(piece) - len(data); more > 0 {
			data = append(data, make([]byte, more)...)
		}
		copy(data[i*sectorSize:], piece)
	}
	return &node{data: data, synced: slices.Clone(data), mod: n.mod}
}
