package crypto

import (
	"bytes"
	"errors"
	"testing"
)

func TestSmoke(t *testing.T) {
	m, err := NewMaster(nil)
	if err != nil {
		t.Fatal(err)
	}
	k := NewKeyring(StoreID{1, 2, 3})
	for _, err := range []error{
		k.AddContext("standard", m),
		k.AddPassphrase("standard", m, []byte("pass"), FloorKDF()),
		k.AddRecovery("standard", m),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	b := k.Encode()
	d, err := DecodeKeyring(b)
	if err != nil || !bytes.Equal(d.Encode(), b) {
		t.Fatal(err)
	}
	m2, err := d.Unlock("standard", []byte("pass"))
	if err != nil || !m2.Equal(m) {
		t.Fatal(err)
	}
	_, err = d.Unlock("standard", []byte("wrong"))
	if !errors.Is(err, ErrWrongSecret) {
		t.Fatal(err)
	}
	r := RecoveryKey("standard", m)
	t.Log(r, m.Locked(), len(b))
	m3, err := d.Unlock("standard", []byte(r))
	if err != nil || !m3.Equal(m) {
		t.Fatal(err)
	}
	ns, wrapped, err := m.NewNamespaceKey(k.StoreID(), 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	ns2, err := m3.OpenNamespaceKey(k.StoreID(), 1, 1, wrapped)
	if err != nil || ns.Names().Sum(1, "a") != ns2.Names().Sum(1, "a") {
		t.Fatal(err)
	}
	if p, err := ns2.Blocks().OpenBlock(nil, ns.Blocks().SealBlock(nil, pattern(100000), []byte("ad")), 100000, []byte("ad")); err != nil || !bytes.Equal(p, pattern(100000)) {
		t.Fatal(err)
	}
}
