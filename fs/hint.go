package fs

import (
	"encoding/binary"

	"salliefs/blockstore"
)

// hintOf is the hint of a block whose first byte is at off in a region of a file.
func hintOf(in *inode, region uint64, off uint32) blockstore.BlockHint {
	return blockstore.BlockHint{Ino: in.key, Offset: int64(region)<<regionBits + int64(off)}
}

// descriptions are what hints tell of files.
func descriptions() *blockstore.Descriptions {
	return &blockstore.Descriptions{
		InodeKind: kindInode, EntryKind: kindDirent,
		Inode: func(dst, record []byte) ([]byte, uint64, error) {
			var rec inodeRec
			var list [8]extent
			if _, err := decodeInode(record, &rec, list[:0]); err != nil {
				return dst, 0, err
			}
			s := summary{mode: rec.mode, uid: rec.uid, gid: rec.gid, mtime: rec.mtime}
			if rec.isRegular() {
				s.size = rec.size
			}
			return s.append(dst), rec.parent, nil
		},
		Entries: func(record []byte, visit func(n uint64, dir bool, name []byte)) error {
			return eachDirent(record, func(e dirent, name []byte, _, _ int) { visit(e.n, e.typ == ModeDir>>typeShift, name) })
		},
	}
}

// summary is what a hint tells of an inode.
type summary struct {
	mode, uid, gid uint32
	size           int64 // of a regular file
	mtime          int64
}

func (s summary) append(dst []byte) []byte {
	dst = append(dst, recordVersion)
	dst = binary.AppendUvarint(dst, uint64(s.mode))
	dst = binary.AppendUvarint(dst, uint64(s.uid))
	dst = binary.AppendUvarint(dst, uint64(s.gid))
	dst = binary.AppendUvarint(dst, uint64(s.size))
	return binary.LittleEndian.AppendUint64(dst, uint64(s.mtime))
}

func decodeSummary(b []byte) (s summary, err error) {
	d := newDecoder(b)
	s.mode = uint32(d.uvarint(ModeType | modePerm))
	s.uid = uint32(d.uvarint(1<<32 - 1))
	s.gid = uint32(d.uvarint(1<<32 - 1))
	s.size = int64(d.uvarint(MaxFileSize))
	s.mtime = int64(d.uint64())
	return s, d.err("summary")
}
