package blockstore

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore/record"
	"salliefs/crypto"
)

// CreateOptions say how to make a store.
type CreateOptions struct {
	FS       vfs.FS           // nil: the machine's filesystem
	Clock    func() time.Time // nil: time.Now
	Settings NamespaceSettings
}

// Create makes an empty store in dir, which must be missing or empty, and which nobody else may read from then on. The keyring's standard context must hold std.
// The header is written last: until then the directory is an unfinished init, which Open refuses with ErrIncomplete.
// Settings are those of the root namespace.
func Create(dir string, kr *crypto.Keyring, std *crypto.Master, o CreateOptions) (err error) {
	fs := o.FS
	if fs == nil {
		fs = vfs.Default
	}
	if err := o.Settings.Validate(); err != nil {
		return err
	}
	if err := prepareDir(fs, dir); err != nil {
		return err
	}
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
	if err := syncDir(fs, dir); err != nil {
		return err
	}
	h := header{version: FormatVersion, id: kr.StoreID()}
	return writeFile(fs, fs.PathJoin(dir, headerFile), h.encode())
}

func prepareDir(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	names = slices.DeleteFunc(names, func(n string) bool { return n == "lost+found" }) // of a filesystem of its own
	switch {
	case isNotExist(err):
		return makeDir(fs, dir)
	case err != nil:
		return err
	case len(names) == 0:
		return makePrivate(fs, dir, 0o700)
	}
	if _, err := readHeader(fs, dir); err == nil {
		return fmt.Errorf("%s: %w: it holds a store", dir, ErrExists)
	} else if errors.Is(err, ErrIncomplete) {
		return err
	}
	return fmt.Errorf("%s: %w: a store needs a new or an empty directory", dir, ErrExists)
}

// makeDir makes a directory and those above it, durably.
func makeDir(fs vfs.FS, dir string) error {
	parent := fs.PathDir(dir)
	if _, err := fs.Stat(parent); isNotExist(err) && parent != dir {
		if err := makeDir(fs, parent); err != nil {
			return err
		}
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return diskError(err)
	}
	return syncDir(fs, parent)
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
	return s.engine.Apply(c.batch, true)
}
