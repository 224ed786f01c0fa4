package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore"
	"salliefs/crypto"
	"salliefs/fs"
)

// world is a store in memory, with what opens it.
type world struct {
	disk     vfs.FS
	master   *crypto.Master
	recovery string
	*Local
}

const passphrase = "correct horse"

// newKeyring makes the keyring of all stores here: deriving a key takes its time.
var newKeyring = sync.OnceValues(func() (encoded []byte, recovery string) {
	m, err := crypto.NewMaster(nil)
	kr := crypto.NewKeyring(testStore)
	if err == nil {
		err = errors.Join(kr.AddContext(crypto.StandardContext, m),
			kr.AddPassphrase(crypto.StandardContext, m, []byte(passphrase), crypto.FloorKDF()),
			kr.AddRecovery(crypto.StandardContext, m))
	}
	if err != nil {
		panic(err)
	}
	return kr.Encode(), crypto.RecoveryKey(crypto.StandardContext, m)
})

func newWorld(t *testing.T) *world { return newWorldWith(t, blockstore.Options{}) }

// newWorldWith opens its store with options of which the disk is filled in.
func newWorldWith(t *testing.T, o blockstore.Options) *world {
	t.Helper()
	return newWorldOn(t, vfs.NewCrashableMem(), o)
}

