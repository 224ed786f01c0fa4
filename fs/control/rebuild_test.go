package control

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore"
	"salliefs/crypto"
	"salliefs/fs"
)

// rebuilt closes the store, takes its records away, and makes another of what is left.
func (m *mending) rebuilt() (n *mending, told []string, sum fs.Rebuilt, from *blockstore.Remains) {
	m.t.Helper()
	m.must(m.Close())
	m.must(m.disk.RemoveAll("st/records"))
	from, err := blockstore.OpenRemains(m.t.Context(), "st", m.master, blockstore.Options{FS: m.disk}, nil)
	m.must(err)
	encoded, _ := newKeyring()
	kr, err := crypto.DecodeKeyring(encoded)
	m.must(err)
	n = &mending{world: &world{disk: vfs.NewCrashableMem(), master: m.master}, t: m.t, content: m.content, ino: make(map[string]fs.Ino)}
	m.must(from.CreateLike("st", kr, m.master, n.disk, blockstore.NamespaceSettings{}))
	open(m.t, n.world, blockstore.Options{FS: n.disk, Log: slog.New(slog.DiscardHandler)})
	sum, err = n.o.Tree.Rebuild(m.t.Context(), from, "head\n", nil, func(p fs.Problem) { told = append(told, p.String()) })
	m.must(errors.Join(err, from.Close()))
	if list, _ := n.found(); len(list) > 0 {
		m.t.Errorf("the new store: %q", list)
	}
	m.t.Cleanup(func() {
		if err := n.Close(); err != nil {
			m.t.Error(err)
		}
	})
	m.world.Local = NewLocal(LocalOptions{}) // closed already
	return n, told, sum, from
}

func (m *mending) same(path, want string) {
	m.t.Helper()
	if got, bad, err := m.read(path); err != nil || bad > 0 || got != want {
		at := 0
		for at < min(len(got), len(want)) && got[at] == want[at] {
			at++
		}
		m.t.Errorf("%s: %d bytes, want %d; equal up to %d, %v", path, len(got), len(want), at, err)
	}
}

func TestRebuild(t *testing.T) {
	m := newMending(t)
	tree := m.o.Tree
	// A file that is overwritten in part, one that has another name now, one that is cut, and one with a hole.
	over := noise(5, 64<<10)
	if _, err := tree.WriteAt(m.ino["n/big"], []byte(over), 196_608, false); err != nil {
		t.Fatal(err)
	}
	m.content["n/big"] = m.content["n/big"][:196_608] + over + m.content["n/big"][196_608+len(over):]
	m.must(tree.Rename(m.ino["n/d"], "mid", m.ino["n/d/e"], "moved", 0))
	if _, err := tree.WriteAt(m.ino["n/d/mid"], []byte(noise(6, 9000)), 0, false); err != nil {
		t.Fatal(err)
	}
	m.content["n/d/e/moved"] = noise(6, 9000) + m.content["n/d/mid"][9000:]
	delete(m.content, "n/d/mid")
	if _, err := tree.SetAttr(m.ino["other/file"], fs.SetAttr{Valid: fs.SetSize | fs.SetMode, Size: 150_000, Mode: 0o640}); err != nil {
		t.Fatal(err)
	}
	if _, err := tree.WriteAt(m.ino["other/file"], []byte(noise(7, 8192)), 0, false); err != nil {
		t.Fatal(err)
	}
	m.content["other/file"] = noise(7, 8192) + m.content["other/file"][8192:150_000]
	m.content["n/holes"] = strings.Repeat("\x00", 1<<20) + noise(8, 50_000)
	_, err := m.Set(t.Context(), "n/holes", strings.NewReader(m.content["n/holes"]))
	m.must(err)
	a := m.lookup("n/holes")
	m.must(tree.Fallocate(a.Ino, fs.FallocPunchHole|fs.FallocKeepSize, 0, 1<<20))
	if _, err := tree.SetAttr(m.ino["n/big"], fs.SetAttr{Valid: fs.SetMtime | fs.SetUID, Mtime: 12345, UID: 77}); err != nil {
		t.Fatal(err)
	}
	if _, err := tree.WriteBack(m.ino["n/big"], []byte(m.content["n/big"][:8192]), 0); err != nil {
		t.Fatal(err)
	}
	m.must(tree.Sync())
	m.must(m.o.Store.Reclaim(t.Context()))

	n, told, sum, _ := m.rebuilt()
	for path, want := range m.content {
		if len(want) > 4096 {
			n.same(path, want)
		} else if _, err := n.find(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if a := n.lookup("n/big"); a.UID != 77 || a.Mtime != 12345 {
		t.Errorf("%+v", a)
	}
	if a := n.lookup("other/file"); a.Mode&0o777 != 0o640 {
		t.Errorf("mode %o", a.Mode)
	}
	if a := n.lookup("n"); a.UID != 7 || a.Mode&0o777 != 0o755 {
		t.Errorf("%+v", a)
	}
	all := strings.Join(told, "\n")
	if sum.Lost != 0 || sum.Whole+sum.Gaps != len(told) || !strings.Contains(all, "n/big: all of it is there") {
		t.Errorf("%+v\n%s", sum, all)
	}
	if report := n.report("n"); !strings.HasPrefix(report, "head\n") || !strings.Contains(report, "n/d/e/moved: all of it is there") {
		t.Errorf("report %q", report)
	}
}

// TestRebuildDamaged: what can not be read is a gap, also where an older block had something.
func TestRebuildDamaged(t *testing.T) {
	m := newMending(t)
	old := m.content["n/big"]
	if _, err := m.o.Tree.WriteAt(m.ino["n/big"], []byte(noise(5, 1<<20)), 0, false); err != nil {
		t.Fatal(err)
	}
	m.content["n/big"] = noise(5, 1<<20)
	m.must(m.o.Tree.Sync())
	from, to := m.flipIn("n/big")
	n, told, sum, _ := m.rebuilt()
	got, bad, err := n.read("n/big")
	if err != nil || bad > 0 || len(got) != 1<<20 {
		t.Fatalf("%d bytes, %d bad, %v", len(got), bad, err)
	}
	gap := from / (128 << 10) * (128 << 10) // a rebuild reads blocks as a whole
	for i := range got {
		lost := int64(i) >= gap && int64(i) < gap+128<<10
		if lost && got[i] != 0 || !lost && got[i] != m.content["n/big"][i] {
			t.Fatalf("byte %d is wrong; %d to %d were damaged, and it is the old one: %v", i, from, to, got[i] == old[i])
		}
	}
	text := fmt.Sprintf("n/big: nothing is known of bytes %d to %d", gap, gap+128<<10)
	if sum.Gaps != 1 || !strings.Contains(strings.Join(told, "\n"), text) {
		t.Errorf("%+v, %q, want %q", sum, told, text)
	}
}

// TestRebuildWithoutFooter: of a segment that a crash has ended nobody knows what its blocks are for.
func TestRebuildWithoutFooter(t *testing.T) {
	m := newMending(t)
	m.must(m.Close())
	for _, name := range m.segments() {
		editFile(t, m.disk, name, func(b []byte) []byte { return b[:len(b)-32] })
	}
	m.world.Local = NewLocal(LocalOptions{})
	_, told, sum, from := m.rebuilt()
	if len(told) != 0 || sum != (fs.Rebuilt{}) || len(from.Bad) == 0 || from.Stray == 0 {
		t.Errorf("%q, %+v, %q, %d stray", told, sum, from.Bad, from.Stray)
	}
}
