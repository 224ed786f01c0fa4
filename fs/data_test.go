package fs

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"salliefs/blockstore"
)

// TestWriteRead writes at many places and lengths, with each block size, and reads in other portions.
func TestWriteRead(t *testing.T) {
	for _, blockSize := range []int{4 << 10, 32 << 10, 128 << 10} {
		t.Run(fmt.Sprint(blockSize), func(t *testing.T) {
			w := newWorld(t, Options{})
			ns := w.ns("n")
			must(t, w.SetNamespace("n", NamespaceSettings{BlockSize: blockSize}))
			f := w.file(ns, "f")
			want := make([]byte, 3<<20)
			for i, span := range [][2]int{
				{0, 1}, {1, 4095}, {4096, 4096}, {100, 131072}, {131071, 2}, {262144, 1 << 20}, {1 << 20, 1<<20 + 1}, {3<<20 - 1, 1}, {7, 0},
			} {
				data := bytes.Repeat([]byte{byte(i + 1)}, span[1])
				n, err := w.WriteAt(f, data, int64(span[0]), false)
				if n != len(data) || err != nil {
					t.Fatalf("WriteAt: %d, %v", n, err)
				}
				copy(want[span[0]:], data)
			}
			for range 2 {
				if got := w.read(f); got != string(want) {
					t.Error("whole file differs")
				}
				for _, span := range [][2]int{{0, 4096}, {4095, 2}, {131071, 131074}, {1 << 20, 1 << 20}, {3<<20 - 5, 5}} {
					buf := make([]byte, span[1])
					n, err := w.ReadAt(f, buf, int64(span[0]))
					if n != span[1] || err != nil || !bytes.Equal(buf, want[span[0]:span[0]+span[1]]) {
						t.Errorf("read of %v: %d, %v", span, n, err)
					}
				}
				w.check()
				w.remount()
			}
		})
	}
}

// TestSealedAhead: a long write, whose blocks are sealed before it, is like several short ones, also when it is refused or
// falls on what is there in many pieces.
func TestSealedAhead(t *testing.T) {
	for _, blockSize := range []int{4 << 10, 32 << 10, 128 << 10} {
		t.Run(fmt.Sprint(blockSize), func(t *testing.T) {
			w := newWorld(t, Options{})
			ns := w.ns("n")
			must(t, w.SetNamespace("n", NamespaceSettings{BlockSize: blockSize, Quota: 4 << 20}))
			f := w.file(ns, "f")
			want := make([]byte, 3<<20)
			write := func(off, n int, random bool) {
				data := bytes.Repeat([]byte{byte(off), byte(n), 7}, n/3+1)[:n]
				if random {
					data = randomBytes(n)
				}
				if _, err := w.WriteAt(f, data, int64(off), false); err != nil {
					t.Fatal(err)
				}
				copy(want[off:], data)
			}
			for i := range 600 { // regions in many pieces
				write(i*5000, 100, false)
			}
			for _, off := range []int{0, 1, 4096, 100_000, 128<<10 + 1, 512 << 10} {
				for _, n := range []int{aheadWrite - 1, aheadWrite, 300_000, 1 << 20, 2_000_000} {
					write(off, n, n%2 == 0)
				}
				if _, err := w.WriteAt(f, make([]byte, 4<<20), int64(off)+1, false); !errors.Is(err, ErrQuota) {
					t.Fatalf("more than the quota: %v", err)
				}
				// What is not refused of that is written.
				n, err := w.ReadAt(f, want, 0)
				if n != len(want) || err != nil {
					t.Fatalf("read %d, %v", n, err)
				}
				write(off, 1<<20, true)
				if got := w.read(f)[:len(want)]; got != string(want) {
					t.Fatalf("content differs, from byte %d on", difference(got, string(want)))
				}
			}
			_, err := w.WriteAt(f, make([]byte, aheadWrite), 0, false)
			must(t, err)
			_, err = w.WriteAt(12345, make([]byte, aheadWrite), 0, false)
			wantErr(t, err, ErrNotExist)
			_, err = w.WriteAt(ns, make([]byte, aheadWrite), 0, false)
			wantErr(t, err, ErrIsDir)
			clear(want[:aheadWrite])
			w.remount()
			if got := w.read(f)[:len(want)]; got != string(want) {
				t.Errorf("after a remount: content differs, from byte %d on", difference(got, string(want)))
			}
			w.check()
		})
	}
}

