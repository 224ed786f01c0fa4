package blockstore

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/crypto"
)

// maxKeyringFile bounds what is read of a keyring file, in bytes.
const maxKeyringFile = 1 << 20

// ReadKeyring reads the encoded keyring of the store in dir.
func ReadKeyring(fs vfs.FS, dir string) ([]byte, error) {
	b, err := readFile(fs, fs.PathJoin(dir, keyringFile), maxKeyringFile+1)
	if err != nil {
		return nil, fmt.Errorf("keyring of %s: %w", dir, err)
	}
	if len(b) > maxKeyringFile {
		return nil, fmt.Errorf("keyring of %s: %w: longer than %d bytes", dir, ErrCorrupt, maxKeyringFile)
	}
	return b, nil
}

// WriteKeyring replaces the keyring of the store in dir, atomically and durably.
func WriteKeyring(fs vfs.FS, dir string, kr *crypto.Keyring) error {
	if err := writeFile(fs, fs.PathJoin(dir, keyringFile), kr.Encode()); err != nil {
		return fmt.Errorf("keyring of %s: %w", dir, err)
	}
	return nil
}

// KeepKeyring puts the encoded keyring raw, which may be damaged, beside that of the store in dir, under another name.
func KeepKeyring(fs vfs.FS, dir, name string, raw []byte) error {
	if err := writeFile(fs, fs.PathJoin(dir, name), raw); err != nil {
		return fmt.Errorf("%s of %s: %w", name, dir, err)
	}
	return nil
}
