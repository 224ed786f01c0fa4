package fs

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The operations of a history. Each changes the next state as it should change the tree, then the tree, and looks at the
// error. What they choose depends on the seed and the state alone.

var crashNames = []string{"a", "b", "c", "d", "e", "\xff\x01 odd", strings.Repeat("long", 63)}

// crashMix says how often each operation comes.
var crashMix = []struct {
	name   string
	weight int
	do     func(h *history) error
}{
	{"create", 8, (*history).opCreate},
	{"mkdir", 3, (*history).opMkdir},
	{"symlink", 2, (*history).opSymlink},
	{"tmpfile", 2, (*history).opTmpfile},
	{"write", 20, (*history).opWrite},
	{"write small", 8, (*history).opWriteSmall},
	{"read", 4, (*history).opRead},
	{"truncate", 5, (*history).opTruncate},
	{"fallocate", 6, (*history).opFallocate},
	{"copy", 6, (*history).opCopy},
	{"link", 4, (*history).opLink},
	{"unlink", 6, (*history).opUnlink},
	{"rmdir", 2, (*history).opRmdir},
	{"rename", 10, (*history).opRename},
	{"save", 4, (*history).opSave},
	{"set key", 3, (*history).opSetKey},
	{"open", 5, (*history).opOpen},
	{"close", 3, (*history).opClose},
	{"set xattr", 4, (*history).opSetXattr},
	{"remove xattr", 2, (*history).opRemoveXattr},
	{"chmod", 3, (*history).opChmod},
	{"utimes", 2, (*history).opUtimes},
	{"chown", 1, (*history).opChown},
	{"snapshot", 2, (*history).opSnapshot},
	{"delete snapshot", 1, (*history).opDeleteSnapshot},
	{"create namespace", 1, (*history).opCreateNamespace},
	{"rename namespace", 2, (*history).opRenameNamespace},
	{"remove namespace", 1, (*history).opRemoveNamespace},
	{"set namespace", 1, (*history).opSetNamespace},
	{"sync", 5, (*history).opSync},
	{"sync beside", 3, (*history).opSyncBeside},
	{"reclaim", 2, (*history).opReclaim},
	{"sweep", 2, (*history).opSweep},
	{"remount", 1, (*history).opRemount},
	{"crash", 1, (*history).opCrash},
}

func (h *history) draw(n int) int { return h.rnd.IntN(n) }

// pick draws one of the inodes for which ok is true; 0 if there is none.
func (h *history) pick(ok func(ino Ino, n *snode) bool) Ino {
	var list []Ino
	for ino, n := range h.now.nodes {
		if ok(ino, n) {
			list = append(list, ino)
		}
	}
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[h.draw(len(list))]
}

func (h *history) pickDir() Ino {
	return h.pick(func(_ Ino, n *snode) bool { return n.entries != nil })
}

func (h *history) pickFile() Ino {
	return h.pick(func(_ Ino, n *snode) bool { return n.attr.IsRegular() })
}

func (h *history) pickAny() Ino { return h.pick(func(Ino, *snode) bool { return true }) }

func (h *history) name() string { return crashNames[h.draw(len(crashNames))] }

// entry draws a name that a directory has, most of the time.
func (h *history) entry(dir Ino) string {
	names := slices.Sorted(maps.Keys(h.now.nodes[dir].entries))
	if len(names) == 0 || h.draw(8) == 0 {
		return h.name()
	}
	return names[h.draw(len(names))]
}

// change makes one step. change says what the tree has then, and what error is due; op does it, and may enter what only the
// store knows.
func (h *history) change(change func(next *state) error, op func(next *state) error) error {
	next := h.begin()
	want := change(next)
	if want != nil { // nothing changes
		*next = *h.now.clone()
		next.step = len(h.past) - 1
	}
	if err := op(next); !errors.Is(err, want) {
		return fmt.Errorf("error %v, want %v", err, want)
	}
	return h.end(next)
}
