package control

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"salliefs/crypto"
	"salliefs/fs"
)

var testStore = crypto.StoreID{1, 2, 3}

// fakeTarget is a store of values in memory that remembers what it was asked.
type fakeTarget struct {
	mu     sync.Mutex
	values map[string][]byte
	most   int // bytes of a value, for the quota
	asked  []string
	change PassphraseChange
	hang   chan struct{} // closed when Check has begun to wait for its context
}

func newFake() *fakeTarget {
	return &fakeTarget{values: map[string][]byte{}, most: 64 << 20, hang: make(chan struct{})}
}

func (t *fakeTarget) note(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked = append(t.asked, fmt.Sprintf(format, args...))
}

func (t *fakeTarget) Stats(_ context.Context, o StatsOptions) (Stats, error) {
	t.note("stats %v", o)
	return Stats{Mounted: true, Files: 7, Requests: map[string]uint64{"LOOKUP": 3}}, nil
}

func (t *fakeTarget) Repair(_ context.Context, o RepairOptions, _ func(Progress), report func(Problem)) (Repaired, error) {
	report(Problem{Where: "ns/file", What: "bytes 1 to 2: gone", Remedy: "noted", From: 1, To: 2})
	return Repaired{DryRun: o.DryRun, Snapshot: "before", Repaired: 1}, nil
}

