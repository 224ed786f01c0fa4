package crypto

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Limits of a keyring.
const (
	MaxKeyringSize    = 64 << 10 // bytes, encoded
	MaxContexts       = 64
	MaxSlots          = 16 // per context
	MaxContextName    = 32 // bytes
	MaxSlotLabel      = 64 // bytes
	MaxPassphraseSize = 64 << 10
)

// The contexts that every store has.
const (
	StandardContext = "standard" // unlocked when the store is opened
	SecureContext   = "secure"   // locked until asked for
)

// A Keyring holds the contexts of a store and their slots. Two kinds of MAC authenticate it: each context's master
// covers that context's slots, and the master of the first context covers the whole. So a change of any context needs
// that the first one was added or unlocked through the same Keyring value. It is not safe for concurrent use.
type Keyring struct {
	id       StoreID
	contexts []section
	mac      [sha256.Size]byte
	macKey   []byte // from the first context's master; nil until that has been seen and the whole found authentic

	random io.Reader
	now    func() time.Time
	kdf    func(k KDF, passphrase, salt []byte) []byte
}

// section is one context's part of a keyring. Its slices are replaced, never written to.
type section struct {
	name  string
	slots []slot
	mac   [sha256.Size]byte
}

// NewKeyring returns a keyring without contexts for a store. It can be encoded once it has one.
func NewKeyring(id StoreID) *Keyring {
	return &Keyring{id: id, random: rand.Reader, now: time.Now, kdf: KDF.key}
}

// StoreID returns the ID of the store that the keyring is for.
func (k *Keyring) StoreID() StoreID { return k.id }

// Contexts returns the contexts' names, the first one first.
func (k *Keyring) Contexts() []string {
	names := make([]string, len(k.contexts))
	for i, c := range k.contexts {
		names[i] = c.name
	}
	return names
}

// Slots describes the slots of a context, in the order in which they are tried; none if there is no such context.
func (k *Keyring) Slots(context string) []SlotInfo {
	i := k.find(context)
	if i < 0 {
		return nil
	}
	infos := make([]SlotInfo, len(k.contexts[i].slots))
	for j, s := range k.contexts[i].slots {
		infos[j] = s.info()
	}
	return infos
}

// AddContext adds a context, as yet without slots, whose master is m. Names are 1 to MaxContextName bytes of a–z, 0–9,
// '.', '_' and '-', beginning with a letter or digit. The first context added authenticates the keyring as a whole.
func (k *Keyring) AddContext(name string, m *Master) error {
	if !validContextName(name) {
		return fmt.Errorf("context name %q: use 1 to %d of a-z, 0-9, '.', '_', '-', beginning with a letter or digit", name, MaxContextName)
	}
	switch {
	case k.find(name) >= 0:
		return fmt.Errorf("context %s: %w", name, ErrContextExists)
	case len(k.contexts) == MaxContexts:
		return fmt.Errorf("context %s: %w: it has %d contexts", name, ErrKeyringFull, MaxContexts)
	case len(k.contexts) == 0:
		k.macKey = m.derive(k.id, labelKeyringMAC)
	case k.macKey == nil:
		return fmt.Errorf("context %s: %w", name, ErrPrimaryLocked)
	}
	return k.replace(append(slices.Clone(k.contexts), section{name: name}), len(k.contexts), m)
}

// AddPassphrase adds a slot that a passphrase opens. It takes as long as kdf says. m must be the context's master.
func (k *Keyring) AddPassphrase(context string, m *Master, passphrase []byte, kdf KDF) error {
	return k.change(context, m, func(slots []slot) ([]slot, error) {
		s, err := k.newPassphraseSlot(context, m, passphrase, kdf)
		return append(slots, s), err
	})
}

// SetPassphrase puts a slot for a passphrase in the place of all passphrase slots of the context. Copies of the keyring
// made before still open with the old passphrase. m must be the context's master.
func (k *Keyring) SetPassphrase(context string, m *Master, passphrase []byte, kdf KDF) error {
	return k.change(context, m, func(slots []slot) ([]slot, error) {
		s, err := k.newPassphraseSlot(context, m, passphrase, kdf)
		slots = slices.DeleteFunc(slots, func(s slot) bool { return s.kind == SlotPassphrase })
		return slices.Insert(slots, 0, s), err
	})
}

// AddRecovery notes that the context's recovery key has been handed out, and lets a keyring tell that key from others.
// It changes nothing if that has been noted before. m must be the context's master.
func (k *Keyring) AddRecovery(context string, m *Master) error {
	return k.change(context, m, func(slots []slot) ([]slot, error) {
		if slices.ContainsFunc(slots, func(s slot) bool { return s.kind == SlotRecovery }) {
			return slots, nil
		}
		return append(slots, k.newRecoverySlot(m)), nil
	})
}

