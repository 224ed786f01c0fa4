package crypto

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/iotest"
)

func testMaster(t testing.TB, b byte) *Master {
	m, err := NewMaster(bytes.NewReader(testKey(b)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Wipe)
	return m
}

func TestNewMaster(t *testing.T) {
	a, err := NewMaster(nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewMaster(nil)
	if err != nil {
		t.Fatal(err)
	}
	if a.Equal(b) || !a.Equal(a) {
		t.Error("two random masters are equal, or one is not equal to itself")
	}
	a.Wipe()
	a.Wipe()
	mustPanic(t, "a wiped master", func() { a.StoreSealer(StoreID{}) })
	mustPanic(t, "a wiped master", func() { b.Equal(a) })
	if _, err := NewMaster(iotest.ErrReader(errors.New("no entropy"))); err == nil || !strings.Contains(err.Error(), "no entropy") {
		t.Errorf("unreadable randomness: %v", err)
	}
}

// Each key seals for itself: what one sealer sealed, no other of the hierarchy opens.
func TestKeysAreApart(t *testing.T) {
	m, other := testMaster(t, 1), testMaster(t, 2)
	id, otherID := StoreID{1}, StoreID{2}
	sealers := map[string]*Sealer{
		"store":           m.StoreSealer(id),
		"other store":     m.StoreSealer(otherID),
		"other master":    other.StoreSealer(id),
		"namespace wraps": m.deriveSealer(id, labelNamespaceWrap),
	}
	for name, place := range map[string]struct {
		id        StoreID
		ns, epoch uint32
	}{"": {id, 1, 1}, "of another store": {otherID, 1, 1}, "of another namespace": {id, 2, 1}, "of another key epoch": {id, 1, 2}} {
		// The same random key in each place.
		random := bytes.NewReader(append(testKey(9), make([]byte, NonceSize)...))
		key, _, err := m.newNamespaceKey(random, place.id, place.ns, place.epoch)
		if err != nil {
			t.Fatal(err)
		}
		sealers["blocks "+name], sealers["records "+name] = key.Blocks(), key.Records()
	}
	for sealedBy, s := range sealers {
		sealed := s.Seal(nil, []byte("x"), nil)
		for openedBy, o := range sealers {
			if _, err := o.Open(nil, sealed, nil); (err == nil) != (s == o) {
				t.Errorf("sealed by %q, opened by %q: %v", sealedBy, openedBy, err)
			}
		}
	}
}

func TestNamespaceKey(t *testing.T) {
	m, id := testMaster(t, 1), StoreID{1}
	key, wrapped, err := m.NewNamespaceKey(id, 7, 3)
	if err != nil || len(wrapped) != WrappedKeySize {
		t.Fatalf("%d bytes, %v", len(wrapped), err)
	}
	again, err := m.OpenNamespaceKey(id, 7, 3, wrapped)
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string][2]*Sealer{"blocks": {key.Blocks(), again.Blocks()}, "records": {key.Records(), again.Records()}} {
		opened, err := pair[1].Open(nil, pair[0].Seal(nil, []byte("x"), []byte("ad")), []byte("ad"))
		if err != nil || string(opened) != "x" {
			t.Errorf("%s: %q, %v", name, opened, err)
		}
	}
	if key.Names().Sum(1, "theme") != again.Names().Sum(1, "theme") {
		t.Error("names hash differently")
	}
	if key.Names().Sum(1, "theme") == key.Names().Sum(2, "theme") {
		t.Error("a name hashes the same in two directories")
	}
	again.Wipe()
	if _, err := again.Records().Open(nil, make([]byte, Overhead), nil); !errors.Is(err, ErrWiped) {
		t.Errorf("after Wipe: %v", err)
	}
	mustPanic(t, "a wiped name hasher", func() { again.Names().Sum(1, "theme") })
	if again.names.inner != [64]byte{} || again.names.outer != [64]byte{} {
		t.Error("the names' key is still there")
	}
	if _, _, err := m.newNamespaceKey(iotest.ErrReader(errors.New("no entropy")), id, 1, 1); err == nil {
		t.Error("unreadable randomness: no error")
	}
}

func TestNamespaceKeyRefuses(t *testing.T) {
	m, id := testMaster(t, 1), StoreID{1}
	_, wrapped, err := m.NewNamespaceKey(id, 7, 3)
	if err != nil {
		t.Fatal(err)
	}
	short := m.deriveSealer(id, labelNamespaceWrap).Seal(nil, make([]byte, KeySize-1), namespaceAD(id, 7, 3))
	for name, c := range map[string]struct {
		m         *Master
		id        StoreID
		ns, epoch uint32
		wrapped   []byte
	}{
		"other master":    {testMaster(t, 2), id, 7, 3, wrapped},
		"other store":     {m, StoreID{2}, 7, 3, wrapped},
		"other namespace": {m, id, 8, 3, wrapped},
		"older key epoch": {m, id, 7, 2, wrapped},
		"swapped numbers": {m, id, 3, 7, wrapped},
		"cut":             {m, id, 7, 3, wrapped[:len(wrapped)-1]},
		"empty":           {m, id, 7, 3, nil},
		"flipped":         {m, id, 7, 3, flipped(wrapped, 300)},
		"of a short key":  {m, id, 7, 3, short},
	} {
		if _, err := c.m.OpenNamespaceKey(c.id, c.ns, c.epoch, c.wrapped); !errors.Is(err, ErrAuth) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
