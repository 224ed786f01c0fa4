package fs

import (
	"encoding/binary"
	"fmt"
)

// inodeRec is an inode's record without the extents of region 0, which follow it for regular files.
type inodeRec struct {
	mode                       uint32
	flags                      uint32
	uid, gid, nlink, rdev      uint32
	xattrs                     uint32 // how many
	parent                     uint64 // number of the directory that it was last linked into
	size                       int64  // bytes; of a directory, its entries
	alloc                      int64  // bytes that extents cover
	atime, mtime, ctime, btime int64
	target                     string // of a symbolic link, if short
}

// Flags of an inode record. They say which other records there may be, so that nobody looks in vain.
const (
	hasRegions    = 1 << iota // region records
	hasACL                    // an access ACL
	hasDefaultACL             // a default ACL
	hasCaps                   // security.capability, which writing removes
	isTruncating              // regions past the size wait to be freed; an orphan record says so too
	hasTarget                 // the target is in a record of its own
	hasShared                 // of a top directory: blocks of the namespace were shared once
	knownFlags    = 1<<iota - 1
)

// maxInlineTarget is the longest target of a symbolic link, in bytes, that is kept in the inode record.
const maxInlineTarget = 256

func (r *inodeRec) isDir() bool     { return r.mode&ModeType == ModeDir }
func (r *inodeRec) isRegular() bool { return r.mode&ModeType == ModeRegular }
func (r *inodeRec) isSymlink() bool { return r.mode&ModeType == ModeSymlink }

// encodeInode makes the value of an inode record.
func encodeInode(r *inodeRec, ext []extent) []byte {
	b := make([]byte, 0, 56+len(r.target)+len(ext)*extentSizeHint)
	b = append(b, recordVersion)
	b = binary.AppendUvarint(b, uint64(r.mode))
	b = binary.AppendUvarint(b, uint64(r.flags))
	b = binary.AppendUvarint(b, uint64(r.uid))
	b = binary.AppendUvarint(b, uint64(r.gid))
	b = binary.AppendUvarint(b, uint64(r.nlink))
	b = binary.AppendUvarint(b, uint64(r.xattrs))
	b = binary.AppendUvarint(b, r.parent)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.btime))
	b = binary.AppendVarint(b, r.ctime-r.btime)
	b = binary.AppendVarint(b, r.mtime-r.btime)
	b = binary.AppendVarint(b, r.atime-r.btime)
	switch r.mode & ModeType {
	case ModeRegular:
		b = binary.AppendUvarint(b, uint64(r.size))
		b = binary.AppendUvarint(b, uint64(r.alloc))
		b = appendExtents(b, ext)
	case ModeDir:
		b = binary.AppendUvarint(b, uint64(r.size))
	case ModeSymlink:
		b = binary.AppendUvarint(b, uint64(r.size))
		b = append(b, r.target...)
	case ModeChar, ModeBlock:
		b = binary.AppendUvarint(b, uint64(r.rdev))
	}
	return b
}

// decodeInode is the inverse of encodeInode. The extents of region 0 are appended to ext.
func decodeInode(value []byte, r *inodeRec, ext []extent) ([]extent, error) {
	d := newDecoder(value)
	r.mode = uint32(d.uvarint(ModeType | modePerm))
	r.flags = uint32(d.uvarint(knownFlags))
	r.uid = uint32(d.uvarint(1<<32 - 1))
	r.gid = uint32(d.uvarint(1<<32 - 1))
	r.nlink = uint32(d.uvarint(1<<32 - 1))
	r.xattrs = uint32(d.uvarint(MaxXattr))
	r.parent = d.uvarint(maxNumber)
	r.btime = int64(d.uint64())
	r.ctime = r.btime + d.varint()
	r.mtime = r.btime + d.varint()
	r.atime = r.btime + d.varint()
	switch r.mode & ModeType {
	case ModeRegular:
		r.size = int64(d.uvarint(MaxFileSize))
		r.alloc = int64(d.uvarint(1<<63 - 1))
		ext = d.extents(ext)
	case ModeDir:
		r.size = int64(d.uvarint(1<<63 - 1))
	case ModeSymlink:
		r.size = int64(d.uvarint(MaxTarget))
		if long := r.size > maxInlineTarget; long != (r.flags&hasTarget != 0) {
			d.fail("target is not where it belongs")
		} else if !long {
			r.target = string(d.take(int(r.size)))
		}
	case ModeChar, ModeBlock:
		r.rdev = uint32(d.uvarint(1<<32 - 1))
	case ModeFIFO, ModeSocket:
	default:
		d.fail(fmt.Sprintf("unknown file type %#o", r.mode&ModeType))
	}
	return ext, d.err("inode record")
}

// maxNumber is the largest number that an inode has in its namespace.
const maxNumber = 1<<44 - 1
