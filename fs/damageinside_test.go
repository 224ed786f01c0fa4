package fs

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore"
	"salliefs/blockstore/record"
	"salliefs/blockstore/segment"
	"salliefs/blockstore/storetest"
	"salliefs/crypto"
)

// A sealed block or record can be damaged in ways that no checksum below it finds: by who knows the format.

// openVictim is a store that stays open while its segments are damaged. What it reads is not kept in memory.
type openVictim struct {
	v      *victim
	truth  *tree
	fs     *FS
	disk   *vfs.MemFS
	spots  []spot
	owners map[blockstore.BlockID][]owner
	check  *blockstore.Store
}

// spot is a sealed block in a segment.
type spot struct {
	path string
	e    segment.Entry
}

// owner is a file that a block belongs to.
type owner struct {
	path string
	ino  Ino
}

func (v *victim) openFor(s scene) *openVictim {
	o := &openVictim{v: v, truth: s.truth, disk: s.image.disk(v.tb), owners: make(map[blockstore.BlockID][]owner)}
	st, f, err := v.open(o.disk, true)
	must(v.tb, err)
	o.fs, o.check = f, st
	v.tb.Cleanup(func() {
		must(v.tb, f.Close())
		must(v.tb, st.Close())
	})
	for _, p := range s.image.paths("segments/*") {
		b := s.image[p]
		h, err := segment.DecodeHeader(b[:segment.HeaderSize])
		must(v.tb, err)
		_, err = segment.Scan(bytes.NewReader(b), int64(len(b)), h, func(e segment.Entry, _ []byte) error {
			o.spots = append(o.spots, spot{p, e})
			return nil
		})
		must(v.tb, err)
	}
	names := make(map[Ino]string)
	for p, x := range s.truth.files {
		names[x.attr.Ino] = p
	}
	for _, e := range []blockstore.Epoch{blockstore.Live, 1} {
		for _, n := range st.Namespaces() {
			must(v.tb, st.ScanNamespace(e, n.ID, blockstore.Scanned{
				Record: func(k blockstore.Key, value []byte) error {
					return blockRefs(k.Kind, value, func(id blockstore.BlockID) {
						w := owner{names[k.Ino], k.Ino}
						if e != blockstore.Live {
							w.ino = f.virtual.ino(e, k.Ino)
							w.path = ""
						}
						if !slices.Contains(o.owners[id], w) {
							o.owners[id] = append(o.owners[id], w)
						}
					})
				},
				Damaged: func(_ blockstore.Key, err error) error { return err },
				Unread:  func(_, _ blockstore.Key, err error) error { return err },
			}))
		}
	}
	for _, w := range o.owners {
		for i := range w {
			if w[i].path == "" {
				w[i].path = o.find(w[i].ino)
			}
		}
	}
	return o
}

// find gives the path of a file of a snapshot.
func (o *openVictim) find(ino Ino) string {
	_, key, _ := o.fs.virtual.real(ino)
	for p := range o.truth.files {
		a, err := o.fs.Lookup(RootIno, SnapshotDir)
		for part := range strings.SplitSeq(strings.TrimPrefix(p, "/"+SnapshotDir+"/"), "/") {
			if err == nil {
				a, err = o.fs.Lookup(a.Ino, part)
			}
		}
		if _, k, _ := o.fs.virtual.real(a.Ino); err == nil && k == key && strings.HasPrefix(p, "/"+SnapshotDir) {
			return p
		}
	}
	o.v.tb.Fatalf("inode %d of a snapshot has no name", ino)
	return ""
}

// bytes is a file of the open store, to be changed in place.
func (o *openVictim) bytes(p string) []byte {
	b, err := o.disk.UnsafeGetFileDataBuffer(p)
	must(o.v.tb, err)
	return b
}

// read reads a file of each of some blocks: that of the present, or of a snapshot.
func (o *openVictim) read(i int, list ...blockstore.BlockID) (out outcome) {
	got := &tree{files: make(map[string]*seen)}
	want := &tree{files: make(map[string]*seen), spaces: ""}
	r := &reader{FS: o.fs, t: got, buf: o.v.buf, most: 1000}
	for _, id := range list {
		if n := len(o.owners[id]); n > 0 {
			w := o.owners[id][i%n]
			r.file(w.path, w.ino)
			want.files[w.path] = o.truth.files[w.path]
		}
	}
	return outcome{errs: got.errs, wrong: got.differs(want)}
}

