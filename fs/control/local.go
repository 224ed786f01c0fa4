package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore"
	"salliefs/crypto"
	"salliefs/fs"
)

// LocalOptions is what a Local acts on.
type LocalOptions struct {
	Dir    string // of the store
	Disk   vfs.FS // that Dir is on
	Store  *blockstore.Store
	Tree   *fs.FS         // of Store
	Master *crypto.Master // of the standard context
	Cred   fs.Cred        // who owns what Set makes

	// Mounted says that others than the caller use the store through a mount.
	Mounted bool
	// Requests counts the mount's requests by kind, and on reset starts again.
	Requests func(reset bool) map[string]uint64
	// Writeback has the kernel hand over what programs have written through the mount and it still holds; nil: there is no
	// mount. Where it fails, what is read may be behind what the mount shows, by the time that the kernel takes.
	Writeback func() error
	// Settle waits until the mount shows what was changed.
	Settle func()
	// Close ends what belongs to the Local; nil: nothing does.
	Close func() error
}

// Local is a Target on a store that this process has open. It is safe for concurrent use.
type Local struct {
	o LocalOptions

	keyringMu sync.Mutex // held while the keyring is read, changed and written
}

var _ Target = (*Local)(nil)

// NewLocal returns a Target for an open store.
func NewLocal(o LocalOptions) *Local { return &Local{o: o} }

// Close closes what belongs to the Local.
func (l *Local) Close() error {
	if l.o.Close == nil {
		return nil
	}
	return l.o.Close()
}

// catchUp is called before values and sizes are read.
func (l *Local) catchUp() {
	if l.o.Writeback != nil {
		_ = l.o.Writeback()
	}
}

// settle makes a change durable, and visible in the mount.
func (l *Local) settle() error {
	if l.o.Settle != nil {
		l.o.Settle()
	}
	return l.o.Tree.Sync()
}

// Check implements Target. The structure of the store comes first: what is wrong there explains what the tree lacks.
func (l *Local) Check(ctx context.Context, o CheckOptions, progress func(Progress), report func(Problem)) error {
	part := func(name string) func(done, total int64) {
		return func(done, total int64) { progress(Progress{Part: name, Done: done, Total: total}) }
	}
	bad := make(damagedBlocks)
	err := l.o.Store.Check(ctx, blockstore.CheckOptions{Data: o.Data, Progress: part("store")}, func(p blockstore.Problem) {
		if p.Block != 0 && bad[p.Block] == nil && len(bad) < mostDamaged {
			bad[p.Block] = &damagedBlock{Problem: p}
			return
		}
		report(Problem{Where: Name(l.placeOf(p)), What: p.Message})
	})
	if err != nil {
		return err
	}
	options := fs.CheckOptions{Progress: part("files")}
	if o.Data || len(bad) > 0 {
		options.Block = bad.ask(l.o.Store)
	}
	err = l.o.Tree.Check(ctx, options, func(p fs.Problem) { report(Problem{Where: Name(whereOf(p)), What: p.What}) })
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(bad)) { // those that no file has now, but a snapshot may
		if b := bad[id]; !b.named {
			report(Problem{Where: Name(l.placeOf(b.Problem)), What: b.Message})
		}
	}
	return nil
}

// damagedBlocks are those that the store's check has found and no file has been named for yet.
type damagedBlocks map[blockstore.BlockID]*damagedBlock

type damagedBlock struct {
	blockstore.Problem
	named bool // by a problem of a file
}

// mostDamaged bounds them; what is found beyond that is reported without a file's name.
const mostDamaged = 1 << 17

// ask is for the check of the files: each block was read already, so only what came of that is looked up, and whether
// the block is there at all.
func (d damagedBlocks) ask(st *blockstore.Store) func(fs.NamespaceID, blockstore.BlockID, int, int) error {
	return func(ns fs.NamespaceID, id blockstore.BlockID, off, n int) error {
		if b := d[id]; b != nil {
			b.named = true
			return errors.New(b.Message)
		}
		return st.HasBlock(ns, id, off, n)
	}
}

// placeOf names what a problem of the block store is about.
func (l *Local) placeOf(p blockstore.Problem) string {
	where := fmt.Sprintf("namespace %d", p.Namespace)
	if n, ok := l.o.Store.NamespaceByID(p.Namespace); ok && n.Name != "" {
		where = "namespace " + n.Name
	}
	switch {
	case p.Block != 0 && p.Ino != 0:
		return fmt.Sprintf("block %d of inode %d in %s", p.Block, p.Ino.Number(), where)
	case p.Block != 0:
		return fmt.Sprintf("block %d in %s", p.Block, where)
	case p.Ino != 0:
		return fmt.Sprintf("inode %d in %s", p.Ino.Number(), where)
	}
	return where
}

func whereOf(p fs.Problem) string {
	where := strings.Trim(p.Namespace+"/"+p.Path, "/")
	switch {
	case p.Path == "" && p.Ino != 0 && where != "":
		return fmt.Sprintf("inode %d in namespace %s", p.Ino.Number(), where)
	case p.Path == "" && p.Ino != 0:
		return fmt.Sprintf("inode %d in namespace %d", p.Ino.Number(), p.Ino.Namespace())
	case where == "":
		return "/"
	}
	return where
}
