package crypto

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// quickKDF stands in for Argon2id where a test is not about it.
func quickKDF(k KDF, passphrase, salt []byte) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%v %x %x", k, passphrase, salt))
	return sum[:]
}

// testKeyring has both built-in contexts with a passphrase each, a recovery slot and two slots of unknown kinds, and is
// the same at each call.
func testKeyring(t testing.TB) (k *Keyring, standard, secure *Master) {
	standard, secure = testMaster(t, 1), testMaster(t, 2)
	k = NewKeyring(StoreID(pattern(16)))
	k.kdf = quickKDF
	k.random = bytes.NewReader(pattern(1000))
	k.now = func() time.Time { return time.Unix(1_700_000_000, 0) }
	must(t, k.AddContext(StandardContext, standard))
	must(t, k.AddPassphrase(StandardContext, standard, []byte("open sesame"), KDF{3, 64 << 10, 1}))
	must(t, k.AddRecovery(StandardContext, standard))
	must(t, k.AddContext(SecureContext, secure))
	must(t, k.AddPassphrase(SecureContext, secure, []byte("secret"), KDF{4, 128 << 10, 2}))
	must(t, k.change(SecureContext, secure, func(slots []slot) ([]slot, error) {
		return append(slots,
			slot{kind: 3, created: 1, label: "Schlüssel auf dem Stick", body: []byte("a later version's")},
			slot{kind: 999}), nil
	}))
	return k, standard, secure
}

