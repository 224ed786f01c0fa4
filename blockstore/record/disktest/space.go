package disktest

import (
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// inode is what a file takes of the disk. Files that are removed while they are open count no more.
type inode struct {
	size    int64
	removed bool
}

// blockSize is the unit in which files take space, in bytes.
const blockSize = 4096

func blocks(size int64) int64 { return (size + blockSize - 1) / blockSize * blockSize }

// SetCapacity gives the disk a size, in bytes. 0: without end.
func (d *Disk) SetCapacity(n int64) {
	d.mu.Lock()
	d.capacity = n
	d.mu.Unlock()
}

// Used is how many bytes the files take.
func (d *Disk) Used() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used
}

// Fill leaves n bytes free, as if others had filled the disk.
func (d *Disk) Fill(n int64) {
	d.mu.Lock()
	d.capacity = d.used + n
	d.mu.Unlock()
}

func (d *Disk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.capacity == 0 {
		return vfs.DiskUsage{}, vfs.ErrUnsupported
	}
	return vfs.DiskUsage{
		AvailBytes: uint64(max(0, d.capacity-d.used)), TotalBytes: uint64(d.capacity), UsedBytes: uint64(d.used),
	}, nil
}

// beginNew is begin for operations that need a new directory entry.
func (d *Disk) beginNew(k Kind, path string) error {
	if err := d.begin(k, path, 0); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.capacity > 0 && d.used >= d.capacity {
		return syscall.ENOSPC
	}
	return nil
}

// grow makes room for n bytes at off and says for how many of them there is.
func (d *Disk) grow(i *inode, off int64, n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	end := off + int64(n)
	if end > i.size && !i.removed {
		if d.capacity > 0 {
			room := blocks(i.size) + max(0, d.capacity-d.used)/blockSize*blockSize
			end = max(off, min(end, room))
		}
		if end > i.size {
			d.used += blocks(end) - blocks(i.size)
			i.size = end
		}
	}
	d.written += end - off
	return int(end - off)
}

func (d *Disk) node(path string) *inode {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := d.sizes[path]
	if i == nil {
		i = new(inode)
		d.sizes[path] = i
	}
	return i
}

// setNode puts a new file in place of what was there.
func (d *Disk) setNode(path string) *inode {
	d.dropNode(path)
	return d.node(path)
}

func (d *Disk) dropNode(path string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dropLocked(path)
}

func (d *Disk) dropLocked(path string) {
	if i := d.sizes[path]; i != nil {
		d.used -= blocks(i.size)
		i.removed = true
		delete(d.sizes, path)
	}
}

func (d *Disk) dropNodes(dir string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for path := range d.sizes {
		if path == dir || strings.HasPrefix(path, dir+"/") {
			d.dropLocked(path)
		}
	}
}

func (d *Disk) moveNode(from, to string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := d.sizes[from]; i != nil && from != to {
		d.dropLocked(to)
		delete(d.sizes, from)
		d.sizes[to] = i
	}
}

// measure takes stock of the files below a directory.
func (d *Disk) measure(dir string) {
	names, err := d.mem.List(dir)
	if err != nil {
		return // not a directory
	}
	for _, name := range names {
		path := d.mem.PathJoin(dir, name)
		info, err := d.mem.Stat(path)
		switch {
		case err != nil:
		case info.IsDir():
			d.measure(path)
		default:
			i := d.node(path)
			i.size = info.Size()
			d.used += blocks(i.size)
		}
	}
}