// difference is where two strings begin to differ.
func difference(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func TestReadWriteErrors(t *testing.T) {
	w := newWorld(t, Options{})
	ns := w.ns("n")
	f := w.file(ns, "f")
	w.write(f, 0, "abc")
	fifo, err := w.Mknod(ns, "fifo", ModeFIFO, 0, Cred{})
	must(t, err)
	buf := make([]byte, 10)
	for _, c := range []struct {
		name string
		do   func() (int, error)
		n    int
		want error
	}{
		{"read at the end", func() (int, error) { return w.ReadAt(f, buf, 3) }, 0, nil},
		{"read far past the end", func() (int, error) { return w.ReadAt(f, buf, 1<<40) }, 0, nil},
		{"read before the start", func() (int, error) { return w.ReadAt(f, buf, -1) }, 0, ErrInvalid},
		{"short read", func() (int, error) { return w.ReadAt(f, buf, 1) }, 2, nil},
		{"read a directory", func() (int, error) { return w.ReadAt(ns, buf, 0) }, 0, ErrIsDir},
		{"read a FIFO", func() (int, error) { return w.ReadAt(fifo.Ino, buf, 0) }, 0, ErrInvalid},
		{"read nothing", func() (int, error) { return w.ReadAt(12345, buf, 0) }, 0, ErrNotExist},
		{"write a directory", func() (int, error) { return w.WriteAt(ns, buf, 0, false) }, 0, ErrIsDir},
		{"write before the start", func() (int, error) { return w.WriteAt(f, buf, -1, false) }, 0, ErrInvalid},
		{"write past what can be", func() (int, error) { return w.WriteAt(f, buf, MaxFileSize-9, false) }, 0, ErrTooBig},
		{"write at the very end", func() (int, error) { return w.WriteAt(f, buf, MaxFileSize-10, false) }, 10, nil},
	} {
		if n, err := c.do(); n != c.n || !errors.Is(err, c.want) {
			t.Errorf("%s: %d, %v, want %d, %v", c.name, n, err, c.n, c.want)
		}
	}
	if a := w.attr(f); a.Size != MaxFileSize {
		t.Errorf("size %d", a.Size)
	}
	w.remount()
	if n, err := w.ReadAt(f, buf, MaxFileSize-4); n != 4 || err != nil {
		t.Errorf("at the end: %d, %v", n, err)
	}
	w.check()
}

// TestSmallOverwrites leaves regions in many pieces, which are put together.
func TestSmallOverwrites(t *testing.T) {
	w := newWorld(t, Options{})
	f := w.file(w.ns("n"), "f")
	want := make([]byte, RegionSize)
	for i := range 300 {
		if i%7 == 0 {
			must(t, w.Sync()) // so that blocks can not be rewritten
		}
		off := i * 397 % (RegionSize - 100)
		data := []byte(fmt.Sprintf("%03d", i))
		w.write(f, int64(off), string(data))
		copy(want[off:], data)
	}
	in, err := w.rlock(f)
	must(t, err)
	if n := len(in.ext); n > maxExtents {
		t.Errorf("%d extents", n)
	}
	w.runlock(in)
	if got := w.read(f); got != string(want[:len(got)]) {
		t.Error("data differs")
	}
	w.check()
}

// TestOverwriteStaysSmall overwrites pages of the open group: blocks are rewritten, none are added.
func TestOverwriteStaysSmall(t *testing.T) {
	w := newWorld(t, Options{})
	f := w.file(w.ns("n"), "f")
	for i := range 1000 {
		w.write(f, int64(i*10), "0123456789") // appends
	}
	for i := range 1000 {
		w.write(f, int64(i*7%9000), "over")
	}
	must(t, w.Sync())
	d, _ := w.st.NamespaceByName("n")
	if d.Usage.Blocks != 1 {
		t.Errorf("%d blocks after appending and overwriting", d.Usage.Blocks)
	}
	w.check()
}

// TestBlockSize appends little by little: blocks do not grow past the namespace's block size.
func TestBlockSize(t *testing.T) {
	w := newWorld(t, Options{})
	f := w.file(w.ns("n"), "f")
	must(t, w.SetNamespace("n", NamespaceSettings{BlockSize: 4096}))
	for i := range 1000 {
		w.write(f, int64(i*10), "0123456789")
	}
	must(t, w.Sync())
	d, _ := w.st.NamespaceByName("n")
	if d.Usage.Blocks != 3 {
		t.Errorf("%d blocks of 4 KiB for 10000 bytes", d.Usage.Blocks)
	}
	w.check()
}

func TestTruncate(t *testing.T) {
	w := newWorld(t, Options{})
	f := w.file(w.ns("n"), "f")
	data := strings.Repeat("0123456789abcdef", 40000) // 640000 bytes
	w.write(f, 0, data)
	for _, size := range []int64{600000, RegionSize * 3, RegionSize*3 - 1, 5, 0, 700000, 1 << 40, 100, 0} {
		a, err := w.SetAttr(f, SetAttr{Valid: SetSize, Size: size})
		must(t, err)
		if a.Size != size {
			t.Errorf("size %d, want %d", a.Size, size)
		}
		if size < 1<<30 {
			data = data[:min(len(data), int(size))]
			if got := w.read(f); got != data+strings.Repeat("\x00", int(size)-len(data)) {
				t.Errorf("data differs after truncation to %d", size)
			}
		}
		if a.Blocks != (int64(len(data))+511)/512 {
			t.Errorf("%d blocks for %d bytes", a.Blocks, len(data))
		}
		w.check()
	}
	_, err := w.SetAttr(f, SetAttr{Valid: SetSize, Size: -1})
	wantErr(t, err, ErrInvalid)
	_, err = w.SetAttr(f, SetAttr{Valid: SetSize, Size: MaxFileSize + 1})
	wantErr(t, err, ErrTooBig)
	_, err = w.SetAttr(RootIno, SetAttr{Valid: SetSize})
	wantErr(t, err, ErrIsDir)
}

// sparse makes a file with a few bytes in each of many regions.
func (w *world) sparse(dir Ino, name string, regions int) Ino {
	w.tb.Helper()
	f := w.file(dir, name)
	for i := range regions {
		w.write(f, int64(i)*RegionSize, "data")
	}
	return f
}

// TestLongTruncate is cut short after its first step, and goes on at the next start.
func TestLongTruncate(t *testing.T) {
	w := newWorld(t, Options{})
	f := w.sparse(w.ns("n"), "f", 3*stepRegions)
	open := w.closing
	w.closing = make(chan struct{})
	close(w.closing)
	_, err := w.SetAttr(f, SetAttr{Valid: SetSize, Size: 3})
	must(t, err)
	if a := w.attr(f); a.Size != 3 || a.Blocks < 2*stepRegions*4/512 {
		t.Errorf("after the first step: %+v", a)
	}
	if got := w.read(f); got != "dat" {
		t.Errorf("data %q", got)
	}
	w.check()
	w.closing = open
	w.remount()
	w.background.Wait()
	if a := w.attr(f); a.Blocks != 1 {
		t.Errorf("%d blocks are left", a.Blocks)
	}
	w.write(f, RegionSize*5, "x")
	if got := w.read(f); got != "dat"+strings.Repeat("\x00", RegionSize*5-3)+"x" {
		t.Error("old data came back")
	}
	w.check()
}

// TestLongTruncateThenWrite continues the file before the next start could clean up.
func TestLongTruncateThenWrite(t *testing.T) {
	w := newWorld(t, Options{})
	f := w.sparse(w.ns("n"), "f", 3*stepRegions)
	open := w.closing
	w.closing = make(chan struct{})
	close(w.closing)
	_, err := w.SetAttr(f, SetAttr{Valid: SetSize})
	must(t, err)
	w.closing = open
	_, err = w.SetAttr(f, SetAttr{Valid: SetSize, Size: 3 * stepRegions * RegionSize})
	must(t, err)
	if _, err := w.Seek(f, 0, SeekData); !errors.Is(err, ErrNoData) {
		t.Errorf("old data came back: %v", err)
	}
	w.check()
}

func TestFallocate(t *testing.T) {
	const k = 1 << 10
	for _, c := range []struct {
		name         string
		mode         uint32
		off, length  int64
		want         error
		size, blocks int64
		data         string // what bytes 98304 to 98316 become
	}{
		{"allocate inside", 0, 0, 64 * k, nil, 128 * k, 256, "abcdefghijkl"},
		{"allocate past the end", 0, 100 * k, 1 << 20, nil, 100*k + 1<<20, 2120, "abcdefghijkl"},
		{"allocate, keep size", FallocKeepSize, 256 * k, 4 * k, nil, 128 * k, 136, "abcdefghijkl"},
		{"punch", FallocPunchHole | FallocKeepSize, 96*k + 2, 8, nil, 128 * k, 128, "ab\x00\x00\x00\x00\x00\x00\x00\x00kl"},
		{"punch past the end", FallocPunchHole | FallocKeepSize, 96*k + 6, 1 << 40, nil, 128 * k, 65, "abcdef\x00\x00\x00\x00\x00\x00"},
		{"zero", FallocZeroRange | FallocKeepSize, 96*k + 2, 8, nil, 128 * k, 128, "ab\x00\x00\x00\x00\x00\x00\x00\x00kl"},
		{"zero past the end", FallocZeroRange, 96*k + 6, 64 * k, nil, 160*k + 6, 193, "abcdef\x00\x00\x00\x00\x00\x00"},
		{"punch without keeping the size", FallocPunchHole, 0, 1, ErrNotSupported, 128 * k, 128, "abcdefghijkl"},
		{"collapse", 0x08, 0, 4 * k, ErrNotSupported, 128 * k, 128, "abcdefghijkl"},
		{"insert", 0x20, 0, 4 * k, ErrNotSupported, 128 * k, 128, "abcdefghijkl"},
		{"unshare", 0x40, 0, 4 * k, ErrNotSupported, 128 * k, 128, "abcdefghijkl"},
		{"nothing", 0, 0, 0, ErrInvalid, 128 * k, 128, "abcdefghijkl"},
		{"before the start", 0, -1, 5, ErrInvalid, 128 * k, 128, "abcdefghijkl"},
		{"too large", 0, MaxFileSize, 1, ErrTooBig, 128 * k, 128, "abcdefghijkl"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, Options{})
			f := w.file(w.ns("n"), "f")
			w.write(f, 64*k, strings.Repeat("x", 64*k)) // a hole, then data
			w.write(f, 96*k, "abcdefghijkl")
			wantErr(t, w.Fallocate(f, c.mode, c.off, c.length), c.want)
			for range 2 {
				a := w.attr(f)
				if a.Size != c.size {
					t.Errorf("size %d, want %d", a.Size, c.size)
				}
				if a.Blocks != c.blocks {
					t.Errorf("%d blocks, want %d", a.Blocks, c.blocks)
				}
				if got := w.read(f)[96*k : 96*k+12]; got != c.data {
					t.Errorf("data %q, want %q", got, c.data)
				}
				w.check()
				w.remount()
			}
		})
	}
}

