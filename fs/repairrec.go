package fs

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"salliefs/blockstore"
)

// structure repairs the records. Moves of names wait meanwhile. Each inode is locked while its records change, and what is
// wrong with them is looked at once more.
func (w *repair) structure(ctx context.Context) error {
	s := w.s
	if len(s.orphans)+len(s.truncations) > 0 {
		err := w.update(func(tx *blockstore.Tx) {
			for _, n := range s.orphans {
				tx.Delete(orphanKey(w.ino(n)))
			}
			for _, n := range s.truncations {
				tx.Put(orphanKey(w.ino(n)), encodeOrphan(orphan{orphanTruncate, 0})) // of no run: the next open ends it
			}
		})
		if err != nil {
			return err
		}
	}
	for _, n := range slices.Sorted(maps.Keys(s.remake)) {
		if err := w.remake(n, s.remake[n]); err != nil {
			return err
		}
	}
	for _, n := range slices.Sorted(maps.Keys(s.drop)) {
		if err := w.drop(n); err != nil {
			return err
		}
	}
	touched := make(map[uint64]struct{})
	for _, table := range []map[uint64]map[uint64]struct{}{s.dirents, s.apart, s.regions, s.ends, s.attrs} {
		for n := range table {
			touched[n] = struct{}{}
		}
	}
	maps.Copy(touched, s.settle)
	for n := range s.parents {
		touched[n] = struct{}{}
	}
	for _, n := range slices.Sorted(maps.Keys(touched)) {
		if err := cmp.Or(ctx.Err(), w.inode(n)); err != nil {
			return err
		}
	}
	for n, d := range s.links {
		if err := w.relink(n, d); err != nil {
			return err
		}
	}
	return w.share(ctx)
}

// remake gives an inode a record, if it still has none that can be read.
func (w *repair) remake(n uint64, r remake) error {
	ino := w.ino(n)
	if _, err := w.f.GetAttr(ino); err == nil {
		return nil
	}
	now := w.f.now()
	rec := inodeRec{
		mode: r.mode, nlink: max(r.links, 1), parent: max(r.parent, 1), flags: hasRegions,
		atime: now, mtime: now, ctime: now, btime: now,
	}
	for _, above := range []Ino{w.ino(1), RootIno} {
		if a, err := w.f.GetAttr(above); err == nil {
			rec.uid, rec.gid = a.UID, a.GID
			break
		}
	}
	if rec.isDir() {
		rec.nlink, rec.flags = 2, 0
	}
	err := w.update(func(tx *blockstore.Tx) {
		var ext []extent
		if !rec.isDir() { // nobody knows what was in front of its regions
			ext = []extent{{len: RegionSize, id: tx.PutLost(w.s.d.ID)}}
		}
		tx.Put(blockstore.Key{Ino: ino, Kind: kindInode}, encodeInode(&rec, ext))
	})
	w.f.inodeChanged(ino)
	return err
}

// drop removes what there is of an inode that nothing can be made of.
func (w *repair) drop(n uint64) error {
	ino := w.ino(n)
	in := w.f.get(ino)
	in.mu.Lock()
	defer w.f.unlock(in)
	if in.err == nil {
		if _, err := w.f.target(in); err == nil || !in.rec.isSymlink() {
			return nil // it is another one now
		}
	}
	err := w.update(func(tx *blockstore.Tx) {
		tx.Delete(blockstore.Key{Ino: ino, Kind: kindInode})
		tx.Delete(blockstore.Key{Ino: ino, Kind: kindTarget})
		for suffix := range w.s.attrs[n] {
			tx.Delete(blockstore.Key{Ino: ino, Kind: kindXattr, Suffix: suffix})
		}
	})
	if err != nil {
		return err
	}
	var suffixes []uint64
	err = w.f.st.Scan(blockstore.Live, ino, kindXattr, 0, func(suffix uint64, _ []byte) bool {
		suffixes = append(suffixes, suffix)
		return true
	})
	if err == nil {
		err = w.update(func(tx *blockstore.Tx) {
			for _, suffix := range suffixes {
				tx.Delete(blockstore.Key{Ino: ino, Kind: kindXattr, Suffix: suffix})
			}
		})
	}
	in.err = ErrNotExist
	w.f.dropInode(in)
	return err
}

