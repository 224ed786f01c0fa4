package fs

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func randomBytes(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// BenchmarkCreate is what untar costs for each file.
func BenchmarkCreate(b *testing.B) {
	w := newWorld(b, Options{})
	ns := w.ns("n")
	data := randomBytes(4096)
	b.ReportAllocs()
	var dir Ino
	for i := 0; b.Loop(); i++ {
		if i%1000 == 0 {
			dir = w.dir(ns, fmt.Sprint("d", i))
		}
		name := fmt.Sprint("file", i)
		if _, err := w.Lookup(dir, name); err != ErrNotExist {
			b.Fatal(err)
		}
		a, err := w.Mknod(dir, name, ModeRegular|0o644, 0, Cred{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := w.WriteAt(a.Ino, data, 0, false); err != nil {
			b.Fatal(err)
		}
	}
}

// tree makes n files in one directory and reopens the store.
func benchTree(b *testing.B, n int) (w *world, dir Ino, names []string) {
	w = newWorld(b, Options{})
	dir = w.dir(w.ns("n"), "d")
	for i := range n {
		names = append(names, fmt.Sprint("file", i))
		w.file(dir, names[i])
	}
	w.remount()
	return w, dir, names
}

func BenchmarkLookup(b *testing.B) {
	w, dir, names := benchTree(b, 10000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := w.Lookup(dir, names[i%len(names)]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLookupMiss(b *testing.B) {
	w, dir, _ := benchTree(b, 10000)
	b.ReportAllocs()
	names := make([]string, 20000)
	for i := range names {
		names[i] = fmt.Sprint("none", i)
	}
	for i := 0; b.Loop(); i++ {
		if _, err := w.Lookup(dir, names[i%len(names)]); err != ErrNotExist {
			b.Fatal(err)
		}
	}
}

func BenchmarkGetAttr(b *testing.B) {
	w, dir, names := benchTree(b, 100)
	a, err := w.Lookup(dir, names[0])
	must(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.GetAttr(a.Ino); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReadDirPlus lists 23 entries a call, as the kernel asks; the cost is for each entry.
func BenchmarkReadDirPlus(b *testing.B) {
	for _, cache := range []int{8, 1 << 16} {
		b.Run(fmt.Sprint("cache=", cache), func(b *testing.B) {
			w, dir, _ := benchTree(b, 10000)
			w.opts.CacheInodes = cache
			w.remount()
			b.ReportAllocs()
			b.ResetTimer()
			var cookie uint64
			entries := 0
			for entries < b.N {
				n := 0
				must(b, w.ReadDir(dir, cookie, true, func(e *DirEntry) bool {
					if n++; n > 23 {
						return false
					}
					cookie = e.Cookie
					return true
				}))
				entries += n
				if n == 0 {
					cookie = 0
				}
			}
		})
	}
}

func benchFile(b *testing.B, size int) (*world, Ino) {
	w := newWorld(b, Options{})
	f := w.file(w.ns("n"), "f")
	data := randomBytes(1 << 20)
	for off := 0; off < size; off += len(data) {
		_, err := w.WriteAt(f, data, int64(off), false)
		must(b, err)
	}
	return w, f
}

func BenchmarkReadAt(b *testing.B) {
	for _, size := range []int{4 << 10, 128 << 10, 1 << 20} {
		for _, where := range []string{"open group", "disk"} {
			b.Run(fmt.Sprintf("%d KiB/%s", size>>10, where), func(b *testing.B) {
				w, f := benchFile(b, 16<<20)
				if where == "disk" {
					must(b, w.Sync())
				}
				buf := make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if _, err := w.ReadAt(f, buf, int64(i*size)%(16<<20)); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkOverwrite(b *testing.B) {
	w, f := benchFile(b, 16<<20)
	must(b, w.Sync())
	data := randomBytes(4096)
	r := rand.New(rand.NewPCG(1, 2))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.WriteAt(f, data, int64(r.IntN(4096))<<12, false); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWriteStream(b *testing.B) {
	w, f := benchFile(b, 0)
	data := randomBytes(1 << 20)
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := w.WriteAt(f, data, int64(i%64)<<20, false); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnlink(b *testing.B) {
	w := newWorld(b, Options{})
	dir := w.dir(w.ns("n"), "d")
	inos := make([]Ino, b.N)
	for i := range b.N {
		inos[i] = w.file(dir, fmt.Sprint(i))
	}
	w.remount()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		w.Ref(inos[i])
		if err := w.Unlink(dir, fmt.Sprint(i)); err != nil {
			b.Fatal(err)
		}
		w.Unref(inos[i], 1)
	}
}

func BenchmarkGetXattrNone(b *testing.B) {
	w, f := benchFile(b, 0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.GetXattr(f, "security.capability", nil); err != ErrNoAttr {
			b.Fatal(err)
		}
	}
}
