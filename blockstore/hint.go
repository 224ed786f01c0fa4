package blockstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"

	"salliefs/crypto"
)

// BlockHint says what a block is for: at which offset of which file its data is. It is for a rebuild, when the records are
// lost. The zero hint says nothing.
type BlockHint struct {
	Ino    Ino
	Offset int64
}

// Descriptions tell what a rebuild is to know of files: the filesystem's part of a hint.
type Descriptions struct {
	// InodeKind and EntryKind are the kinds of the records that the functions get.
	InodeKind, EntryKind Kind
	// Inode appends what is to be kept of an inode to dst, and gives the number of the directory that it is in.
	Inode func(dst, record []byte) (summary []byte, parent uint64, err error)
	// Entries visits what a record of a directory names.
	Entries func(record []byte, visit func(n uint64, dir bool, name []byte)) error
}

// SetDescriptions gives the store what hints need. Without it they name no files.
func (s *Store) SetDescriptions(d *Descriptions) { s.descriptions.Store(d) }

// Parts of a hint.
const (
	hintPlace     = 1 << iota // the file and the offset
	hintNamespace             // the namespace's record
	hintFiles                 // what the block's file and the directories above it are, sealed
	hintParts     = 1<<iota - 1
)

// hint is what the footer of a segment holds of a block beside its place there.
type hint struct {
	codec    Codec
	plainLen int
	parts    byte
	number   uint64 // of the inode
	offset   int64  // in the file
	space    []byte // the namespace's record, as in the record engine
	files    []byte // sealed descriptions
}

func (h hint) append(dst []byte) []byte {
	dst = append(dst, h.parts, byte(h.codec))
	dst = binary.AppendUvarint(dst, uint64(h.plainLen))
	if h.parts&hintPlace != 0 {
		dst = binary.AppendUvarint(dst, h.number)
		dst = binary.AppendUvarint(dst, uint64(h.offset))
	}
	if h.parts&hintNamespace != 0 {
		dst = appendBytes(dst, h.space)
	}
	if h.parts&hintFiles != 0 {
		dst = appendBytes(dst, h.files)
	}
	return dst
}

func decodeHint(b []byte) (h hint, err error) {
	d := decoder{b: b}
	h.parts, h.codec = d.byte(), Codec(d.byte())
	h.plainLen = int(d.uvarint(MaxBlockSize))
	if h.parts&hintPlace != 0 {
		h.number = d.uvarint(1<<inoBits - 1)
		h.offset = int64(d.uvarint(1<<63 - 1))
	}
	if h.parts&hintNamespace != 0 {
		h.space = d.bytes(maxHint)
	}
	if h.parts&hintFiles != 0 {
		h.files = d.bytes(maxHint)
	}
	if err := d.finish("hint"); err != nil {
		return h, err
	}
	if h.parts > hintParts || h.codec == CodecAuto || h.codec > CodecZstd || h.plainLen == 0 {
		return h, fmt.Errorf("%w: hint of parts %#x, codec %d and %d bytes", ErrCorrupt, h.parts, h.codec, h.plainLen)
	}
	return h, nil
}

// fileHint describes a file or a directory.
type fileHint struct {
	number, parent uint64
	name           string // "" if it is not known
	summary        []byte // of the filesystem
}

func (f fileHint) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, f.number)
	dst = binary.AppendUvarint(dst, f.parent)
	dst = appendBytes(dst, []byte(f.name))
	return appendBytes(dst, f.summary)
}

// decodeFileHints reads the commit that descriptions are of, and them.
func decodeFileHints(b []byte) (generation uint64, list []fileHint, err error) {
	d := decoder{b: b}
	generation = d.uvarint(1<<64 - 1)
	for len(d.b) > 0 {
		f := fileHint{number: d.uvarint(1<<inoBits - 1), parent: d.uvarint(1<<inoBits - 1)}
		f.name = string(d.bytes(maxNSName))
		f.summary = d.bytes(maxHint)
		list = append(list, f)
	}
	return generation, list, d.finish("descriptions")
}

const (
	maxHint      = 4 << 10 // bytes of a hint, and of each part of it
	maxFileHints = 3 << 10 // bytes of descriptions in one hint: what does not fit is told with another block
	maxHintScans = 64      // directories that a commit looks through for names of files which it does not make
	maxHintNames = 4096    // entries of such a directory
)

// hintAD is the associated data that descriptions are sealed with.
func hintAD(dst []byte, store crypto.StoreID, ns NamespaceID, id BlockID) []byte {
	dst = append(append(dst, store[:]...), 'H')
	dst = binary.BigEndian.AppendUint32(dst, uint32(ns))
	return binary.BigEndian.AppendUint64(dst, uint64(id))
}

// hints makes the hints of a commit.
type hints struct {
	c     *commit
	d     *Descriptions
	names map[Ino]entryName // that the group's directories have; nil until needed
	scans int
	seed  maphash.Seed
	buf   []byte // scratch: the hint
	plain []byte // scratch: descriptions
	files []byte // scratch: descriptions, sealed
	sum   []byte // scratch: one of them
}

type entryName struct {
	parent uint64
	name   string
}

