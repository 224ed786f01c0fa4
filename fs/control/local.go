package control

import (
	"context"
	"fmt"
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

// Check implements Target.
func (l *Local) Check(ctx context.Context, o CheckOptions, progress func(Progress), report func(Problem)) error {
	_, err := l.examine(ctx, o, progress, report)
	return err
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
