package session

import (
	"crypto/rand"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore"
	"salliefs/crypto"
	"salliefs/fs/control"
)

// Created tells of a new store. The recovery key is nowhere else.
type Created struct {
	Dir         string
	ID          crypto.StoreID
	KDF         crypto.KDF
	RecoveryKey string
}

// CheckNew says whether a store can be made in dir, before anyone is asked for a passphrase.
func CheckNew(dir string) error { return blockstore.CheckNew(vfs.Default, dir) }

// Create makes a store whose standard context opens with passphrase. keep is given the recovery key before the store
// exists, so that no store can be without one; when Create fails after that, nothing is left of the store.
func Create(dir string, passphrase []byte, kdfTime time.Duration, keep func(Created) error) (Created, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Created{}, err
	}
	if err := CheckNew(abs); err != nil {
		return Created{}, err
	}
	c := Created{Dir: abs, KDF: control.KDF{Time: kdfTime}.Calibrate()}
	if _, err := rand.Read(c.ID[:]); err != nil {
		return Created{}, err
	}
	m, err := crypto.NewMaster(nil)
	if err != nil {
		return Created{}, err
	}
	defer m.Wipe()
	kr, err := newKeyring(c, m, passphrase)
	if err != nil {
		return Created{}, err
	}
	c.RecoveryKey = crypto.RecoveryKey(crypto.StandardContext, m)
	if err := keep(c); err != nil {
		return Created{}, err
	}
	if err := blockstore.Create(abs, kr, m, blockstore.CreateOptions{}); err != nil {
		return Created{}, err
	}
	return c, nil
}

func newKeyring(c Created, m *crypto.Master, passphrase []byte) (*crypto.Keyring, error) {
	kr := crypto.NewKeyring(c.ID)
	err := kr.AddContext(crypto.StandardContext, m)
	if err == nil {
		err = kr.AddPassphrase(crypto.StandardContext, m, passphrase, c.KDF)
	}
	if err == nil {
		err = kr.AddRecovery(crypto.StandardContext, m)
	}
	return kr, err
}