// of gives the hint of a block that is about to be appended to the current segment. It is valid until the next one.
func (h *hints) of(ns *nsState, id BlockID, m blockMeta, b BlockHint) []byte {
	if m.lost != nil {
		return nil // a rebuild would take for data what stands in for what is lost
	}
	cur := h.c.s.segments.cur
	out := hint{codec: m.codec, plainLen: m.plainLen}
	if b.Ino != 0 {
		out.parts |= hintPlace
		out.number, out.offset = b.Ino.Number(), b.Offset
	}
	if rec := ns.rec.Load(); cur.spaces[ns.id] != rec {
		cur.spaces[ns.id] = rec
		out.parts |= hintNamespace
		out.space = rec.append(nil)
	}
	if b.Ino != 0 && h.d != nil && !h.told(cur, b.Ino) {
		if h.describe(ns, b.Ino, cur); len(h.plain) > 0 {
			var ad [64]byte
			out.parts |= hintFiles
			h.files = ns.key.Records().Seal(h.files[:0], h.plain, hintAD(ad[:0], h.c.s.id, ns.id, id))
			out.files = h.files
		}
	}
	h.buf = out.append(h.buf[:0])
	return h.buf
}

// described is what hints of a segment tell of an inode.
type described struct {
	generation uint64 // of the commit that looked last
	sum        uint64 // of what it said
}

// told tells whether this commit has looked at an inode already.
func (h *hints) told(cur *currentSegment, ino Ino) bool {
	return cur.described[ino].generation == h.c.state.generation+1
}

// describe puts a file, and the directories above it, into plain: those of which the segment does not tell the same
// already.
func (h *hints) describe(ns *nsState, ino Ino, cur *currentSegment) {
	h.plain = binary.AppendUvarint(h.plain[:0], h.c.state.generation+1)
	told := len(h.plain)
	for range 256 {
		if h.told(cur, ino) {
			break
		}
		rec, err := h.record(ino)
		if err != nil {
			break
		}
		var parent uint64
		if h.sum, parent, err = h.d.Inode(h.sum[:0], rec); err != nil {
			break
		}
		f := fileHint{number: ino.Number(), parent: parent, summary: h.sum}
		if f.number != 1 {
			f.name = h.name(ino, MakeIno(ns.id, parent))
		}
		if len(h.plain)+len(f.name)+len(f.summary)+32 > maxFileHints {
			break
		}
		start := len(h.plain)
		h.plain = f.append(h.plain)
		now := described{h.c.state.generation + 1, maphash.Bytes(h.seed, h.plain[start:])}
		if cur.described[ino].sum == now.sum {
			h.plain = h.plain[:start]
		}
		cur.described[ino] = now
		if f.number == 1 || f.name == "" {
			break
		}
		ino = MakeIno(ns.id, parent)
	}
	if len(h.plain) == told {
		h.plain = h.plain[:0]
	}
}

// record is an inode's record, as the commit leaves it.
func (h *hints) record(ino Ino) ([]byte, error) {
	k := Key{Ino: ino, Kind: h.d.InodeKind}
	if r, ok := h.c.g.recs[k]; ok {
		if r.value == nil {
			return nil, ErrNotFound
		}
		return r.value, nil
	}
	return h.c.s.getAt(h.c.s.engine, Live, k)
}

// name finds the name that an inode has in a directory; "" if that would take long.
func (h *hints) name(ino, dir Ino) string {
	if h.names == nil {
		h.collect()
	}
	if e, ok := h.names[ino]; ok && e.parent == dir.Number() {
		return e.name
	}
	if h.scans >= maxHintScans {
		return ""
	}
	h.scans++
	name, seen := "", 0
	err := h.c.s.Scan(Live, dir, h.d.EntryKind, 0, func(_ uint64, record []byte) bool {
		seen++
		err := h.d.Entries(record, func(n uint64, _ bool, entry []byte) {
			if n == ino.Number() {
				name = string(entry)
			}
		})
		return err == nil && name == "" && seen < maxHintNames
	})
	if err != nil {
		return ""
	}
	return name
}

// collect notes the names that the group gives to directories, and to the files of its blocks.
func (h *hints) collect() {
	h.names = make(map[Ino]entryName)
	for _, p := range h.c.g.order {
		if p.hint.Ino != 0 {
			h.names[p.hint.Ino] = entryName{}
		}
	}
	for k, r := range h.c.g.recs {
		if k.Kind != h.d.EntryKind || r.value == nil {
			continue
		}
		_ = h.d.Entries(r.value, func(n uint64, dir bool, name []byte) { // what does not decode is not for a hint to tell
			ino := MakeIno(k.Ino.Namespace(), n)
			if _, wanted := h.names[ino]; wanted || dir {
				h.names[ino] = entryName{k.Ino.Number(), string(name)}
			}
		})
	}
}

// rehint is the hint of a block that moves, with how it is stored now. A hint that does not decode is dropped.
func rehint(old []byte, m blockMeta) []byte {
	h, err := decodeHint(old)
	if err != nil || m.lost != nil {
		return nil
	}
	h.codec, h.plainLen = m.codec, m.plainLen
	return h.append(nil)
}

// payloadOf is how long the payload of a sealed block is.
func payloadOf(sealed int) (int, error) {
	for frames := 1; ; frames++ {
		n := sealed - crypto.NonceSize - frames*crypto.TagSize
		if n <= 0 {
			return 0, errors.New("no sealed block has this length")
		}
		if crypto.SealedBlockSize(n) == sealed {
			return n, nil
		}
	}
}
