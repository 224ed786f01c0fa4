package blockstore

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// MaxBlockSize is the most plaintext that one block holds, in bytes.
const MaxBlockSize = 128 << 10

// NamespaceID identifies a namespace in its store and is never reused. 0 is the built-in namespace of the root
// directory.
type NamespaceID uint32

// RootNamespace holds the root directory and the files in it.
const RootNamespace NamespaceID = 0

// MaxNamespaceID is the largest ID of a namespace.
const MaxNamespaceID NamespaceID = 1<<20 - 1

// systemNamespace is the part of the key space with the store's own records. It is not a namespace that anyone sees.
const systemNamespace = math.MaxUint32

const inoBits = 44

// Ino is an inode number: the namespace in the upper 20 bits, a number that is never reused in the lower 44.
// Number 1 of each namespace is its top directory; Ino 1 is the root directory.
type Ino uint64

// RootIno is the root directory.
const RootIno Ino = 1

// MakeIno joins a namespace and an inode's number in it.
func MakeIno(ns NamespaceID, n uint64) Ino { return Ino(uint64(ns)<<inoBits | n&(1<<inoBits-1)) }

// Namespace is the namespace that i belongs to.
func (i Ino) Namespace() NamespaceID { return NamespaceID(i >> inoBits) }

// Number is i without its namespace.
func (i Ino) Number() uint64 { return uint64(i) & (1<<inoBits - 1) }

// BlockID identifies a block in its store. IDs increase and are never reused.
type BlockID uint64

// Kind tells what a record is. The filesystem owns kinds 0x10 to 0x7f of every namespace; the rest is reserved.
type Kind uint8

// Key names a record; the namespace comes from Ino. Within an Ino and a Kind, records are ordered by Suffix.
type Key struct {
	Ino    Ino
	Kind   Kind
	Suffix uint64
}

func (k Key) String() string {
	return fmt.Sprintf("record kind %#02x of inode %d in namespace %d, suffix %#x", uint8(k.Kind), k.Ino.Number(), k.Ino.Namespace(), k.Suffix)
}

// Epoch counts snapshots: each advances it by one.
type Epoch uint64

// Live stands for the present wherever an epoch to read at is asked for.
const Live Epoch = math.MaxUint64

// Codec is how a namespace's blocks are compressed.
//
// CodecAuto keeps data as it is where a sample does not shrink, or the whole by less than a sixteenth. Else it takes S2
// while time counts: for a group that someone waits for, and for one that has grown past half of what commits it early.
// It takes zstd for groups that are committed in the background, and for blocks of S2 when reclaim moves them.
type Codec uint8

// The codecs. Their numbers are stored.
const (
	CodecAuto Codec = iota // see below
	CodecNone
	CodecS2
	CodecZstd
)

var codecNames = [...]string{"auto", "none", "s2", "zstd"}

func (c Codec) String() string {
	if int(c) < len(codecNames) {
		return codecNames[c]
	}
	return fmt.Sprintf("codec(%d)", uint8(c))
}

// ParseCodec reads the name of a codec.
func ParseCodec(s string) (Codec, error) {
	for i, n := range codecNames {
		if n == s {
			return Codec(i), nil
		}
	}
	return 0, fmt.Errorf("compression %q is not one of %s", s, strings.Join(codecNames[:], ", "))
}

// NamespaceSettings can be changed at any time; they act on what is written from then on.
type NamespaceSettings struct {
	Compression Codec
	BlockSize   int    // bytes, a power of two from 4 KiB to MaxBlockSize; 0 means MaxBlockSize
	Quota       int64  // most logical bytes; 0 for none
	Context     string // the security context; "" means standard
}

// MinBlockSize is the smallest block size that a namespace can ask for.
const MinBlockSize = 4 << 10

// StandardContext is the context that is unlocked when a store is opened.
const StandardContext = "standard"

// Validate reports settings that are out of range, and fills in defaults.
func (st *NamespaceSettings) Validate() error {
	if st.BlockSize == 0 {
		st.BlockSize = MaxBlockSize
	}
	if st.BlockSize < MinBlockSize || st.BlockSize > MaxBlockSize || st.BlockSize&(st.BlockSize-1) != 0 {
		return fmt.Errorf("%w: block size %d is not a power of two from %d to %d", ErrInvalid, st.BlockSize, MinBlockSize, MaxBlockSize)
	}
	if int(st.Compression) >= len(codecNames) {
		return fmt.Errorf("%w: unknown %v", ErrInvalid, st.Compression)
	}
	if st.Quota < 0 {
		return fmt.Errorf("%w: quota %d is negative", ErrInvalid, st.Quota)
	}
	if st.Context == "" {
		st.Context = StandardContext
	}
	if st.Context != StandardContext {
		return fmt.Errorf("%w: context %q does not exist", ErrInvalid, st.Context)
	}
	return nil
}

// Usage is what a namespace holds.
type Usage struct {
	Files   int64 // inodes
	Logical int64 // bytes of data as the filesystem counts them, without holes
	Stored  int64 // bytes of its sealed blocks
	Blocks  int64
}

// Namespace describes a namespace.
type Namespace struct {
	ID       NamespaceID
	Name     string // "" for the root namespace
	Created  time.Time
	Settings NamespaceSettings
	Usage    Usage
}

// Snapshot is a named epoch: the state of the store when it was taken.
type Snapshot struct {
	Name    string
	Epoch   Epoch
	Created time.Time
	firstID BlockID // blocks from this ID on were born later
}
