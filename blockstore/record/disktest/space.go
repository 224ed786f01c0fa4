package disktest

import (
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// inode is what a file takes of the disk. Files that are removed while they are open count no more.
type inode struct {
	size    int64
	taken   int64 // less than size as long as room is only promised
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

// SetLate makes files take room when they are synced, no more when they are written, as filesystems that allocate late do. What
// is written until then has only been promised its room, which others may get before.
func (d *Disk) SetLate(on bool) {
	d.mu.Lock()
	d.late = on
	d.mu.Unlock()
}

// Taken is how many bytes of a file have room of their own.
func (d *Disk) Taken(path string) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := d.sizes[path]; i != nil {
		return i.taken
	}
	return 0
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
		i.size = max(i.size, end)
		if !d.late {
			d.takeLocked(i)
		}
	}
	d.written += end - off
	return int(end - off)
}

// take gives a file the room that it was promised.
func (d *Disk) take(i *inode) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.capacity > 0 && blocks(i.size)-blocks(i.taken) > max(0, d.capacity-d.used) && !i.removed {
		return syscall.ENOSPC
	}
	d.takeLocked(i)
	return nil
}

func (d *Disk) takeLocked(i *inode) {
	if !i.removed {
		d.used += blocks(i.size) - blocks(i.taken)
		i.taken = i.size
	}
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
		d.used -= blocks(i.taken)
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

// measure takes stock of the files below a directory, which have the room that they had on the disk before.
func (d *Disk) measure(dir string, before *Disk) {
	names, err := d.mem.list(dir)
	if err != nil {
		return // not a directory
	}
	for _, name := range names {
		path := d.PathJoin(dir, name)
		info, err := d.mem.stat(path)
		switch {
		case err != nil:
		case info.IsDir():
			d.measure(path, before)
		default:
			i := d.node(path)
			i.size, i.taken = info.Size(), info.Size()
			if b := before.sizes[path]; b != nil {
				i.taken = min(i.size, b.taken)
			}
			d.used += blocks(i.taken)
		}
	}
}
