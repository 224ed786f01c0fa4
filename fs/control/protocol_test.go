package control

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"salliefs/blockstore"
	"salliefs/crypto"
	"salliefs/fs"
)

// talk sends raw bytes and returns the lines that come back until the server closes or says nothing more.
func talk(t *testing.T, socket, say string) []string {
	t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, say); err != nil && !brokenPipe(err) {
		t.Fatal(err)
	}
	c.(*net.UnixConn).CloseWrite()
	c.SetReadDeadline(time.Now().Add(time.Minute))
	var got []string
	r := bufio.NewScanner(c)
	r.Buffer(nil, MaxLine)
	for r.Scan() {
		got = append(got, r.Text())
	}
	return got
}

const greeting = `{"hello":{"protocol":"salliefs-control","version":1}}` + "\n"

func TestWhatIsNotTheProtocol(t *testing.T) {
	_, socket := serve(t, ServerOptions{Target: newFake()})
	for _, c := range []struct{ name, say, want string }{
		{"no hello", `{"id":1,"op":"stats"}` + "\n", "bad-message"},
		{"other protocol", `{"hello":{"protocol":"http","version":1}}` + "\n", "bad-message"},
		{"other version", `{"hello":{"protocol":"salliefs-control","version":99}}` + "\n", "version"},
		{"no JSON", greeting + "swordfish\n", "bad-message"},
		{"number for a passphrase", greeting + `{"id":1,"op":"passwd","args":{"old":12345678}}` + "\n", "bad-message"},
		{"unknown operation", greeting + `{"id":1,"op":"swordfish"}` + "\n", "bad-message"},
		{"line too long", greeting + `{"op":"` + strings.Repeat("swordfish", MaxLine/9+1) + `"}` + "\n", "too-long"},
		{"half a line", greeting + `{"id":1,"op":"ns-list"`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := talk(t, socket, c.say)
			last := ""
			if len(got) > 0 {
				last = got[len(got)-1]
			}
			var m message
			if err := json.Unmarshal([]byte(last), &m); err != nil {
				t.Fatalf("got %q: %v", last, err)
			}
			code := ""
			if m.Error != nil {
				code = m.Error.Code
			}
			if code != c.want {
				t.Errorf("got %q, want code %q", last, c.want)
			}
			for _, secret := range []string{"swordfish", "12345678"} {
				if strings.Contains(last, secret) {
					t.Errorf("the answer repeats the input: %q", last)
				}
			}
		})
	}
}

// TestTranscript holds the example of doc.go against the server.
func TestTranscript(t *testing.T) {
	target := newFake()
	_, socket := serve(t, ServerOptions{Target: target})
	got := talk(t, socket, greeting+
		`{"id":1,"op":"set","args":{"path":"preferences/theme"}}`+"\n"+
		`{"id":1,"data":"ZGFyaw=="}`+"\n"+
		`{"id":1,"end":true}`+"\n"+
		`{"id":2,"op":"get","args":{"path":"preferences/theme"}}`+"\n"+
		`{"id":3,"op":"get","args":{"path":{"base64":"/w=="}}}`+"\n")
	want := []string{
		`{"id":1,"result":{"path":"preferences/theme"`,
		`{"id":2,"item":{"path":"preferences/theme"`,
		`{"id":2,"data":"ZGFyaw=="}`,
		`{"id":2,"result":{}}`,
		`{"id":3,"error":{"code":"not-found","text":"`,
	}
	if len(got) != len(want)+1 {
		t.Fatalf("got %d lines: %q", len(got), got)
	}
	for i, w := range want {
		if !strings.HasPrefix(got[i+1], w) {
			t.Errorf("line %d is %s, want %s…", i+1, got[i+1], w)
		}
	}
	if string(target.values["preferences/theme"]) != "dark" {
		t.Errorf("stored: %q", target.values)
	}
}