// blocks damages sealed blocks under an open store.
func (v *victim) blocks(s scene) []damageKind {
	o := v.openFor(s)
	ends := []int{0}
	for _, x := range o.spots {
		ends = append(ends, ends[len(ends)-1]+8*(x.e.Length+segment.EntryOverhead))
	}
	flip := damageKind{name: "a bit of a sealed block, read at once, " + s.name, n: ends[len(ends)-1], share: 8000, plenty: true, try: func(i int) outcome {
		n, _ := slices.BinarySearch(ends, i+1)
		x, bit := o.spots[n-1], i-ends[n-1]
		b := o.bytes(x.path)
		at := x.e.Offset - segment.EntryOverhead + int64(bit/8)
		b[at] ^= 1 << (bit % 8)
		defer func() { b[at] ^= 1 << (bit % 8) }()
		return o.read(i, blockstore.BlockID(x.e.Block))
	}}
	pairs := equal(len(o.spots), func(i int) int { return o.spots[i].e.Length })
	swap := damageKind{name: "two sealed blocks of a length exchanged " + s.name, n: 2 * len(pairs), share: 200, try: func(i int) outcome {
		x, y := o.spots[pairs[i/2][0]], o.spots[pairs[i/2][1]]
		n := int64(x.e.Length)
		from, to := x.e.Offset, y.e.Offset
		if i%2 == 1 { // with what names them
			n, from, to = n+segment.EntryOverhead, from-segment.EntryOverhead, to-segment.EntryOverhead
		}
		a, b := o.bytes(x.path)[from:from+n], o.bytes(y.path)[to:to+n]
		exchange(a, b)
		defer exchange(a, b)
		return o.read(i, blockstore.BlockID(x.e.Block), blockstore.BlockID(y.e.Block))
	}}
	checked := damageKind{name: "a bit of a segment, found by check, " + s.name, n: flip.n, share: 5, try: func(i int) outcome {
		n, _ := slices.BinarySearch(ends, i+1)
		x, bit := o.spots[n-1], i-ends[n-1]
		b := o.bytes(x.path)
		at := x.e.Offset - segment.EntryOverhead + int64(bit/8)
		b[at] ^= 1 << (bit % 8)
		defer func() { b[at] ^= 1 << (bit % 8) }()
		found := 0
		err := o.check.Check(context.Background(), blockstore.CheckOptions{Data: true}, func(blockstore.Problem) { found++ })
		if err != nil || found == 0 {
			return outcome{wrong: []string{"check finds nothing"}}
		}
		return outcome{errs: []error{&Error{Op: "check", Path: x.path, Err: ErrCorrupt}}}
	}}
	list := []damageKind{flip, checked}
	if swap.n > 0 {
		list = append(list, swap)
	}
	return list
}

func exchange(a, b []byte) {
	for i := range a {
		a[i], b[i] = b[i], a[i]
	}
}

// equal lists the pairs of n things that have one size.
func equal(n int, size func(i int) int) (pairs [][2]int) {
	for i := range n {
		for j := range i {
			if size(i) == size(j) {
				pairs = append(pairs, [2]int{j, i})
			}
		}
	}
	return pairs
}

// rec is a sealed record.
type rec struct{ key, value []byte }

// sealedRecords lists what the record engine of an image holds.
func (v *victim) sealedRecords(m image) (list []rec) {
	v.withEngine(m.disk(v.tb), func(e record.Engine) {
		it, err := e.NewIter(nil, nil)
		must(v.tb, err)
		for ok := it.First(); ok; ok = it.Next() {
			value, err := it.Value()
			must(v.tb, err)
			list = append(list, rec{bytes.Clone(it.Key()), bytes.Clone(value)})
		}
		must(v.tb, it.Close())
	})
	return list
}

func (v *victim) withEngine(disk vfs.FS, fn func(e record.Engine)) {
	e, err := record.Open(storetest.Dir+"/records", record.Options{FS: disk, CacheSize: 1 << 20})
	must(v.tb, err)
	fn(e)
	must(v.tb, e.Close())
}

