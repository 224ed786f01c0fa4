package crypto

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

// mistype replaces the character at i by another one of the alphabet.
func mistype(s string, i int) string {
	next := recoveryAlphabet[(recoveryDigit(rune(s[i]))+1)%32]
	return s[:i] + string(next) + s[i+1:]
}

func TestRecoveryKeyRoundTrip(t *testing.T) {
	m := testMaster(t, 0xa5)
	for context, length := range map[string]int{
		StandardContext: 79, SecureContext: 79, "a": 84, "work.2": 94, strings.Repeat("x", MaxContextName): 146,
	} {
		text := RecoveryKey(context, m)
		if len(text) != length {
			t.Errorf("%s: %d characters, not %d: %s", context, len(text), length, text)
		}
		for how, typed := range map[string]string{
			"as printed":      text,
			"in small":        strings.ToLower(text),
			"without dashes":  strings.ReplaceAll(text, "-", ""),
			"in lines":        "  " + strings.ReplaceAll(text, "-", "\r\n\t") + "\n",
			"with en dashes":  strings.ReplaceAll(text, "-", " – "),
			"O for 0":         strings.ReplaceAll(text, "0", "O"),
			"o for 0":         strings.ReplaceAll(text, "0", "o"),
			"I for 1":         strings.ReplaceAll(text, "1", "I"),
			"l for 1":         strings.ReplaceAll(text, "1", "l"),
			"no-break spaces": strings.ReplaceAll(text, "-", "\u00a0"),
		} {
			gotContext, got, err := ParseRecoveryKey(typed)
			if err != nil || gotContext != context || !got.Equal(m) {
				t.Errorf("%s, %s: %q, %v", context, how, gotContext, err)
			}
		}
	}
	mustPanic(t, "an impossible context", func() { RecoveryKey("A", m) })
}

// Every single mistyped character, swapped neighbours and swapped groups are seen.
func TestRecoveryKeyTypingErrors(t *testing.T) {
	m, err := NewMaster(strings.NewReader(string(pattern(KeySize))))
	must(t, err)
	for _, context := range []string{StandardContext, "work"} {
		text := RecoveryKey(context, m)
		refuse := func(what, typed string) {
			if _, _, err := ParseRecoveryKey(typed); !errors.Is(err, ErrRecoveryKey) {
				t.Errorf("%s: %v", what, err)
			}
		}
		for i := range text {
			if text[i] == '-' {
				continue
			}
			for _, c := range recoveryAlphabet {
				if byte(c) != text[i] {
					refuse("mistyped", text[:i]+string(c)+text[i+1:])
				}
			}
			if i > 0 && text[i-1] != '-' && text[i-1] != text[i] {
				refuse("neighbours swapped", text[:i-1]+text[i:i+1]+text[i-1:i]+text[i+1:])
			}
			refuse("missing", text[:i]+text[i+1:])
			refuse("doubled", text[:i]+text[i:i+1]+text[i:])
		}
		groups := strings.Split(text, "-")
		for i := range groups[1:] {
			swapped := strings.Split(text, "-")
			swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
			refuse("groups swapped", strings.Join(swapped, "-"))
			refuse("group missing", strings.Join(append(append([]string{}, groups[:i]...), groups[i+1:]...), "-"))
		}
	}
}

func TestRecoveryKeyErrors(t *testing.T) {
	m := testMaster(t, 1)
	text := RecoveryKey(StandardContext, m)
	forged := func(head string) string {
		b, err := hex.DecodeString(head)
		must(t, err)
		b = append(b, testKey(1)...)
		sum := recoverySum(b)
		return recoveryText(append(b, sum[:]...))
	}
	for _, c := range []struct{ name, typed, says string }{
		{"empty", "", "it is empty"},
		{"dashes only", " - - ", "it is empty"},
		{"a character that is in none", text[:10] + "U" + text[11:], "'U' in group 3 cannot"},
		{"punctuation", "0404_", "'_' in group 2 cannot"},
		{"not UTF-8", "04\xff", "in group 1 cannot"},
		{"a passphrase", "correct horse battery staple", "missing or too many"},
		{"a group missing", text[:20] + text[25:], "missing or too many"},
		{"a character missing", text[:len(text)-1], "missing or too many"},
		{"a group too many", text + "-0000", "missing or too many"},
		{"endless", strings.Repeat("0", recoveryMaxText+1), "missing or too many"},
		{"mistyped", mistype(text, 12), "mistyped"},
		{"a bit that carries nothing", mistype(RecoveryKey("a", m), 83), "mistyped"},
		{"version 2", forged("0201"), "newer version"},
		{"tag 3", forged("0103"), "newer version"},
		{"named standard", forged("010008" + hex.EncodeToString([]byte(StandardContext))), "newer version"},
		{"named badly", forged("010001" + "41"), "newer version"},
		{"name too long", forged("0100ff" + "61"), "newer version"},
		{"a byte too many", forged("0101" + "00"), "newer version"},
	} {
		_, _, err := ParseRecoveryKey(c.typed)
		if !errors.Is(err, ErrRecoveryKey) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, not %q", c.name, err, c.says)
		}
	}
}
