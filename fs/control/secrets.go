package control

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"

	"salliefs/blockstore"
	"salliefs/crypto"
)

// damagedKeyring is where Recover keeps a keyring that it had to replace, in the store's directory. Later ones get a
// number after it.
const damagedKeyring = "keyring.damaged"

// ChangePassphrase implements Target.
func (l *Local) ChangePassphrase(_ context.Context, c PassphraseChange) error {
	if err := l.writable(); err != nil {
		return err
	}
	l.keyringMu.Lock()
	defer l.keyringMu.Unlock()
	kr, err := l.keyring()
	if err != nil {
		return err
	}
	m := l.o.Master
	if c.Old != nil || c.Context != crypto.StandardContext {
		m, err = kr.Unlock(c.Context, c.Old)
		if err != nil {
			return err
		}
		defer m.Wipe()
	}
	if err := kr.SetPassphrase(c.Context, m, c.New, c.KDF.Calibrate()); err != nil {
		return err
	}
	return blockstore.WriteKeyring(l.o.Disk, l.o.Dir, kr)
}

// Recover implements Target.
func (l *Local) Recover(_ context.Context, r Recovery) (Recovered, error) {
	if err := l.writable(); err != nil {
		return Recovered{}, err
	}
	name, m, err := crypto.ParseRecoveryKey(r.Key)
	if err != nil {
		return Recovered{}, err
	}
	defer m.Wipe()
	if name == crypto.StandardContext && !m.Equal(l.o.Master) {
		return Recovered{}, fmt.Errorf("%w: this recovery key is of another store", crypto.ErrWrongSecret)
	}
	l.keyringMu.Lock()
	defer l.keyringMu.Unlock()
	done := Recovered{Context: name}
	kr, err := l.keyring()
	if err == nil {
		var same *crypto.Master
		if same, err = kr.Unlock(name, []byte(r.Key)); err == nil {
			same.Wipe()
		}
	}
	switch {
	case err == nil:
		err = kr.SetPassphrase(name, m, r.New, r.KDF.Calibrate())
	case name != crypto.StandardContext:
		return Recovered{}, fmt.Errorf("%w: use the recovery key of context %s first", err, crypto.StandardContext)
	case errors.Is(err, crypto.ErrNewerKeyring):
		return Recovered{}, err
	default:
		done.Remade = true
		kr, err = l.remake(m, r)
	}
	if err != nil {
		return Recovered{}, err
	}
	return done, blockstore.WriteKeyring(l.o.Disk, l.o.Dir, kr)
}

// remake builds a keyring from the master of the standard context alone. What it replaces is kept beside it, since it
// may have slots of other contexts that somebody can still save.
func (l *Local) remake(m *crypto.Master, r Recovery) (*crypto.Keyring, error) {
	kr := crypto.NewKeyring(l.o.Store.ID())
	err := kr.AddContext(crypto.StandardContext, m)
	if err == nil {
		err = kr.AddPassphrase(crypto.StandardContext, m, r.New, r.KDF.Calibrate())
	}
	if err == nil {
		err = kr.AddRecovery(crypto.StandardContext, m)
	}
	if err != nil {
		return nil, err
	}
	raw, err := blockstore.ReadKeyring(l.o.Disk, l.o.Dir)
	if err != nil || len(raw) == 0 {
		return kr, nil // gone, or nothing that can be kept
	}
	return kr, l.keep(raw)
}

// keep makes a damaged keyring durable under a name of its own.
func (l *Local) keep(raw []byte) error {
	name := damagedKeyring
	for n := 2; ; n++ {
		_, err := l.o.Disk.Stat(l.o.Disk.PathJoin(l.o.Dir, name))
		if errors.Is(err, iofs.ErrNotExist) {
			return blockstore.KeepKeyring(l.o.Disk, l.o.Dir, name, raw)
		}
		if err != nil {
			return err
		}
		name = fmt.Sprintf("%s-%d", damagedKeyring, n)
	}
}

// writable refuses to change the keyring of a store that was opened for reading.
func (l *Local) writable() error {
	if l.o.Store.ReadOnly() {
		return fmt.Errorf("keyring of %s: %w", l.o.Dir, blockstore.ErrReadOnly)
	}
	return nil
}

// keyring reads the store's keyring.
func (l *Local) keyring() (*crypto.Keyring, error) {
	raw, err := blockstore.ReadKeyring(l.o.Disk, l.o.Dir)
	if err != nil {
		return nil, err
	}
	kr, err := crypto.DecodeKeyring(raw)
	if err != nil {
		return nil, fmt.Errorf("keyring of %s: %w", l.o.Dir, err)
	}
	if kr.StoreID() != l.o.Store.ID() {
		return nil, fmt.Errorf("keyring of %s: %w: it is of another store", l.o.Dir, crypto.ErrKeyringDamaged)
	}
	return kr, nil
}
