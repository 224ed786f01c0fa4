package blockstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"salliefs/blockstore/blob"
	"salliefs/blockstore/segment"
	"salliefs/crypto"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Remains is what the segments of a store tell when its records are lost. The store is only read, and held meanwhile.
type Remains struct {
	s      *Store
	blobs  blob.Store
	spaces map[NamespaceID]*remainingSpace
	Bad    []string // segments of which not all could be read, and why
	Stray  int64    // blocks of which nobody knows what they are for
}

type remainingSpace struct {
	ns      *nsState // nil while its key is not known
	segment uint64   // the newest one that tells of it
	blocks  []RemainingBlock
	files   map[uint64]RemainingFile
	sealed  []sealedFiles // descriptions, until there is the key
}

type sealedFiles struct {
	id    BlockID
	files []byte
}

// RemainingBlock is a block that a hint places.
type RemainingBlock struct {
	ID      BlockID
	Number  uint64 // of the file's inode
	Offset  int64  // in the file
	Len     int    // bytes of data
	codec   Codec
	sealed  int
	segment uint64
	at      int64
}

// RemainingFile is what hints tell of a file or a directory.
type RemainingFile struct {
	Parent     uint64
	Name       string // "" if it is not known
	Summary    []byte // of the filesystem
	generation uint64
}

// OpenRemains reads the footers of a store's segments.
func OpenRemains(ctx context.Context, dir string, std *crypto.Master, o Options, progress func(done, total int64)) (_ *Remains, err error) {
	o.ReadOnly = true
	s, err := prepare(dir, std, o)
	if err != nil {
		return nil, err
	}
	r := &Remains{s: s, spaces: make(map[NamespaceID]*remainingSpace)}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	if s.lock, err = acquire(s.fs, s.dir, fillHolder(o.Holder, s.clock()), true); err != nil {
		return nil, err
	}
	if r.blobs, err = blob.OpenLocal(s.fs, s.fs.PathJoin(s.dir, segmentsDir), blob.LocalOptions{}); err != nil {
		return nil, err
	}
	var ids []uint64
	err = r.blobs.List(ctx, "", func(o blob.Info) error {
		if id, ok := parseSegmentName(o.Name); ok {
			ids = append(ids, id)
		}
		return nil
	})
	slices.Sort(ids)
	for i, id := range ids {
		if err = cmp.Or(err, ctx.Err()); err != nil {
			return nil, err
		}
		if serr := r.segment(ctx, id); serr != nil {
			r.Bad = append(r.Bad, fmt.Sprintf("segment %s: %v", segmentName(id), serr))
		}
		if progress != nil {
			progress(int64(i+1), int64(len(ids)))
		}
	}
	for id, n := range r.spaces {
		r.finish(id, n)
	}
	return r, err
}

// Close lets go of the store.
func (r *Remains) Close() error {
	for _, n := range r.spaces {
		if n.ns != nil {
			n.ns.key.Wipe()
		}
	}
	r.s.sealer.Wipe()
	if r.s.lock == nil {
		return nil
	}
	return r.s.lock.release()
}

func (r *Remains) header(id uint64) segment.Header {
	return segment.Header{Store: [16]byte(r.s.id), ID: id}
}

