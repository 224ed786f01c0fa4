package disktest

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, d *Disk, name, data string) vfs.File {
	t.Helper()
	f, err := d.Create(name, vfs.WriteCategoryUnspecified)
	must(t, err)
	_, err = f.Write([]byte(data))
	must(t, err)
	return f
}

func syncDir(t *testing.T, d *Disk, name string) {
	t.Helper()
	f, err := d.OpenDir(name)
	must(t, err)
	must(t, errors.Join(f.Sync(), f.Close()))
}

// cuts collects what power cuts leave, as show tells it.
func cuts(d *Disk, show func(d *Disk) string) map[string]int {
	found := make(map[string]int)
	for seed := range uint64(300) {
		for _, percent := range []int{0, 50, 100} {
			found[show(d.Crash(rand.New(rand.NewPCG(seed, 1)), percent))]++
		}
	}
	return found
}

func content(name string) func(d *Disk) string {
	return func(d *Disk) string {
		b, err := d.Bytes(name)
		if err != nil {
			return "none"
		}
		return string(b)
	}
}

// TestCutTearsSectors: of bytes that were not synced, each sector is there or not, in any combination.
func TestCutTearsSectors(t *testing.T) {
	d := New()
	f := create(t, d, "/f", strings.Repeat("a", 3*sectorSize))
	must(t, f.Sync())
	syncDir(t, d, "/")
	_, err := f.WriteAt([]byte(strings.Repeat("b", 3*sectorSize)), 0)
	must(t, err)
	found := cuts(d, func(d *Disk) string {
		b, _ := d.Bytes("/f")
		var s strings.Builder
		for piece := range slices.Chunk(b, sectorSize) {
			if !bytes.Equal(piece, bytes.Repeat(piece[:1], sectorSize)) {
				t.Fatal("a sector is torn")
			}
			s.WriteByte(piece[0])
		}
		return s.String()
	})
	if len(found) != 8 {
		t.Errorf("found %v, want all combinations of three sectors", found)
	}
	must(t, f.Sync())
	if found := cuts(d, content("/f")); len(found) != 1 {
		t.Error("synced bytes are lost")
	}
}

// TestCutEnds: a file that grew may be short, long with zeros, or whole.
func TestCutEnds(t *testing.T) {
	d := New()
	f := create(t, d, "/f", "a")
	must(t, f.Sync())
	syncDir(t, d, "/")
	_, err := f.Write([]byte(strings.Repeat("b", 2*sectorSize)))
	must(t, err)
	found := cuts(d, func(d *Disk) string {
		b, _ := d.Bytes("/f")
		s := string(slices.Compact(b))
		if len(b) == sectorSize {
			s += "."
		}
		return s
	})
	for _, want := range []string{"a", "ab", "ab.", "a\x00", "a\x00b"} {
		if found[want] == 0 {
			t.Errorf("never %q: %v", want, found)
		}
	}
	if found["b"] > 0 {
		t.Error("a synced byte is lost")
	}
}

// TestCutDirectories: each change of a directory that was not synced happened or not, a rename whole or not.
func TestCutDirectories(t *testing.T) {
	d := New()
	for _, name := range []string{"/old", "/gone", "/from"} {
		f := create(t, d, name, name)
		must(t, errors.Join(f.Sync(), f.Close()))
	}
	syncDir(t, d, "/")
	must(t, d.Remove("/gone"))
	must(t, d.Rename("/from", "/old"))
	must(t, create(t, d, "/new", "").Close())
	show := func(d *Disk) string {
		names, err := d.List("/")
		must(t, err)
		slices.Sort(names)
		return strings.Join(names, " ") + " " + content("/old")(d)
	}
	found := cuts(d, show)
	if len(found) != 8 {
		t.Errorf("found %v, want all combinations of three changes", found)
	}
	for s := range found {
		if strings.HasPrefix(s, "from ") == strings.HasSuffix(s, "/from") {
			t.Errorf("half of a rename: %q", s)
		}
	}
	syncDir(t, d, "/")
	if found := cuts(d, show); len(found) != 1 || found["new old /from"] == 0 {
		t.Errorf("after a sync of the directory: %v", found)
	}
}

// TestCutIsApart: what happens after a cut happens on one of the two disks.
func TestCutIsApart(t *testing.T) {
	d := New()
	f := create(t, d, "/f", "before")
	must(t, f.Sync())
	syncDir(t, d, "/")
	c := d.Crash(nil, 0)
	_, err := f.WriteAt([]byte("after "), 0)
	must(t, err)
	must(t, f.Sync())
	if got := content("/f")(c); got != "before" {
		t.Errorf("the cut disk holds %q", got)
	}
	must(t, c.Remove("/f"))
	if got := content("/f")(d); got != "after " {
		t.Errorf("the disk holds %q", got)
	}
}

func TestShortRead(t *testing.T) {
	d := New()
	must(t, create(t, d, "/f", "12345678").Close())
	d.SetHook(func(op Op) error {
		if op.Kind == Read {
			return ErrShort
		}
		return nil
	})
	f, err := d.Open("/f")
	must(t, err)
	buf := make([]byte, 4)
	if n, err := f.ReadAt(buf, 2); n != 2 || !errors.Is(err, io.ErrUnexpectedEOF) || string(buf[:n]) != "34" {
		t.Errorf("ReadAt: %q, %v", buf[:n], err)
	}
	if all, err := io.ReadAll(f); string(all) != "12345678" || err != nil {
		t.Errorf("Read: %q, %v", all, err)
	}
}

// TestSite: operations of one place in the code are one site, whatever their file's number.
func TestSite(t *testing.T) {
	d := New()
	sites := make(map[string]bool)
	d.SetHook(func(op Op) error {
		sites[op.Site()] = true
		return nil
	})
	for _, name := range []string{"/000001.log", "/000002.log"} {
		must(t, create(t, d, name, "x").Close())
	}
	if len(sites) != 2 {
		t.Errorf("%v, want one for Create and one for Write", sites)
	}
}
