package fs

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
)

// cpu reports the processor time of all threads for each operation: what matters where the cores are few, and steadier
// than the clock on a busy machine. It starts the count; the function that it returns ends it.
func cpu(b *testing.B) (done func()) {
	b.Helper()
	b.ReportAllocs()
	used := func() int64 {
		var u syscall.Rusage
		must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return u.Utime.Nano() + u.Stime.Nano()
	}
	start := used()
	return func() { b.ReportMetric(float64(used()-start)/float64(b.N), "cpu-ns/op") }
}

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
	defer cpu(b)()
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
	defer cpu(b)()
	for i := 0; b.Loop(); i++ {
		if _, err := w.Lookup(dir, names[i%len(names)]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLookupMiss(b *testing.B) {
	w, dir, _ := benchTree(b, 10000)
	defer cpu(b)()
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
	defer cpu(b)()
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
			b.ResetTimer()
			defer cpu(b)()
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
				defer cpu(b)()
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
	defer cpu(b)()
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
	defer cpu(b)()
	for i := 0; b.Loop(); i++ {
		if _, err := w.WriteAt(f, data, int64(i%64)<<20, false); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRemoveAll is what rm -r costs for each file: listing, UNLINK and FORGET.
func BenchmarkRemoveAll(b *testing.B) {
	w, dir, names := benchTree(b, b.N)
	b.ResetTimer()
	defer cpu(b)()
	inos := make(map[string]Ino, b.N)
	must(b, w.ReadDir(dir, 0, true, func(e *DirEntry) bool {
		w.Ref(e.Ino)
		inos[e.Name] = e.Ino
		return true
	}))
	for _, name := range names {
		if err := w.Unlink(dir, name); err != nil {
			b.Fatal(err)
		}
		w.Unref(inos[name], 1)
	}
}

func BenchmarkGetXattrNone(b *testing.B) {
	w, f := benchFile(b, 0)
	defer cpu(b)()
	for b.Loop() {
		if _, err := w.GetXattr(f, "security.capability", nil); err != ErrNoAttr {
			b.Fatal(err)
		}
	}
}
