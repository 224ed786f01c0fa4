package fs

import (
	"slices"

	"salliefs/blockstore"
)

// region is the decoded record of a region, in the cache of its inode. A file's first region is not in the cache but in
// the inode itself.
type region struct{ ext []extent }

// regionBudget bounds the regions in all caches: about 24 bytes for each unit.
const (
	regionBudget = 1 << 19
	regionCost   = 4 // units beside one for each extent
)

// extents finds the list of a region; in is locked at least for reading.
func (f *FS) extents(in *inode, n uint64) ([]extent, error) {
	if n == 0 {
		return in.ext, nil
	}
	if in.rec.flags&hasRegions == 0 {
		return nil, nil
	}
	in.regionMu.Lock()
	if r := in.regions[n]; r != nil {
		list := r.ext
		in.regionMu.Unlock()
		return list, nil
	}
	in.regionMu.Unlock()
	value, err := f.read(in, kindRegion, n)
	if err != nil {
		return nil, err
	}
	var list []extent
	if value != nil {
		if list, err = decodeRegion(value); err != nil {
			return nil, f.inodeError("read", in.key, err)
		}
	}
	return f.cacheRegion(in, n, list, false), nil
}

// cacheRegion remembers the list of a region, and returns what is remembered. A list that is there stays unless replace
// is set, for which in must be locked for changes: others who read may look at it.
func (f *FS) cacheRegion(in *inode, n uint64, list []extent, replace bool) []extent {
	in.regionMu.Lock()
	if in.regions == nil {
		in.regions = make(map[uint64]*region)
	}
	r := in.regions[n]
	cost := len(list)
	switch {
	case r == nil:
		r = new(region)
		in.regions[n] = r
		cost += regionCost
	case !replace:
		list = r.ext
		in.regionMu.Unlock()
		return list
	default:
		cost -= len(r.ext)
	}
	r.ext = list
	in.regionCost += cost
	in.regionMu.Unlock()
	if f.regionUnits.Add(int64(cost)) > regionBudget {
		f.trimRegions()
	}
	return list
}

// setExtents takes over the new list of a region; in is locked for changes, and list is copied.
func (f *FS) setExtents(in *inode, n uint64, list []extent) {
	if n == 0 {
		in.ext = append(in.ext[:0], list...)
		return
	}
	in.regionMu.Lock()
	r := in.regions[n]
	if r != nil && cap(r.ext) >= len(list) { // nobody else looks at it
		more := len(list) - len(r.ext)
		r.ext = append(r.ext[:0], list...)
		in.regionCost += more
		in.regionMu.Unlock()
		f.regionUnits.Add(int64(more))
		return
	}
	in.regionMu.Unlock()
	f.cacheRegion(in, n, slices.Clone(list), true)
}

// dropRegions empties an inode's cache of regions, and returns what it cost.
func (in *inode) dropRegions() (units int64) {
	in.regionMu.Lock()
	units = int64(in.regionCost)
	in.regions, in.regionCost = nil, 0
	in.regionMu.Unlock()
	return units
}

// trimRegions empties caches of regions until they take half of what they may.
func (f *FS) trimRegions() {
	for i := range f.inodes.shards {
		s := &f.inodes.shards[i]
		s.mu.Lock()
		for _, in := range s.ring {
			f.regionUnits.Add(-in.dropRegions())
		}
		s.mu.Unlock()
		if f.regionUnits.Load() < regionBudget/2 {
			return
		}
	}
}

func regionKey(in *inode, n uint64) blockstore.Key {
	return blockstore.Key{Ino: in.key, Kind: kindRegion, Suffix: n}
}

// stored is a region as its record has it.
type stored struct {
	n   uint64
	ext []extent
}

// stepRegions is how many regions one step of a change to a large file covers.
const stepRegions = 256

// scanRegions reads the records of the regions from one on, most of them at most, past region 0. more tells that there
// are others.
func (f *FS) scanRegions(in *inode, from uint64, most int) (list []stored, more bool, err error) {
	if in.rec.flags&hasRegions == 0 {
		return nil, false, nil
	}
	var bad error
	err = f.st.Scan(in.epoch, in.key, kindRegion, max(from, 1), func(n uint64, value []byte) bool {
		if len(list) == most {
			more = true
			return false
		}
		var ext []extent
		if ext, bad = decodeRegion(value); bad != nil {
			return false
		}
		list = append(list, stored{n, ext})
		return true
	})
	if err == nil {
		err = bad
	}
	if err != nil {
		err = f.inodeError("read", in.key, err)
	}
	return list, more, err
}

// dropRegion forgets a region that has no record any more.
func (f *FS) dropRegion(in *inode, n uint64) {
	in.regionMu.Lock()
	cost := 0
	if r := in.regions[n]; r != nil {
		cost = len(r.ext) + regionCost
		delete(in.regions, n)
		in.regionCost -= cost
	}
	in.regionMu.Unlock()
	f.regionUnits.Add(int64(-cost))
}