// reopened encodes and decodes a keyring, which forgets what had been unlocked.
func reopened(t testing.TB, k *Keyring) *Keyring {
	t.Helper()
	d, err := DecodeKeyring(k.Encode())
	must(t, err)
	d.kdf = k.kdf
	return d
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The whole way with the real Argon2id, once.
func TestKeyringLife(t *testing.T) {
	m := testMaster(t, 1)
	k := NewKeyring(StoreID{1})
	must(t, k.AddContext(StandardContext, m))
	must(t, k.AddPassphrase(StandardContext, m, []byte("correct horse"), FloorKDF()))
	d, err := DecodeKeyring(k.Encode())
	must(t, err)
	if _, err := d.Unlock(StandardContext, []byte("correct hoarse")); !errors.Is(err, ErrWrongSecret) {
		t.Errorf("wrong passphrase: %v", err)
	}
	got, err := d.Unlock(StandardContext, []byte("correct horse"))
	if err != nil || !got.Equal(m) {
		t.Errorf("right passphrase: %v", err)
	}
}

func TestUnlock(t *testing.T) {
	k, standard, secure := testKeyring(t)
	k = reopened(t, k)
	for _, c := range []struct {
		name, context, secret string
		want                  *Master
		err                   error
		says                  string
	}{
		{"standard", StandardContext, "open sesame", standard, nil, ""},
		{"secure", SecureContext, "secret", secure, nil, ""},
		{"recovery key", StandardContext, RecoveryKey(StandardContext, standard), standard, nil, ""},
		{"recovery key, as typed", StandardContext, " " + strings.ToLower(strings.ReplaceAll(RecoveryKey(StandardContext, standard), "-", " ")) + "\n", standard, nil, ""},
		{"recovery key, no slot", SecureContext, RecoveryKey(SecureContext, secure), secure, nil, ""},
		{"wrong passphrase", StandardContext, "open says me", nil, ErrWrongSecret, "context standard: wrong passphrase"},
		{"empty passphrase", StandardContext, "", nil, ErrWrongSecret, ""},
		{"endless passphrase", StandardContext, strings.Repeat("x", MaxPassphraseSize+1), nil, ErrWrongSecret, ""},
		{"passphrase of another context", SecureContext, "open sesame", nil, ErrWrongSecret, ""},
		{"recovery key of another context", SecureContext, RecoveryKey(StandardContext, standard), nil, ErrWrongSecret, "is of context standard"},
		{"recovery key of another store", StandardContext, RecoveryKey(StandardContext, secure), nil, ErrWrongSecret, "of another store"},
		{"mistyped recovery key", StandardContext, mistype(RecoveryKey(StandardContext, standard), 30), nil, ErrWrongSecret, "mistyped"},
		{"no such context", "other", "secret", nil, ErrNoContext, `"other"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := k.Unlock(c.context, []byte(c.secret))
			if !errors.Is(err, c.err) || (err != nil && !strings.Contains(err.Error(), c.says)) {
				t.Fatalf("%v, not %v with %q", err, c.err, c.says)
			}
			if (m == nil) != (c.want == nil) || m != nil && !m.Equal(c.want) {
				t.Error("not the right master")
			}
		})
	}
}

func TestKeyringDescribesItself(t *testing.T) {
	k, _, _ := testKeyring(t)
	k = reopened(t, k)
	if k.StoreID() != StoreID(pattern(16)) || len(k.StoreID().String()) != 32 {
		t.Errorf("store ID %v", k.StoreID())
	}
	if got := k.Contexts(); !slices.Equal(got, []string{StandardContext, SecureContext}) {
		t.Errorf("contexts %q", got)
	}
	at := time.Unix(1_700_000_000, 0).UTC()
	want := []SlotInfo{
		{SlotPassphrase, "", at, KDF{4, 128 << 10, 2}},
		{3, "Schlüssel auf dem Stick", time.Unix(1, 0).UTC(), KDF{}},
		{999, "", time.Unix(0, 0).UTC(), KDF{}},
	}
	if got := k.Slots(SecureContext); !slices.Equal(got, want) {
		t.Errorf("slots %+v, not %+v", got, want)
	}
	if got := k.Slots(StandardContext)[1].Kind; got != SlotRecovery {
		t.Errorf("the second slot is of %v", got)
	}
	if k.Slots("other") != nil {
		t.Error("slots of no context")
	}
	for kind, want := range map[SlotKind]string{SlotPassphrase: "passphrase", SlotRecovery: "recovery key", 9: "kind 9 (of a newer version)"} {
		if kind.String() != want {
			t.Errorf("kind %d is %q", kind, kind)
		}
	}
}

func TestSetPassphrase(t *testing.T) {
	k, standard, secure := testKeyring(t)
	old := reopened(t, k)
	must(t, k.AddPassphrase(SecureContext, secure, []byte("second"), FloorKDF()))
	if _, err := k.Unlock(SecureContext, []byte("second")); err != nil {
		t.Errorf("a second passphrase: %v", err)
	}
	must(t, k.SetPassphrase(SecureContext, secure, []byte("new"), FloorKDF()))
	k = reopened(t, k)
	for secret, want := range map[string]error{"new": nil, "secret": ErrWrongSecret, "second": ErrWrongSecret} {
		if _, err := k.Unlock(SecureContext, []byte(secret)); !errors.Is(err, want) {
			t.Errorf("%q: %v", secret, err)
		}
	}
	if got := len(k.Slots(SecureContext)); got != 3 {
		t.Errorf("%d slots, not one passphrase and the two unknown ones", got)
	}
	if _, err := k.Unlock(StandardContext, []byte("open sesame")); err != nil {
		t.Errorf("the other context: %v", err)
	}
	if m, err := old.Unlock(SecureContext, []byte("secret")); err != nil || !m.Equal(secure) {
		t.Errorf("an old copy is not revoked, and need not be: %v", err)
	}
	must(t, k.AddRecovery(StandardContext, standard))
	if got := len(k.Slots(StandardContext)); got != 2 {
		t.Errorf("a second recovery slot: %d slots", got)
	}
}

// The keyring is gone, the recovery key is not.
func TestRecreateFromRecoveryKey(t *testing.T) {
	_, standard, _ := testKeyring(t)
	context, m, err := ParseRecoveryKey(RecoveryKey(StandardContext, standard))
	must(t, err)
	k := NewKeyring(StoreID{1})
	k.kdf = quickKDF
	must(t, k.AddContext(context, m))
	must(t, k.SetPassphrase(context, m, []byte("new"), FloorKDF()))
	must(t, k.AddRecovery(context, m))
	got, err := reopened(t, k).Unlock(StandardContext, []byte("new"))
	if err != nil || !got.Equal(standard) {
		t.Errorf("not unlocked: %v", err)
	}
}

// What cannot be done leaves the keyring as it was.
func TestKeyringRefuses(t *testing.T) {
	pass, floor := []byte("x"), FloorKDF()
	for _, c := range []struct {
		name string
		do   func(k *Keyring, standard, secure *Master) error
		want error
	}{
		{"a context twice", func(k *Keyring, m, _ *Master) error { return k.AddContext(StandardContext, m) }, ErrContextExists},
		{"a nameless context", func(k *Keyring, m, _ *Master) error { return k.AddContext("", m) }, nil},
		{"a long name", func(k *Keyring, m, _ *Master) error { return k.AddContext(strings.Repeat("x", MaxContextName+1), m) }, nil},
		{"a name with a slash", func(k *Keyring, m, _ *Master) error { return k.AddContext("a/b", m) }, nil},
		{"a name like an option", func(k *Keyring, m, _ *Master) error { return k.AddContext("-v", m) }, nil},
		{"a name in capitals", func(k *Keyring, m, _ *Master) error { return k.AddContext("Standard", m) }, nil},
		{"a passphrase for no context", func(k *Keyring, m, _ *Master) error { return k.AddPassphrase("other", m, pass, floor) }, ErrNoContext},
		{"an empty passphrase", func(k *Keyring, m, _ *Master) error { return k.SetPassphrase(StandardContext, m, nil, floor) }, ErrPassphrase},
		{"an endless passphrase", func(k *Keyring, m, _ *Master) error {
			return k.SetPassphrase(StandardContext, m, make([]byte, MaxPassphraseSize+1), floor)
		}, ErrPassphrase},
		{"a weak derivation", func(k *Keyring, m, _ *Master) error {
			return k.SetPassphrase(StandardContext, m, pass, KDF{1, 64 << 10, 1})
		}, ErrKDF},
		{"an endless derivation", func(k *Keyring, m, _ *Master) error {
			return k.AddPassphrase(StandardContext, m, pass, KDF{1 << 31, 64 << 10, 1})
		}, ErrKDF},
		{"another context's master", func(k *Keyring, _, m *Master) error { return k.AddPassphrase(StandardContext, m, pass, floor) }, ErrKeyringDamaged},
		{"no randomness", func(k *Keyring, m, _ *Master) error {
			defer func(r *bytes.Reader) { k.random = r }(k.random.(*bytes.Reader))
			k.random = iotest.ErrReader(errors.New("no entropy"))
			return k.AddPassphrase(StandardContext, m, pass, floor)
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, standard, secure := testKeyring(t)
			before := k.Encode()
			if err := c.do(k, standard, secure); err == nil || (c.want != nil && !errors.Is(err, c.want)) {
				t.Errorf("%v, not %v", err, c.want)
			}
			if !bytes.Equal(k.Encode(), before) {
				t.Error("the keyring has changed")
			}
		})
	}
	mustPanic(t, "encoding a keyring without contexts", func() { NewKeyring(StoreID{}).Encode() })
}

// A keyring changes only in the hands of one who has the first context's master.
func TestPrimaryMustBeSeen(t *testing.T) {
	k, standard, secure := testKeyring(t)
	k = reopened(t, k)
	if _, err := k.Unlock(SecureContext, []byte("secret")); err != nil {
		t.Fatal(err)
	}
	if err := k.SetPassphrase(SecureContext, secure, []byte("new"), FloorKDF()); !errors.Is(err, ErrPrimaryLocked) {
		t.Errorf("SetPassphrase: %v", err)
	}
	if err := k.AddContext("third", secure); !errors.Is(err, ErrPrimaryLocked) {
		t.Errorf("AddContext: %v", err)
	}
	must(t, k.AddPassphrase(StandardContext, standard, []byte("second"), FloorKDF()))
	must(t, k.SetPassphrase(SecureContext, secure, []byte("new"), FloorKDF()))
	must(t, k.AddContext("third", secure))
	k = reopened(t, k)
	for context, secret := range map[string]string{StandardContext: "second", SecureContext: "new"} {
		if _, err := k.Unlock(context, []byte(secret)); err != nil {
			t.Errorf("%s: %v", context, err)
		}
	}
}

func TestKeyringFull(t *testing.T) {
	k, m, _ := testKeyring(t)
	var err error
	for i := 0; i < MaxSlots && err == nil; i++ {
		k.random = bytes.NewReader(pattern(100))
		err = k.AddPassphrase(StandardContext, m, []byte("x"), FloorKDF())
	}
	if !errors.Is(err, ErrKeyringFull) || len(k.Slots(StandardContext)) != MaxSlots {
		t.Errorf("%d slots: %v", len(k.Slots(StandardContext)), err)
	}
	err = nil
	for i := 0; i < MaxContexts && err == nil; i++ {
		err = k.AddContext(fmt.Sprintf("c%d", i), m)
	}
	if !errors.Is(err, ErrKeyringFull) || len(k.Contexts()) != MaxContexts {
		t.Errorf("%d contexts: %v", len(k.Contexts()), err)
	}
	err = k.change("c1", m, func([]slot) ([]slot, error) {
		return slices.Repeat([]slot{{kind: 9, body: make([]byte, maxSlotBody)}}, MaxSlots), nil
	})
	if !errors.Is(err, ErrKeyringFull) {
		t.Errorf("too long: %v", err)
	}
	reopened(t, k)
}