func (t *fakeTarget) Check(ctx context.Context, o CheckOptions, progress func(Progress), report func(Problem)) error {
	t.note("check %v", o)
	progress(Progress{Part: "files", Done: 1, Total: 2})
	report(Problem{Where: "a/b", What: "torn"})
	progress(Progress{Part: "files", Done: 2, Total: 2})
	if o.Data {
		close(t.hang)
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (t *fakeTarget) Namespaces(context.Context) ([]Namespace, error) {
	return []Namespace{{Name: ""}, {Name: "a\xffb", Quota: 5}}, nil
}

func (t *fakeTarget) CreateNamespace(_ context.Context, name string, s Settings) (Namespace, error) {
	var codec string
	if s.Compression != nil {
		codec = *s.Compression
	}
	t.note("create %q %s", name, codec)
	return Namespace{Name: Name(name), Compression: codec}, nil
}

func (t *fakeTarget) SetNamespace(_ context.Context, name string, s Settings) (Namespace, error) {
	var quota int64
	if s.Quota != nil {
		quota = *s.Quota
	}
	t.note("set %q %d %v", name, quota, s.Compression == nil)
	return Namespace{Name: Name(name), Quota: quota}, nil
}

func (t *fakeTarget) RenameNamespace(_ context.Context, old, new string) error {
	t.note("rename %q %q", old, new)
	return nil
}

func (t *fakeTarget) RemoveNamespace(_ context.Context, name string, o RemoveOptions) (Removed, error) {
	t.note("remove ns %q %v", name, o)
	return Removed{Files: 2, LogicalBytes: 9}, nil
}

func (t *fakeTarget) Get(_ context.Context, path string, begin func(Entry) error, w io.Writer) error {
	t.mu.Lock()
	v, ok := t.values[path]
	t.mu.Unlock()
	if !ok {
		return fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	}
	if err := begin(Entry{Path: Name(path), Size: int64(len(v)), Modified: time.Unix(0, 123456789)}); err != nil {
		return err
	}
	_, err := w.Write(v)
	return err
}

func (t *fakeTarget) Set(_ context.Context, path string, r io.Reader) (Entry, error) {
	var b bytes.Buffer
	_, err := io.Copy(&b, io.LimitReader(r, int64(t.most)+1))
	if err != nil {
		return Entry{}, err
	}
	if b.Len() > t.most {
		return Entry{}, fmt.Errorf("%s: %w", path, fs.ErrQuota)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.values[path] = b.Bytes()
	return Entry{Path: Name(path), Size: int64(b.Len())}, nil
}

func (t *fakeTarget) Remove(_ context.Context, path string, o RemoveOptions) (Removed, error) {
	t.note("remove %q %v", path, o)
	return Removed{Files: 1}, nil
}

func (t *fakeTarget) List(_ context.Context, path string, recursive bool, report func(Entry) error) error {
	t.note("list %q %v", path, recursive)
	for _, k := range slices.Sorted(maps.Keys(t.values)) {
		if err := report(Entry{Path: Name(k)}); err != nil {
			return err
		}
	}
	return nil
}

func (t *fakeTarget) ChangePassphrase(_ context.Context, c PassphraseChange) error {
	if string(c.Old) != "old" {
		return fmt.Errorf("context standard: %w", crypto.ErrWrongSecret)
	}
	t.change = PassphraseChange{c.Context, bytes.Clone(c.Old), bytes.Clone(c.New), c.KDF}
	return nil
}

func (t *fakeTarget) Recover(_ context.Context, r Recovery) (Recovered, error) {
	t.note("recover %s %s", r.Key, r.New)
	return Recovered{Context: "standard", Remade: true}, nil
}

func (t *fakeTarget) Close() error { return nil }

// serve starts a server for target and returns its socket.
func serve(t *testing.T, o ServerOptions) (*Server, string) {
	t.Helper()
	l, err := Listen(t.TempDir(), testStore)
	if err != nil {
		t.Fatal(err)
	}
	o.Store, o.Mount = testStore, "/mnt/x"
	s := NewServer(l, o)
	s.Serve()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, l.Addr().String()
}

func dial(t *testing.T, socket string) *Client {
	t.Helper()
	c, err := Dial(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func start(t *testing.T) (*fakeTarget, *Client) {
	target := newFake()
	_, socket := serve(t, ServerOptions{Target: target})
	return target, dial(t, socket)
}

func TestHello(t *testing.T) {
	_, c := start(t)
	if c.Store() != testStore.String() || c.PID() != os.Getpid() || c.Mount() != "/mnt/x" {
		t.Errorf("hello: store %s, pid %d, mount %s", c.Store(), c.PID(), c.Mount())
	}
}

func TestEveryRequestReachesTheTarget(t *testing.T) {
	target, c := start(t)
	ctx := t.Context()
	codec, quota := "zstd", int64(77)
	check := func(what string, err error, ok bool) {
		t.Helper()
		if err != nil || !ok {
			t.Errorf("%s: %v, right answer: %v", what, err, ok)
		}
	}
	s, err := c.Stats(ctx, StatsOptions{Requests: true, Reset: true})
	check("stats", err, s.Files == 7 && s.Requests["LOOKUP"] == 3)
	var seen []string
	err = c.Check(ctx, CheckOptions{}, func(p Progress) { seen = append(seen, fmt.Sprint(p)) }, func(p Problem) { seen = append(seen, fmt.Sprint(p)) })
	check("check", err, slices.Equal(seen, []string{"{files 1 2 }", "{a/b torn  0 0 false}", "{files 2 2 }"}))
	repaired, err := c.Repair(ctx, RepairOptions{DryRun: true}, func(Progress) {}, func(p Problem) { seen = append(seen, p.Remedy) })
	check("repair", err, repaired == Repaired{DryRun: true, Snapshot: "before", Repaired: 1} && seen[len(seen)-1] == "noted")
	all, err := c.Namespaces(ctx)
	check("namespaces", err, len(all) == 2 && all[1].Name == "a\xffb" && all[1].Quota == 5)
	n, err := c.CreateNamespace(ctx, "n", Settings{Compression: &codec})
	check("create", err, n.Name == "n" && n.Compression == "zstd")
	n, err = c.SetNamespace(ctx, "n", Settings{Quota: &quota})
	check("set", err, n.Quota == 77)
	check("rename", c.RenameNamespace(ctx, "n", "m\xfe"), true)
	r, err := c.RemoveNamespace(ctx, "m", RemoveOptions{Force: true})
	check("remove", err, r == Removed{2, 9})
	r, err = c.Remove(ctx, "n/k", RemoveOptions{DryRun: true})
	check("rm", err, r.Files == 1)
	check("passwd", c.ChangePassphrase(ctx, PassphraseChange{"standard", []byte("old"), []byte("new\x00"), KDF{time.Second}}), true)
	check("passwd", nil, string(target.change.New) == "new\x00" && target.change.KDF.Time == time.Second)
	got, err := c.Recover(ctx, Recovery{Key: "AB-CD", New: []byte("x")})
	check("recover", err, got == Recovered{"standard", true})
	want := []string{"stats {true true}", "check {false}", `create "n" zstd`, `set "n" 77 true`, `rename "n" "m\xfe"`,
		`remove ns "m" {true false}`, `remove "n/k" {false true}`, "recover AB-CD x"}
	if !slices.Equal(target.asked, want) {
		t.Errorf("the target was asked\n%q, want\n%q", target.asked, want)
	}
}

func TestValuesOfEverySize(t *testing.T) {
	_, c := start(t)
	for _, size := range []int{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 5<<20 + 17} {
		v := make([]byte, size)
		rand.Read(v)
		path := fmt.Sprintf("n\xff/%d", size)
		if e, err := c.Set(t.Context(), path, bytes.NewReader(v)); err != nil || e.Size != int64(size) || string(e.Path) != path {
			t.Fatalf("set of %d bytes: %+v, %v", size, e, err)
		}
		var got bytes.Buffer
		var entry Entry
		err := c.Get(t.Context(), path, func(e Entry) error { entry = e; return nil }, &got)
		if err != nil || !bytes.Equal(got.Bytes(), v) || entry.Size != int64(size) || string(entry.Path) != path {
			t.Fatalf("get of %d bytes: %d bytes, %+v, %v", size, got.Len(), entry, err)
		}
	}
	var n int
	if err := c.List(t.Context(), "", true, func(Entry) error { n++; return nil }); err != nil || n != 6 {
		t.Errorf("list: %d entries, %v", n, err)
	}
}

// endless is a value without end.
type endless struct{ read atomic.Int64 }

func (e *endless) Read(p []byte) (int, error) { e.read.Add(int64(len(p))); return len(p), nil }

func TestRefusedValueStopsTheSender(t *testing.T) {
	target, c := start(t)
	target.most = 1 << 20
	r := &endless{}
	_, err := c.Set(t.Context(), "n/k", r)
	if !errors.Is(err, fs.ErrQuota) {
		t.Fatalf("got %v, want the quota", err)
	}
	if n := r.read.Load(); n > 64<<20 {
		t.Errorf("%d bytes were read of a value that was refused after 1 MiB", n)
	}
	// The connection goes on.
	if _, err := c.Set(t.Context(), "n/k", strings.NewReader("short")); err != nil {
		t.Fatal(err)
	}
	if string(target.values["n/k"]) != "short" {
		t.Errorf("got %q", target.values["n/k"])
	}
}

func TestBrokenValueChangesNothing(t *testing.T) {
	target, c := start(t)
	target.values["n/k"] = []byte("old")
	cause := errors.New("the disk broke")
	_, err := c.Set(t.Context(), "n/k", io.MultiReader(strings.NewReader("half"), errReader{cause}))
	if !errors.Is(err, cause) {
		t.Errorf("got %v, want the reader's error", err)
	}
	if string(target.values["n/k"]) != "old" {
		t.Errorf("the value is %q", target.values["n/k"])
	}
	if _, err := c.Namespaces(t.Context()); err != nil {
		t.Errorf("the next request: %v", err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestCancelReachesTheTarget(t *testing.T) {
	target, c := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-target.hang; cancel() }()
	err := c.Check(ctx, CheckOptions{Data: true}, func(Progress) {}, func(Problem) {})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Namespaces(t.Context()); !errors.Is(err, ErrLost) {
		t.Errorf("after a cancelled request: %v", err)
	}
}

func TestDrainCancelsAndRefuses(t *testing.T) {
	target := newFake()
	s, socket := serve(t, ServerOptions{Target: target})
	c := dial(t, socket)
	done := make(chan error)
	go func() { done <- c.Check(t.Context(), CheckOptions{Data: true}, func(Progress) {}, func(Problem) {}) }()
	<-target.hang
	s.Drain()
	if err := <-done; !errors.Is(err, ErrUnmounting) {
		t.Errorf("the request that ran: %v", err)
	}
	if _, err := c.Namespaces(t.Context()); !errors.Is(err, ErrUnmounting) {
		t.Errorf("a request after Drain: %v", err)
	}
}

func TestUnmountIsAnsweredAtTheEnd(t *testing.T) {
	outcome := make(chan error, 1)
	began := make(chan bool, 1)
	s, socket := serve(t, ServerOptions{Target: newFake(), Unmount: func(_ context.Context, lazy bool) error {
		began <- lazy
		return <-outcome
	}})
	c := dial(t, socket)
	done := make(chan error)
	go func() { done <- c.Unmount(t.Context(), true) }()
	if !<-began {
		t.Error("lazy did not arrive")
	}
	s.Drain() // does not wait for it
	outcome <- fmt.Errorf("%w: disk gone", ErrNotDurable)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, ErrNotDurable) || !strings.Contains(err.Error(), "disk gone") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestServerThatDies(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, _ := l.Accept()
		lines := newLines(c)
		lines.receive()
		lines.send(message{Hello: &hello{Protocol: protocolName, Version: protocolVersion}})
		lines.receive()
		c.Close()
	}()
	c := dial(t, socket)
	if err := c.Unmount(t.Context(), false); !errors.Is(err, ErrLost) {
		t.Errorf("got %v, want ErrLost", err)
	}
}
