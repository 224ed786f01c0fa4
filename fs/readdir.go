package fs

import (
	"cmp"
	"slices"
	"sync"

	"salliefs/blockstore"
)

// Entries of a directory are ordered by the hashes of their names, and by their slots where hashes are equal. position
// numbers them from 1 on; a cookie is a position with "." and ".." counted in.
func position(suffix uint64, slot uint8) uint64 { return suffix<<slotBits | uint64(slot) + 1 }

const (
	cookieDot    = 1
	cookieDotDot = 2
)

// listed is an entry in a listing.
type listed struct {
	pos  uint64
	name string
	ino  Ino // as records have it
	typ  uint8
}

// listing is a part of a directory in order: all that comes after one position, up to another. It never changes.
type listing struct {
	after, upTo uint64 // of the part; upTo is the last position there can be when the directory ends in it
	entries     []listed
}

const (
	lastPosition = 1<<63 - 1
	firstBatch   = 64   // entries that are read for somebody who begins to list
	mostBatch    = 1024 // entries that are read for somebody who goes on
)

// listingRing bounds how many directories keep a listing.
type listingRing struct {
	mu   sync.Mutex
	dirs [64]*dirState
	next int
}

func (r *listingRing) add(d *dirState, l *listing) {
	if old := d.listing.Swap(l); old != nil && len(old.entries) > 0 {
		return
	}
	r.mu.Lock()
	if old := r.dirs[r.next]; old != nil && old != d {
		old.listing.Store(nil)
	}
	r.dirs[r.next] = d
	r.next = (r.next + 1) % len(r.dirs)
	r.mu.Unlock()
}

// ReadDir calls fn for the entries of a directory after a cookie, 0 for all, until fn returns false; that entry counts
// as not delivered. Entries that are there all the time are delivered once, whatever else comes and goes. With plus,
// attributes are read too; where that fails, Attr.Ino is 0. The entry is only valid during the call.
//
// fn runs with the directory locked, so an entry's inode can be referred to (Ref) before the name can go away. It may
// not call anything else.
func (f *FS) ReadDir(ino Ino, cookie uint64, plus bool, fn func(e *DirEntry) bool) error {
	dir, err := f.rlockDir(ino)
	if err != nil {
		return err
	}
	if cookie == 0 && f.wantsAtime(dir) {
		f.runlock(dir)
		f.touch(ino)
		if dir, err = f.rlockDir(ino); err != nil {
			return err
		}
	}
	defer f.runlock(dir)
	var e DirEntry
	if cookie < cookieDot {
		if e = (DirEntry{Name: ".", Ino: dir.ino, Type: ModeDir, Cookie: cookieDot}); !fn(&e) {
			return nil
		}
	}
	if cookie < cookieDotDot {
		if e = (DirEntry{Name: "..", Ino: f.parentOf(dir), Type: ModeDir, Cookie: cookieDotDot}); !fn(&e) {
			return nil
		}
		cookie = cookieDotDot
	}
	return f.deliver(dir, cookie-cookieDotDot, plus, &e, fn)
}

// deliver calls fn for the entries after a position.
func (f *FS) deliver(dir *inode, after uint64, plus bool, e *DirEntry, fn func(e *DirEntry) bool) error {
	l := dir.dir.listing.Load()
	for {
		var err error
		if l == nil || after < l.after || after >= l.upTo {
			if l, err = f.nextListing(dir, l, after); err != nil {
				return err
			}
		}
		for i := l.find(after); i < len(l.entries); i++ {
			x := &l.entries[i]
			e.Name, e.Ino, e.Type, e.Cookie = x.name, f.child(dir, x.ino), uint32(x.typ)<<typeShift, x.pos+cookieDotDot
			if plus {
				if e.Attr, err = f.attrOf(e.Ino); err != nil {
					f.log.Warn("an entry of a directory can not be read", "name", x.name, "err", err)
				}
			}
			if !fn(e) {
				if dir.live() {
					f.listings.add(dir.dir, l)
				}
				return nil
			}
			after = x.pos
		}
		if l.upTo == lastPosition {
			if dir.live() && after > l.after { // they will ask once more
				dir.dir.listing.Store(&listing{after: after, upTo: lastPosition})
			}
			return nil
		}
		after = l.upTo
	}
}

// find is where the entries after a position start.
func (l *listing) find(after uint64) int {
	i, _ := slices.BinarySearchFunc(l.entries, after+1, func(x listed, pos uint64) int { return cmp.Compare(x.pos, pos) })
	return i
}

// nextListing reads what comes after a position: more if that is where the last one ended.
func (f *FS) nextListing(dir *inode, last *listing, after uint64) (*listing, error) {
	batch := firstBatch
	if last != nil && after == last.upTo {
		batch = min(max(2*len(last.entries), firstBatch), mostBatch)
	}
	return f.readListing(dir, after, batch)
}

// readListing reads about n entries.
func (f *FS) readListing(dir *inode, after uint64, n int) (*listing, error) {
	if dir.ns == nil {
		return f.listSnapshots(after), nil
	}
	l := &listing{after: after, upTo: lastPosition}
	if dir.rec.size > 0 {
		if err := f.scanDirents(dir, l, n); err != nil {
			return nil, err
		}
	}
	if dir.key == RootIno {
		spaces, err := f.rootListing(dir)
		if err != nil {
			return nil, err
		}
		l.merge(spaces)
	}
	return l, nil
}

// scanDirents reads about n entries of a directory into l.
func (f *FS) scanDirents(dir *inode, l *listing, n int) error {
	var bad error
	err := f.st.Scan(dir.epoch, dir.key, kindDirent, l.after>>slotBits, func(suffix uint64, value []byte) bool {
		if len(l.entries) >= n {
			l.upTo = position(suffix, 0) - 1
			return false
		}
		first := len(l.entries)
		bad = eachDirent(value, func(e dirent, name []byte, _, _ int) {
			if pos := position(suffix, e.slot); pos > l.after {
				l.entries = append(l.entries, listed{pos, string(name), blockstore.MakeIno(dir.key.Namespace(), e.n), e.typ})
			}
		})
		if len(l.entries) == first+1 && dir.live() && l.entries[first].pos == position(suffix, 0) {
			x := &l.entries[first]
			f.names.put(suffix, &dirent{name: x.name, n: x.ino.Number(), typ: x.typ})
		}
		if len(l.entries) > first+1 {
			slices.SortFunc(l.entries[first:], byPosition)
		}
		return bad == nil
	})
	if err == nil {
		err = bad
	}
	if err != nil {
		return f.inodeError("readdir", dir.key, err)
	}
	return nil
}

func byPosition(a, b listed) int { return cmp.Compare(a.pos, b.pos) }

// merge adds those of some entries, which are in order, that belong into l.
func (l *listing) merge(more []listed) {
	for i := (&listing{entries: more}).find(l.after); i < len(more) && more[i].pos <= l.upTo; i++ {
		l.entries = append(l.entries, more[i])
	}
	slices.SortFunc(l.entries, byPosition)
}