func TestErrorsSurviveTheTrip(t *testing.T) {
	for _, c := range codes {
		sent := fmt.Errorf("a/b: %w: more\nlines", c.err)
		wire := wireError(sent)
		if wire.Code != c.code {
			t.Errorf("%v got code %s, want %s", c.err, wire.Code, c.code)
		}
		if strings.Contains(wire.Text, "\n") {
			t.Errorf("%s: the text has several lines", c.code)
		}
		again := wireError(fmt.Errorf("again: %w", wire))
		if again.Code != c.code {
			t.Errorf("%s became %s on its second trip", c.code, again.Code)
		}
	}
	for _, err := range []error{
		fs.ErrNotExist, fs.ErrQuota, fs.ErrNoSpace, fs.ErrReadOnly, fs.ErrCorrupt, fs.ErrIsDir, fs.ErrNotEmpty, fs.ErrExist,
		crypto.ErrWrongSecret, crypto.ErrRecoveryKey, crypto.ErrKeyringDamaged, blockstore.ErrInUse, ErrBusy, ErrNotDurable,
	} {
		if got := wireError(&fs.Error{Op: "set", Namespace: "a", Path: "b", Err: err}); !errors.Is(got, err) {
			t.Errorf("%v arrived as %v", err, got.Unwrap())
		}
	}
	if got := (&Error{Code: "of-tomorrow", Text: "x"}); !errors.Is(got, ErrUnknown) || got.Error() != "x" {
		t.Errorf("an unknown code: %v", got)
	}
	if got := wireError(errors.New(strings.Repeat("long ", 1<<20))); len(got.Text) > 5<<10 {
		t.Errorf("an error of %d bytes", len(got.Text))
	}
}

func TestNameInJSON(t *testing.T) {
	for name, want := range map[Name]string{"a/b": `"a/b"`, "": `""`, "a\"b\n": `"a\"b\n"`, "a\xff": `{"base64":"Yf8="}`} {
		b, err := json.Marshal(name)
		var back Name
		if err != nil || string(b) != want || json.Unmarshal(b, &back) != nil || back != name {
			t.Errorf("%q became %s, then %q; %v", name, b, back, err)
		}
	}
}

// TestLineIsBounded: a line without an end takes no more memory than the longest that is allowed.
func TestLineIsBounded(t *testing.T) {
	_, socket := serve(t, ServerOptions{Target: newFake()})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	long := strings.Repeat("x", 1<<16)
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	go io.Copy(io.Discard, c)
	for sent := 0; sent < 64*MaxLine && err == nil; sent += len(long) { // the server hangs up long before
		_, err = io.WriteString(c, long)
	}
	if err == nil {
		t.Error("the server goes on reading")
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 8*MaxLine {
		t.Errorf("it allocated %d bytes", n)
	}
}

// FuzzServer feeds anything to a server: it may not crash, hang or repeat what it did not understand.
func FuzzServer(f *testing.F) {
	f.Add([]byte(greeting + `{"id":1,"op":"ns-list"}` + "\n"))
	f.Add([]byte(greeting + `{"id":1,"op":"set","args":{"path":"a/b"}}` + "\n" + `{"id":1,"data":"AA=="}` + "\n" + `{"id":1,"abort":true}` + "\n"))
	f.Add([]byte(greeting + `{"id":1,"op":"get","args":[]}` + "\n{}\n" + `{"id":1,"op":"passwd","args":{"old":"b2xk"}}` + "\n"))
	f.Add([]byte(`{"hello":null}` + "\n\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		target := newFake()
		target.most = 1 << 10
		client, server := net.Pipe()
		s := NewServer(nil, ServerOptions{Target: target})
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer server.Close()
			l := newLines(server)
			in := receiveAll(l)
			defer in.stop()
			for m := range in.messages {
				if m.Op != "" && m.Op != opCheck {
					if s.answer(l, in, m) != nil {
						return
					}
				}
			}
		}()
		go io.Copy(io.Discard, client)
		client.SetWriteDeadline(time.Now().Add(time.Minute))
		client.Write(b)
		client.Close()
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Fatal("the server hangs")
		}
	})
}
