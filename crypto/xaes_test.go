package crypto

import (
	"bytes"
	"crypto/sha3"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"testing"
)

// fixed seals with a nonce that the caller chooses.
func fixed(s *Sealer, nonce []byte) *Sealer {
	s.rand = bytes.NewReader(nonce)
	return s
}

// The single vectors of https://c2sp.org/XAES-256-GCM: in the first one L's top bit is 0, in the second 1.
func TestXAESVectors(t *testing.T) {
	for _, v := range []struct {
		key        byte
		k1, ad     string
		ciphertext string
	}{
		{1, "e531954aca063d5b8d9c47a47d4cc6f0", "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
		{3, "23810ec50edb99f374409466ed1f4b7b", "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
	} {
		const nonce, plaintext = "ABCDEFGHIJKLMNOPQRSTUVWX", "XAES-256-GCM"
		s := fixed(NewSealer(bytes.Repeat([]byte{v.key}, KeySize)), []byte(nonce))
		if got := hex.EncodeToString(s.k1[:]); got != v.k1 {
			t.Errorf("key %d: K1 is %s, not %s", v.key, got, v.k1)
		}
		sealed := s.Seal([]byte("before"), []byte(plaintext), []byte(v.ad))
		if got, want := hex.EncodeToString(sealed), hex.EncodeToString([]byte("before"+nonce))+v.ciphertext; got != want {
			t.Errorf("key %d: sealed to\n%s, not\n%s", v.key, got, want)
		}
		opened, err := s.Open([]byte("before"), sealed[len("before"):], []byte(v.ad))
		if err != nil || string(opened) != "before"+plaintext {
			t.Errorf("key %d: opened to %q, %v", v.key, opened, err)
		}
	}
}

// The accumulated vectors of the same document: inputs from one SHAKE-128, ciphertexts into another.
func TestXAESAccumulated(t *testing.T) {
	for _, v := range []struct {
		iterations int
		want       string
	}{
		{10_000, "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939"},
		{1_000_000, "2163ae1445985a30b60585ee67daa55674df06901b890593e824b8a7c885ab15"},
	} {
		t.Run(fmt.Sprint(v.iterations), func(t *testing.T) {
			if v.iterations > 10_000 && testing.Short() {
				t.Skip("a million iterations take seconds: not with -short")
			}
			if got := accumulate(t, v.iterations); got != v.want {
				t.Errorf("the hash is %s, not %s", got, v.want)
			}
		})
	}
}

func accumulate(t *testing.T, iterations int) string {
	in, out := sha3.NewSHAKE128(), sha3.NewSHAKE128()
	var key [KeySize]byte
	var nonce [NonceSize]byte
	var sealed, opened, plaintext, ad []byte
	vector := func(b []byte) []byte {
		var n [1]byte
		in.Read(n[:])
		b = append(b[:0], make([]byte, n[0])...)
		in.Read(b)
		return b
	}
	for i := range iterations {
		in.Read(key[:])
		in.Read(nonce[:])
		plaintext, ad = vector(plaintext), vector(ad)
		s := fixed(NewSealer(key[:]), nonce[:])
		sealed = s.Seal(sealed[:0], plaintext, ad)
		out.Write(sealed[NonceSize:])
		if i%16 != 0 {
			continue // the hash is about sealing; opening all would double the time
		}
		var err error
		if opened, err = s.Open(opened[:0], sealed, ad); err != nil || !bytes.Equal(opened, plaintext) {
			t.Fatalf("sealed %x, opened %x, %v", plaintext, opened, err)
		}
	}
	var sum [32]byte
	io.ReadFull(out, sum[:])
	return hex.EncodeToString(sum[:])
}

func TestOpenRefuses(t *testing.T) {
	s, other := NewSealer(testKey(1)), NewSealer(testKey(2))
	sealed := s.Seal(nil, []byte("a preference"), []byte("ad"))
	for i := range 8 * len(sealed) {
		if _, err := s.Open(nil, flipped(sealed, i), []byte("ad")); !errors.Is(err, ErrAuth) {
			t.Errorf("bit %d flipped: %v", i, err)
		}
	}
	for n := range sealed {
		if _, err := s.Open(nil, sealed[:n], []byte("ad")); !errors.Is(err, ErrAuth) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	for name, open := range map[string]func() ([]byte, error){
		"extended":          func() ([]byte, error) { return s.Open(nil, append(bytes.Clone(sealed), 0), []byte("ad")) },
		"other ad":          func() ([]byte, error) { return s.Open(nil, sealed, []byte("AD")) },
		"longer ad":         func() ([]byte, error) { return s.Open(nil, sealed, []byte("ad ")) },
		"no ad":             func() ([]byte, error) { return s.Open(nil, sealed, nil) },
		"other key":         func() ([]byte, error) { return other.Open(nil, sealed, []byte("ad")) },
		"as a longer block": func() ([]byte, error) { return s.OpenBlock(nil, sealed, 13, []byte("ad")) },
	} {
		if b, err := open(); !errors.Is(err, ErrAuth) || b != nil {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

func TestNoncesDiffer(t *testing.T) {
	s := NewSealer(testKey(1))
	seen := make(map[string]bool)
	for range 1000 {
		nonce := string(s.Seal(nil, nil, nil)[:NonceSize])
		if seen[nonce] {
			t.Fatalf("nonce %x came twice", nonce)
		}
		seen[nonce] = true
	}
}

func TestOpenInPlace(t *testing.T) {
	s := NewSealer(testKey(1))
	for _, n := range []int{0, 1, 15, 16, 17, 100, 5000} {
		plaintext := pattern(n)
		sealed := s.Seal(nil, plaintext, []byte("ad"))
		full := bytes.Clone(sealed)
		opened, err := s.Open(full[:0], full, []byte("ad"))
		if err != nil || !bytes.Equal(opened, plaintext) {
			t.Errorf("%d bytes in place: %v", n, err)
		}
		short := bytes.Clone(sealed) // room for the plaintext and nothing else
		opened, err = s.Open(short[:0:n], short, []byte("ad"))
		if err != nil || !bytes.Equal(opened, plaintext) {
			t.Errorf("%d bytes in place without room for the tag: %v", n, err)
		}
	}
}

func TestWipedSealer(t *testing.T) {
	s := NewSealer(testKey(1))
	sealed := s.Seal(nil, []byte("x"), nil)
	block := s.block
	var before, after [16]byte
	block.Encrypt(before[:], before[:])
	s.Wipe()
	s.Wipe()
	block.Encrypt(after[:], after[:])
	if before == after || s.k1 != [16]byte{} {
		t.Error("the key schedule is still there")
	}
	if _, err := s.Open(nil, sealed, nil); !errors.Is(err, ErrWiped) {
		t.Errorf("Open: %v", err)
	}
	if _, err := s.OpenBlock(nil, sealed, 1, nil); !errors.Is(err, ErrWiped) {
		t.Errorf("OpenBlock: %v", err)
	}
	mustPanic(t, "Seal", func() { s.Seal(nil, []byte("x"), nil) })
	mustPanic(t, "SealBlock", func() { s.SealBlock(nil, pattern(FrameSize+1), nil) })
	mustPanic(t, "NewSealer", func() { NewSealer(make([]byte, 16)) })
}

func mustPanic(t *testing.T, what string, fn func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s did not panic", what)
		}
	}()
	fn()
}

func testKey(b byte) []byte { return bytes.Repeat([]byte{b}, KeySize) }

// pattern returns n bytes that differ from place to place.
func pattern(n int) []byte {
	b := make([]byte, n)
	in := sha3.NewSHAKE128()
	fmt.Fprint(in, n)
	in.Read(b)
	return b
}

// flipped returns a copy of b with one bit flipped.
func flipped(b []byte, bit int) []byte {
	b = bytes.Clone(b)
	b[bit/8] ^= 1 << (bit % 8)
	return b
}

func BenchmarkSeal(b *testing.B) {
	for _, n := range []int{100, 4 << 10, 128 << 10} {
		s, plaintext, ad := NewSealer(testKey(1)), pattern(n), pattern(40)
		b.Run(fmt.Sprintf("Seal/%d", n), func(b *testing.B) {
			b.SetBytes(int64(n))
			b.ReportAllocs()
			var dst []byte
			for b.Loop() {
				dst = s.SealBlock(dst[:0], plaintext, ad)
			}
		})
		sealed := s.SealBlock(nil, plaintext, ad)
		b.Run(fmt.Sprintf("Open/%d", n), func(b *testing.B) {
			b.SetBytes(int64(n))
			b.ReportAllocs()
			var dst []byte
			var err error
			for b.Loop() {
				if dst, err = s.OpenBlock(dst[:0], sealed, n, ad); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("OpenInPlace/%d", n), func(b *testing.B) {
			b.SetBytes(int64(n))
			buf := bytes.Clone(sealed)
			for b.Loop() {
				copy(buf, sealed)
				if _, err := s.OpenBlock(buf[:0], buf, n, ad); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkNonce(b *testing.B) {
	s := NewSealer(testKey(1))
	buf := make([]byte, 0, NonceSize)
	for b.Loop() {
		s.appendNonce(buf, 0)
	}
}

func BenchmarkDerive(b *testing.B) {
	s := NewSealer(testKey(1))
	nonce := testKey(2)
	b.ReportAllocs()
	for b.Loop() {
		s.aead(deriveMessage, nonce)
	}
}