// rewritten puts records into an image, through the engine, as who knows the format would.
func (v *victim) rewritten(s scene, change func(b record.Batch)) image {
	disk := s.image.disk(v.tb)
	v.withEngine(disk, func(e record.Engine) {
		b := e.NewBatch(0)
		change(b)
		must(v.tb, e.Commit(b))
		must(v.tb, e.Apply(b))
	})
	return takeImage(v.tb, disk)
}

func put(b record.Batch, key, value []byte) {
	b.Set(key, len(value), func(dst []byte) []byte { return append(dst, value...) })
}

// replayed is why an older value of a record is not told from the present one.
const replayed = "a record of an epoch, put back to what it was in that epoch, or to not being there"

// records exchanges sealed records, and takes them back.
func (v *victim) records(s scene) (list []damageKind) {
	all := v.sealedRecords(s.image)
	pairs := equal(len(all), func(i int) int { return len(all[i].value) })
	list = append(list, damageKind{name: "two sealed records of a length exchanged " + s.name, n: len(pairs), share: 100, try: func(i int) outcome {
		x, y := all[pairs[i][0]], all[pairs[i][1]]
		m := v.rewritten(s, func(b record.Batch) {
			put(b, x.key, y.value)
			put(b, y.key, x.value)
		})
		return v.try(m, s.truth, variant(i, 16))
	}}, damageKind{name: "a bit of a sealed record " + s.name, n: 8 * len(all) * 60, share: 100, try: func(i int) outcome {
		x := all[i%len(all)]
		bit := i / len(all) * 131 % (8 * len(x.value))
		m := v.rewritten(s, func(b record.Batch) { put(b, x.key, flipped(x.value, bit)) })
		return v.try(m, s.truth, variant(i, 16))
	}}, damageKind{name: "without a record " + s.name, n: len(all), share: 5, unseen: replayed, try: func(i int) outcome {
		return v.try(v.rewritten(s, func(b record.Batch) { b.Delete(all[i].key) }), s.truth, variant(i, 16))
	}})
	before := make(map[string][]byte)
	for _, x := range v.sealedRecords(v.earlier) {
		before[string(x.key)] = x.value
	}
	now := make(map[string][]byte)
	for _, x := range all {
		now[string(x.key)] = x.value
	}
	var old []string
	for _, k := range slices.Sorted(maps.Keys(before)) {
		if x, ok := now[k]; ok && !bytes.Equal(x, before[k]) {
			old = append(old, k)
		}
	}
	return append(list, damageKind{name: "an older record " + s.name, n: len(old), share: 5, unseen: replayed, try: func(i int) outcome {
		return v.try(v.rewritten(s, func(b record.Batch) { put(b, []byte(old[i]), before[old[i]]) }), s.truth, variant(i, 16))
	}})
}

// keyring damages the keyring, which is opened with the recovery key.
func (v *victim) keyring() []damageKind {
	p := storetest.Dir + "/keyring"
	raw := v.closed[p]
	secret := []byte(crypto.RecoveryKey(blockstore.StandardContext, v.master.Master))
	try := func(b []byte) outcome {
		disk := image{p: b}.disk(v.tb)
		read, err := blockstore.ReadKeyring(disk, storetest.Dir)
		must(v.tb, err)
		k, err := crypto.DecodeKeyring(read)
		if err != nil {
			return outcome{refused: &Error{Op: "open", Path: "/store/keyring", Err: err}}
		}
		m, err := k.Unlock(blockstore.StandardContext, secret)
		if err != nil {
			return outcome{refused: &Error{Op: "unlock", Path: "/store/keyring", Err: err}}
		}
		defer m.Wipe()
		if !m.Equal(v.master.Master) {
			return outcome{wrong: []string{"another key"}}
		}
		return outcome{}
	}
	return []damageKind{
		{name: "a bit of the keyring", n: 8 * len(raw), share: 50, try: func(i int) outcome { return try(flipped(raw, i)) }},
		{name: "cut keyring", n: len(raw), share: 20, try: func(i int) outcome { return try(raw[:i]) }},
	}
}
