package session

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore"
	"salliefs/blockstore/storetest"
	"salliefs/crypto"
)

// TestFailedOpenWipesMaster: a command whose key is not of the store, or that Close has ended, leaves no key.
func TestFailedOpenWipesMaster(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	st := storetest.Create(t, vfs.Default, filepath.Join(t.TempDir(), "store"))
	other, err := crypto.NewMaster(nil)
	if err != nil {
		t.Fatal(err)
	}
	open := func(m *crypto.Master) error {
		target, err := Open(t.Context(), st.Dir, Options{Unlock: func(context.Context, string) (*crypto.Master, error) { return m, nil }})
		if err == nil {
			err = target.Close()
		}
		return err
	}
	if err := open(other); !errors.Is(err, blockstore.ErrWrongKey) {
		t.Errorf("another store's key: %v", err)
	}
	if err := open(st.Master); err != nil {
		t.Error(err)
	}
	for what, m := range map[string]*crypto.Master{"refused": other, "used": st.Master} {
		if !wiped(m) {
			t.Errorf("the key that was %s is not wiped", what)
		}
	}
}

// wiped tells whether a key can not be used any more.
func wiped(m *crypto.Master) (wiped bool) {
	defer func() { wiped = recover() != nil }()
	m.Equal(m)
	return false
}