// inode repairs the records of one inode, and counts anew what its own says of the others.
func (w *repair) inode(n uint64) error {
	in, err := w.f.lock(w.ino(n))
	if err != nil {
		return nil // it is gone, or a later repair's
	}
	defer w.f.unlock(in)
	for _, step := range []func(*inode, uint64) error{w.takeEntries, w.takeRegions, w.takeAttrs, w.recount} {
		if err := step(in, n); err != nil {
			return err
		}
	}
	w.f.reload(in)
	w.f.inodeChanged(in.ino)
	return nil
}

// reload reads a locked inode again after its records were changed from outside.
func (f *FS) reload(in *inode) {
	f.regionUnits.Add(-in.dropRegions())
	if d := in.dir; d != nil && d.names.places != nil {
		f.nameUnits.Add(-int64(len(d.names.places)))
	}
	in.rec, in.ext, in.dir = inodeRec{}, nil, nil
	in.err = f.load(in)
}

func isDamage(err error) bool { return errors.Is(err, ErrCorrupt) }

// takeEntries takes entries out of a directory that name nothing, or not what they seem to.
func (w *repair) takeEntries(in *inode, n uint64) error {
	apart := w.s.apart[n]
	suffixes := slices.Collect(maps.Keys(w.s.dirents[n]))
	for _, suffix := range suffixes {
		if err := w.takeEntry(in, suffix, apart); err != nil {
			return err
		}
	}
	if len(apart) == 0 {
		return nil
	}
	suffixes = suffixes[:0]
	err := w.f.st.Scan(blockstore.Live, in.key, kindDirent, 0, func(suffix uint64, value []byte) bool {
		_ = eachDirent(value, func(e dirent, _ []byte, _, _ int) { // the next check tells if it does not decode
			if _, ok := apart[e.n]; ok {
				suffixes = append(suffixes, suffix)
			}
		})
		return true
	})
	for i := 0; err == nil && i < len(suffixes); i++ {
		err = w.takeEntry(in, suffixes[i], apart)
	}
	return err
}

// takeEntry writes a record of a directory again with what is right in it.
func (w *repair) takeEntry(in *inode, suffix uint64, apart map[uint64]struct{}) error {
	k := blockstore.Key{Ino: in.key, Kind: kindDirent, Suffix: suffix}
	value, err := w.f.st.Get(k)
	switch {
	case errors.Is(err, blockstore.ErrNotFound):
		return nil
	case err != nil && !isDamage(err):
		return err
	}
	var kept []byte
	if err == nil && in.rec.isDir() {
		err = eachDirent(value, func(e dirent, name []byte, _, _ int) {
			e.name = string(name)
			_, away := apart[e.n]
			typ, ok := w.typeOf(e.n)
			if away || !ok || w.s.ns.suffix(in.key, e.name) != suffix {
				w.f.entryChanged(in.ino, e.name)
				return
			}
			e.typ = typ
			if kept == nil {
				kept = []byte{recordVersion}
			}
			kept = appendDirent(kept, &e)
		})
	}
	if err != nil {
		kept = nil
	}
	w.f.names.drop(suffix)
	return w.update(func(tx *blockstore.Tx) { setDirent(tx, in.key, suffix, kept) })
}

// typeOf is the type of an inode for an entry, and whether there is such an inode. It reads the record, as the inode may
// be locked.
func (w *repair) typeOf(n uint64) (typ uint8, ok bool) {
	value, err := w.f.st.Get(blockstore.Key{Ino: w.ino(n), Kind: kindInode})
	if err != nil {
		return 0, false
	}
	var rec inodeRec
	if _, err := decodeInode(value, &rec, nil); err != nil {
		return 0, false
	}
	return uint8(rec.mode >> typeShift), true
}

