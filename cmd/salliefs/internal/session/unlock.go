package session

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore"
	"salliefs/crypto"
)

// errNoKeyring is what a store without a keyring file has.
var errNoKeyring = fmt.Errorf("%w: the file is gone", crypto.ErrKeyringDamaged)

// Unlock opens the standard context of the store in dir. It takes as long as the slot's key derivation.
func Unlock(dir string, secret []byte) (*crypto.Master, error) {
	kr, err := keyring(dir)
	if err != nil {
		return nil, err
	}
	h, err := blockstore.Inspect(vfs.Default, dir)
	if err != nil {
		return nil, err
	}
	if kr.StoreID() != h.StoreID {
		return nil, fmt.Errorf("%s: %w: it is of another store", dir, crypto.ErrKeyringDamaged)
	}
	m, err := kr.Unlock(crypto.StandardContext, secret)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return m, nil
}

// MasterOf opens the standard context with its recovery key alone. Whether the key is of the store in dir turns out
// when the store is opened.
func MasterOf(recoveryKey string) (*crypto.Master, error) {
	context, m, err := crypto.ParseRecoveryKey(recoveryKey)
	if err != nil {
		return nil, err
	}
	if context != crypto.StandardContext {
		m.Wipe()
		return nil, fmt.Errorf("%w: this recovery key is of context %s, which does not open the store", crypto.ErrWrongSecret, context)
	}
	return m, nil
}

// keyring reads the keyring of the store in dir.
func keyring(dir string) (*crypto.Keyring, error) {
	raw, err := blockstore.ReadKeyring(vfs.Default, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, errNoKeyring)
	}
	if err != nil {
		return nil, err
	}
	kr, err := crypto.DecodeKeyring(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return kr, nil
}
