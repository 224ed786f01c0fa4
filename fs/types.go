package fs

import (
	"log/slog"
	"time"

	"salliefs/blockstore"
)

// Ino is an inode number: the namespace in its upper 20 bits, a number that is never reused in the others.
type Ino = blockstore.Ino

// RootIno is the root directory, which holds the namespaces and the files of the built-in namespace.
const RootIno = blockstore.RootIno

// The words of package blockstore that appear in this package's API.
type (
	NamespaceID       = blockstore.NamespaceID
	Namespace         = blockstore.Namespace
	NamespaceSettings = blockstore.NamespaceSettings
	Snapshot          = blockstore.Snapshot
)

// Limits.
const (
	MaxName      = 255                       // bytes of a name
	MaxTarget    = 4095                      // bytes of a symbolic link's target (PATH_MAX less its NUL)
	MaxFileSize  = 1<<63 - 1 - 128<<10       // bytes
	MaxLinks     = 1<<31 - 1                 // hard links to an inode
	MaxXattrName = 255                       // bytes
	MaxXattr     = 64 << 10                  // bytes of a value, and of all names of an inode with their NULs
	SnapshotDir  = ".snapshots"              // in the root directory; reachable, not listed
	virtualNS    = blockstore.MaxNamespaceID // the inode numbers of .snapshots and what is below
)

// File types and permission bits of Attr.Mode, as in stat(2).
const (
	ModeType    = 0o170000
	ModeSocket  = 0o140000
	ModeSymlink = 0o120000
	ModeRegular = 0o100000
	ModeBlock   = 0o060000
	ModeDir     = 0o040000
	ModeChar    = 0o020000
	ModeFIFO    = 0o010000
	ModeSetUID  = 0o4000
	ModeSetGID  = 0o2000
	ModeSticky  = 0o1000
	modePerm    = 0o7777
)

// Attr is what stat(2) shows. Times are nanoseconds since 1970, Blocks counts 512 bytes.
type Attr struct {
	Ino                        Ino
	Mode                       uint32
	Nlink, UID, GID, Rdev      uint32
	BlockSize                  uint32
	Size, Blocks               int64
	Atime, Mtime, Ctime, Btime int64
}

// IsDir reports whether a is a directory's.
func (a *Attr) IsDir() bool { return a.Mode&ModeType == ModeDir }

// IsRegular reports whether a is a regular file's.
func (a *Attr) IsRegular() bool { return a.Mode&ModeType == ModeRegular }

// Cred is who creates. Permissions are checked by the kernel, not here.
type Cred struct{ UID, GID, Umask uint32 }

// Valid says which fields of a SetAttr are meant.
type Valid uint32

// The bits of Valid.
const (
	SetMode     Valid = 1 << iota
	SetUID            // like SetGID, also clears set-user-ID and set-group-ID of what is no directory
	SetGID            //
	SetSize           //
	SetAtime          // to Atime
	SetAtimeNow       // to the clock
	SetMtime          //
	SetMtimeNow       //
	SetCtime          //
	KillPriv          // clear set-user-ID, and set-group-ID if the group may execute
)

// SetAttr changes the attributes that Valid names.
type SetAttr struct {
	Valid               Valid
	Mode, UID, GID      uint32 // of Mode, only the permission bits
	Size                int64
	Atime, Mtime, Ctime int64
}

// DirEntry is one entry of a directory.
type DirEntry struct {
	Name   string
	Ino    Ino
	Type   uint32 // the file type bits of a mode
	Cookie uint64 // where to go on after this entry; never 0, below 1<<63
	Attr   Attr   // only if asked for, and not for "." and ".."
}

// Flags of Rename, as in renameat2(2).
const (
	RenameNoReplace = 1 << 0
	RenameExchange  = 1 << 1
)

// Modes of Fallocate, as in fallocate(2).
const (
	FallocKeepSize  = 0x01
	FallocPunchHole = 0x02
	FallocZeroRange = 0x10
)

// Whence values of Seek, as in lseek(2).
const (
	SeekData = 3
	SeekHole = 4
)

// Flags of SetXattr; the first two as in setxattr(2).
const (
	XattrCreate  = 1
	XattrReplace = 2
	XattrKillGID = 1 << 8 // clear set-group-ID when an access ACL is set
)

// StatFS is what statfs(2) shows.
type StatFS struct {
	BlockSize           uint32
	Blocks, Free, Avail uint64 // of BlockSize bytes
	Files, FilesFree    uint64
	NameMax             uint32
}

// Options are how a store's tree is opened.
type Options struct {
	Clock    func() time.Time // nil: time.Now
	Log      *slog.Logger     // nil: nothing is logged
	ReadOnly bool
	Relatime bool // reading moves access times as the mount option relatime says; otherwise never
	ACL      bool // POSIX ACLs are kept and obeyed; otherwise they are refused

	// RootUID and RootGID own the root directory of a store that is opened for the first time.
	RootUID, RootGID uint32

	// CacheInodes is about how many inodes are kept in memory; 0 means 65536.
	CacheInodes int
}

// An Observer hears of changes that commands made, so that a mount can tell the kernel. Its methods may not block for
// long and may not call the FS.
type Observer interface {
	EntryChanged(parent Ino, name string)
	InodeChanged(ino Ino)
}

// KeyInfo is a key, or a directory of keys, as Walk and ListKeys show it.
type KeyInfo struct {
	Path string // below its namespace, with slashes
	Attr Attr
}

// CheckOptions say how thorough Check is.
type CheckOptions struct {
	// Block is asked about the n bytes from off on of each block that a file has, and gives what is wrong with them, as a
	// *blockstore.DamageError if that is known better; nil: the blocks are not looked at.
	Block    func(ns NamespaceID, id blockstore.BlockID, off, n int) error
	Progress func(done, total int64) // in inodes; may be nil
}

// Problem is something that Check found.
type Problem struct {
	Namespace string
	Path      string // "" if unknown
	Ino       Ino
	What      string
	Remedy    string // what Repair does about it; "" if it can do nothing
	From, To  int64  // the bytes of the file that can not be read; To is 0 if it is not about bytes
	Err       error  // why; nil if it is not about bytes
	Lost      bool   // a repair has noted them as lost
}
