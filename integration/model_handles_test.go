package integration_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// addHandles adds operations through files that stay open, while others rename,
// overwrite and remove what they were opened by.
func (m *model) addHandles(all map[string]func(*rapid.T)) {
	slot := rapid.IntRange(0, 3)
	keep := func(at int, what string, open func(root string) (*os.File, error)) {
		var pair [2]*os.File
		i := 0
		m.both(what, func(root string) string {
			f, err := open(root)
			if err == nil {
				pair[i] = f
			}
			i++
			return result(err)
		})
		if pair[0] == nil || pair[1] == nil {
			return
		}
		for _, f := range m.open[at] {
			f.Close()
		}
		m.open[at] = pair
	}
	all["keep open"] = func(rt *rapid.T) {
		p, at := m.some(rt, "path"), slot.Draw(rt, "slot")
		keep(at, fmt.Sprintf("open %s as %d", p, at), func(root string) (*os.File, error) {
			return os.OpenFile(filepath.Join(root, p), os.O_RDWR|unix.O_NONBLOCK, 0)
		})
	}
	all["nameless"] = func(rt *rapid.T) {
		at := slot.Draw(rt, "slot")
		keep(at, fmt.Sprintf("open a file without a name as %d", at), func(root string) (*os.File, error) {
			return os.OpenFile(root, os.O_RDWR|unix.O_TMPFILE, 0o640)
		})
	}
	all["name it"] = func(rt *rapid.T) {
		at, p := slot.Draw(rt, "slot"), modelPaths.Draw(rt, "path")
		m.through(rt, at, "give it the name "+p, func(root string, f *os.File) string {
			return result(unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()),
				unix.AT_FDCWD, filepath.Join(root, p), unix.AT_SYMLINK_FOLLOW))
		})
	}
	all["write handle"] = func(rt *rapid.T) {
		at, off, n := slot.Draw(rt, "slot"), modelSizes.Draw(rt, "offset"), modelSizes.Draw(rt, "length")
		m.through(rt, at, fmt.Sprintf("write at %d, %d bytes", off, n), func(_ string, f *os.File) string {
			wrote, err := f.WriteAt(pattern(5, n), off)
			return fmt.Sprint(wrote, result(err))
		})
	}
	all["read handle"] = func(rt *rapid.T) {
		m.through(rt, slot.Draw(rt, "slot"), "read all", func(_ string, f *os.File) string {
			st, err := f.Stat()
			if err != nil {
				return result(err)
			}
			data := make([]byte, st.Size())
			n, err := f.ReadAt(data, 0)
			if err == io.EOF {
				err = nil
			}
			return fmt.Sprintf("%d links, %s", st.Sys().(*syscall.Stat_t).Nlink, digest(data[:n], err))
		})
	}
	all["truncate handle"] = func(rt *rapid.T) {
		at, n := slot.Draw(rt, "slot"), modelSizes.Draw(rt, "size")
		m.through(rt, at, fmt.Sprintf("truncate to %d", n), func(_ string, f *os.File) string {
			return result(f.Truncate(n))
		})
	}
	all["fsync handle"] = func(rt *rapid.T) {
		m.through(rt, slot.Draw(rt, "slot"), "fsync", func(_ string, f *os.File) string { return result(f.Sync()) })
	}
	all["close"] = func(rt *rapid.T) {
		at := slot.Draw(rt, "slot")
		m.through(rt, at, "close", func(_ string, f *os.File) string { return result(f.Close()) })
		delete(m.open, at)
	}
}

// through does something with a handle that is a regular file on both sides.
func (m *model) through(rt *rapid.T, slot int, what string, do func(root string, f *os.File) string) {
	pair, ok := m.open[slot]
	if !ok {
		rt.Skip()
	}
	if st, err := pair[0].Stat(); err != nil || !st.Mode().IsRegular() {
		rt.Skip()
	}
	i := 0
	m.both(fmt.Sprintf("%s through %d", what, slot), func(root string) string {
		f := pair[i]
		i++
		return do(root, f)
	})
}
