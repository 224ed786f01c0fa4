package crypto

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
)

var blockSizes = []int{0, 1, 4096, FrameSize - 1, FrameSize, FrameSize + 1, 2 * FrameSize, 3*FrameSize - 7, 8 * FrameSize}

func TestBlockRoundTrip(t *testing.T) {
	s := NewSealer(testKey(1))
	for _, n := range blockSizes {
		plaintext := pattern(n)
		sealed := s.SealBlock([]byte("before"), plaintext, []byte("ad"))[len("before"):]
		if len(sealed) != SealedBlockSize(n) {
			t.Errorf("%d bytes: sealed to %d, not %d", n, len(sealed), SealedBlockSize(n))
		}
		opened, err := s.OpenBlock([]byte("before"), sealed, n, []byte("ad"))
		if err != nil || !bytes.Equal(opened, append([]byte("before"), plaintext...)) {
			t.Errorf("%d bytes: %v", n, err)
		}
		inPlace, err := s.OpenBlock(sealed[:0], sealed, n, []byte("ad"))
		if err != nil || !bytes.Equal(inPlace, plaintext) {
			t.Errorf("%d bytes in place: %v", n, err)
		}
	}
}

// Every span of a block can be read through the frames that FrameSpan names, in place and not.
func TestFrameSpans(t *testing.T) {
	s := NewSealer(testKey(1))
	for _, plainLen := range blockSizes[1:] {
		plaintext := pattern(plainLen)
		sealed := s.SealBlock(nil, plaintext, []byte("ad"))
		for _, off := range []int{0, 1, 4095, 4096, FrameSize - 1, FrameSize, FrameSize + 1, plainLen / 2, plainLen - 1} {
			for _, n := range []int{1, 100, FrameSize, FrameSize + 1, plainLen} {
				if off < 0 || off+n > plainLen {
					continue
				}
				start, end, first, skip := FrameSpan(plainLen, off, n)
				if most := (n+FrameSize-2)/FrameSize + 1; end-start > most*sealedFrameSize {
					t.Errorf("%d bytes at %d of %d: %d sealed bytes, over %d frames", n, off, plainLen, end-start, most)
				}
				span := bytes.Clone(sealed[NonceSize:][start:end])
				opened, err := s.OpenFrames(nil, sealed[:NonceSize], span, first, plainLen, []byte("ad"))
				if err != nil || !bytes.Equal(opened[skip:skip+n], plaintext[off:off+n]) {
					t.Fatalf("%d bytes at %d of %d: %v", n, off, plainLen, err)
				}
				opened, err = s.OpenFrames(span[:0], sealed[:NonceSize], span, first, plainLen, []byte("ad"))
				if err != nil || !bytes.Equal(opened[skip:skip+n], plaintext[off:off+n]) {
					t.Fatalf("%d bytes at %d of %d in place: %v", n, off, plainLen, err)
				}
			}
		}
	}
}

func TestFrameSpanPanics(t *testing.T) {
	for _, c := range [][3]int{{10, -1, 1}, {10, 0, 0}, {10, 0, 11}, {10, 10, 1}, {10, 1 << 62, 1 << 62}, {0, 0, 1}} {
		mustPanic(t, fmt.Sprint(c), func() { FrameSpan(c[0], c[1], c[2]) })
	}
}

