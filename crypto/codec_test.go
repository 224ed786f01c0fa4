package crypto

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden file and the seed corpora anew")

// withSum gives a keyring without its checksum the right one.
func withSum(b []byte) []byte {
	sum := sha256.Sum256(b)
	return append(bytes.Clone(b), sum[:]...)
}

// A keyring of format 1 stays readable, and its bytes stay what they are, for ever.
func TestKeyringGolden(t *testing.T) {
	const path = "testdata/keyring.golden"
	k, standard, _ := testKeyring(t)
	if *update {
		must(t, os.WriteFile(path, k.Encode(), 0o644))
	}
	golden, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Equal(k.Encode(), golden) {
		t.Error("the same keyring has other bytes now")
	}
	d, err := DecodeKeyring(golden)
	must(t, err)
	d.kdf = quickKDF
	if m, err := d.Unlock(StandardContext, []byte("open sesame")); err != nil || !m.Equal(standard) {
		t.Errorf("the golden keyring does not open: %v", err)
	}
	if !bytes.Equal(d.Encode(), golden) {
		t.Error("decoded and encoded again, its bytes differ")
	}
}

// By accident: one flipped bit, a cut or an addition is seen before any derivation.
func TestKeyringAccidents(t *testing.T) {
	k, _, _ := testKeyring(t)
	b := k.Encode()
	for bit := range 8 * len(b) {
		if _, err := DecodeKeyring(flipped(b, bit)); !errors.Is(err, ErrKeyringDamaged) {
			t.Errorf("bit %d flipped: %v", bit, err)
		}
	}
	for n := range b {
		if _, err := DecodeKeyring(b[:n]); !errors.Is(err, ErrKeyringDamaged) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	for name, b := range map[string][]byte{
		"a byte more": append(bytes.Clone(b), 0),
		"twice":       append(bytes.Clone(b), b...),
		"zeros":       make([]byte, len(b)),
		"too long":    make([]byte, MaxKeyringSize+1),
	} {
		if _, err := DecodeKeyring(b); !errors.Is(err, ErrKeyringDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// On purpose: every bit flipped and the checksum made to match. The keyring then does not decode, or neither of its
// contexts gives a master without the first one's objecting; never is there a success with a changed meaning.
func TestKeyringTampering(t *testing.T) {
	k, standard, secure := testKeyring(t)
	b := k.Encode()
	b = b[:len(b)-sha256.Size]
	recovery := RecoveryKey(StandardContext, standard)
	outcomes := make(map[string]int)
	for bit := range 8 * len(b) {
		d, err := DecodeKeyring(withSum(flipped(b, bit)))
		if err != nil {
			if !errors.Is(err, ErrKeyringDamaged) && !errors.Is(err, ErrNewerKeyring) {
				t.Errorf("bit %d: %v", bit, err)
			}
			outcomes["not decoded"]++
			continue
		}
		d.kdf = quickKDF
		// A secret opens its context only if that context's part is as it was.
		if m, err := d.Unlock(SecureContext, []byte("secret")); err == nil {
			if !m.Equal(secure) || !bytes.Equal(part(d, 1), part(k, 1)) {
				t.Errorf("bit %d: the secure context opened though changed", bit)
			}
		} else if !errors.Is(err, ErrKeyringDamaged) && !errors.Is(err, ErrWrongSecret) && !errors.Is(err, ErrNoContext) {
			t.Errorf("bit %d: %v", bit, err)
		}
		for _, secret := range []string{"open sesame", recovery} {
			_, err := d.Unlock(StandardContext, []byte(secret))
			switch {
			case errors.Is(err, ErrKeyringDamaged):
				outcomes["damaged"]++
			case errors.Is(err, ErrWrongSecret), errors.Is(err, ErrNoContext):
				outcomes["wrong secret"]++
			default:
				t.Errorf("bit %d: the standard context opened: %v", bit, err)
			}
		}
	}
	for _, outcome := range []string{"not decoded", "damaged", "wrong secret"} {
		if outcomes[outcome] == 0 {
			t.Errorf("no flip led to %q", outcome)
		}
	}
}

func part(k *Keyring, i int) []byte { return k.contexts[i].appendSlots(k.appendHeader(nil)) }

// Whole parts put together differently, by somebody who has old keyrings or those of other stores.
func TestKeyringRearranged(t *testing.T) {
	k, standard, secure := testKeyring(t)
	old := reopened(t, k)
	must(t, k.SetPassphrase(StandardContext, standard, []byte("new"), FloorKDF()))
	must(t, k.SetPassphrase(SecureContext, secure, []byte("new"), FloorKDF()))
	for _, c := range []struct {
		name     string
		change   func(k *Keyring)
		standard error // on unlocking with "new"
		secure   error
	}{
		{"nothing", func(k *Keyring) {}, nil, nil},
		{"an old context", func(k *Keyring) { k.contexts[1] = old.contexts[1] }, ErrKeyringDamaged, ErrWrongSecret},
		{"a context removed", func(k *Keyring) { k.contexts = k.contexts[:1] }, ErrKeyringDamaged, ErrNoContext},
		{"contexts swapped", func(k *Keyring) { k.contexts[0], k.contexts[1] = k.contexts[1], k.contexts[0] }, ErrKeyringDamaged, ErrKeyringDamaged},
		{"a context put before", func(k *Keyring) { k.contexts = append([]section{{name: "a"}}, k.contexts...) }, ErrKeyringDamaged, nil},
		{"slots moved to the other context", func(k *Keyring) { k.contexts[1].slots = k.contexts[0].slots }, ErrKeyringDamaged, ErrKeyringDamaged},
		{"an old slot added", func(k *Keyring) { k.contexts[0].slots = append(k.contexts[0].slots, old.contexts[0].slots[0]) }, ErrKeyringDamaged, nil},
		{"a slot removed", func(k *Keyring) { k.contexts[1].slots = k.contexts[1].slots[:1] }, ErrKeyringDamaged, ErrKeyringDamaged},
		{"a slot's label", func(k *Keyring) { k.contexts[0].slots[1].label = "backup" }, ErrKeyringDamaged, nil},
		{"another store", func(k *Keyring) { k.id[0] ^= 1 }, ErrWrongSecret, ErrWrongSecret},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := reopened(t, k)
			c.change(k)
			k = reopened(t, k)
			if _, err := k.Unlock(SecureContext, []byte("new")); !errors.Is(err, c.secure) {
				t.Errorf("secure: %v, not %v", err, c.secure)
			}
			if _, err := k.Unlock(StandardContext, []byte("new")); !errors.Is(err, c.standard) {
				t.Errorf("standard: %v, not %v", err, c.standard)
			}
		})
	}
}

// Two slots that share a ciphertext do not make one passphrase pass for another: the commitment is looked at first.
func TestCommitmentComesFirst(t *testing.T) {
	k, standard, _ := testKeyring(t)
	s := k.contexts[0].slots[0]
	s.body = bytes.Clone(s.body)
	s.body[slotCommitment] ^= 1
	// Whoever knows the passphrase could do this: a wrapped master that opens beside a wrong commitment.
	sealer, _ := k.slotKey(s.kdf(), []byte("open sesame"), s.body[slotSalt:slotCommitment])
	standard.use(func(key []byte) { sealer.Seal(s.body[:slotWrapped], key, k.slotAD(StandardContext, s.body)) })
	if _, err := k.openPassphraseSlot(StandardContext, s, []byte("open sesame")); !errors.Is(err, ErrWrongSecret) {
		t.Errorf("%v", err)
	}
}

// Fields out of bounds, in a keyring that is otherwise well formed.
func TestKeyringBounds(t *testing.T) {
	passphraseSlot := make([]byte, slotSize)
	binary.BigEndian.PutUint32(passphraseSlot, 3)
	binary.BigEndian.PutUint32(passphraseSlot[4:], 64<<10)
	passphraseSlot[8] = 1
	with := func(at int, b byte) []byte { c := bytes.Clone(passphraseSlot); c[at] = b; return c }
	one := func(s slot) []section { return []section{{name: "a", slots: []slot{s}}} }
	for _, c := range []struct {
		name     string
		contexts []section
		want     string // "" if it is within bounds
	}{
		{"plain", one(slot{kind: SlotPassphrase, body: passphraseSlot}), ""},
		{"no contexts", nil, "0 contexts"},
		{"many contexts", make([]section, MaxContexts+1), "65 contexts"},
		{"nameless", []section{{}}, "context name"},
		{"bad name", []section{{name: "A"}}, "context name"},
		{"long name", []section{{name: strings.Repeat("a", MaxContextName+1)}}, "context name"},
		{"same name", []section{{name: "a"}, {name: "a"}}, "twice"},
		{"many slots", []section{{name: "a", slots: make([]slot, MaxSlots+1)}}, "17 slots"},
		{"kind 0", one(slot{}), "no kind"},
		{"unknown kind", one(slot{kind: 3}), ""},
		{"largest unknown slot", one(slot{kind: 3, created: maxCreated, label: strings.Repeat("ä", MaxSlotLabel/2), body: make([]byte, maxSlotBody)}), ""},
		{"too large a slot", one(slot{kind: 3, body: make([]byte, maxSlotBody+1)}), "4097 bytes"},
		{"late", one(slot{kind: 3, created: maxCreated + 1}), "impossible time"},
		{"before 1970", one(slot{kind: 3, created: -1}), "impossible time"},
		{"long label", one(slot{kind: 3, label: strings.Repeat("a", MaxSlotLabel+1)}), "slot label"},
		{"label with a control character", one(slot{kind: 3, label: "a\x1b[31m"}), "slot label"},
		{"label that is no UTF-8", one(slot{kind: 3, label: "\xff"}), "slot label"},
		{"short passphrase slot", one(slot{kind: SlotPassphrase, body: passphraseSlot[1:]}), "passphrase slot"},
		{"empty passphrase slot", one(slot{kind: SlotPassphrase}), "passphrase slot"},
		{"short recovery slot", one(slot{kind: SlotRecovery, body: make([]byte, KeySize-1)}), "recovery slot"},
		{"few passes", one(slot{kind: SlotPassphrase, body: with(3, 2)}), "2 passes"},
		{"many passes", one(slot{kind: SlotPassphrase, body: with(0, 1)}), "passes"},
		{"little memory", one(slot{kind: SlotPassphrase, body: with(5, 0)}), "KiB"},
		{"much memory", one(slot{kind: SlotPassphrase, body: with(4, 1)}), "KiB"},
		{"no lanes", one(slot{kind: SlotPassphrase, body: with(8, 0)}), "0 lanes"},
		{"many lanes", one(slot{kind: SlotPassphrase, body: with(8, 9)}), "9 lanes"},
	} {
		b := (&Keyring{contexts: c.contexts}).appendBody(nil)
		b = withSum(append(b, make([]byte, sha256.Size)...))
		d, err := DecodeKeyring(b)
		switch {
		case c.want == "" && (err != nil || !bytes.Equal(d.Encode(), b)):
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (!errors.Is(err, ErrKeyringDamaged) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, not %q", c.name, err, c.want)
		}
	}
}

func TestNewerKeyring(t *testing.T) {
	k, _, _ := testKeyring(t)
	b := k.Encode()
	b = b[:len(b)-sha256.Size]
	for _, at := range []int{8, 9, 10, 11} {
		c := bytes.Clone(b)
		c[at] += 2
		if _, err := DecodeKeyring(withSum(c)); !errors.Is(err, ErrNewerKeyring) || errors.Is(err, ErrKeyringDamaged) {
			t.Errorf("byte %d changed: %v", at, err)
		}
	}
}
