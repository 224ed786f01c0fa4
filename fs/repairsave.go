package fs

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"salliefs/blockstore"
)

// lostAndFound is the directory for what is saved, and what the names of its entries begin with at the root.
const (
	lostAndFound = "lost+found"
	rootPrefix   = lostAndFound + "-"
)

// open finds the directory for what is saved, or makes it.
func (w *repair) open() error {
	if w.lost != 0 {
		return nil
	}
	if w.s.d.ID == blockstore.RootNamespace {
		w.lost, w.prefix = RootIno, rootPrefix
		return nil
	}
	top := w.ino(1)
	for i := 1; ; i++ {
		name := numbered(lostAndFound, i)
		a, err := w.f.Lookup(top, name)
		if errors.Is(err, ErrNotExist) {
			if a, err = w.f.Mkdir(top, name, 0o700, w.cred()); err == nil {
				w.f.entryChanged(top, name)
			}
		}
		if err == nil && !a.IsDir() {
			continue
		}
		w.lost = a.Ino
		return err
	}
}

// cred is the owner of the namespace's top directory.
func (w *repair) cred() Cred {
	a, err := w.f.GetAttr(w.ino(1))
	if err != nil {
		return Cred{}
	}
	return Cred{UID: a.UID, GID: a.GID}
}

// numbered is a name for the i-th thing of that name.
func numbered(name string, i int) string {
	if i == 1 {
		return name
	}
	suffix := fmt.Sprintf(".%d", i)
	return name[:min(len(name), MaxName-len(suffix))] + suffix
}

// make has made something in a directory under the first name that is free.
func (w *repair) make(dir Ino, name string, do func(name string) (Attr, error)) (Attr, error) {
	if dir == w.lost {
		name = w.prefix + name
		name = name[:min(len(name), MaxName)]
	}
	for i := 1; ; i++ {
		a, err := do(numbered(name, i))
		if errors.Is(err, ErrExist) {
			continue
		}
		if err == nil {
			w.f.entryChanged(dir, numbered(name, i))
		}
		return a, err
	}
}

// report writes down what was found, and what is done about it.
func (w *repair) report() error {
	if err := w.open(); err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString(w.o.Head)
	for _, p := range w.s.told {
		fmt.Fprintf(&b, "%s\n", p)
	}
	a, err := w.make(w.lost, "REPORT-"+w.o.Time.UTC().Format("20060102-150405")+".txt", func(name string) (Attr, error) {
		return w.f.Mknod(w.lost, name, ModeRegular|0o600, 0, w.cred())
	})
	if err == nil {
		_, err = w.f.WriteAt(a.Ino, []byte(b.String()), 0, false)
	}
	return err
}

// String is the problem, and what Repair does about it, for people.
func (p Problem) String() string {
	where := strings.Trim(p.Namespace+"/"+p.Path, "/")
	switch {
	case p.Path == "" && p.Ino != 0:
		where = strings.TrimSpace(fmt.Sprintf("inode %d of %s", p.Ino.Number(), p.Namespace))
	case where == "":
		where = "/"
	}
	text := fmt.Sprintf("%s: %s", where, p.What)
	if p.Remedy != "" {
		text += ": " + p.Remedy
	}
	return text
}

// save makes copies of files that have lost bytes, and gives names to what has none.
func (w *repair) save(ctx context.Context) error {
	seen := make(map[uint64]bool)
	for _, n := range w.s.copies {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !seen[n] {
			if err := w.copyRest(n); err != nil {
				return err
			}
		}
		seen[n] = true
	}
	for _, n := range w.s.place {
		if err := w.place(n); err != nil {
			return err
		}
	}
	return nil
}

// copyRest makes a copy of a file with what can be read of it, and holes where the rest was.
func (w *repair) copyRest(n uint64) error {
	src, err := w.f.GetAttr(w.ino(n))
	if err != nil || !src.IsRegular() {
		return nil // it is gone meanwhile
	}
	good, err := w.readable(src)
	if err != nil || len(good) == 0 {
		return err // nothing but lost bytes
	}
	if err := w.open(); err != nil {
		return err
	}
	dir, name, err := w.makeWay(n)
	if err != nil {
		return err
	}
	dst, err := w.make(dir, name, func(name string) (Attr, error) {
		return w.f.Mknod(dir, name, ModeRegular|src.Mode&0o777, 0, Cred{UID: src.UID, GID: src.GID})
	})
	if err != nil {
		return err
	}
	for _, r := range good {
		if _, err := w.f.CopyRange(src.Ino, r.from, dst.Ino, r.from, r.to-r.from); err != nil && !isDamage(err) {
			return err
		}
	}
	_, err = w.f.SetAttr(dst.Ino, SetAttr{Valid: SetSize | SetMtime, Size: src.Size, Mtime: src.Mtime})
	return err
}

