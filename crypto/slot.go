package crypto

import (
	"crypto/hmac"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"time"
)

// SlotKind says what opens a slot.
type SlotKind uint16

// The kinds of slots. A keyring keeps slots of other kinds as they are. Kinds 3 (key file) and 4 (age recipient) are
// reserved for what their names say.
const (
	SlotPassphrase SlotKind = 1
	SlotRecovery   SlotKind = 2
)

// String returns the kind for people.
func (k SlotKind) String() string {
	switch k {
	case SlotPassphrase:
		return "passphrase"
	case SlotRecovery:
		return "recovery key"
	}
	return fmt.Sprintf("kind %d (of a newer version)", uint16(k))
}

// SlotInfo describes a slot.
type SlotInfo struct {
	Kind    SlotKind
	Label   string
	Created time.Time // to the second
	KDF     KDF       // of passphrase slots
}

// slot is one way to get at a context's master. body depends on the kind and is never written to.
type slot struct {
	kind    SlotKind
	created int64 // seconds since 1970
	label   string
	body    []byte
}

const saltSize = 16

// Where the parts of a passphrase slot's body begin: passes, memory, lanes, salt, commitment, wrapped master.
const (
	slotSalt       = 4 + 4 + 1
	slotCommitment = slotSalt + saltSize
	slotWrapped    = slotCommitment + KeySize
	slotSize       = slotWrapped + WrappedKeySize
)

// newPassphraseSlot wraps m for a passphrase.
func (k *Keyring) newPassphraseSlot(context string, m *Master, passphrase []byte, kdf KDF) (slot, error) {
	if err := kdf.Check(); err != nil {
		return slot{}, err
	}
	if len(passphrase) == 0 {
		return slot{}, fmt.Errorf("%w: it is empty", ErrPassphrase)
	}
	if len(passphrase) > MaxPassphraseSize {
		return slot{}, fmt.Errorf("%w: it is longer than %d bytes", ErrPassphrase, MaxPassphraseSize)
	}
	body := make([]byte, slotSize)
	binary.BigEndian.PutUint32(body, kdf.Passes)
	binary.BigEndian.PutUint32(body[4:], kdf.MemoryKiB)
	body[8] = kdf.Lanes
	if _, err := io.ReadFull(k.random, body[slotSalt:slotCommitment]); err != nil {
		return slot{}, fmt.Errorf("reading a random salt: %w", err)
	}
	sealer, commitment := k.slotKey(kdf, passphrase, body[slotSalt:slotCommitment])
	defer sealer.Wipe()
	copy(body[slotCommitment:], commitment)
	sealer.rand = k.random
	m.use(func(key []byte) {
		sealer.Seal(body[:slotWrapped], key, k.slotAD(context, body))
	})
	return k.newSlot(SlotPassphrase, body), nil
}

// openPassphraseSlot unwraps the master. The error is ErrWrongSecret, or wraps ErrKeyringDamaged if the passphrase is
// right and the slot is not.
func (k *Keyring) openPassphraseSlot(context string, s slot, passphrase []byte) (*Master, error) {
	if len(passphrase) == 0 || len(passphrase) > MaxPassphraseSize {
		return nil, ErrWrongSecret // before the work, since no slot can have it
	}
	sealer, commitment := k.slotKey(s.kdf(), passphrase, s.body[slotSalt:slotCommitment])
	defer sealer.Wipe()
	// GCM is not key-committing: without this check, first, one slot could be made to open under many passphrases, and
	// each try to unlock would test them all.
	if !hmac.Equal(commitment, s.body[slotCommitment:slotWrapped]) {
		return nil, ErrWrongSecret
	}
	m, err := allocateMaster()
	if err != nil {
		return nil, err
	}
	m.use(func(key []byte) {
		_, err = sealer.Open(key[:0], s.body[slotWrapped:], k.slotAD(context, s.body))
	})
	if err != nil {
		m.Wipe()
		return nil, ErrKeyringDamaged
	}
	return m, nil
}

// slotKey derives what wraps the master, and the commitment to it.
func (k *Keyring) slotKey(kdf KDF, passphrase, salt []byte) (*Sealer, []byte) {
	stretched := k.kdf(kdf, passphrase, salt)
	defer clear(stretched)
	key := derive(stretched, k.id[:], labelSlotKey)
	defer clear(key)
	return NewSealer(key), derive(stretched, k.id[:], labelSlotCommitment)
}

// slotAD binds a wrapped master to its store, context and slot.
func (k *Keyring) slotAD(context string, body []byte) []byte {
	ad := append([]byte(adSlotMaster), k.id[:]...)
	ad = append(ad, byte(len(context)))
	ad = append(ad, context...)
	ad = binary.BigEndian.AppendUint16(ad, uint16(SlotPassphrase))
	return append(ad, body[:slotWrapped]...)
}

func (k *Keyring) newRecoverySlot(m *Master) slot {
	return k.newSlot(SlotRecovery, m.derive(k.id, labelRecoveryCheck))
}

// knowsRecovery says whether context i has a recovery slot that was made for m.
func (k *Keyring) knowsRecovery(i int, m *Master) bool {
	check := m.derive(k.id, labelRecoveryCheck)
	return slices.ContainsFunc(k.contexts[i].slots, func(s slot) bool {
		return s.kind == SlotRecovery && hmac.Equal(s.body, check)
	})
}

func (k *Keyring) newSlot(kind SlotKind, body []byte) slot {
	return slot{kind: kind, created: min(max(k.now().Unix(), 0), maxCreated), body: body}
}

func (s slot) info() SlotInfo {
	info := SlotInfo{Kind: s.kind, Label: s.label, Created: time.Unix(s.created, 0).UTC()}
	if s.kind == SlotPassphrase {
		info.KDF = s.kdf()
	}
	return info
}

// kdf returns the parameters of a passphrase slot.
func (s slot) kdf() KDF {
	return KDF{
		Passes:    binary.BigEndian.Uint32(s.body),
		MemoryKiB: binary.BigEndian.Uint32(s.body[4:]),
		Lanes:     s.body[8],
	}
}
