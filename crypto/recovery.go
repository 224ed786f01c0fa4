package crypto

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The layout of a recovery key: version ‖ tag ‖ (name length ‖ name, if the tag is tagNamed) ‖ master ‖ checksum.
const (
	recoveryVersion = 1
	recoverySumSize = 6
	recoveryMinSize = 2 + KeySize + recoverySumSize
	recoveryMaxSize = recoveryMinSize + 1 + MaxContextName
	recoveryGroup   = 4 // characters between dashes
	recoveryMaxText = 1 << 10
)

// The tags keep the recovery keys of the built-in contexts at 64 characters.
const (
	tagNamed    = 0
	tagStandard = 1
	tagSecure   = 2
)

// Crockford's base32 (https://www.crockford.com/base32.html) has no letter that looks like a digit.
const recoveryAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

var (
	errRecoveryLength  = fmt.Errorf("%w: characters are missing or too many", ErrRecoveryKey)
	errRecoverySum     = fmt.Errorf("%w: a character is mistyped, or groups are swapped", ErrRecoveryKey)
	errRecoveryVersion = fmt.Errorf("%w: it was made by a newer version of salliefs", ErrRecoveryKey)
)

// RecoveryKey returns the recovery key of a context: groups of four letters and digits that carry the master key
// itself, the context's name and a checksum. Whoever has it has the context; nothing else is needed.
func RecoveryKey(context string, m *Master) string {
	b := make([]byte, 0, recoveryMaxSize)
	defer func() { clear(b[:cap(b)]) }()
	b = append(b, recoveryVersion)
	switch context {
	case StandardContext:
		b = append(b, tagStandard)
	case SecureContext:
		b = append(b, tagSecure)
	default:
		if !validContextName(context) {
			panic(fmt.Sprintf("crypto: a recovery key for context %q", context))
		}
		b = append(b, tagNamed, byte(len(context)))
		b = append(b, context...)
	}
	m.use(func(key []byte) { b = append(b, key...) })
	sum := recoverySum(b)
	b = append(b, sum[:]...)
	return recoveryText(b)
}

// ParseRecoveryKey reads a recovery key. Upper and lower case, spaces, line breaks and dashes do not matter; O counts as
// 0, and I and L as 1. The error wraps ErrRecoveryKey and says what kind of typing error it is.
func ParseRecoveryKey(s string) (context string, m *Master, err error) {
	return parseRecoveryKey([]byte(s))
}

func parseRecoveryKey(text []byte) (context string, m *Master, err error) {
	b, err := recoveryBytes(text)
	defer clear(b)
	if err != nil {
		return "", nil, err
	}
	if len(b) < recoveryMinSize || len(b) > recoveryMaxSize {
		return "", nil, errRecoveryLength
	}
	payload := b[:len(b)-recoverySumSize]
	if sum := recoverySum(payload); !bytes.Equal(sum[:], b[len(payload):]) {
		return "", nil, recoveryMismatch(b)
	}
	if payload[0] != recoveryVersion {
		return "", nil, errRecoveryVersion
	}
	context, key, ok := recoveryParts(payload[1:])
	if !ok {
		return "", nil, errRecoveryVersion // its checksum is right, so somebody made it so
	}
	m, err = masterOf(key)
	return context, m, err
}

// recoveryParts splits what lies between version and checksum. Only one payload stands for a context and master.
func recoveryParts(b []byte) (context string, key []byte, ok bool) {
	tag, rest := b[0], b[1:]
	switch tag {
	case tagStandard:
		context = StandardContext
	case tagSecure:
		context = SecureContext
	case tagNamed:
		n := int(rest[0])
		if len(rest) < 1+n {
			return "", nil, false
		}
		context, rest = string(rest[1:1+n]), rest[1+n:]
		if !validContextName(context) || context == StandardContext || context == SecureContext {
			return "", nil, false
		}
	}
	return context, rest, context != "" && len(rest) == KeySize
}

func recoverySum(payload []byte) (sum [recoverySumSize]byte) {
	h := sha256.New()
	h.Write([]byte(sumRecoveryKey))
	h.Write(payload)
	copy(sum[:], h.Sum(nil))
	return sum
}

// recoveryText returns the base32 of b, most significant bits first, in groups.
func recoveryText(b []byte) string {
	var text strings.Builder
	var bits, have, written uint
	emit := func(digit uint) {
		if written > 0 && written%recoveryGroup == 0 {
			text.WriteByte('-')
		}
		text.WriteByte(recoveryAlphabet[digit&31])
		written++
	}
	for _, c := range b {
		bits, have = bits<<8|uint(c), have+8
		for ; have >= 5; have -= 5 {
			emit(bits >> (have - 5))
		}
	}
	if have > 0 {
		emit(bits << (5 - have))
	}
	return text.String()
}

// recoveryBytes undoes recoveryText. Also on an error it returns what is to be erased.
func recoveryBytes(text []byte) ([]byte, error) {
	if len(text) > recoveryMaxText {
		return nil, errRecoveryLength
	}
	b := make([]byte, 0, len(text))
	var bits, have uint
	var read int
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		text = text[size:]
		if unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) {
			continue
		}
		digit := recoveryDigit(r)
		if digit < 0 {
			return b, fmt.Errorf("%w: %q in group %d cannot be part of one", ErrRecoveryKey, r, read/recoveryGroup+1)
		}
		read++
		bits, have = bits<<5|uint(digit), have+5
		if have >= 8 {
			have -= 8
			b = append(b, byte(bits>>have))
		}
	}
	switch {
	case read == 0:
		return b, fmt.Errorf("%w: it is empty", ErrRecoveryKey)
	case have >= 5:
		return b, errRecoveryLength // no number of bytes ends in a character that adds no bit
	case bits&(1<<have-1) != 0:
		return b, recoveryMismatch(b)
	}
	return b, nil
}

// recoveryMismatch says what is the matter with bytes whose checksum or last bits are wrong.
func recoveryMismatch(b []byte) error {
	if len(b) < recoveryMinSize || (b[1] == tagStandard || b[1] == tagSecure) && len(b) != recoveryMinSize {
		return errRecoveryLength
	}
	return errRecoverySum
}

// recoveryDigit returns the value of a character, or -1.
func recoveryDigit(r rune) int {
	switch r = unicode.ToUpper(r); r {
	case 'O':
		r = '0'
	case 'I', 'L':
		r = '1'
	}
	return strings.IndexRune(recoveryAlphabet, r)
}
