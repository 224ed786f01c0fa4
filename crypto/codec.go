package crypto

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	keyringMagic   = "SALLIEKR"
	keyringVersion = 1

	headerSize  = len(keyringMagic) + 2 + 2 + len(StoreID{})
	trailerSize = 2 * sha256.Size // MAC and checksum

	maxSlotBody = 4 << 10
	maxCreated  = 253402300799 // the last second of year 9999
)

// Encode returns the keyring's bytes, as FORMAT.md lays them out. What was decoded and not changed since encodes to the
// same bytes. It panics if the keyring has no context.
func (k *Keyring) Encode() []byte {
	if len(k.contexts) == 0 {
		panic("crypto: a keyring without contexts was encoded")
	}
	b := append(k.appendBody(nil), k.mac[:]...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// appendBody appends all but the trailer: what the keyring's MAC covers.
func (k *Keyring) appendBody(b []byte) []byte {
	b = k.appendHeader(b)
	b = binary.BigEndian.AppendUint16(b, uint16(len(k.contexts)))
	for _, c := range k.contexts {
		b = c.appendSlots(b)
		b = append(b, c.mac[:]...)
	}
	return b
}

func (k *Keyring) appendHeader(b []byte) []byte {
	b = append(b, keyringMagic...)
	b = binary.BigEndian.AppendUint16(b, keyringVersion)
	b = binary.BigEndian.AppendUint16(b, 0) // flags, none as yet
	return append(b, k.id[:]...)
}

// appendSlots appends the context but for its MAC: what that MAC covers, behind the header.
func (c section) appendSlots(b []byte) []byte {
	b = append(b, byte(len(c.name)))
	b = append(b, c.name...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(c.slots)))
	for _, s := range c.slots {
		b = s.append(b)
	}
	return b
}

func (s slot) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(s.kind))
	b = binary.BigEndian.AppendUint64(b, uint64(s.created))
	b = append(b, byte(len(s.label)))
	b = append(b, s.label...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.body)))
	return append(b, s.body...)
}

// DecodeKeyring reads what Encode returned. It checks the checksum and every bound, and does no costly work. Whether
// the keyring is authentic shows when a context is unlocked. The error wraps ErrKeyringDamaged or ErrNewerKeyring.
func DecodeKeyring(b []byte) (*Keyring, error) {
	if len(b) > MaxKeyringSize {
		return nil, damaged("it is longer than %d bytes", MaxKeyringSize)
	}
	if len(b) < headerSize+2+trailerSize {
		return nil, damaged("it has only %d bytes", len(b))
	}
	if !bytes.HasPrefix(b, []byte(keyringMagic)) {
		return nil, damaged("it does not begin as keyrings do")
	}
	// Every version has the checksum at its end, so that damage is not taken for a newer version.
	body, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if want := sha256.Sum256(body); !bytes.Equal(sum, want[:]) {
		return nil, damaged("its checksum does not match")
	}
	d := decoder{rest: body[len(keyringMagic):]}
	if version, flags := d.uint16(), d.uint16(); version != keyringVersion || flags != 0 {
		return nil, fmt.Errorf("%w: format %d with flags %#x, not %d", ErrNewerKeyring, version, flags, keyringVersion)
	}
	k := NewKeyring(StoreID(d.take(len(StoreID{}))))
	count := int(d.uint16())
	d.check(count >= 1 && count <= MaxContexts, "it has %d contexts", count)
	for range count {
		if d.err == nil {
			c := d.section()
			d.check(k.find(c.name) < 0, "context %s occurs twice", c.name)
			k.contexts = append(k.contexts, c)
		}
	}
	copy(k.mac[:], d.take(sha256.Size))
	d.check(len(d.rest) == 0, "it has %d bytes too many", len(d.rest))
	if d.err != nil {
		return nil, d.err
	}
	return k, nil
}

// decoder takes values off the beginning of rest. After an error it returns zero values.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) section() (c section) {
	c.name = string(d.take(int(d.uint8())))
	d.check(validContextName(c.name), "context name %q", c.name)
	count := int(d.uint16())
	d.check(count <= MaxSlots, "context %s has %d slots", c.name, count)
	for range count {
		if d.err == nil {
			c.slots = append(c.slots, d.slot(c.name))
		}
	}
	copy(c.mac[:], d.take(sha256.Size))
	return c
}

func (d *decoder) slot(context string) (s slot) {
	s.kind = SlotKind(d.uint16())
	created := d.uint64()
	d.check(created <= maxCreated, "a slot of context %s has an impossible time", context)
	s.created = int64(created)
	s.label = string(d.take(int(d.uint8())))
	d.check(validSlotLabel(s.label), "slot label %q of context %s", s.label, context)
	size := int(d.uint16())
	d.check(size <= maxSlotBody, "a slot of context %s has %d bytes", context, size)
	if d.err != nil {
		return s
	}
	s.body = bytes.Clone(d.take(size))
	switch s.kind {
	case 0:
		d.check(false, "a slot of context %s has no kind", context)
	case SlotPassphrase:
		d.check(size == slotSize, "a passphrase slot of context %s has %d bytes", context, size)
		if d.err == nil {
			err := s.kdf().Check()
			d.check(err == nil, "a slot of context %s: %v", context, err)
		}
	case SlotRecovery:
		d.check(size == KeySize, "a recovery slot of context %s has %d bytes", context, size)
	}
	return s
}

func (d *decoder) take(n int) []byte {
	d.check(n <= len(d.rest), "it ends too early")
	if d.err != nil {
		return make([]byte, n) // n is below 64 KiB: no length field is wider
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) uint8() uint8   { return d.take(1)[0] }
func (d *decoder) uint16() uint16 { return binary.BigEndian.Uint16(d.take(2)) }
func (d *decoder) uint64() uint64 { return binary.BigEndian.Uint64(d.take(8)) }

func (d *decoder) check(ok bool, format string, args ...any) {
	if !ok && d.err == nil {
		d.err = damaged(format, args...)
	}
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w (%s)", ErrKeyringDamaged, fmt.Sprintf(format, args...))
}

func validContextName(name string) bool {
	if len(name) < 1 || len(name) > MaxContextName || strings.IndexByte("._-", name[0]) >= 0 {
		return false
	}
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == ""
}

func validSlotLabel(label string) bool {
	return len(label) <= MaxSlotLabel && utf8.ValidString(label) && strings.IndexFunc(label, unicode.IsControl) < 0
}
