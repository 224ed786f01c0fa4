package blockstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore/blob"
	"salliefs/crypto"
)

// Names of the files in a store's directory.
const (
	headerFile  = "salliefs.store"
	keyringFile = "keyring"
	lockFile    = "lock"
	holderFile  = "holder"
	recordsDir  = "records"
	segmentsDir = "segments"

	newSuffix = ".new" // of a file that is about to take another one's place
)

// FormatVersion is the format that this code writes. Older ones are listed in FORMAT.md.
const FormatVersion = 1

const (
	headerSize  = 96
	headerMagic = "SallieFS store\r\n"
)

// Feature flags of a store. A required flag that is unknown keeps a store from being opened; an optional one only
// from being used.
const (
	knownRequired uint64 = 0
	knownOptional uint64 = 0
)

// header is the content of headerFile.
type header struct {
	version            uint32
	required, optional uint64
	id                 crypto.StoreID
}

func (h header) encode() []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, headerMagic...)
	b = binary.LittleEndian.AppendUint32(b, h.version)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint64(b, h.required)
	b = binary.LittleEndian.AppendUint64(b, h.optional)
	b = append(b, h.id[:]...)
	b = append(b, make([]byte, headerSize-32-len(b))...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// decodeHeader tells a file that is no header (ErrNotStore) from a damaged one (ErrCorrupt) and from one that is too
// new (ErrNewerFormat). The version is looked at first, so that a later format may change all that follows it.
func decodeHeader(b []byte) (header, error) {
	if len(b) < len(headerMagic)+4 || string(b[:len(headerMagic)]) != headerMagic {
		return header{}, ErrNotStore
	}
	h := header{version: binary.LittleEndian.Uint32(b[16:])}
	if h.version > FormatVersion {
		return h, fmt.Errorf("%w: format %d, this version knows up to %d", ErrNewerFormat, h.version, FormatVersion)
	}
	if len(b) != headerSize {
		return h, fmt.Errorf("%w: header of %d bytes, want %d", ErrCorrupt, len(b), headerSize)
	}
	sum := sha256.Sum256(b[:headerSize-32])
	if !bytes.Equal(sum[:], b[headerSize-32:]) || h.version == 0 {
		return h, fmt.Errorf("%w: the header does not match its checksum", ErrCorrupt)
	}
	h.required = binary.LittleEndian.Uint64(b[24:])
	h.optional = binary.LittleEndian.Uint64(b[32:])
	copy(h.id[:], b[40:])
	if !bytes.Equal(h.encode(), b) {
		return h, fmt.Errorf("%w: the header is not in its canonical form", ErrCorrupt)
	}
	if unknown := h.required &^ knownRequired; unknown != 0 {
		return h, fmt.Errorf("%w: it needs features %#x", ErrNewerFormat, unknown)
	}
	return h, nil
}

// HeaderInfo is what can be told of a store without a key.
type HeaderInfo struct {
	FormatVersion int
	Required      uint64
	Optional      uint64
	StoreID       crypto.StoreID
	Holder        *Holder // who has it open, as far as its holder file tells; nil for nobody
}

// Inspect reads the header of the store in dir. Errors: ErrNotStore, ErrIncomplete, ErrNewerFormat, ErrCorrupt.
func Inspect(fs vfs.FS, dir string) (HeaderInfo, error) {
	dir, err := realPath(fs, dir)
	if err != nil {
		return HeaderInfo{}, err
	}
	h, err := readHeader(fs, dir)
	if err != nil {
		return HeaderInfo{FormatVersion: int(h.version)}, err
	}
	info := HeaderInfo{FormatVersion: int(h.version), Required: h.required, Optional: h.optional, StoreID: h.id}
	info.Holder = currentHolder(fs, dir)
	return info, nil
}

func readHeader(fs vfs.FS, dir string) (header, error) {
	b, err := readFile(fs, fs.PathJoin(dir, headerFile), headerSize+1)
	if err != nil {
		if !isNotExist(err) {
			return header{}, fmt.Errorf("%s: %w", dir, err)
		}
		// The keyring is what Create writes first.
		for _, first := range []string{keyringFile, keyringFile + newSuffix} {
			if _, err := fs.Stat(fs.PathJoin(dir, first)); err == nil {
				return header{}, fmt.Errorf("%s: %w: remove the directory and run init again", dir, ErrIncomplete)
			}
		}
		if _, err := fs.Stat(dir); err != nil {
			return header{}, fmt.Errorf("%s: %w: there is no such directory", dir, ErrNotStore)
		}
		return header{}, fmt.Errorf("%s: %w: it has no file %s", dir, ErrNotStore, headerFile)
	}
	h, err := decodeHeader(b)
	if err != nil {
		return h, fmt.Errorf("%s: %w", fs.PathJoin(dir, headerFile), err)
	}
	return h, nil
}

// readFile reads a whole file of at most limit bytes; a longer one is cut there.
func readFile(fs vfs.FS, path string, limit int64) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// writeFile replaces a file: when it returns, the file has either its old or its new content for good.
func writeFile(fs vfs.FS, path string, content []byte) error {
	tmp := path + newSuffix
	f, err := createPrivate(fs, tmp)
	if err != nil {
		return diskError(err)
	}
	if err = blob.WriteSynced(f, content); err == nil {
		err = fs.Rename(tmp, path)
	}
	if err != nil {
		_ = fs.Remove(tmp) // the error that matters is the first one
		return diskError(err)
	}
	return blob.SyncDir(fs, fs.PathDir(path))
}

// createPrivate makes a file that nobody else may read, from before there is something in it.
func createPrivate(fs vfs.FS, path string) (vfs.File, error) {
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	if err := makePrivate(fs, path, 0o600); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// makePrivate takes a file or a directory from all others, where the filesystem has owners and lets us.
func makePrivate(fs vfs.FS, path string, mode os.FileMode) error {
	if fs != vfs.Default {
		return nil
	}
	err := os.Chmod(path, mode)
	if errors.Is(err, os.ErrPermission) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}