func TestSeek(t *testing.T) {
	w := newWorld(t, Options{})
	f := w.file(w.ns("n"), "f")
	const far = 1 << 40
	w.write(f, 4096, strings.Repeat("x", 4096))
	w.write(f, far, "end")
	must(t, w.Fallocate(f, FallocKeepSize, 16384, 4096)) // allocated, and still a hole
	for _, c := range []struct {
		off    int64
		whence int
		at     int64
		want   error
	}{
		{0, SeekData, 4096, nil}, {0, SeekHole, 0, nil}, {5000, SeekData, 5000, nil}, {5000, SeekHole, 8192, nil},
		{8192, SeekData, far, nil}, {9000, SeekHole, 9000, nil}, {far, SeekHole, far + 3, nil}, {far + 2, SeekData, far + 2, nil},
		{far + 3, SeekData, 0, ErrNoData}, {far + 3, SeekHole, 0, ErrNoData}, {-1, SeekData, 0, ErrNoData}, {0, 0, 0, ErrInvalid},
	} {
		at, err := w.Seek(f, c.off, c.whence)
		if !errors.Is(err, c.want) || err == nil && at != c.at {
			t.Errorf("seek %d from %d: %d, %v, want %d, %v", c.whence, c.off, at, err, c.at, c.want)
		}
	}
	// Data over the border of regions.
	w.write(f, RegionSize-10, strings.Repeat("y", 3*RegionSize))
	if at, err := w.Seek(f, RegionSize-10, SeekHole); err != nil || at != 4*RegionSize-10 {
		t.Errorf("hole at %d, %v", at, err)
	}
}

