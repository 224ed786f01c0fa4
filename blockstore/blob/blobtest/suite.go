package blobtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"salliefs/blockstore/blob"
)

// Run tests a back end against the contract of blob.Store. open returns an
// empty store each time; it registers its own cleanup.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	tests := []struct {
		name string
		run  func(t *testing.T, s blob.Store)
	}{
		{"Write", testWrite},
		{"Empty", testEmpty},
		{"ReadAt", testReadAt},
		{"WriterReadAt", testWriterReadAt},
		{"Sync", testSync},
		{"AbortUnsynced", testAbortUnsynced},
		{"AbortSynced", testAbortSynced},
		{"Closed", testClosed},
		{"Cancel", testCancel},
		{"Unfinished", testUnfinished},
		{"ConcurrentReads", testConcurrentReads},
		{"ReadWhileClosing", testReadWhileClosing},
		{"Names", testNames},
		{"NotExist", testNotExist},
		{"Exclusive", testExclusive},
		{"Put", testPut},
		{"PutWhileWriting", testPutWhileWriting},
		{"PutNewRace", testPutNewRace},
		{"PutRace", testPutRace},
		{"List", testList},
		{"ListCallback", testListCallback},
		{"Remove", testRemove},
		{"RemoveSome", testRemoveSome},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

var ctx = context.Background()

// random returns n bytes that depend on seed alone.
func random(seed uint64, n int) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	b := make([]byte, n)
	_, _ = r.Read(b) // never fails
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wants fails unless err is target and names the object, if it has a name.
func wants(t *testing.T, what string, err, target error, name string) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("%s: got error %v, want %v", what, err, target)
	}
	var e *blob.Error
	if !errors.As(err, &e) || e.Name != name || e.Op == "" {
		t.Fatalf("%s: error %#v does not name operation and object %q", what, err, name)
	}
}

func create(t *testing.T, s blob.Store, name string) blob.Writer {
	t.Helper()
	w, err := s.Create(ctx, name)
	must(t, err)
	return w
}

func write(t *testing.T, w blob.Writer, data []byte) {
	t.Helper()
	n, err := w.Write(bytes.Clone(data))
	must(t, err)
	if n != len(data) {
		t.Fatalf("wrote %d of %d bytes", n, len(data))
	}
}

// store creates an object and closes it.
func store(t *testing.T, s blob.Store, name string, data []byte) {
	t.Helper()
	w := create(t, s, name)
	write(t, w, data)
	must(t, w.Close())
}

// load reads a whole object.
func load(s blob.Store, name string) ([]byte, error) {
	r, err := s.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	return data, errors.Join(err, r.Close())
}

// holds fails unless the object has exactly these bytes, for each way to ask.
func holds(t *testing.T, s blob.Store, name string, want []byte) {
	t.Helper()
	got, err := load(s, name)
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Fatalf("object %q: got %d bytes, want %d (equal up to %d)", name, len(got), len(want), common(got, want))
	}
	info, err := s.Stat(ctx, name)
	must(t, err)
	if info != (blob.Info{Name: name, Size: int64(len(want))}) {
		t.Fatalf("stat of object %q of %d bytes: %+v", name, len(want), info)
	}
}

func common(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// list returns the objects below prefix.
func list(t *testing.T, s blob.Store, prefix string) []blob.Info {
	t.Helper()
	var infos []blob.Info
	must(t, s.List(ctx, prefix, func(i blob.Info) error {
		infos = append(infos, i)
		return nil
	}))
	return infos
}
