package blockstore

import "slices"

// suffixSet collects suffixes, each added once, and sorts them when they are asked for.
type suffixSet struct {
	sorted, tail []uint64
}

func (s *suffixSet) add(x uint64) { s.tail = append(s.tail, x) }

func (s *suffixSet) ordered() []uint64 {
	if len(s.tail) == 0 {
		return s.sorted
	}
	slices.Sort(s.tail)
	if n := len(s.sorted); n == 0 || s.sorted[n-1] < s.tail[0] {
		s.sorted = append(s.sorted, s.tail...)
	} else {
		s.sorted = mergeSorted(s.sorted, s.tail)
	}
	s.tail = s.tail[:0]
	return s.sorted
}

// mergeSorted merges two sorted lists without common elements.
func mergeSorted(a, b []uint64) []uint64 {
	out := make([]uint64, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0] < b[0] {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// appendSuffixes appends to dst the suffixes ≥ from of g's records of one kind of one inode, in order, at most limit.
func (g *group) appendSuffixes(dst []uint64, dk dirKey, from uint64, limit int) []uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if from == 0 {
		if _, ok := g.recs[Key{dk.ino, dk.kind, 0}]; ok {
			dst = append(dst, 0)
		}
	}
	set := g.suffixes[dk]
	if set == nil {
		return dst
	}
	sorted := set.ordered()
	i, _ := slices.BinarySearch(sorted, from)
	return append(dst, sorted[i:min(len(sorted), i+limit)]...)
}
