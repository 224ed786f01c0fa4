package session

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
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
func CheckNew(dir string) error {
	names, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%s %w and is not a directory: choose another place", dir, blockstore.ErrExists)
	case err != nil:
		return err
	case len(names) == 0:
		return nil
	}
	if _, err := blockstore.Inspect(vfs.Default, dir); err == nil || errors.Is(err, blockstore.ErrNewerFormat) {
		return fmt.Errorf("%s: a store %w: choose another directory", dir, blockstore.ErrExists)
	} else if errors.Is(err, blockstore.ErrIncomplete) {
		return err
	}
	return fmt.Errorf("%s %w and is not empty: a store needs a new or an empty directory", dir, blockstore.ErrExists)
}

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
	tidy := tidier(abs)
	if err := blockstore.Create(abs, kr, m, blockstore.CreateOptions{}); err != nil {
		if !errors.Is(err, blockstore.ErrExists) {
			tidy()
		}
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

// tidier returns what takes back all that was made in dir from now on. dir is missing or empty now.
func tidier(dir string) func() {
	top := dir // the topmost directory that is to be made
	for up := filepath.Dir(dir); ; up = filepath.Dir(up) {
		if _, err := os.Lstat(up); err == nil || up == filepath.Dir(up) {
			break
		}
		top = up
	}
	if _, err := os.Lstat(dir); err != nil {
		return func() { _ = os.RemoveAll(top) } // the failure that led here counts
	}
	return func() {
		names, _ := os.ReadDir(dir)
		for _, n := range names {
			_ = os.RemoveAll(filepath.Join(dir, n.Name()))
		}
	}
}
