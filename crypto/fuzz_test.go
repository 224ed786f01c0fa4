package crypto

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode"
)

// Decoding never panics, and what decodes encodes to the same bytes, unknown slots included. The checksum is made to
// match, or nothing would get past it.
func FuzzDecodeKeyring(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, withSum(b)} {
			k, err := DecodeKeyring(b)
			if err != nil {
				if !errors.Is(err, ErrKeyringDamaged) && !errors.Is(err, ErrNewerKeyring) {
					t.Errorf("an error of no kind: %v", err)
				}
				continue
			}
			if !bytes.Equal(k.Encode(), b) {
				t.Errorf("encoded to %x", k.Encode())
			}
			k.kdf = quickKDF
			for _, name := range k.Contexts() {
				k.Slots(name)
				if _, err := k.Unlock(name, []byte("not it")); err == nil {
					t.Errorf("context %s opened", name)
				}
			}
		}
	})
}

func FuzzDecodeSlot(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		d := decoder{rest: b}
		s := d.slot("a")
		if d.err != nil {
			return
		}
		if used := b[:len(b)-len(d.rest)]; !bytes.Equal(s.append(nil), used) {
			t.Errorf("encoded to %x, not %x", s.append(nil), used)
		}
		if s.kind == SlotPassphrase && s.info().KDF.Check() != nil {
			t.Errorf("parameters out of bounds: %v", s.info().KDF)
		}
	})
}

// There is one recovery key for a context and master, but for how it is typed.
func FuzzParseRecoveryKey(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		context, m, err := ParseRecoveryKey(text)
		if err != nil {
			if !errors.Is(err, ErrRecoveryKey) {
				t.Errorf("an error of no kind: %v", err)
			}
			return
		}
		defer m.Wipe()
		typed := strings.Map(func(r rune) rune {
			if unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) {
				return -1
			}
			return unicode.ToUpper(r)
		}, text)
		typed = strings.NewReplacer("O", "0", "I", "1", "L", "1").Replace(typed)
		if want := strings.ReplaceAll(RecoveryKey(context, m), "-", ""); typed != want {
			t.Errorf("%s and %s are one key", typed, want)
		}
	})
}

// Sealed bytes from anywhere, lengths from anywhere: no panic, and no success.
func FuzzOpen(f *testing.F) {
	f.Fuzz(func(t *testing.T, sealed []byte, first, plainLen int) {
		s := NewSealer(testKey(1))
		nonce := sealed[:min(len(sealed), NonceSize)]
		for _, open := range []func() ([]byte, error){
			func() ([]byte, error) {
				return s.OpenFrames(nil, nonce, sealed[len(nonce):], first, plainLen, []byte("ad"))
			},
			func() ([]byte, error) { return s.OpenBlock(nil, sealed, plainLen, []byte("ad")) },
			func() ([]byte, error) { return s.OpenBlock(sealed[:0], sealed, plainLen, []byte("ad")) },
			func() ([]byte, error) { return s.Open(sealed[:0], sealed, []byte("ad")) },
		} {
			if _, err := open(); !errors.Is(err, ErrAuth) {
				t.Errorf("%v", err)
			}
		}
	})
}

// The corpora from which fuzzing begins lie in testdata and hold inputs that decode.
func TestSeedCorpora(t *testing.T) {
	if *update {
		writeSeeds(t)
	}
	for target, least := range map[string]int{"FuzzDecodeKeyring": 5, "FuzzDecodeSlot": 4, "FuzzParseRecoveryKey": 4, "FuzzOpen": 4} {
		seeds, err := filepath.Glob(filepath.Join("testdata", "fuzz", target, "*"))
		if err != nil || len(seeds) < least {
			t.Errorf("%s has %d seeds, not %d or more: %v", target, len(seeds), least, err)
		}
		for _, seed := range seeds {
			if b, err := os.ReadFile(seed); err != nil || !bytes.HasPrefix(b, []byte("go test fuzz v1\n")) {
				t.Errorf("%s is no seed: %v", seed, err)
			}
		}
	}
}

func writeSeeds(t *testing.T) {
	k, standard, _ := testKeyring(t)
	whole := k.Encode()
	body := whole[:len(whole)-sha256.Size]
	for i, b := range [][]byte{nil, whole, body, body[:len(body)-1], flipped(body, 8*9), flipped(body, 8*29)} {
		seed(t, "FuzzDecodeKeyring", i, b)
	}
	i := 0
	for _, c := range k.contexts {
		for _, s := range c.slots {
			seed(t, "FuzzDecodeSlot", i, s.append(nil))
			i++
		}
	}
	for i, text := range []string{"", RecoveryKey(StandardContext, standard), strings.ToLower(RecoveryKey(SecureContext, standard)),
		strings.ReplaceAll(RecoveryKey("work", standard), "-", " \n"), mistype(RecoveryKey(StandardContext, standard), 20)} {
		seed(t, "FuzzParseRecoveryKey", i, text)
	}
	s := fixed(NewSealer(testKey(2)), pattern(NonceSize))
	sealed := s.SealBlock(nil, pattern(FrameSize+1), []byte("ad"))
	seed(t, "FuzzOpen", 0, []byte{}, 0, 0)
	seed(t, "FuzzOpen", 1, pattern(Overhead), 0, 0)
	seed(t, "FuzzOpen", 2, sealed, 0, FrameSize+1)
	seed(t, "FuzzOpen", 3, append(pattern(NonceSize), sealed[NonceSize+sealedFrameSize:]...), 1, FrameSize+1)
}

// seed writes one file as the testing package reads it.
func seed(t *testing.T, target string, i int, values ...any) {
	b := []byte("go test fuzz v1\n")
	for _, v := range values {
		switch v := v.(type) {
		case []byte:
			b = fmt.Appendf(b, "[]byte(%+q)\n", v)
		case string:
			b = fmt.Appendf(b, "string(%+q)\n", v)
		default:
			b = fmt.Appendf(b, "%T(%v)\n", v, v)
		}
	}
	dir := filepath.Join("testdata", "fuzz", target)
	must(t, os.MkdirAll(dir, 0o755))
	must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("seed-%d", i)), b, 0o644))
}

// A stored count or length is worth no memory by itself, and no key derivation is begun with parameters out of bounds.
func TestAllocationBounds(t *testing.T) {
	k, _, _ := testKeyring(t)
	whole := k.Encode()
	body := whole[:len(whole)-sha256.Size]
	hostile := [][]byte{bytes.Repeat([]byte{0xff}, 2000), append(bytes.Clone(body[:16]), bytes.Repeat([]byte{0xff}, 2000)...)}
	for i := range body {
		for _, n := range []int{1, 2, 4, 8} {
			b := bytes.Clone(body)
			for j := i; j < min(i+n, len(b)); j++ {
				b[j] = 0xff
			}
			hostile = append(hostile, b)
		}
	}
	for i, b := range hostile {
		b = withSum(b)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		k, err := DecodeKeyring(b)
		runtime.ReadMemStats(&after)
		if n, most := after.TotalAlloc-before.TotalAlloc, uint64(50_000+20*len(b)); n > most {
			t.Errorf("input %d: %d bytes make it allocate %d", i, len(b), n)
		}
		if err != nil {
			continue
		}
		for _, context := range k.Contexts() {
			for _, s := range k.Slots(context) {
				if s.Kind == SlotPassphrase && s.KDF.Check() != nil {
					t.Errorf("input %d: parameters out of bounds: %v", i, s.KDF)
				}
			}
		}
	}
}