// Unlock returns the master of a context. secret is a passphrase, tried at every passphrase slot, or the context's
// recovery key. The error wraps ErrNoContext, ErrWrongSecret, or ErrKeyringDamaged if the secret was right but the
// keyring is not what was written.
func (k *Keyring) Unlock(context string, secret []byte) (*Master, error) {
	i := k.find(context)
	if i < 0 {
		return nil, fmt.Errorf("context %q: %w", context, ErrNoContext)
	}
	m, err := k.openSlots(i, secret)
	if err == nil {
		err = k.admit(i, m)
		if err != nil {
			m.Wipe()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("context %s: %w", context, err)
	}
	return m, nil
}

// openSlots tries secret as a recovery key and then at the slots of context i. What it returns is not yet admitted.
func (k *Keyring) openSlots(i int, secret []byte) (*Master, error) {
	c := k.contexts[i]
	name, m, recoveryErr := parseRecoveryKey(secret)
	if recoveryErr == nil {
		if name == c.name && (k.authentic(i, m) || k.knowsRecovery(i, m)) {
			return m, nil
		}
		m.Wipe()
		if name != c.name {
			return nil, fmt.Errorf("%w: this recovery key is of context %s", ErrWrongSecret, name)
		}
		return nil, fmt.Errorf("%w: this recovery key is of another store or older master key", ErrWrongSecret)
	}
	for _, s := range c.slots {
		if s.kind != SlotPassphrase {
			continue
		}
		m, err := k.openPassphraseSlot(c.name, s, secret)
		if !errors.Is(err, ErrWrongSecret) {
			return m, err
		}
	}
	if errors.Is(recoveryErr, errRecoverySum) {
		return nil, fmt.Errorf("%w; as a recovery key: %w", ErrWrongSecret, recoveryErr)
	}
	return nil, ErrWrongSecret
}

// admit checks what m authenticates. If that is the whole keyring, the keyring can be changed from now on.
func (k *Keyring) admit(i int, m *Master) error {
	if !k.authentic(i, m) {
		return ErrKeyringDamaged
	}
	if i > 0 || k.macKey != nil {
		return nil
	}
	macKey := m.derive(k.id, labelKeyringMAC)
	if sum := macOf(macKey, k.appendBody(nil)); !hmac.Equal(sum[:], k.mac[:]) {
		clear(macKey)
		return ErrKeyringDamaged
	}
	k.macKey = macKey
	return nil
}

// change replaces the slots of a context by what fn makes of a copy of them. On an error nothing has changed.
func (k *Keyring) change(context string, m *Master, fn func([]slot) ([]slot, error)) error {
	i := k.find(context)
	if i < 0 {
		return fmt.Errorf("context %q: %w", context, ErrNoContext)
	}
	err := k.admit(i, m)
	if err == nil && k.macKey == nil {
		err = ErrPrimaryLocked
	}
	var slots []slot
	if err == nil {
		slots, err = fn(slices.Clone(k.contexts[i].slots))
	}
	if err == nil && len(slots) > MaxSlots {
		err = fmt.Errorf("%w: the context has %d slots", ErrKeyringFull, MaxSlots)
	}
	if err != nil {
		return fmt.Errorf("context %s: %w", context, err)
	}
	contexts := slices.Clone(k.contexts)
	contexts[i].slots = slots
	return k.replace(contexts, i, m)
}

// replace puts contexts, of which number i is new or changed and has master m, in place and renews both MACs. macKey
// must be set.
func (k *Keyring) replace(contexts []section, i int, m *Master) error {
	changed := &Keyring{id: k.id, contexts: contexts}
	changed.contexts[i].mac = changed.contextMAC(i, m)
	body := changed.appendBody(nil)
	if len(body)+trailerSize > MaxKeyringSize {
		return fmt.Errorf("context %s: %w: it would be longer than %d bytes", contexts[i].name, ErrKeyringFull, MaxKeyringSize)
	}
	k.contexts, k.mac = contexts, macOf(k.macKey, body)
	return nil
}

// authentic says whether context i is what the holder of m wrote.
func (k *Keyring) authentic(i int, m *Master) bool {
	sum := k.contextMAC(i, m)
	return hmac.Equal(sum[:], k.contexts[i].mac[:])
}

// contextMAC also says whether the context is the first one: else, put in second place, it would open without a look at
// the whole.
func (k *Keyring) contextMAC(i int, m *Master) [sha256.Size]byte {
	key := m.derive(k.id, labelContextMAC)
	defer clear(key)
	message := append(k.appendHeader(nil), 0)
	if i == 0 {
		message[len(message)-1] = 1
	}
	return macOf(key, k.contexts[i].appendSlots(message))
}

func (k *Keyring) find(context string) int {
	for i, c := range k.contexts {
		if c.name == context {
			return i
		}
	}
	return -1
}

// macOf is HMAC-SHA-256.
func macOf(key, message []byte) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, key)
	h.Write(message)
	h.Sum(sum[:0])
	return sum
}
