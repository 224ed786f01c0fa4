package fs

import (
	"hash/maphash"
	"sync"
)

// nameCache remembers directory entries that have a record of their own, nearly all, so that what was just listed, looked
// up or made is not read from the store again. It is a table of fixed size in which a newer entry takes the place of an
// older. Whatever changes a dirent record does so under the directory's lock and notes it here.
//
// A place in it is told by the hash of the name, which differs from directory to directory, and by a second hash of 18
// bits: together they are wrong once in 2^76.
type nameCache struct {
	seed   maphash.Seed
	shards [64]nameShard
}

type nameShard struct {
	mu    sync.Mutex
	slots [nameSlots]nameSlot
	_     [56]byte // keep shards on cache lines of their own
}

const nameSlots = 1 << 12 // in each of 64 shards: 4 MiB in all

// nameSlot holds 58 bits of suffix and 6 of the second hash, then 12 more, and the number, type and slot of the entry.
// Zeros are an empty one, as no number is 0.
type nameSlot struct{ key, entry uint64 }

func (c *nameCache) place(suffix uint64) (*nameShard, *nameSlot) {
	s := &c.shards[suffix%64]
	return s, &s.slots[suffix/64%nameSlots]
}

func (c *nameCache) pack(suffix uint64, e *dirent) nameSlot {
	h := maphash.String(c.seed, e.name)
	return nameSlot{suffix<<6 | h>>58, h<<6&^(1<<52-1) | e.n<<8 | uint64(e.typ)<<slotBits | uint64(e.slot)}
}

// get finds an entry by its name and that name's suffix.
func (c *nameCache) get(suffix uint64, name string) (e dirent, ok bool) {
	s, slot := c.place(suffix)
	s.mu.Lock()
	x := *slot
	s.mu.Unlock()
	if x.entry == 0 || x.key>>6 != suffix {
		return e, false
	}
	e = dirent{name: name, n: x.entry >> 8 & maxNumber, typ: uint8(x.entry>>slotBits) & 15, slot: uint8(x.entry) & (maxSlots - 1)}
	return e, c.pack(suffix, &e) == x
}

// put remembers the only entry of a record.
func (c *nameCache) put(suffix uint64, e *dirent) {
	x := c.pack(suffix, e)
	s, slot := c.place(suffix)
	s.mu.Lock()
	*slot = x
	s.mu.Unlock()
}

// drop forgets what is remembered of a record.
func (c *nameCache) drop(suffix uint64) {
	s, slot := c.place(suffix)
	s.mu.Lock()
	if slot.key>>6 == suffix {
		*slot = nameSlot{}
	}
	s.mu.Unlock()
}

// nameSet holds hashes of all names that a directory has, and perhaps of some that it had: what is not in it is not in
// the directory. Zero values are empty places, so that 0 is taken for 1.
type nameSet struct {
	places []uint32 // a power of two; nil: nothing is known
	n      int
}

// mostNames is how many names a set holds at most: 256 KiB.
const mostNames = 1 << 15

func nameMark(suffix uint64) uint32 { return max(uint32(suffix), 1) }

// start makes the set of an empty directory.
func (s *nameSet) start() { s.places, s.n = make([]uint32, 8), 0 }

// add adds a name. It reports how much the set grew, in places; a set that would become too large is given up.
func (s *nameSet) add(suffix uint64) (grew int) {
	if s.places == nil {
		return 0
	}
	if 4*(s.n+1) > 3*len(s.places) {
		old := s.places
		if s.n >= mostNames {
			s.places = nil
			return -len(old)
		}
		s.places = make([]uint32, 2*len(old))
		s.n = 0
		for _, x := range old {
			if x != 0 {
				s.insert(x)
			}
		}
		grew = len(old)
	}
	s.insert(nameMark(suffix))
	return grew
}

func (s *nameSet) insert(x uint32) {
	if i := s.find(x); s.places[i] == 0 {
		s.places[i] = x
		s.n++
	}
}

// find is the place of x, or the empty one where it would be.
func (s *nameSet) find(x uint32) int {
	mask := len(s.places) - 1
	for i := int(x*0x9e3779b1>>7) & mask; ; i = (i + 1) & mask {
		if s.places[i] == x || s.places[i] == 0 {
			return i
		}
	}
}

// lacks reports that a name is not in the directory for sure.
func (s *nameSet) lacks(suffix uint64) bool {
	return s.places != nil && s.places[s.find(nameMark(suffix))] == 0
}
