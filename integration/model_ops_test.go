package integration_test

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// The names are few, so that operations meet.
var (
	modelNames = []string{"a", "b", "c", "d", "d/a", "d/b", "d/e", "d/e/a", "e", "e/a", "e/b", "nowhere/a"}
	modelPaths = rapid.SampledFrom(modelNames)
	modelModes = rapid.SampledFrom([]uint32{0o600, 0o644, 0o755, 0o4755, 0o2755, 0o1777, 0})
	modelAttrs = rapid.SampledFrom([]string{"user.a", "user.b", "trusted.c"})
	// Offsets and lengths lie around the sizes at which pages, frames, blocks and
	// regions end.
	modelSizes = rapid.OneOf(
		rapid.Int64Range(0, 300),
		rapid.Custom(func(t *rapid.T) int64 {
			edge := rapid.SampledFrom([]int64{4 << 10, 16 << 10, 64 << 10, 128 << 10, 256 << 10, 300 << 10}).Draw(t, "edge")
			return edge + rapid.Int64Range(-2, 2).Draw(t, "beside")
		}),
	)
)

// some draws a path that mostly exists, and mostly is a file: operations that fail for
// want of a file test little.
func (m *model) some(rt *rapid.T, label string) string {
	var files []string
	for _, p := range modelNames {
		if st, err := os.Lstat(filepath.Join(m.roots[0], p)); err == nil && st.Mode().IsRegular() {
			files = append(files, p)
		}
	}
	if len(files) == 0 || rapid.IntRange(0, 9).Draw(rt, label+": any if 9") == 9 {
		return modelPaths.Draw(rt, label)
	}
	return rapid.SampledFrom(files).Draw(rt, label)
}

// result gives an error the name by which both sides can be compared.
func result(err error) string {
	if err == nil {
		return "ok"
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

// pattern is data that tells its own place, so that bytes that were mixed up show.
func pattern(seed byte, n int64) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = seed + byte(i) + byte(i>>8)*7
	}
	return data
}

// digest describes bytes that were read.
func digest(data []byte, err error) string {
	return fmt.Sprintf("%d bytes %08x %s", len(data), crc32.ChecksumIEEE(data), result(err))
}

// withFile opens a file in both directories, by the same name, and does something.
func (m *model) withFile(what, p string, flags int, do func(f *os.File) string) {
	m.both(what+" "+p, func(root string) string {
		f, err := os.OpenFile(filepath.Join(root, p), flags|unix.O_NONBLOCK, 0o644) // a FIFO must not make it wait
		if err != nil {
			return "open: " + result(err)
		}
		defer f.Close()
		return do(f)
	})
}

// actions are all operations but those of handles.
func (m *model) actions() map[string]func(*rapid.T) {
	all := map[string]func(*rapid.T){}
	m.addNames(all)
	m.addData(all)
	m.addMeta(all)
	m.addHandles(all)
	return all
}

// addNames adds the operations on names.
func (m *model) addNames(all map[string]func(*rapid.T)) {
	onPath := func(name string, do func(path string) error) {
		all[name] = func(rt *rapid.T) {
			p := modelPaths.Draw(rt, "path")
			m.both(name+" "+p, func(root string) string { return result(do(filepath.Join(root, p))) })
		}
	}
	onPath("unlink", unix.Unlink)
	onPath("rmdir", unix.Rmdir)
	onPath("mkfifo", func(p string) error {
		if !strings.HasSuffix(p, "b") {
			return nil // few, as a FIFO stands in the way of the operations on data
		}
		return unix.Mkfifo(p, 0o640)
	})
	all["mkdir"] = func(rt *rapid.T) {
		p, mode := modelPaths.Draw(rt, "path"), modelModes.Draw(rt, "mode")
		m.both(fmt.Sprintf("mkdir %s %o", p, mode), func(root string) string {
			return result(unix.Mkdir(filepath.Join(root, p), mode|0o700))
		})
	}
	all["create"] = func(rt *rapid.T) {
		p, mode, n := modelPaths.Draw(rt, "path"), modelModes.Draw(rt, "mode"), modelSizes.Draw(rt, "size")
		m.both(fmt.Sprintf("create %s %o %d bytes", p, mode, n), func(root string) string {
			fd, err := unix.Open(filepath.Join(root, p), unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, mode)
			if err != nil {
				return result(err)
			}
			defer unix.Close(fd)
			wrote, err := unix.Write(fd, pattern(1, n))
			return fmt.Sprint(wrote, result(err))
		})
	}
	all["symlink"] = func(rt *rapid.T) {
		target, p := modelPaths.Draw(rt, "target"), modelPaths.Draw(rt, "path")
		m.both("symlink "+target+" "+p, func(root string) string {
			return result(unix.Symlink(target, filepath.Join(root, p)))
		})
	}
	all["link"] = func(rt *rapid.T) {
		from, to := m.some(rt, "from"), modelPaths.Draw(rt, "to")
		m.both("link "+from+" "+to, func(root string) string {
			return result(unix.Link(filepath.Join(root, from), filepath.Join(root, to)))
		})
	}
	all["rename"] = func(rt *rapid.T) {
		from, to := m.some(rt, "from"), modelPaths.Draw(rt, "to")
		flags := rapid.SampledFrom([]uint{0, 0, 0, unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE}).Draw(rt, "flags")
		m.both(fmt.Sprintf("rename %s %s flags %d", from, to, flags), func(root string) string {
			return result(unix.Renameat2(unix.AT_FDCWD, filepath.Join(root, from), unix.AT_FDCWD, filepath.Join(root, to), flags))
		})
	}
	all["list"] = func(rt *rapid.T) {
		p := rapid.SampledFrom([]string{".", "d", "d/e", "e"}).Draw(rt, "directory")
		m.both("list "+p, func(root string) string {
			entries, err := os.ReadDir(filepath.Join(root, p))
			var lines []string
			for _, e := range entries {
				lines = append(lines, e.Name()+" "+e.Type().String())
			}
			sort.Strings(lines)
			return strings.Join(lines, ", ") + " " + result(err)
		})
	}
}