// makeWay makes the directories below lost+found that a file's copy is to be in.
func (w *repair) makeWay(n uint64) (dir Ino, name string, err error) {
	parts := splitPath(w.paths[n])
	if len(parts) == 0 {
		return w.lost, fmt.Sprintf("#%d", n), nil
	}
	dir = w.lost
	for _, part := range parts[:len(parts)-1] {
		for i := 1; ; i++ {
			name := numbered(part, i)
			a, err := w.f.Lookup(dir, name)
			if errors.Is(err, ErrNotExist) {
				a, err = w.f.Mkdir(dir, name, 0o700, w.cred())
			}
			if err != nil {
				return 0, "", err
			}
			if a.IsDir() {
				dir = a.Ino
				break
			}
		}
	}
	return dir, parts[len(parts)-1], nil
}

// stretch is a part of a file, in bytes.
type stretch struct{ from, to int64 }

// readable lists the parts of a file that can be read and are not holes.
func (w *repair) readable(a Attr) (good []stretch, err error) {
	in, err := w.f.rlock(a.Ino)
	if err != nil {
		return nil, err
	}
	defer w.f.runlock(in)
	err = w.f.eachRegion(in, 0, func(region uint64, list []extent) bool {
		for i := range list {
			e := &list[i]
			if e.id == 0 {
				continue
			}
			start := int64(region)<<regionBits + int64(e.off) - int64(e.boff)
			at := int64(e.boff)
			var bad []blockstore.Range
			if err := w.block(e); err != nil {
				bad = badParts(err, e.boff, e.len)
			}
			for _, r := range append(bad, blockstore.Range{Off: int(e.boff + e.len)}) {
				from, to := start+at, min(start+int64(r.Off), a.Size)
				if at = int64(r.Off + r.Len); from >= to {
					continue
				}
				if k := len(good); k > 0 && good[k-1].to == from {
					good[k-1].to = to
				} else {
					good = append(good, stretch{from, to})
				}
			}
		}
		return true
	})
	if isDamage(err) { // the next repair's
		err = nil
	}
	return good, err
}

func (w *repair) block(e *extent) error {
	if w.o.Block == nil {
		return nil
	}
	return w.o.Block(w.s.d.ID, e.id, int(e.boff), int(e.len))
}

// place gives an inode that has no name one.
func (w *repair) place(n uint64) error {
	if err := w.open(); err != nil {
		return err
	}
	dir, err := w.f.lockDir(w.lost)
	if err != nil {
		return err
	}
	defer w.f.unlock(dir)
	in, err := w.f.lock(w.ino(n))
	if err != nil {
		return nil // it is gone, or a later repair's
	}
	defer w.f.unlock(in)
	var d found
	name := ""
	for i := 1; ; i++ {
		name = numbered(fmt.Sprintf("%s#%d", w.prefix, n), i)
		if d, err = w.f.mustNotFind(dir, name); !errors.Is(err, ErrExist) {
			break
		}
	}
	if err != nil {
		return err
	}
	rec, above := in.rec, dir.rec
	rec.parent = dir.key.Number()
	above.size++
	if rec.isDir() {
		rec.nlink = max(rec.nlink, 2)
		above.nlink++
	} else {
		rec.nlink = 1
	}
	above.mtime, above.ctime = w.f.now(), w.f.now()
	value, err := d.with(name, n, uint8(rec.mode>>typeShift))
	if err != nil {
		return err
	}
	err = w.update(func(tx *blockstore.Tx) {
		tx.Put(in.record(), encodeInode(&rec, in.ext))
		setDirent(tx, dir.key, d.suffix, value)
		tx.Put(dir.record(), encodeInode(&above, nil))
		w.f.dropOrphan(tx, in)
	})
	if err != nil {
		return err
	}
	in.rec, dir.rec = rec, above
	w.f.added(dir, d.suffix, nil, false)
	w.f.entryChanged(w.lost, name)
	return nil
}
