package disktest

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Kind is what an operation does.
type Kind uint8

// The operations. Those before Read change something.
const (
	Create Kind = iota // Create, OpenReadWrite, ReuseForWrite
	Write              // of a file, at any place
	Sync               // of a file
	SyncDir
	Rename
	Remove
	Link
	Mkdir
	Read // of a file
	Open // for reading
	List
)

var kindNames = [...]string{"create", "write", "sync", "syncdir", "rename", "remove", "link", "mkdir", "read", "open", "list"}

func (k Kind) String() string { return kindNames[k] }

// Changes tells whether an operation of this kind changes something on the disk.
func (k Kind) Changes() bool { return k < Read }

// Op is one operation on a Disk.
type Op struct {
	Kind Kind
	Path string // the old one of two
	Size int    // bytes to read or write
}

func (o Op) String() string { return fmt.Sprintf("%v %s", o.Kind, o.Path) }

// Disk is a disk in memory. The zero value is not usable.
type Disk struct {
	mem      *media
	hook     atomic.Pointer[func(Op) error]
	readOnly atomic.Bool
	locks    sync.Map // path → struct{}; not the memory filesystem's, which does not survive a power cut

	mu       sync.Mutex // guards all below
	capacity int64      // 0: without end
	used     int64
	late     bool // files take room when they are synced
	sizes    map[string]*inode
	written  int64
	counts   map[Kind]int
}

// New makes an empty disk.
func New() *Disk { return wrap(newMedia()) }

func wrap(mem *media) *Disk {
	return &Disk{mem: mem, sizes: make(map[string]*inode), counts: make(map[Kind]int)}
}

// SetHook has fn called before each operation, by any goroutine; the operation fails with what it returns. nil: none.
func (d *Disk) SetHook(fn func(Op) error) {
	if fn == nil {
		d.hook.Store(nil)
		return
	}
	d.hook.Store(&fn)
}

// SetReadOnly makes the disk refuse all changes, or take them again.
func (d *Disk) SetReadOnly(on bool) { d.readOnly.Store(on) }

// Count is how many operations of a kind there were.
func (d *Disk) Count(k Kind) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts[k]
}

// Written is how many bytes were written.
func (d *Disk) Written() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.written
}

// Crash gives the disk as a power cut at this moment may leave it: all that was synced, and each unsynced sector and each
// unsynced change of a directory with the given probability, which some files and the directories may have as 0 or 100.
func (d *Disk) Crash(rnd *rand.Rand, unsyncedPercent int) *Disk {
	c := wrap(d.mem.cut(survivors{rnd, unsyncedPercent}))
	d.mu.Lock()
	defer d.mu.Unlock()
	c.capacity, c.late = d.capacity, d.late
	c.measure("/", d)
	return c
}

// Bytes gives access to a file's content, which may be changed while nobody uses the file.
func (d *Disk) Bytes(path string) ([]byte, error) {
	n, err := d.mem.open(path)
	if err != nil {
		return nil, err
	}
	return n.data, nil
}

// begin is what every operation starts with.
func (d *Disk) begin(k Kind, path string, size int) error {
	if k.Changes() && d.readOnly.Load() {
		return &os.PathError{Op: k.String(), Path: path, Err: syscall.EROFS}
	}
	d.mu.Lock()
	d.counts[k]++
	d.mu.Unlock()
	if fn := d.hook.Load(); fn != nil {
		return (*fn)(Op{k, path, size})
	}
	return nil
}

func (d *Disk) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := d.beginNew(Create, name); err != nil {
		return nil, err
	}
	n, err := d.mem.create(name)
	if err != nil {
		return nil, err
	}
	return &file{n: n, d: d, path: name, room: d.setNode(name)}, nil
}

func (d *Disk) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if err := d.beginNew(Create, name); err != nil {
		return nil, err
	}
	n, err := d.mem.open(name)
	if errors.Is(err, os.ErrNotExist) {
		n, err = d.mem.create(name)
	}
	if err != nil {
		return nil, err
	}
	return &file{n: n, d: d, path: name, room: d.node(name)}, nil
}

func (d *Disk) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := d.begin(Create, from, 0); err != nil {
		return nil, err
	}
	if err := d.mem.rename(from, to); err != nil {
		return nil, err
	}
	d.moveNode(from, to)
	n, err := d.mem.open(to)
	if err != nil {
		return nil, err
	}
	return &file{n: n, d: d, path: to, room: d.node(to)}, nil
}

func (d *Disk) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if err := d.begin(Open, name, 0); err != nil {
		return nil, err
	}
	n, err := d.mem.open(name)
	if err != nil {
		return nil, err
	}
	return &file{n: n, d: d, path: name, room: d.node(name)}, nil
}

func (d *Disk) OpenDir(name string) (vfs.File, error) {
	n, err := d.mem.open(name)
	if err != nil {
		return nil, err
	}
	return &file{n: n, d: d, path: name, room: new(inode)}, nil
}

func (d *Disk) List(name string) ([]string, error) {
	if err := d.begin(List, name, 0); err != nil {
		return nil, err
	}
	return d.mem.list(name)
}

func (d *Disk) Remove(name string) error {
	if err := d.begin(Remove, name, 0); err != nil {
		return err
	}
	err := d.mem.remove(name, false)
	if err == nil {
		d.dropNode(name)
	}
	return err
}

func (d *Disk) RemoveAll(name string) error {
	if err := d.begin(Remove, name, 0); err != nil {
		return err
	}
	d.dropNodes(name)
	return d.mem.remove(name, true)
}

func (d *Disk) Rename(from, to string) error {
	if err := d.begin(Rename, from, 0); err != nil {
		return err
	}
	err := d.mem.rename(from, to)
	if err == nil {
		d.moveNode(from, to)
	}
	return err
}

func (d *Disk) Link(from, to string) error {
	if err := d.beginNew(Link, from); err != nil {
		return err
	}
	return d.mem.link(from, to)
}

func (d *Disk) MkdirAll(name string, perm os.FileMode) error {
	if err := d.beginNew(Mkdir, name); err != nil {
		return err
	}
	return d.mem.mkdirAll(name)
}

// Lock locks a file for this Disk.
func (d *Disk) Lock(name string) (io.Closer, error) {
	if d.readOnly.Load() {
		return nil, &os.PathError{Op: "open", Path: name, Err: syscall.EROFS}
	}
	if _, held := d.locks.LoadOrStore(name, struct{}{}); held {
		return nil, syscall.EAGAIN
	}
	if _, err := d.mem.create(name); err != nil {
		d.locks.Delete(name)
		return nil, err
	}
	return &held{d, name}, nil
}

type held struct {
	d    *Disk
	name string
}

func (h *held) Close() error {
	h.d.locks.Delete(h.name)
	return nil
}

func (d *Disk) Stat(name string) (vfs.FileInfo, error) { return d.mem.stat(name) }
func (d *Disk) PathBase(name string) string            { return path.Base(name) }
func (d *Disk) PathJoin(elem ...string) string         { return path.Join(elem...) }
func (d *Disk) PathDir(name string) string             { return path.Dir(name) }
func (d *Disk) Unwrap() vfs.FS                         { return nil }
