package secret

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestNewlineAtTheEnd(t *testing.T) {
	for in, want := range map[string]string{
		"a": "a", "a\n": "a", "a\r\n": "a", "a\n\n": "a\n", "a\r": "a\r", " a \n": " a ", "a\x00b": "a\x00b", "\xff\n": "\xff",
	} {
		got, err := Source{What: "passphrase", File: "-", Stdin: strings.NewReader(in)}.Read(t.Context())
		if err != nil || string(got) != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestWhatIsNoPassphrase(t *testing.T) {
	long := strings.Repeat("swordfish", maxSize/9+1)
	for name, s := range map[string]Source{
		"empty":           {File: "-", Stdin: strings.NewReader("")},
		"newline":         {File: "-", Stdin: strings.NewReader("\n")},
		"too long":        {File: "-", Stdin: strings.NewReader(long)},
		"endless command": {Command: "yes swordfish"},
		"failing command": {Command: "echo swordfish; false"},
		"silent command":  {Command: "true"},
		"missing file":    {File: "/nonexistent/swordfish2"},
		"directory":       {File: "/"},
	} {
		s.What, s.Stderr = "passphrase", new(bytes.Buffer)
		got, err := s.Read(t.Context())
		if !errors.Is(err, ErrNone) || got != nil {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if err != nil && strings.Contains(err.Error(), "swordfish\n") {
			t.Errorf("%s: the secret is in the error: %v", name, err)
		}
	}
	if got, err := (Source{What: "passphrase", File: "-", Stdin: strings.NewReader(long[:maxSize] + "\r\n")}).Read(t.Context()); err != nil || len(got) != maxSize {
		t.Errorf("the longest passphrase: %d bytes, %v", len(got), err)
	}
}

// TestCommandLeavesStandardInput: it may be the value of a key.
func TestCommandLeavesStandardInput(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString("the value"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	got, err := Source{What: "passphrase", Command: "cat; echo swordfish", Stdin: r, Stderr: new(bytes.Buffer)}.Read(t.Context())
	if err != nil || string(got) != "swordfish" {
		t.Errorf("passphrase %q, %v", got, err)
	}
	if left, err := io.ReadAll(r); err != nil || string(left) != "the value" {
		t.Errorf("left of standard input: %q, %v", left, err)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv(EnvVar, "swordfish")
	var warned bytes.Buffer
	got, err := Source{What: "passphrase", Env: true, Stderr: &warned}.Read(t.Context())
	if err != nil || string(got) != "swordfish" || !strings.Contains(warned.String(), "warning: "+EnvVar) {
		t.Errorf("%q, %v, warned %q", got, err, warned.String())
	}
	left := WithoutPassword(os.Environ())
	if slices.ContainsFunc(left, func(e string) bool { return strings.Contains(e, "swordfish") }) || len(left) != len(os.Environ())-1 {
		t.Errorf("what is left of the environment: %q", left)
	}
}