// TestCopyRange shares blocks: the copy takes no space, and each side may change without the other.
func TestCopyRange(t *testing.T) {
	w := newWorld(t, Options{})
	ns := w.ns("n")
	a, b := w.file(ns, "a"), w.file(ns, "b")
	data := string(randomBytes(1 << 20))
	w.write(a, 0, data)
	must(t, w.Sync())
	before, _ := w.st.NamespaceByName("n")
	if n, err := w.CopyRange(a, 0, b, 0, 2<<20); n != 1<<20 || err != nil {
		t.Fatalf("copied %d, %v", n, err)
	}
	must(t, w.Sync())
	after, _ := w.st.NamespaceByName("n")
	if after.Usage.Stored != before.Usage.Stored {
		t.Errorf("the copy stored %d bytes", after.Usage.Stored-before.Usage.Stored)
	}
	w.write(a, 1000, "changed a")
	w.write(b, 2000, "changed b")
	must(t, w.Unlink(ns, "a"))
	must(t, w.st.Sync())
	must(t, w.st.Sweep(t.Context()))
	want := data[:2000] + "changed b" + data[2009:]
	for range 2 {
		if got := w.read(b); got != want {
			t.Error("the copy differs")
		}
		w.check()
		w.remount()
	}
	// What is shared is not written to, even before it was ever stored.
	d, e := w.file(ns, "d"), w.file(ns, "e")
	w.write(d, 0, data[:20000])
	if n, err := w.CopyRange(d, 0, e, 0, 20000); n != 20000 || err != nil {
		t.Fatalf("copied %d, %v", n, err)
	}
	w.write(d, 100, "changed d")
	w.write(d, 20000, "longer d")
	w.write(e, 200, "changed e")
	if got := w.read(d); got != data[:100]+"changed d"+data[109:20000]+"longer d" {
		t.Error("the source differs")
	}
	if got := w.read(e); got != data[:200]+"changed e"+data[209:20000] {
		t.Error("the copy differs")
	}
	// Small pieces are copied, not shared.
	c := w.file(ns, "c")
	if n, err := w.CopyRange(b, 1990, c, 131070, 30); n != 30 || err != nil {
		t.Fatalf("copied %d, %v", n, err)
	}
	if got := w.read(c); got[131070:] != want[1990:2020] {
		t.Errorf("small copy %q", got[131070:])
	}
	_, err := w.CopyRange(b, 0, b, 100, 200)
	wantErr(t, err, ErrInvalid)
	_, err = w.CopyRange(b, 0, w.file(RootIno, "root file"), 0, 200)
	wantErr(t, err, ErrXDev)
	w.check()
}

