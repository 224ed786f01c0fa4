package blob

import (
	"errors"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// WriteSynced writes data to a new file, whole and synced or with an error, and closes it. What is durable then is the
// content; the name takes SyncDir.
func WriteSynced(f vfs.File, data []byte) error {
	// A copy, since vfs.File may overwrite what it is given.
	n, err := f.Write(append([]byte(nil), data...))
	if err == nil && n < len(data) {
		err = io.ErrShortWrite
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// SyncDir makes the names in a directory durable.
func SyncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
