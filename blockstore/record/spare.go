package record

import (
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// spareName is the name of a file of zeros beside Pebble's, which becomes the next log if the disk is full when Pebble
// begins one. Pebble would have to wait for space then, in the middle of a commit.
const spareName = "spare"

// newSpare is its name until it is whole and its room is really taken. What a crash leaves of it may have the right size and
// holes.
const newSpare = spareName + ".new"

// findSpare looks for the spare log of an earlier run, and makes one if there is none, or one of another size, and the disk
// has room for it.
func (d *disk) findSpare() {
	path := d.PathJoin(d.dir, spareName)
	f, err := d.FS.Open(path)
	whole := err == nil && fileSize(f) == pieceOf(f)
	if err == nil {
		_ = f.Close() // it was only looked at
	}
	if !whole {
		d.makeSpare()
		return
	}
	d.setSpare(path)
}

func (d *disk) setSpare(path string) {
	d.mu.Lock()
	d.spare = path
	d.mu.Unlock()
}

func (d *disk) makeSpare() {
	path, making := d.PathJoin(d.dir, spareName), d.PathJoin(d.dir, newSpare)
	f, err := d.FS.Create(making, vfs.WriteCategoryUnspecified)
	if err != nil {
		return
	}
	_, err = writeZeros(f, 0, pieceOf(f))
	if err == nil {
		err = f.SyncData() // without it a disk may have promised the room to others as well
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = d.FS.Rename(making, path)
	}
	if err != nil {
		_ = d.Remove(making) // it takes space, and is of no use
		return
	}
	d.setSpare(path)
}

// openLog makes a log out of a new or an old file, or out of the spare one if there is no room for its first piece.
func (d *disk) openLog(name string, category vfs.DiskWriteCategory, open func() (vfs.File, error)) vfs.File {
	f := d.mustOpen(func() (vfs.File, error) {
		f, err := open()
		if err == nil {
			_, err = writeZeros(f, fileSize(f), pieceOf(f))
		}
		spare := d.takeSpare(err)
		switch {
		case spare != "":
			if f != nil {
				_ = f.Close() // it gives way
			}
			return d.FS.ReuseForWrite(spare, name, category)
		case f != nil && isFull(err):
			return f, nil // perhaps there is room for the records themselves
		}
		return f, err
	})
	l := &logFile{mustFile: f, ahead: pieceOf(f), zeroed: fileSize(f)}
	d.mu.Lock()
	d.wal = l
	d.mu.Unlock()
	return l
}

// takeSpare gives the path of the spare log, if there is one, after an error that asks for it.
func (d *disk) takeSpare(err error) (spare string) {
	if !isFull(err) {
		return ""
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	spare, d.spare = d.spare, ""
	return spare
}

// reserveLog makes room in the log for a batch of size bytes, and sees to it that there is a spare one. While it can not be
// made, all goes on until the log holds early bytes, which is too early for Pebble to begin another one. A batch that would
// not fit in the spare log needs room for both.
func (d *disk) reserveLog(size, early int64) error {
	d.mu.Lock()
	wal, spare := d.wal, d.spare
	d.mu.Unlock()
	if wal == nil {
		return nil
	}
	if spare == "" {
		d.makeSpare()
		d.mu.Lock()
		spare = d.spare
		d.mu.Unlock()
	}
	if spare == "" && wal.written()+size > early || size > wal.ahead/2 && !d.hasRoom(2*size) {
		return syscall.ENOSPC
	}
	return wal.reserve(size + size/logChunkRatio + logOverhead)
}

// hasRoom tells whether n bytes are free, as far as can be told.
func (d *disk) hasRoom(n int64) bool {
	u, err := d.FS.GetDiskUsage(d.dir)
	return err != nil || u.TotalBytes == 0 || int64(u.AvailBytes) >= n
}

func fileSize(f vfs.File) int64 {
	if info, err := f.Stat(); err == nil {
		return info.Size()
	}
	return 0
}