func TestQuota(t *testing.T) {
	w := newWorld(t, Options{})
	ns := w.ns("n")
	must(t, w.SetNamespace("n", NamespaceSettings{Quota: 1 << 20}))
	f := w.file(ns, "f")
	w.write(f, 0, strings.Repeat("x", 1<<20))
	w.write(f, 100, "overwriting is fine")
	_, err := w.WriteAt(f, []byte("x"), 1<<20, false)
	wantErr(t, err, ErrQuota)
	wantErr(t, w.Fallocate(f, 0, 0, 2<<20), ErrQuota)
	wantErr(t, w.SetKey("n", "big", []byte("value"), Cred{}), ErrQuota)
	_, err = w.SetAttr(f, SetAttr{Valid: SetSize, Size: 100})
	must(t, err)
	must(t, w.SetKey("n", "big", []byte("value"), Cred{}))
	w.check()
	d, err := w.NamespaceStats("n")
	must(t, err)
	if d.Usage.Logical != 105 || d.Usage.Files != 2 {
		t.Errorf("usage %+v", d.Usage)
	}
}

func TestPrivileges(t *testing.T) {
	caps := "security.capability"
	for _, c := range []struct {
		name string
		mode uint32
		do   func(w *world, f Ino) error
		want uint32
		caps bool
	}{
		{"write", 0o6755, func(w *world, f Ino) error { _, err := w.WriteAt(f, []byte("x"), 0, true); return err }, 0o755, false},
		{"write by root", 0o6755, func(w *world, f Ino) error { _, err := w.WriteAt(f, []byte("x"), 0, false); return err }, 0o6755, false},
		{"write, group may not execute", 0o6745, func(w *world, f Ino) error { _, err := w.WriteAt(f, []byte("x"), 0, true); return err }, 0o2745, false},
		{"chown", 0o6755, func(w *world, f Ino) error { _, err := w.SetAttr(f, SetAttr{Valid: SetUID, UID: 5}); return err }, 0o755, false},
		{"chmod", 0o6755, func(w *world, f Ino) error { _, err := w.SetAttr(f, SetAttr{Valid: SetMode, Mode: 0o4711}); return err }, 0o4711, true},
		{"truncate", 0o6755, func(w *world, f Ino) error { _, err := w.SetAttr(f, SetAttr{Valid: SetSize | KillPriv}); return err }, 0o755, false},
		{"fallocate", 0o6755, func(w *world, f Ino) error { return w.Fallocate(f, 0, 0, 10) }, 0o6755, false}, // the caller's business
		{"times", 0o6755, func(w *world, f Ino) error { _, err := w.SetAttr(f, SetAttr{Valid: SetMtimeNow}); return err }, 0o6755, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, Options{})
			a, err := w.Mknod(w.ns("n"), "f", ModeRegular|c.mode, 0, Cred{})
			must(t, err)
			must(t, w.SetXattr(a.Ino, caps, []byte("cap"), 0))
			must(t, c.do(w, a.Ino))
			if got := w.attr(a.Ino).Mode & modePerm; got != c.want {
				t.Errorf("mode %o, want %o", got, c.want)
			}
			_, err = w.GetXattr(a.Ino, caps, nil)
			if has := err == nil; has != c.caps {
				t.Errorf("has capabilities: %v", has)
			}
			w.check()
		})
	}
}

