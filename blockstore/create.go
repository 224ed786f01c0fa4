package blockstore

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore/blob"
	"salliefs/blockstore/record"
	"salliefs/crypto"
)

// CreateOptions say how to make a store.
type CreateOptions struct {
	FS       vfs.FS           // nil: the machine's filesystem
	Clock    func() time.Time // nil: time.Now
	Settings NamespaceSettings
}

// Create makes an empty store in dir, which must be missing or empty, and which nobody else may read from then on. The
// keyring's standard context must hold std. The header is written last: until then the directory is an unfinished init,
// which Open refuses with ErrIncomplete. Settings are those of the root namespace. The store is locked meanwhile; when
// Create fails, what it made is gone.
func Create(dir string, kr *crypto.Keyring, std *crypto.Master, o CreateOptions) (err error) {
	fs := o.FS
	if fs == nil {
		fs = vfs.Default
	}
	if err := o.Settings.Validate(); err != nil {
		return err
	}
	if err := CheckNew(fs, dir); err != nil {
		return err
	}
	c := creation{fs: fs, dir: dir}
	defer func() { c.end(err) }()
	if err := c.claim(o.Clock); err != nil {
		return err
	}
	dir = c.dir
	if err := WriteKeyring(fs, dir, kr); err != nil {
		return err
	}
	for _, sub := range []string{recordsDir, segmentsDir} {
		if err := fs.MkdirAll(fs.PathJoin(dir, sub), 0o700); err != nil {
			return diskError(err)
		}
	}
	s := newStore(dir, kr.StoreID(), std, Options{FS: fs, Clock: o.Clock})
	defer s.wipe()
	if err := s.createRecords(o.Settings); err != nil {
		return err
	}
	if err := blob.SyncDir(fs, dir); err != nil {
		return err
	}
	h := header{version: FormatVersion, id: kr.StoreID()}
	return writeFile(fs, fs.PathJoin(dir, headerFile), h.encode())
}

// CheckNew says whether a store can be made in dir: whether it is missing, or there is nothing in it. Errors: ErrExists,
// ErrIncomplete, *InUseError while another process is making a store there.
func CheckNew(fs vfs.FS, dir string) error {
	err := checkVacant(fs, dir)
	if errors.Is(err, ErrIncomplete) {
		if h := currentHolder(fs, dir); h != nil {
			return &InUseError{Dir: dir, Holder: *h}
		}
	}
	return err
}

func checkVacant(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	switch {
	case isNotExist(err):
		return nil
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%s %w and is not a directory: choose another place", dir, ErrExists)
	case err != nil:
		return err
	}
	names = slices.DeleteFunc(names, func(n string) bool {
		switch n {
		case "lost+found", // of a filesystem of its own
			lockFile, holderFile, holderFile + newSuffix: // of an init that got no further
			return true
		}
		return false
	})
	if len(names) == 0 {
		return nil
	}
	if _, err := readHeader(fs, dir); err == nil || errors.Is(err, ErrNewerFormat) {
		return fmt.Errorf("%s: a store %w: choose another directory", dir, ErrExists)
	} else if errors.Is(err, ErrIncomplete) {
		return err
	}
	return fmt.Errorf("%s %w and is not empty: a store needs a new or an empty directory", dir, ErrExists)
}

// creation is a store being made.
type creation struct {
	fs   vfs.FS
	dir  string
	made []string // directories, dir or those above it
	lock *lock
	ours bool // all that is in dir
}

// claim makes the directory and locks it, so that what is in it from then on comes from this call alone.
func (c *creation) claim(clock func() time.Time) (err error) {
	if err := c.makeDir(c.dir); err != nil {
		return err
	}
	if c.dir, err = realPath(c.fs, c.dir); err != nil {
		return err
	}
	if clock == nil {
		clock = time.Now
	}
	if c.lock, err = acquire(c.fs, c.dir, fillHolder(Holder{}, clock()), false); err != nil {
		return err
	}
	if err = checkVacant(c.fs, c.dir); err != nil {
		return err
	}
	c.ours = true
	return makePrivate(c.fs, c.dir, 0o700)
}

// makeDir makes a directory and those above it, durably.
func (c *creation) makeDir(dir string) error {
	if _, err := c.fs.Stat(dir); err == nil {
		return nil
	} else if !isNotExist(err) {
		return diskError(err)
	}
	parent := c.fs.PathDir(dir)
	if parent != dir {
		if err := c.makeDir(parent); err != nil {
			return err
		}
	}
	if err := c.fs.MkdirAll(dir, 0o700); err != nil {
		return diskError(err)
	}
	c.made = append(c.made, dir)
	return blob.SyncDir(c.fs, parent)
}

// end lets go of the lock. After a failure, which is what counts, it first takes back what was made. Directories that
// others have put something into since stay.
func (c *creation) end(failed error) {
	if c.ours && failed != nil {
		c.empty()
	}
	if c.lock != nil {
		_ = c.lock.release()
	}
	if failed == nil {
		return
	}
	for _, dir := range slices.Backward(c.made) {
		_ = c.fs.Remove(dir)
	}
}

// empty removes the files of the store, what makes it one first.
func (c *creation) empty() {
	for _, name := range []string{headerFile, headerFile + newSuffix, recordsDir, segmentsDir, keyringFile + newSuffix, keyringFile, holderFile + newSuffix, lockFile} {
		if err := c.fs.RemoveAll(c.fs.PathJoin(c.dir, name)); err != nil && !isNotExist(err) {
			return
		}
	}
}

// createRecords writes the first records: the store's counters and the root namespace.
func (s *Store) createRecords(st NamespaceSettings) (err error) {
	s.engine, err = record.Open(s.fs.PathJoin(s.dir, recordsDir), record.Options{FS: s.fs, Create: true, CacheSize: 1 << 20, Log: s.log})
	if err != nil {
		return diskError(err)
	}
	defer func() { err = errors.Join(err, s.engine.Close()) }()
	root, err := s.newNamespace(RootNamespace, "", st)
	if err != nil {
		return err
	}
	defer root.key.Wipe()
	c := s.newCommit(newGroup(0, firstEpoch), 4<<10)
	c.setNamespace(RootNamespace, root.rec.Load())
	c.setSystem(systemKey(kindUsage, standardContext, uint64(RootNamespace)), Usage{}.append(nil))
	first := storeState{epoch: firstEpoch, nextIno: 2, nextBlock: 1, nextNS: 1, nextSegment: 1}
	c.setSystem(systemKey(kindState, 0, 0), first.append(nil))
	if err := s.engine.Commit(c.batch); err != nil {
		return err
	}
	return s.engine.Apply(c.batch)
}
