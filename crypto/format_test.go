package crypto

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// example is a worked example of FORMAT.md: what stands left and right of each "=".
type example struct {
	t      *testing.T
	values map[string]string
}

// examples reads all worked examples of FORMAT.md.
func examples(t *testing.T) map[string]example {
	page, err := os.ReadFile("FORMAT.md")
	must(t, err)
	found := make(map[string]example)
	for _, m := range regexp.MustCompile("(?s)\n```example ([^\n]+)\n(.*?)```\n").FindAllStringSubmatch(string(page), -1) {
		e := example{t, make(map[string]string)}
		for _, line := range strings.Split(strings.TrimSpace(m[2]), "\n") {
			name, value, ok := strings.Cut(line, "=")
			if !ok {
				t.Fatalf("example %s: %q is not name = value", m[1], line)
			}
			e.values[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
		found[m[1]] = e
	}
	return found
}

// bytes returns a value that is a quoted text or hexadecimal digits.
func (e example) bytes(name string) []byte {
	e.t.Helper()
	value := e.values[name]
	if text, err := strconv.Unquote(value); err == nil {
		return []byte(text)
	}
	b, err := hex.DecodeString(value)
	if err != nil || value == "" {
		e.t.Fatalf("%s = %q: %v", name, value, err)
	}
	return b
}

func (e example) number(name string) uint64 {
	e.t.Helper()
	n, err := strconv.ParseUint(e.values[name], 10, 64)
	must(e.t, err)
	return n
}

// is checks what the page says against what the code does.
func (e example) is(name string, got []byte) {
	e.t.Helper()
	if e.values[name] != hex.EncodeToString(got) {
		e.t.Errorf("FORMAT.md has %s = %s, the code makes\n%x", name, e.values[name], got)
	}
}

func (e example) master() *Master {
	e.t.Helper()
	m, err := NewMaster(bytes.NewReader(e.bytes("master")))
	must(e.t, err)
	return m
}

// derivedKey follows §1 word by word, not through the code under test.
func derivedKey(key []byte, label byte, nonce []byte) []byte {
	block := NewSealer(key).block
	l := make([]byte, 16)
	block.Encrypt(l, l)
	k1 := make([]byte, 16)
	binary.BigEndian.PutUint64(k1, binary.BigEndian.Uint64(l)<<1|uint64(l[8]>>7))
	binary.BigEndian.PutUint64(k1[8:], binary.BigEndian.Uint64(l[8:])<<1)
	if l[0]&0x80 != 0 {
		k1[15] ^= 0x87
	}
	var derived []byte
	for i := byte(1); i <= 2; i++ {
		m := append([]byte{0, i, label, 0}, nonce[:12]...)
		for j := range m {
			m[j] ^= k1[j]
		}
		block.Encrypt(m, m)
		derived = append(derived, m...)
	}
	return derived
}

func TestFormatExamples(t *testing.T) {
	page := examples(t)
	for name, check := range map[string]func(example){
		"message":       checkMessage,
		"block":         checkBlock,
		"namespace key": checkNamespaceKey,
		"name":          checkName,
		"keyring":       checkKeyring,
		"recovery key":  checkRecoveryKey,
	} {
		t.Run(name, func(t *testing.T) {
			e, ok := page[name]
			if !ok {
				t.Fatal("not in FORMAT.md")
			}
			e.t = t
			check(e)
		})
		delete(page, name)
	}
	for name := range page {
		t.Errorf("FORMAT.md's example %s is not checked", name)
	}
}

func checkMessage(e example) {
	key, nonce, ad := e.bytes("key"), e.bytes("nonce"), e.bytes("associated data")
	opened, err := NewSealer(key).Open(nil, e.bytes("sealed"), ad)
	if err != nil || !bytes.Equal(opened, e.bytes("plaintext")) {
		e.t.Errorf("opened to %q, %v", opened, err)
	}
	e.is("derived key", derivedKey(key, 'X', nonce))
	e.is("sealed", fixed(NewSealer(key), nonce).Seal(nil, e.bytes("plaintext"), ad))
}

func checkBlock(e example) {
	key, nonce, ad := e.bytes("key"), e.bytes("nonce"), e.bytes("associated data")
	var n, modulus int
	if _, err := fmt.Sscanf(e.values["plaintext"], "%d bytes, byte i is i mod %d", &n, &modulus); err != nil {
		e.t.Fatal(err)
	}
	plaintext := make([]byte, n)
	for i := range plaintext {
		plaintext[i] = byte(i % modulus)
	}
	opened, err := NewSealer(key).OpenFrames(nil, nonce, e.bytes("frame 1"), 1, n, ad)
	if err != nil || !bytes.Equal(opened, plaintext[FrameSize:]) {
		e.t.Errorf("frame 1 opened to %x, %v", opened, err)
	}
	e.is("derived key", derivedKey(key, 'F', nonce))
	var t scratch
	e.is("nonce of frame 0", t.frameNonce(nonce, 0, false))
	e.is("nonce of frame 1", t.frameNonce(nonce, 1, true))
	sealed := fixed(NewSealer(key), nonce).SealBlock(nil, plaintext, ad)
	e.is("frame 1", sealed[24+4112:])
	sum := sha256.Sum256(sealed)
	e.is("sha-256 of the sealed block", sum[:])
}

func checkNamespaceKey(e example) {
	m, id := e.master(), StoreID(e.bytes("store ID"))
	ns, epoch := uint32(e.number("namespace ID")), uint32(e.number("key epoch"))
	opened, err := m.OpenNamespaceKey(id, ns, epoch, e.bytes("wrapped"))
	must(e.t, err)
	// The subkeys as the page gives them open what the unwrapped key seals.
	for name, s := range map[string]*Sealer{"namespace blocks key": opened.Blocks(), "namespace records key": opened.Records(), "store records key": m.StoreSealer(id)} {
		if _, err := NewSealer(e.bytes(name)).Open(nil, s.Seal(nil, nil, nil), nil); err != nil {
			e.t.Errorf("%s: %v", name, err)
		}
	}
	if newNameHasher(e.bytes("namespace names key")).Sum(1, "x") != opened.Names().Sum(1, "x") {
		e.t.Error("namespace names key hashes differently")
	}
	key := e.bytes("namespace key")
	_, wrapped, err := m.newNamespaceKey(bytes.NewReader(append(key, e.bytes("nonce")...)), id, ns, epoch)
	must(e.t, err)
	e.is("wrapped", wrapped)
	salt := namespacePlace(nil, id, ns, epoch)
	e.is("store records key", m.derive(id, "salliefs/1 store records"))
	e.is("namespace blocks key", derive(key, salt, "salliefs/1 namespace blocks"))
	e.is("namespace records key", derive(key, salt, "salliefs/1 namespace records"))
	e.is("namespace names key", derive(key, salt, "salliefs/1 namespace names"))
}

func checkName(e example) {
	sum := newNameHasher(e.bytes("names key")).Sum(e.number("parent"), string(e.bytes("name")))
	e.is("hash", binary.BigEndian.AppendUint64(nil, sum))
}

func checkKeyring(e example) {
	id, context, pass := StoreID(e.bytes("store ID")), string(e.bytes("context")), e.bytes("passphrase")
	kdf := KDF{uint32(e.number("passes")), uint32(e.number("memory")), uint8(e.number("lanes"))}
	want := e.master()

	k, err := DecodeKeyring(e.bytes("keyring"))
	must(e.t, err)
	m, err := k.Unlock(context, pass)
	if err != nil || !m.Equal(want) {
		e.t.Errorf("does not unlock: %v", err)
	}
	if got := k.Slots(context)[0]; k.StoreID() != id || got.KDF != kdf || uint64(got.Created.Unix()) != e.number("created") {
		e.t.Errorf("store %v, slot %+v", k.StoreID(), got)
	}

	k = NewKeyring(id)
	k.random = bytes.NewReader(append(e.bytes("salt"), e.bytes("nonce")...))
	k.now = func() time.Time { return time.Unix(int64(e.number("created")), 0) }
	must(e.t, k.AddContext(context, want))
	must(e.t, k.AddPassphrase(context, want, pass, kdf))
	must(e.t, k.AddRecovery(context, want))
	e.is("commitment", k.contexts[0].slots[0].body[slotCommitment:slotWrapped])
	e.is("keyring", k.Encode())
	if parts := 28 + 2 + 1 + 8 + 2 + (2 + 8 + 1 + 2 + 129) + (2 + 8 + 1 + 2 + 32) + 32 + 32 + 32; parts != len(k.Encode()) {
		e.t.Errorf("%d bytes, not %d", len(k.Encode()), parts)
	}
}

func checkRecoveryKey(e example) {
	for _, context := range []string{"standard", "secure", "work"} {
		name, m, err := ParseRecoveryKey(e.values[context])
		if err != nil || name != context || !m.Equal(e.master()) {
			e.t.Errorf("%s: %q, %v", context, name, err)
		}
		if got := RecoveryKey(context, e.master()); got != e.values[context] {
			e.t.Errorf("FORMAT.md has %s, the code makes\n%s", e.values[context], got)
		}
	}
}

// The tables of FORMAT.md name what the code has.
func TestFormatNamesLabelsAndLimits(t *testing.T) {
	page, err := os.ReadFile("FORMAT.md")
	must(t, err)
	for _, text := range []string{
		labelStoreRecords, labelNamespaceWrap, labelNamespaceBlocks, labelNamespaceRecords, labelNamespaceNames,
		labelSlotKey, labelSlotCommitment, labelRecoveryCheck, labelContextMAC, labelKeyringMAC,
		`"` + adNamespaceKey + `"`, `"` + adSlotMaster + `"`, `"` + sumRecoveryKey + `"`, `"` + keyringMagic + `"`, recoveryAlphabet,
		fmt.Sprintf("| contexts | 1 to %d,", MaxContexts),
		fmt.Sprintf("| context name | 1 to %d of", MaxContextName),
		fmt.Sprintf("| slots of a context | ≤ %d |", MaxSlots),
		fmt.Sprintf("| slot label | ≤ %d bytes", MaxSlotLabel),
		fmt.Sprintf("| keyring | ≤ %s bytes |", thousands(MaxKeyringSize)),
		fmt.Sprintf("| slot body | ≤ %s bytes |", thousands(maxSlotBody)),
		fmt.Sprintf("| created | ≤ %s ", thousands(maxCreated)),
		fmt.Sprintf("| Argon2id passes | %d to %d |", MinPasses, MaxPasses),
		fmt.Sprintf("| Argon2id memory | %s to %s KiB |", thousands(MinMemoryKiB), thousands(MaxMemoryKiB)),
		fmt.Sprintf("| Argon2id lanes | 1 to %d |", MaxLanes),
		fmt.Sprintf("| passphrase | 1 to %s bytes |", thousands(MaxPassphraseSize)),
	} {
		if !bytes.Contains(page, []byte(text)) {
			t.Errorf("FORMAT.md does not have %q", text)
		}
	}
}

// thousands writes a number with commas.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