func (r *Remains) segment(ctx context.Context, id uint64) error {
	br, err := r.blobs.Open(ctx, segmentName(id))
	if err != nil {
		return err
	}
	defer br.Close()
	table, err := segment.ReadFooter(br, br.Size(), r.header(id), r.s.sealer)
	if err != nil {
		n := 0
		res, scanErr := segment.Scan(br, br.Size(), r.header(id), func(segment.Entry, []byte) error {
			n++
			return ctx.Err()
		})
		r.Stray += int64(n)
		return fmt.Errorf("what its %d blocks are for is not known: %w", n, errors.Join(err, scanErr, res.Stop))
	}
	bad := 0
	for _, e := range table {
		if len(e.Hint) == 0 {
			r.Stray++
		} else if err := r.entry(id, e); err != nil {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of its hints mean nothing", bad)
	}
	return nil
}

func (r *Remains) entry(id uint64, e segment.Entry) error {
	h, err := decodeHint(e.Hint)
	if err != nil {
		return err
	}
	n := r.spaces[NamespaceID(e.Namespace)]
	if n == nil {
		n = &remainingSpace{files: make(map[uint64]RemainingFile)}
		r.spaces[NamespaceID(e.Namespace)] = n
	}
	if h.parts&hintNamespace != 0 && (n.ns == nil || id >= n.segment) {
		ns, err := r.s.openNamespace(NamespaceID(e.Namespace), h.space)
		if err != nil {
			return err
		}
		if n.ns != nil {
			n.ns.key.Wipe()
		}
		n.ns, n.segment = ns, id
	}
	if h.parts&hintFiles != 0 {
		n.sealed = append(n.sealed, sealedFiles{BlockID(e.Block), slices.Clone(h.files)})
	}
	if h.parts&hintPlace == 0 {
		r.Stray++
		return nil
	}
	n.blocks = append(n.blocks, RemainingBlock{
		ID: BlockID(e.Block), Number: h.number, Offset: h.offset, Len: h.plainLen,
		codec: h.codec, sealed: e.Length, segment: id, at: e.Offset,
	})
	return nil
}

// finish opens the descriptions of a namespace's files. Of each, the one of the newest commit counts.
func (r *Remains) finish(id NamespaceID, n *remainingSpace) {
	if n.ns == nil {
		r.Bad = append(r.Bad, fmt.Sprintf("namespace %d: its key is in no segment: %d blocks can not be opened", id, len(n.blocks)))
		return
	}
	bad := 0
	for _, s := range n.sealed {
		var ad [64]byte
		plain, err := n.ns.key.Records().Open(nil, s.files, hintAD(ad[:0], r.s.id, id, s.id))
		if err != nil {
			bad++
			continue
		}
		generation, list, err := decodeFileHints(plain)
		if err != nil {
			bad++
			continue
		}
		for _, f := range list {
			old, ok := n.files[f.number]
			if ok && (old.generation > generation || f.name == "" && old.Name != "" && old.Parent == f.parent && f.number != 1) {
				if old.generation > generation {
					continue
				}
				f.name = old.Name // the name was not looked for
			}
			n.files[f.number] = RemainingFile{Parent: f.parent, Name: f.name, Summary: f.summary, generation: generation}
		}
	}
	n.sealed = nil
	if bad > 0 {
		r.Bad = append(r.Bad, fmt.Sprintf("namespace %s: %d descriptions of files do not open", n.ns.rec.Load().name, bad))
	}
	slices.SortFunc(n.blocks, func(a, b RemainingBlock) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.ID, b.ID), cmp.Compare(a.segment, b.segment))
	})
}

// Namespaces lists the namespaces of which the key is known, by ID, without what they held.
func (r *Remains) Namespaces() (list []Namespace) {
	for id, n := range r.spaces {
		if n.ns != nil {
			rec := n.ns.rec.Load()
			list = append(list, Namespace{ID: id, Name: rec.name, Created: rec.created, Settings: rec.settings})
		}
	}
	slices.SortFunc(list, func(a, b Namespace) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// Blocks lists the blocks of a namespace that have a place in a file, by file, and the oldest first.
func (r *Remains) Blocks(id NamespaceID) []RemainingBlock { return r.spaces[id].blocks }

// Files tells of the files and directories of a namespace, by number.
func (r *Remains) Files(id NamespaceID) map[uint64]RemainingFile { return r.spaces[id].files }

// Read gives the data of a block. It fails with ErrCorrupt, or with what the disk said.
func (r *Remains) Read(id NamespaceID, b RemainingBlock) ([]byte, error) {
	payload, err := payloadOf(b.sealed)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	br, err := r.blobs.Open(context.Background(), segmentName(b.segment))
	if err != nil {
		return nil, err
	}
	defer br.Close()
	sealed := make([]byte, b.sealed)
	if _, err := br.ReadAt(sealed, b.at); err != nil {
		return nil, segmentError(b.segment, err)
	}
	m := blockMeta{codec: b.codec, plainLen: b.Len, payloadLen: payload}
	data, err := r.s.openBlock(make([]byte, 0, b.Len), r.spaces[id].ns, b.ID, m, sealed)
	return data, sealError(err)
}

// CreateLike makes an empty store in dir that has the keyring, and so the identity, the passphrases and the recovery key, of
// the one that is left of.
func (r *Remains) CreateLike(dir string, kr *crypto.Keyring, std *crypto.Master, fs vfs.FS, settings NamespaceSettings) error {
	if kr.StoreID() != r.s.id {
		return fmt.Errorf("%w: the keyring is of another store", ErrInvalid)
	}
	return Create(dir, kr, std, CreateOptions{FS: fs, Settings: settings})
}