// addData adds the operations on files' contents.
func (m *model) addData(all map[string]func(*rapid.T)) {
	all["write"] = func(rt *rapid.T) {
		p, off, n := m.some(rt, "path"), modelSizes.Draw(rt, "offset"), modelSizes.Draw(rt, "length")
		data := pattern(rapid.Byte().Draw(rt, "seed"), n)
		m.withFile(fmt.Sprintf("write at %d, %d bytes", off, n), p, os.O_WRONLY, func(f *os.File) string {
			wrote, err := f.WriteAt(data, off)
			return fmt.Sprint(wrote, result(err))
		})
	}
	all["append"] = func(rt *rapid.T) {
		p, n := m.some(rt, "path"), modelSizes.Draw(rt, "length")
		m.withFile(fmt.Sprintf("append %d bytes", n), p, os.O_WRONLY|os.O_APPEND, func(f *os.File) string {
			wrote, err := f.Write(pattern(3, n))
			return fmt.Sprint(wrote, result(err))
		})
	}
	all["truncate"] = func(rt *rapid.T) {
		p, n := m.some(rt, "path"), modelSizes.Draw(rt, "size")
		m.both(fmt.Sprintf("truncate %s %d", p, n), func(root string) string {
			return result(os.Truncate(filepath.Join(root, p), n))
		})
	}
	all["read"] = func(rt *rapid.T) {
		p, off, n := m.some(rt, "path"), modelSizes.Draw(rt, "offset"), modelSizes.Draw(rt, "length")
		forget := rapid.Bool().Draw(rt, "not from the page cache")
		m.withFile(fmt.Sprintf("read at %d, %d bytes", off, n), p, os.O_RDONLY, func(f *os.File) string {
			if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
				return "no file: " + result(err)
			}
			if forget {
				f.Sync()
				unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
			}
			data := make([]byte, n)
			got, err := f.ReadAt(data, off)
			if err == io.EOF {
				err = nil
			}
			return digest(data[:got], err)
		})
	}
	all["fallocate"] = func(rt *rapid.T) {
		p, off, n := m.some(rt, "path"), modelSizes.Draw(rt, "offset"), modelSizes.Draw(rt, "length")
		mode := rapid.SampledFrom([]uint32{0, unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE,
			unix.FALLOC_FL_ZERO_RANGE, unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_KEEP_SIZE}).Draw(rt, "mode")
		m.withFile(fmt.Sprintf("fallocate %#x at %d, %d bytes", mode, off, n), p, os.O_WRONLY, func(f *os.File) string {
			return result(unix.Fallocate(int(f.Fd()), mode, off, n))
		})
	}
	all["copy range"] = func(rt *rapid.T) {
		from, to := m.some(rt, "from"), m.some(rt, "to")
		in, out, n := modelSizes.Draw(rt, "in"), modelSizes.Draw(rt, "out"), modelSizes.Draw(rt, "length")
		m.withFile(fmt.Sprintf("copy %d bytes from %s at %d, to %d of", n, from, in, out), to, os.O_RDWR, func(dst *os.File) string {
			src, err := os.OpenFile(filepath.Join(strings.TrimSuffix(dst.Name(), "/"+to), from), os.O_RDONLY|unix.O_NONBLOCK, 0)
			if err != nil {
				return "open: " + result(err)
			}
			defer src.Close()
			return copyRange(src, dst, in, out, n)
		})
	}
	all["fsync"] = func(rt *rapid.T) {
		m.withFile("fsync", m.some(rt, "path"), os.O_RDONLY, func(f *os.File) string {
			if st, err := f.Stat(); err != nil || st.Mode().Type()&os.ModeNamedPipe != 0 {
				return "no file: " + result(err)
			}
			return result(f.Sync())
		})
	}
	all["map"] = func(rt *rapid.T) {
		p, at := m.some(rt, "path"), modelSizes.Draw(rt, "offset")
		m.withFile(fmt.Sprintf("write a byte at %d by a mapping of", at), p, os.O_RDWR, func(f *os.File) string {
			st, err := f.Stat()
			if err != nil || !st.Mode().IsRegular() || st.Size() == 0 {
				return "nothing to map: " + result(err)
			}
			mem, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err != nil {
				return "mmap: " + result(err)
			}
			mem[at%st.Size()] ^= 0x5a
			return result(unix.Munmap(mem))
		})
	}
}