func newWorldOn(t *testing.T, disk vfs.FS, o blockstore.Options) *world {
	t.Helper()
	w := &world{disk: disk}
	encoded, recovery := newKeyring()
	w.recovery = recovery
	kr, err := crypto.DecodeKeyring(encoded)
	if err == nil {
		w.master, err = kr.Unlock(crypto.StandardContext, []byte(recovery))
	}
	if err == nil {
		err = blockstore.Create("st", kr, w.master, blockstore.CreateOptions{FS: w.disk})
	}
	if err != nil {
		t.Fatal(err)
	}
	o.FS = w.disk
	if o.ReadOnly { // a tree makes its top directory the first time
		open(t, w, blockstore.Options{FS: w.disk})
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	open(t, w, o)
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func open(t *testing.T, w *world, o blockstore.Options) {
	t.Helper()
	st, err := blockstore.Open("st", w.master, o)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := fs.Open(st, fs.Options{ReadOnly: o.ReadOnly})
	if err != nil {
		t.Fatal(err)
	}
	w.Local = NewLocal(LocalOptions{Dir: "st", Disk: w.disk, Store: st, Tree: tree, Master: w.master,
		Close: func() error { return errors.Join(tree.Close(), st.Close()) }})
}

// unlocks says whether a secret opens the keyring that is on the disk.
func (w *world) unlocks(t *testing.T, secret string) bool {
	t.Helper()
	raw, err := blockstore.ReadKeyring(w.disk, "st")
	if err != nil {
		t.Fatal(err)
	}
	kr, err := crypto.DecodeKeyring(raw)
	if err != nil {
		t.Fatal(err)
	}
	m, err := kr.Unlock(crypto.StandardContext, []byte(secret))
	if err != nil {
		return false
	}
	defer m.Wipe()
	return m.Equal(w.master)
}

func TestValuesOfAStore(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	if _, err := w.CreateNamespace(ctx, "n", Settings{}); err != nil {
		t.Fatal(err)
	}
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB, several chunks
	for path, value := range map[string][]byte{"n/a": []byte("1"), "n/d/e/f": big, "n/empty": nil, "root": []byte("2"), "n/odd\xff": []byte("3")} {
		if e, err := w.Set(ctx, path, bytes.NewReader(value)); err != nil || e.Size != int64(len(value)) || string(e.Path) != path {
			t.Errorf("set %q: %+v, %v", path, e, err)
		}
		var got bytes.Buffer
		if err := w.Get(ctx, "/"+path+"/", func(Entry) error { return nil }, &got); err != nil || !bytes.Equal(got.Bytes(), value) {
			t.Errorf("get %q: %d bytes, %v", path, got.Len(), err)
		}
	}
	list := func(path string, recursive bool) (all []string) {
		err := w.List(ctx, path, recursive, func(e Entry) error { all = append(all, string(e.Path)+" "+e.Type); return nil })
		if err != nil {
			t.Errorf("list %q: %v", path, err)
		}
		return all
	}
	for _, c := range []struct {
		path      string
		recursive bool
		want      []string
	}{
		{"", false, []string{"n dir", "root file"}},
		{"", true, []string{"n dir", "n/a file", "n/d dir", "n/d/e dir", "n/d/e/f file", "n/empty file", "n/odd\xff file", "root file"}},
		{"n/d", false, []string{"n/d/e dir"}},
		{"n/d", true, []string{"n/d/e dir", "n/d/e/f file"}},
		{"n/a", true, []string{"n/a file"}},
	} {
		if got := list(c.path, c.recursive); !slices.Equal(got, c.want) {
			t.Errorf("list %q %v: %q, want %q", c.path, c.recursive, got, c.want)
		}
	}
	if _, err := w.Remove(ctx, "n/d", RemoveOptions{}); !errors.Is(err, fs.ErrNotEmpty) {
		t.Errorf("a full directory without force: %v", err)
	}
	for _, o := range []RemoveOptions{{DryRun: true, Force: true}, {Force: true}} {
		if r, err := w.Remove(ctx, "n/d", o); err != nil || r != (Removed{Files: 3, LogicalBytes: int64(len(big))}) {
			t.Errorf("remove %+v: %+v, %v", o, r, err)
		}
	}
	if _, err := w.Remove(ctx, "n/d", RemoveOptions{Force: true}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed twice: %v", err)
	}
	for _, path := range []string{"n", "n/../a", "n//a", "n/a\x00"} {
		if _, err := w.Set(ctx, path, strings.NewReader("x")); !errors.Is(err, fs.ErrIsDir) && !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("set %q: %v", path, err)
		}
	}
}

func TestSetIsAllOrNothing(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	quota := int64(1 << 20)
	if _, err := w.CreateNamespace(ctx, "n", Settings{Quota: &quota}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Set(ctx, "n/k", strings.NewReader("old")); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("the pipe broke")
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	waiting, stop := context.WithCancel(ctx)
	silent, _, err := os.Pipe() // whose other end says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, c := range []struct {
		name  string
		ctx   context.Context
		value io.Reader
		want  error
	}{
		{"quota", ctx, io.LimitReader(&endless{}, 3<<20), fs.ErrQuota},
		{"broken", ctx, io.MultiReader(strings.NewReader("half"), errReader{cause}), cause},
		{"cancelled", cancelled, strings.NewReader("new"), context.Canceled},
		{"interrupted", waiting, io.MultiReader(strings.NewReader("half"), readerFunc(func(p []byte) (int, error) { stop(); return silent.Read(p) })), context.Canceled},
	} {
		if _, err := w.Set(c.ctx, "n/k", c.value); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		var got bytes.Buffer
		if err := w.Get(ctx, "n/k", func(Entry) error { return nil }, &got); err != nil || got.String() != "old" {
			t.Errorf("%s: afterwards the value is %q, %v", c.name, got.String(), err)
		}
	}
	var problems []Problem
	if err := w.Check(ctx, CheckOptions{Data: true}, func(Progress) {}, func(p Problem) { problems = append(problems, p) }); err != nil || len(problems) > 0 {
		t.Errorf("check: %v, %v", problems, err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// endsWhen is a context that ends when something has come about.
type endsWhen struct {
	context.Context
	ended func() bool
}

func (c endsWhen) Err() error {
	if c.ended() {
		return context.Canceled
	}
	return nil
}

// TestInterruptedRemove: what is removed is durable, whatever comes after it.
func TestInterruptedRemove(t *testing.T) {
	w := newWorld(t)
	if _, err := w.CreateNamespace(t.Context(), "n", Settings{}); err != nil {
		t.Fatal(err)
	}
	keys := []string{"d/a", "d/b", "d/c"}
	for _, key := range keys {
		if _, err := w.Set(t.Context(), "n/"+key, strings.NewReader("1")); err != nil {
			t.Fatal(err)
		}
	}
	left := func(tree *fs.FS) (left []string) {
		for _, key := range keys {
			if _, err := tree.StatKey("n", key); err == nil {
				left = append(left, key)
			}
		}
		return left
	}
	ctx := endsWhen{t.Context(), func() bool { return len(left(w.o.Tree)) < len(keys) }}
	if _, err := w.Remove(ctx, "n/d", RemoveOptions{Force: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	now := left(w.o.Tree)
	if len(now) != len(keys)-1 {
		t.Errorf("left: %q", now)
	}
	disk := w.disk.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{})
	st, err := blockstore.Open("st", w.master, blockstore.Options{FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	tree, err := fs.Open(st, fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if got := left(tree); !slices.Equal(got, now) {
		t.Errorf("left after a crash: %q; before: %q", got, now)
	}
}

func TestNamespacesOfAStore(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	codec, size, quota := "zstd", 64<<10, int64(5<<20)
	n, err := w.CreateNamespace(ctx, "n", Settings{Compression: &codec, BlockSize: &size, Quota: &quota})
	if err != nil || n.Compression != codec || n.BlockSize != size || n.Quota != quota || n.Context != "standard" {
		t.Fatalf("%+v, %v", n, err)
	}
	more := int64(9 << 20)
	if n, err = w.SetNamespace(ctx, "n", Settings{Quota: &more}); err != nil || n.Quota != more || n.Compression != codec || n.BlockSize != size {
		t.Errorf("only the quota was to change: %+v, %v", n, err)
	}
	odd := "lzma"
	if _, err := w.SetNamespace(ctx, "n", Settings{Compression: &odd}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("an unknown codec: %v", err)
	}
	if _, err := w.CreateNamespace(ctx, "n", Settings{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("the same name again: %v", err)
	}
	if err := w.RenameNamespace(ctx, "n", "m"); err != nil {
		t.Error(err)
	}
	if err := w.RenameNamespace(ctx, "n", "o"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a name that is gone: %v", err)
	}
	if _, err := w.Set(ctx, "m/k", strings.NewReader("12345")); err != nil {
		t.Fatal(err)
	}
	if s, err := w.Stats(ctx, StatsOptions{}); err != nil || s.Files != 1 || s.LogicalBytes != 5 || len(s.Namespaces) != 2 || s.Commits.Groups == 0 {
		t.Errorf("stats: %+v, %v", s, err)
	}
	if _, err := w.RemoveNamespace(ctx, "m", RemoveOptions{}); !errors.Is(err, fs.ErrNotEmpty) {
		t.Errorf("a full namespace without force: %v", err)
	}
	if _, err := w.RemoveNamespace(ctx, "", RemoveOptions{Force: true}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("the root: %v", err)
	}
	if r, err := w.RemoveNamespace(ctx, "m", RemoveOptions{Force: true, DryRun: true}); err != nil || r.Files != 1 || r.LogicalBytes != 5 {
		t.Errorf("dry run: %+v, %v", r, err)
	}
	if _, err := w.RemoveNamespace(ctx, "m", RemoveOptions{Force: true}); err != nil {
		t.Error(err)
	}
	if all, err := w.Namespaces(ctx); err != nil || len(all) != 1 {
		t.Errorf("left: %+v, %v", all, err)
	}
}

func TestPassphraseChanges(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	change := func(old, new string) error {
		c := PassphraseChange{Context: crypto.StandardContext, New: []byte(new), KDF: KDF{1}}
		if old != "-" {
			c.Old = []byte(old)
		}
		return w.ChangePassphrase(ctx, c)
	}
	if err := change("wrong", "new"); !errors.Is(err, crypto.ErrWrongSecret) {
		t.Errorf("a wrong passphrase: %v", err)
	}
	if err := change(w.recovery, ""); !errors.Is(err, crypto.ErrPassphrase) {
		t.Errorf("an empty new one: %v", err)
	}
	if err := change(passphrase, "second"); err != nil || !w.unlocks(t, "second") || w.unlocks(t, passphrase) {
		t.Errorf("the change: %v", err)
	}
	if err := change("-", "third"); err != nil || !w.unlocks(t, "third") {
		t.Errorf("a change by who has just unlocked: %v", err)
	}

	// Over the wire, nobody can leave the old one out.
	_, socket := serve(t, ServerOptions{Target: w.Local})
	c := dial(t, socket)
	err := c.ChangePassphrase(ctx, PassphraseChange{Context: crypto.StandardContext, New: []byte("stolen"), KDF: KDF{1}})
	if !errors.Is(err, crypto.ErrWrongSecret) || w.unlocks(t, "stolen") {
		t.Errorf("a client without the old passphrase: %v", err)
	}
	if err := c.ChangePassphrase(ctx, PassphraseChange{crypto.StandardContext, []byte(w.recovery), []byte("fourth"), KDF{1}}); err != nil || !w.unlocks(t, "fourth") {
		t.Errorf("a client with the recovery key: %v", err)
	}
}

// TestReadOnlyKeepsItsKeyring: what is mounted read-only takes no new passphrase either.
func TestReadOnlyKeepsItsKeyring(t *testing.T) {
	w := newWorldWith(t, blockstore.Options{ReadOnly: true})
	err := w.ChangePassphrase(t.Context(), PassphraseChange{crypto.StandardContext, []byte(passphrase), []byte("new"), KDF{1}})
	if !errors.Is(err, blockstore.ErrReadOnly) {
		t.Errorf("a change of the passphrase: %v", err)
	}
	if _, err := w.Recover(t.Context(), Recovery{Key: w.recovery, New: []byte("new"), KDF: KDF{1}}); !errors.Is(err, blockstore.ErrReadOnly) {
		t.Errorf("a recovery: %v", err)
	}
	if !w.unlocks(t, passphrase) {
		t.Error("the keyring has changed")
	}
}

func TestRecovery(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	keyringFile := "st/keyring"
	recover := func(key, pass string) (Recovered, error) {
		return w.Recover(ctx, Recovery{Key: key, New: []byte(pass), KDF: KDF{1}})
	}
	if got, err := recover(strings.ToLower(w.recovery), "second"); err != nil || got.Remade || !w.unlocks(t, "second") {
		t.Errorf("with a good keyring: %+v, %v", got, err)
	}
	other, err := crypto.NewMaster(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := recover(crypto.RecoveryKey(crypto.StandardContext, other), "x"); !errors.Is(err, crypto.ErrWrongSecret) {
		t.Errorf("the key of another store: %v", err)
	}
	if _, err := recover(crypto.RecoveryKey("other", w.master), "x"); err == nil {
		t.Error("the key of a context that does not exist was taken")
	}
	if _, err := recover("0000-0000", "x"); !errors.Is(err, crypto.ErrRecoveryKey) {
		t.Errorf("no recovery key at all: %v", err)
	}
	for name, spoil := range map[string]func() error{
		"gone":    func() error { return w.disk.Remove(keyringFile) },
		"garbage": func() error { return w.write(keyringFile, []byte("garbage")) },
		"of another store": func() error {
			kr := crypto.NewKeyring(crypto.StoreID{9})
			return errors.Join(kr.AddContext(crypto.StandardContext, other), w.write(keyringFile, kr.Encode()))
		},
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		pass := "pass for " + name
		if got, err := recover(w.recovery, pass); err != nil || !got.Remade || !w.unlocks(t, pass) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// TestRecoverKeepsEveryDamagedKeyring: it may be all that is left of other contexts' slots.
func TestRecoverKeepsEveryDamagedKeyring(t *testing.T) {
	w := newWorld(t)
	for n, name := range []string{"keyring.damaged", "keyring.damaged-2", "keyring.damaged-3"} {
		damaged := fmt.Sprintf("garbage %d", n)
		if err := w.write("st/keyring", []byte(damaged)); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Recover(t.Context(), Recovery{Key: w.recovery, New: []byte("second"), KDF: KDF{1}}); err != nil {
			t.Fatal(err)
		}
		after := w.disk.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{})
		f, err := after.Open("st/" + name)
		if err != nil {
			t.Errorf("after a crash: %v", err)
			continue
		}
		if b, err := io.ReadAll(f); err != nil || string(b) != damaged {
			t.Errorf("after a crash %s has %q, %v; want %q", name, b, err, damaged)
		}
		f.Close()
	}
}

func (w *world) write(name string, b []byte) error {
	f, err := w.disk.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

func TestProblemsNameFilesOfAnyName(t *testing.T) {
	want := Problem{Where: "n/odd\xff", What: "gone"}
	raw, err := json.Marshal(want)
	if err != nil || !bytes.Contains(raw, []byte(`"where":{"base64":`)) {
		t.Fatalf("%s, %v", raw, err)
	}
	var got Problem
	if err := json.Unmarshal(raw, &got); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestCheckNamesWhatIsDamaged(t *testing.T) {
	for _, c := range []struct {
		p    fs.Problem
		want string
	}{
		{fs.Problem{Namespace: "n", Path: "a/b"}, "n/a/b"},
		{fs.Problem{Path: "a"}, "a"},
		{fs.Problem{Namespace: "n", Ino: blockstore.MakeIno(3, 7)}, "inode 7 in namespace n"},
		{fs.Problem{Ino: blockstore.MakeIno(3, 7)}, "inode 7 in namespace 3"},
		{fs.Problem{}, "/"},
	} {
		if got := whereOf(c.p); got != c.want {
			t.Errorf("%+v is at %q, want %q", c.p, got, c.want)
		}
	}
	w := newWorld(t)
	if _, err := w.CreateNamespace(t.Context(), "n", Settings{}); err != nil {
		t.Fatal(err)
	}
	id := w.o.Tree.Namespaces()[1].ID
	for _, c := range []struct {
		p    blockstore.Problem
		want string
	}{
		{blockstore.Problem{Namespace: id, Block: 5}, "block 5 in namespace n"},
		{blockstore.Problem{Namespace: id, Block: 5, Ino: blockstore.MakeIno(id, 7)}, "block 5 of inode 7 in namespace n"},
		{blockstore.Problem{Namespace: 99}, "namespace 99"},
	} {
		if got := w.placeOf(c.p); got != c.want {
			t.Errorf("%+v is at %q, want %q", c.p, got, c.want)
		}
	}
}

// tired is a context that ends when it has been asked a number of times.
type tired struct {
	context.Context
	left int
}

func (c *tired) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestRemoveGoesByDirectory removes a directory half: one below it with all that was in it, before the next one is looked
// at. The mount is told.
func TestRemoveGoesByDirectory(t *testing.T) {
	w := newWorld(t)
	if _, err := w.CreateNamespace(t.Context(), "n", Settings{}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"n/d/a/1", "n/d/a/2", "n/d/b", "n/d/c"} {
		if _, err := w.Set(t.Context(), path, strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
	}
	settled := 0
	w.o.Settle = func() { settled++ }
	if _, err := w.Remove(&tired{t.Context(), 5}, "n/d", RemoveOptions{Force: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("remove: %v", err)
	}
	var left []string
	err := w.List(t.Context(), "n", true, func(e Entry) error { left = append(left, string(e.Path)); return nil })
	if err != nil || !slices.Equal(left, []string{"n/d", "n/d/c"}) || settled != 1 {
		t.Errorf("left %q, settled %d times, %v", left, settled, err)
	}
}

// TestDeadSpace: what is overwritten counts for its namespace, in all that describes it.
func TestDeadSpace(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	noise := make([]byte, 300_000)
	rand.NewChaCha8([32]byte{1}).Read(noise)
	set := func(path string) {
		t.Helper()
		if _, err := w.Set(ctx, path, bytes.NewReader(noise)); err != nil {
			t.Fatal(err)
		}
	}
	for _, ns := range []string{"m", "n"} {
		if _, err := w.CreateNamespace(ctx, ns, Settings{}); err != nil {
			t.Fatal(err)
		}
		set(ns + "/kept")
	}
	set("n/changed")
	set("n/changed")
	for range 2 {
		s, err := w.Stats(ctx, StatsOptions{})
		if err != nil {
			t.Fatal(err)
		}
		root, m, n := s.Namespaces[0], s.Namespaces[1], s.Namespaces[2]
		if dead := n.DeadBytes; root.DeadBytes != 0 || m.DeadBytes != 0 || dead < 300_000 || dead > 310_000 || s.DeadBytes < dead || s.DeadBytes > dead+10_000 {
			t.Errorf("dead bytes of the root: %d, m: %d, n: %d, all: %d; want what was overwritten", root.DeadBytes, m.DeadBytes, dead, s.DeadBytes)
		}
		all, err := w.Namespaces(ctx)
		if err != nil || all[2].DeadBytes != n.DeadBytes {
			t.Errorf("%+v, %v; want the same as in the stats", all, err)
		}
		if one, err := w.SetNamespace(ctx, "n", Settings{}); err != nil || one.DeadBytes != n.DeadBytes {
			t.Errorf("%+v, %v; want the same as in the stats", one, err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		open(t, w, blockstore.Options{FS: w.disk})
	}
}