// A block whose frames have been tampered with never opens, whatever length the reader expects and wherever the change
// leaves whole frames.
func TestFramesRefuse(t *testing.T) {
	s := NewSealer(testKey(1))
	const n = 3*FrameSize + 100
	plaintext, ad := pattern(n), []byte("ad")
	sealed := s.SealBlock(nil, plaintext, ad)
	other := s.SealBlock(nil, pattern(n), ad) // another block that would have the same associated data
	frame := func(b []byte, i int) []byte {
		start, end, _, _ := FrameSpan(n, i*FrameSize, 1)
		return b[NonceSize:][start:end]
	}
	join := func(parts ...[]byte) []byte { return bytes.Join(append([][]byte{sealed[:NonceSize]}, parts...), nil) }
	f0, f1, f2, f3 := frame(sealed, 0), frame(sealed, 1), frame(sealed, 2), frame(sealed, 3)
	for name, c := range map[string]struct {
		sealed []byte
		n      int
	}{
		"first two swapped":            {join(f1, f0, f2, f3), n},
		"middle two swapped":           {join(f0, f2, f1, f3), n},
		"a frame doubled":              {join(f0, f0, f2, f3), n},
		"cut behind frame 3":           {join(f0, f1, f2), 3 * FrameSize},
		"cut behind frame 2":           {join(f0, f1), 2 * FrameSize},
		"cut behind frame 1":           {join(f0), FrameSize},
		"frame 3 missing, expected":    {join(f0, f1, f2), n},
		"all but frame 0 missing":      {join(f0), n},
		"nothing but the nonce, n":     {join(), n},
		"nothing but the nonce":        {join(), 0},
		"first frame missing":          {join(f1, f2, f3), n - FrameSize},
		"middle frame missing":         {join(f0, f2, f3), n - FrameSize},
		"a middle frame at the end":    {join(f0, f1, f2, f3, f2), 5 * FrameSize},
		"the last frame again":         {join(f0, f1, f2, f3, f3), 4*FrameSize + 100},
		"the last frame in the middle": {join(f0, f1, f3), 2*FrameSize + 100},
		"a byte more":                  {join(f0, f1, f2, f3, []byte{0}), n},
		"a byte more, expected":        {join(f0, f1, f2, f3, []byte{0}), n + 1},
		"a byte less":                  {sealed[:len(sealed)-1], n},
		"a byte less, expected":        {sealed[:len(sealed)-1], n - 1},
		"frame of another block":       {join(f0, frame(other, 1), f2, f3), n},
		"last frame of another block":  {join(f0, f1, f2, frame(other, 3)), n},
		"nonce of another block":       {append(bytes.Clone(other[:NonceSize]), sealed[NonceSize:]...), n},
		"negative length":              {sealed, -1},
		"huge length":                  {sealed, 1<<63 - 1},
	} {
		if b, err := s.OpenBlock(nil, c.sealed, c.n, ad); !errors.Is(err, ErrAuth) || b != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.OpenBlock(nil, sealed, n, []byte("aD")); !errors.Is(err, ErrAuth) {
		t.Errorf("other associated data: %v", err)
	}
	if _, err := NewSealer(testKey(2)).OpenBlock(nil, sealed, n, ad); !errors.Is(err, ErrAuth) {
		t.Errorf("other key: %v", err)
	}
	for bit := range 8 * len(sealed) {
		if bit >= 8*NonceSize && bit%1009 != 0 && bit < 8*(len(sealed)-TagSize) {
			continue // every bit of the nonce and the last tag, a sample of the rest
		}
		if _, err := s.OpenBlock(nil, flipped(sealed, bit), n, ad); !errors.Is(err, ErrAuth) {
			t.Errorf("bit %d flipped: %v", bit, err)
		}
	}
	if b, err := s.OpenBlock(nil, sealed, n, ad); err != nil || !bytes.Equal(b, plaintext) {
		t.Errorf("unchanged: %v", err)
	}
}

// Single frames do not open at other places, with other lengths, or as whole messages.
func TestOpenFramesRefuses(t *testing.T) {
	s := NewSealer(testKey(1))
	const n = 3*FrameSize + 100
	ad := []byte("ad")
	sealed := s.SealBlock(nil, pattern(n), ad)
	nonce, frames := sealed[:NonceSize], sealed[NonceSize:]
	first, last := frames[:sealedFrameSize], frames[3*sealedFrameSize:]
	for name, c := range map[string]struct {
		nonce, sealed []byte
		first, n      int
	}{
		"at another place":       {nonce, first, 1, n},
		"negative place":         {nonce, first, -1, n},
		"behind the end":         {nonce, first, 4, n},
		"far behind the end":     {nonce, first, 1<<63 - 1, n},
		"negative length":        {nonce, first, 0, -1},
		"first as the last":      {nonce, first, 0, FrameSize},
		"last as the first":      {nonce, last, 0, 100},
		"last as not the last":   {nonce, last, 3, n + 100},
		"part of a frame":        {nonce, first[:100], 0, n},
		"a frame and a part":     {nonce, frames[:sealedFrameSize+100], 0, n},
		"more frames than any":   {nonce, append(bytes.Clone(frames), last...), 0, n},
		"nothing":                {nonce, nil, 0, n},
		"less than a tag":        {nonce, first[:TagSize-1], 0, n},
		"short nonce":            {nonce[:NonceSize-1], first, 0, n},
		"longer block expected":  {nonce, last, 3, n + 1},
		"shorter block expected": {nonce, last, 3, n - 1},
	} {
		if b, err := s.OpenFrames(nil, c.nonce, c.sealed, c.first, c.n, ad); !errors.Is(err, ErrAuth) || b != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A frame behind the nonce that it was sealed with is still not a message: its key has another label.
	var scratch scratch
	message := append(bytes.Clone(nonce[:gcmNonceSize]), scratch.frameNonce(nonce, 0, false)...)
	if _, err := s.Open(nil, append(message, first...), ad); !errors.Is(err, ErrAuth) {
		t.Errorf("a frame opened as a message: %v", err)
	}
}

// What had been opened before a damaged frame does not stay in the caller's buffer.
func TestOpenBlockLeavesNoPlaintext(t *testing.T) {
	s := NewSealer(testKey(1))
	plaintext := bytes.Repeat([]byte("secret! "), 3*FrameSize/8)
	sealed := s.SealBlock(nil, plaintext, nil)
	sealed[len(sealed)-1] ^= 1
	buf := make([]byte, 0, len(plaintext))
	if _, err := s.OpenBlock(buf, sealed, len(plaintext), nil); !errors.Is(err, ErrAuth) {
		t.Fatal(err)
	}
	if bytes.Contains(buf[:cap(buf)], []byte("secret")) {
		t.Error("plaintext in the buffer after an error")
	}
	if _, err := s.OpenBlock(sealed[:0], sealed, len(plaintext), nil); !errors.Is(err, ErrAuth) {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("secret")) {
		t.Error("plaintext in the buffer after an error in place")
	}
}

// TestFrameOpener: what OpenFrames opens and refuses, an opener does, without an allocation, until either is wiped.
func TestFrameOpener(t *testing.T) {
	const n = 3*FrameSize + 100
	s, ad := NewSealer(testKey(1)), []byte("ad")
	plaintext := pattern(n)
	sealed := s.SealBlock(nil, plaintext, ad)
	o, err := s.FrameOpener(sealed[:NonceSize])
	must(t, err)
	frames := sealed[NonceSize:]
	for first := range 4 {
		for last := first; last < 4; last++ {
			part := frames[first*sealedFrameSize : min(len(frames), (last+1)*sealedFrameSize)]
			opened, err := o.Open([]byte("x"), part, first, n, ad)
			if want := plaintext[first*FrameSize : min(n, (last+1)*FrameSize)]; err != nil || string(opened) != "x"+string(want) {
				t.Errorf("frames %d to %d: %v or wrong bytes", first, last, err)
			}
		}
	}
	one := frames[sealedFrameSize : 2*sealedFrameSize]
	for name, c := range map[string]struct {
		sealed   []byte
		first, n int
		ad       string
	}{
		"another frame":     {one, 2, n, "ad"},
		"another block":     {one, 1, n, "da"},
		"a part of a frame": {one[1:], 1, n, "ad"},
		"no frame":          {nil, 1, n, "ad"},
		"a frame before 0":  {one, -1, n, "ad"},
		"a block of one":    {one, 0, FrameSize, "ad"},
	} {
		if _, err := o.Open(nil, c.sealed, c.first, c.n, []byte(c.ad)); !errors.Is(err, ErrAuth) {
			t.Errorf("%s: %v", name, err)
		}
	}
	dst := make([]byte, 0, FrameSize)
	if got := testing.AllocsPerRun(100, func() { o.Open(dst, one, 1, n, ad) }); got > 0 && !raceEnabled {
		t.Errorf("opening allocates %v times", got)
	}
	other, err := s.FrameOpener(sealed[:NonceSize])
	must(t, err)
	o.Wipe()
	if _, err := o.Open(nil, one, 1, n, ad); !errors.Is(err, ErrWiped) {
		t.Errorf("a wiped opener: %v", err)
	}
	s.Wipe()
	if _, err := other.Open(nil, one, 1, n, ad); !errors.Is(err, ErrWiped) {
		t.Errorf("after the sealer was wiped: %v", err)
	}
	if _, err := s.FrameOpener(sealed[:NonceSize]); !errors.Is(err, ErrWiped) {
		t.Errorf("of a wiped sealer: %v", err)
	}
}

// Sealing and opening cost the two allocations that the standard library's AES and GCM need, whatever the size.
func TestSealerAllocations(t *testing.T) {
	s := NewSealer(testKey(1))
	for _, n := range []int{100, FrameSize, 8 * FrameSize} {
		plaintext := pattern(n)
		sealed := s.SealBlock(nil, plaintext, nil)
		dst := make([]byte, 0, len(sealed))
		if got := testing.AllocsPerRun(100, func() { s.SealBlock(dst, plaintext, nil) }); got > 2 && !raceEnabled {
			t.Errorf("%d bytes: sealing allocates %v times", n, got)
		}
		if got := testing.AllocsPerRun(100, func() { s.OpenBlock(dst, sealed, n, nil) }); got > 2 && !raceEnabled {
			t.Errorf("%d bytes: opening allocates %v times", n, got)
		}
	}
}

func TestSealerFromManyGoroutines(t *testing.T) {
	s := NewSealer(testKey(1))
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for _, n := range blockSizes {
				plaintext := bytes.Repeat([]byte{byte(worker)}, n)
				opened, err := s.OpenBlock(nil, s.SealBlock(nil, plaintext, nil), n, nil)
				if err != nil || !bytes.Equal(opened, plaintext) {
					t.Errorf("worker %d, %d bytes: %v", worker, n, err)
				}
			}
		})
	}
	group.Wait()
}