// copyRange copies until all is there or the source ends: how much one call moves is
// up to the filesystem.
func copyRange(src, dst *os.File, in, out, n int64) string {
	total := 0
	for n > 0 {
		did, err := unix.CopyFileRange(int(src.Fd()), &in, int(dst.Fd()), &out, int(n), 0)
		if err != nil {
			return fmt.Sprint(total, result(err))
		}
		if did == 0 {
			break
		}
		total, n = total+did, n-int64(did)
	}
	return fmt.Sprint(total, "ok")
}

// addMeta adds the operations on attributes.
func (m *model) addMeta(all map[string]func(*rapid.T)) {
	all["chmod"] = func(rt *rapid.T) {
		p, mode := m.some(rt, "path"), modelModes.Draw(rt, "mode")
		m.both(fmt.Sprintf("chmod %s %o", p, mode), func(root string) string {
			return result(unix.Chmod(filepath.Join(root, p), mode|0o700))
		})
	}
	all["times"] = func(rt *rapid.T) {
		p, ns := m.some(rt, "path"), rapid.Int64Range(0, 4e18).Draw(rt, "ns")
		m.both(fmt.Sprintf("set times of %s to %d", p, ns), func(root string) string {
			at := unix.NsecToTimespec(ns)
			err := unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(root, p), []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
			var st unix.Stat_t
			if err == nil {
				err = unix.Lstat(filepath.Join(root, p), &st)
			}
			return fmt.Sprint(time.Unix(st.Mtim.Unix()).UnixNano(), time.Unix(st.Atim.Unix()).UnixNano(), result(err))
		})
	}
	all["stat"] = func(rt *rapid.T) {
		p := m.some(rt, "path")
		m.both("stat "+p, func(root string) string {
			var st unix.Stat_t
			if err := unix.Lstat(filepath.Join(root, p), &st); err != nil {
				return result(err)
			}
			if st.Mode&unix.S_IFMT == unix.S_IFDIR {
				return fmt.Sprintf("%o", st.Mode)
			}
			return fmt.Sprintf("%o %d bytes %d links %d:%d", st.Mode, st.Size, st.Nlink, st.Uid, st.Gid)
		})
	}
	all["chown"] = func(rt *rapid.T) {
		if os.Geteuid() != 0 {
			rt.Skip()
		}
		p, id := m.some(rt, "path"), rapid.IntRange(0, 70000).Draw(rt, "id")
		m.both(fmt.Sprintf("chown %s %d", p, id), func(root string) string {
			return result(unix.Lchown(filepath.Join(root, p), id, id+1))
		})
	}
	all["setxattr"] = func(rt *rapid.T) {
		p, name := m.some(rt, "path"), modelAttrs.Draw(rt, "attribute")
		flags := rapid.SampledFrom([]int{0, 0, unix.XATTR_CREATE, unix.XATTR_REPLACE}).Draw(rt, "flags")
		value := pattern(9, rapid.Int64Range(0, 500).Draw(rt, "length"))
		m.both(fmt.Sprintf("setxattr %s %s %d bytes flags %d", p, name, len(value), flags), func(root string) string {
			return result(unix.Lsetxattr(filepath.Join(root, p), name, value, flags))
		})
	}
	all["removexattr"] = func(rt *rapid.T) {
		p, name := m.some(rt, "path"), modelAttrs.Draw(rt, "attribute")
		m.both("removexattr "+p+" "+name, func(root string) string {
			return result(unix.Lremovexattr(filepath.Join(root, p), name))
		})
	}
}