// takeRegions replaces regions that can not be read by bytes that are lost, and cuts off what is past the end.
func (w *repair) takeRegions(in *inode, n uint64) error {
	for region := range w.s.regions[n] {
		k := regionKey(in, region)
		value, err := w.f.st.Get(k)
		if err == nil {
			_, err = decodeRegion(value)
		}
		regular := in.rec.isRegular()
		switch {
		case err == nil && regular, errors.Is(err, blockstore.ErrNotFound):
			continue
		case err != nil && !isDamage(err):
			return err
		}
		length := int64(RegionSize)
		if _, remade := w.s.remake[n]; !remade {
			size := (in.rec.size + pageSize - 1) &^ (pageSize - 1)
			length = min(length, size-int64(region)<<regionBits)
		}
		err = w.update(func(tx *blockstore.Tx) {
			if !regular || length <= 0 {
				tx.Delete(k)
				return
			}
			tx.Put(k, encodeRegion([]extent{{len: uint32(length), id: tx.PutLost(w.s.d.ID)}}))
		})
		if err != nil {
			return err
		}
	}
	return w.cutEnds(in, n)
}

func (w *repair) cutEnds(in *inode, n uint64) error {
	if len(w.s.ends[n]) == 0 || !in.rec.isRegular() || in.rec.flags&isTruncating != 0 {
		return nil
	}
	w.f.reload(in)
	if in.err != nil {
		return nil
	}
	e := w.f.newEdit(in)
	last := (in.rec.size + pageSize - 1) &^ (pageSize - 1)
	for region := range w.s.ends[n] {
		from := last - int64(region)<<regionBits
		if from >= RegionSize {
			continue
		}
		list, err := e.list(region)
		if err != nil {
			return err
		}
		if _, err := e.set(region, cut(nil, list, uint32(max(from, 0)), RegionSize)); err != nil {
			return err
		}
	}
	return e.run(nil)
}

