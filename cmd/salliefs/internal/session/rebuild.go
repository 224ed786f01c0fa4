package session

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore"
	"salliefs/crypto"
	"salliefs/fs"
	"salliefs/fs/control"
)

// Rebuild makes a store in dir of what the segments of the one at path tell. That one is only read. The new one has the
// keyring of the old one. It reports each file, and what of the old store could not be read.
func Rebuild(ctx context.Context, path, dir string, o Options, progress func(control.Progress), report func(fs.Problem), bad func(string)) (sum fs.Rebuilt, err error) {
	place, err := Find(path)
	if err != nil {
		return sum, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return sum, err
	}
	if err := CheckNew(dir); err != nil {
		return sum, err
	}
	raw, err := blockstore.ReadKeyring(vfs.Default, place.Dir)
	if err != nil {
		return sum, err
	}
	kr, err := crypto.DecodeKeyring(raw)
	if err != nil {
		return sum, err
	}
	m, err := o.Unlock(ctx, place.Dir)
	if err != nil {
		return sum, err
	}
	part := func(name string) func(done, total int64) {
		return func(done, total int64) { progress(control.Progress{Part: name, Done: done, Total: total}) }
	}
	from, err := blockstore.OpenRemains(ctx, place.Dir, m, blockstore.Options{Log: o.Log}, part("segments"))
	if err != nil {
		m.Wipe()
		return sum, err
	}
	head := fmt.Sprintf(rebuiltHead, time.Now().UTC().Format(time.RFC3339), from.Stray)
	for _, text := range from.Bad {
		bad(text)
		head += text + "\n"
	}
	sum, err = rebuild(ctx, from, dir, kr, m, o, head+"\n", part("blocks"), report)
	return sum, errors.Join(err, from.Close())
}

// rebuiltHead is what the reports of a rebuild begin with.
const rebuiltHead = `salliefs check --rebuild, %s.

This was made of the segments of a store alone. What was only in its records is gone: small files and the ends and changes of
files that took no more than 4 KiB stored, what was synced in the last moments, empty files, links, special files and
attributes. What such changes had replaced shows as it was before them, and files that were removed may be there again: compare
with a backup before you rely on it. Of %d blocks in the segments nobody knows what they were for.
`

// rebuild makes the new store, and takes the master over.
func rebuild(ctx context.Context, from *blockstore.Remains, dir string, kr *crypto.Keyring, m *crypto.Master, o Options, head string,
	progress func(done, total int64), report func(fs.Problem)) (sum fs.Rebuilt, err error) {
	if err := from.CreateLike(dir, kr, m, vfs.Default, blockstore.NamespaceSettings{}); err != nil {
		m.Wipe()
		return sum, err
	}
	opened, err := OpenStore(dir, m, StoreOptions{ACL: true, Log: o.Log})
	if err != nil {
		m.Wipe()
		return sum, err
	}
	sum, err = opened.Tree.Rebuild(ctx, from, head, progress, report)
	return sum, errors.Join(err, opened.Close())
}