func TestRelatime(t *testing.T) {
	w := newWorld(t, Options{Relatime: true})
	ns := w.ns("n")
	f := w.file(ns, "f")
	w.write(f, 0, "data")
	read := func() int64 {
		w.read(f)
		return w.attr(f).Atime
	}
	first := read()
	if first <= w.attr(f).Mtime {
		t.Error("reading after writing does not move atime")
	}
	if again := read(); again != first {
		t.Error("reading again moves atime")
	}
	w.clock.advance(25 * time.Hour)
	if again := read(); again == first {
		t.Error("reading a day later does not move atime")
	}
	old := w.attr(ns).Atime
	w.names(ns)
	if w.attr(ns).Atime == old {
		t.Error("listing does not move atime")
	}
	link, err := w.Symlink(ns, "l", "target", Cred{})
	must(t, err)
	_, err = w.Readlink(link.Ino)
	must(t, err)
	if w.attr(link.Ino).Atime == link.Atime {
		t.Error("reading a link does not move atime")
	}
	w.opts.Relatime = false
	w.remount()
	w.clock.advance(25 * time.Hour)
	if was := w.attr(f).Atime; read() != was {
		t.Error("atime moves without relatime")
	}
}

// TestDamageNamesTheFile reads data that is gone: the error says of which file.
func TestDamageNamesTheFile(t *testing.T) {
	w := newWorld(t, Options{})
	d := w.dir(w.ns("n"), "dir")
	f := w.file(d, "file")
	w.write(f, 0, "data")
	in, err := w.lock(f)
	must(t, err)
	id := in.ext[0].id
	w.unlock(in)
	must(t, w.st.Update(func(tx *blockstore.Tx) error {
		tx.FreeBlock(f.Namespace(), id)
		return nil
	}))
	must(t, w.Sync())
	_, err = w.ReadAt(f, make([]byte, 4), 0)
	var e *Error
	if !errors.As(err, &e) || e.Namespace != "n" || e.Path != "dir/file" || !strings.Contains(err.Error(), "n/dir/file") {
		t.Errorf("error %v", err)
	}
	for _, ask := range []func(NamespaceID, blockstore.BlockID, int, int) error{w.readBlock, w.st.HasBlock} {
		problems := 0
		must(t, w.Check(t.Context(), CheckOptions{Block: ask}, func(p Problem) {
			problems++
			if p.Path != "dir/file" && p.Path != "" {
				t.Errorf("problem %+v", p)
			}
		}))
		if problems != 2 { // the data, and the count of blocks
			t.Errorf("%d problems", problems)
		}
	}
}