// takeAttrs takes out attributes that can not be read, or are not where they are looked for.
func (w *repair) takeAttrs(in *inode, n uint64) error {
	for suffix := range w.s.attrs[n] {
		k := blockstore.Key{Ino: in.key, Kind: kindXattr, Suffix: suffix}
		value, err := w.f.st.Get(k)
		if errors.Is(err, blockstore.ErrNotFound) {
			continue
		}
		var list []xattr
		if err == nil {
			list, err = decodeXattrs(value)
		}
		if err != nil && !isDamage(err) {
			return err
		}
		if err != nil {
			list = nil
		}
		list = slices.DeleteFunc(list, func(x xattr) bool { return w.s.ns.hasher.Sum(uint64(in.key), x.name) != suffix })
		err = w.update(func(tx *blockstore.Tx) {
			if len(list) == 0 {
				tx.Delete(k)
			} else {
				tx.Put(k, encodeXattrs(list))
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// recount makes an inode's record say what its other records hold.
func (w *repair) recount(in *inode, n uint64) error {
	w.f.reload(in)
	if in.err != nil {
		return nil
	}
	rec, ext := in.rec, in.ext
	if parent, ok := w.s.parents[n]; ok {
		rec.parent = parent
	}
	var err error
	switch {
	case rec.isDir() && rec.nlink > 0:
		err = w.countEntries(in, &rec)
	case rec.isRegular():
		err = w.countRegions(in, &rec, ext)
	}
	if err == nil {
		err = w.countAttrs(in, &rec)
	}
	if err != nil {
		return err
	}
	return w.update(func(tx *blockstore.Tx) { tx.Put(in.record(), encodeInode(&rec, ext)) })
}

func (w *repair) countEntries(in *inode, rec *inodeRec) (err error) {
	rec.size, rec.nlink = 0, 2
	scanned := w.f.st.Scan(blockstore.Live, in.key, kindDirent, 0, func(_ uint64, value []byte) bool {
		err = eachDirent(value, func(e dirent, _ []byte, _, _ int) {
			rec.size++
			if e.typ == ModeDir>>typeShift {
				rec.nlink++
			}
		})
		return err == nil
	})
	return cmp.Or(scanned, err)
}

func (w *repair) countRegions(in *inode, rec *inodeRec, ext []extent) (err error) {
	rec.alloc = sum(ext)
	rec.flags &^= hasRegions
	_, remade := w.s.remake[in.key.Number()]
	scanned := w.f.st.Scan(blockstore.Live, in.key, kindRegion, 1, func(region uint64, value []byte) bool {
		var list []extent
		if list, err = decodeRegion(value); err != nil {
			return false
		}
		rec.flags |= hasRegions
		rec.alloc += sum(list)
		if remade { // nobody knows where it ended
			rec.size = max(rec.size, int64(region)<<regionBits+int64(list[len(list)-1].end()))
		}
		return true
	})
	return cmp.Or(scanned, err)
}

// countAttrs counts the attributes. Without its access ACL, a file's mode would give the group what the ACL gave to others.
func (w *repair) countAttrs(in *inode, rec *inodeRec) (err error) {
	had := rec.flags
	rec.xattrs, rec.flags = 0, rec.flags&^(hasACL|hasDefaultACL|hasCaps)
	scanned := w.f.st.Scan(blockstore.Live, in.key, kindXattr, 0, func(_ uint64, value []byte) bool {
		var list []xattr
		if list, err = decodeXattrs(value); err != nil {
			return false
		}
		for i := range list {
			rec.xattrs++
			rec.flags |= xattrFlag(list[i].name)
		}
		return true
	})
	if had&hasACL != 0 && rec.flags&hasACL == 0 {
		rec.mode &^= 0o070
	}
	return cmp.Or(scanned, err)
}

// relink corrects the count of a file's names by what it is off: others may have changed it since.
func (w *repair) relink(n uint64, by int32) error {
	in, err := w.f.lock(w.ino(n))
	if err != nil {
		return nil // it is gone, or a later repair's
	}
	defer w.f.unlock(in)
	if now := int64(in.rec.nlink) + int64(by); in.rec.isDir() || now <= 0 || now > MaxLinks {
		return nil
	}
	err = w.f.change(in, func(rec *inodeRec) { rec.nlink = uint32(int32(rec.nlink) + by) }, nil)
	w.f.inodeChanged(in.ino)
	return err
}

// share marks blocks as shared wherever they are named.
func (w *repair) share(ctx context.Context) error {
	if len(w.s.shared) == 0 {
		return nil
	}
	if err := w.f.noteSharing(w.s.d.ID); err != nil {
		return err
	}
	if err := w.f.Sync(); err != nil {
		return err
	}
	places := make(map[uint64]map[uint64]struct{})
	err := w.f.st.ScanNamespace(blockstore.Live, w.s.d.ID, blockstore.Scanned{
		Record: func(k blockstore.Key, value []byte) error {
			_ = blockRefs(k.Kind, value, func(id blockstore.BlockID) { // what does not decode was reported
				if _, ok := w.s.shared[id]; ok {
					note(places, k.Ino.Number(), k.Suffix)
				}
			})
			return ctx.Err()
		},
		Damaged: func(blockstore.Key, error) error { return nil },
		Unread:  func(_, _ blockstore.Key, err error) error { return err },
	})
	for _, n := range slices.Sorted(maps.Keys(places)) {
		if err == nil {
			err = w.shareIn(n, places[n])
		}
	}
	return err
}

func (w *repair) shareIn(n uint64, regions map[uint64]struct{}) error {
	in, err := w.f.lock(w.ino(n))
	if err != nil {
		return nil
	}
	defer w.f.unlock(in)
	e := w.f.newEdit(in)
	for region := range regions {
		list, err := e.list(region)
		if err != nil {
			return err
		}
		list = slices.Clone(list)
		for id := range w.s.shared {
			markShared(list, id)
		}
		if _, err := e.set(region, list); err != nil {
			return err
		}
	}
	return e.run(nil)
}
