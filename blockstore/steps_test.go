package blockstore_test

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"

	"salliefs/blockstore"
)

// bytes is plaintext for a block, of which half shrinks.
func (w *world) bytes(n int) []byte {
	return blockData(rand.New(rand.NewPCG(uint64(w.draw(1<<30)), 1)), n)
}

func (w *world) size() int {
	sizes := [...]int{100, 3000, 10000, 40000, blockstore.MaxBlockSize}
	return 1 + w.draw(sizes[w.draw(len(sizes))])
}

// pick gives a random namespace, the same for the same draws.
func (w *world) pick(s *state) *space {
	names := slices.Sorted(maps.Keys(s.spaces))
	return s.spaces[names[w.draw(len(names))]]
}

func (w *world) key(sp *space) blockstore.Key {
	return blockstore.Key{Ino: blockstore.MakeIno(sp.id, uint64(2+w.draw(3))), Kind: entryKind, Suffix: uint64(w.draw(6))}
}

// steps are all that can be done, by name. Each fails with what the store said.
func (w *world) steps() map[string]func() error {
	return map[string]func() error{
		"put":      w.stepPut,
		"block":    w.stepBlock,
		"delete":   w.stepDelete,
		"share":    w.stepShare,
		"rewrite":  w.stepRewrite,
		"create":   w.stepCreate,
		"rename":   w.stepRename,
		"swap":     w.stepSwap,
		"remove":   w.stepRemove,
		"snapshot": w.stepSnapshot,
		"forget":   w.stepForget,
		"sync":     w.sync,
		"reclaim":  func() error { return w.s.Reclaim(context.Background()) },
		"sweep":    func() error { return w.s.Sweep(context.Background()) },
		"move":     func() error { return w.s.MoveInlined() },
	}
}

// mix says how often each step comes.
var mix = []string{
	"put", "put", "put", "block", "block", "block", "block", "block", "block", "delete", "delete", "share", "rewrite", "rewrite",
	"create", "rename", "swap", "remove", "snapshot", "snapshot", "forget", "sync", "sync", "sync", "reclaim", "sweep", "move",
}

func (w *world) random() error { return w.steps()[mix[w.draw(len(mix))]]() }

func (w *world) stepPut() error {
	return w.update(func(next *state) func(tx *blockstore.Tx) {
		sp := w.pick(next)
		return sp.set(w.key(sp), &entry{tag: uint64(next.step)})
	})
}

func (w *world) stepBlock() error {
	return w.update(func(next *state) func(tx *blockstore.Tx) {
		sp := w.pick(next)
		e := &entry{tag: uint64(next.step), data: w.bytes(w.size())}
		set := sp.set(w.key(sp), e)
		return func(tx *blockstore.Tx) {
			e.block = tx.PutBlock(sp.id, e.data)
			w.given = e.block
			set(tx)
		}
	})
}

func (w *world) stepDelete() error {
	return w.update(func(next *state) func(tx *blockstore.Tx) {
		sp := w.pick(next)
		return sp.set(w.key(sp), nil)
	})
}

// stepShare has a second record name a block.
func (w *world) stepShare() error {
	return w.update(func(next *state) func(tx *blockstore.Tx) {
		sp := w.pick(next)
		from, to := w.key(sp), w.key(sp)
		e := sp.recs[from]
		if e == nil || e.block == 0 || from == to {
			return func(*blockstore.Tx) {}
		}
		first := &entry{e.tag, e.block, true, e.data}
		second := &entry{uint64(next.step), e.block, true, e.data}
		a, b := sp.set(from, first), sp.set(to, second)
		return func(tx *blockstore.Tx) { a(tx); b(tx) }
	})
}

// stepRewrite changes a block in place if it is young enough, or replaces it.
func (w *world) stepRewrite() error {
	return w.update(func(next *state) func(tx *blockstore.Tx) {
		sp := w.pick(next)
		k := w.key(sp)
		e := sp.recs[k]
		if e == nil || e.block == 0 || e.shared {
			return func(*blockstore.Tx) {}
		}
		off := w.draw(len(e.data) + 1)
		more := w.bytes(1 + w.draw(min(5000, blockstore.MaxBlockSize-off+1)))
		more = more[:min(len(more), blockstore.MaxBlockSize-off)]
		if len(more) == 0 {
			return func(*blockstore.Tx) {}
		}
		data := slices.Clone(e.data[:off])
		data = append(data, more...)
		if len(data) < len(e.data) {
			data = append(data, e.data[len(data):]...)
		}
		changed := &entry{tag: uint64(next.step), block: e.block, data: data}
		same := sp.set(k, changed)
		return func(tx *blockstore.Tx) {
			if tx.RewriteBlock(e.block, off, more) {
				same(tx)
				return
			}
			sp.recs[k] = e
			set := sp.set(k, changed)
			changed.block = tx.PutBlock(sp.id, data)
			w.given = changed.block
			set(tx)
		}
	})
}

var names = []string{"a", "b", "c", "d"}

func (w *world) stepCreate() error {
	name := names[w.draw(len(names))]
	if w.now.spaces[name] != nil {
		return nil
	}
	st := blockstore.NamespaceSettings{Compression: blockstore.Codec(w.draw(4))}
	next := w.begin()
	_, err := w.s.CreateNamespace(name, st, func(tx *blockstore.Tx, id blockstore.NamespaceID) {
		sp := &space{id, map[blockstore.Key]*entry{}}
		next.spaces[name] = sp
		w.put(tx, sp.set(blockstore.Key{Ino: blockstore.MakeIno(id, 1), Kind: entryKind}, &entry{tag: uint64(next.step)}))
	})
	return w.end(next, err)
}

func (w *world) stepRename() error {
	from, to := names[w.draw(len(names))], names[w.draw(len(names))]
	if w.now.spaces[from] == nil || from == to {
		return nil
	}
	other := w.now.spaces[to]
	next := w.begin()
	next.spaces[to] = next.spaces[from]
	delete(next.spaces, from)
	if other != nil {
		aside := names[w.draw(len(names))]
		if next.spaces[aside] != nil || aside == from {
			aside = ""
		} else {
			next.spaces[aside] = other
		}
		return w.end(next, w.s.ReplaceNamespace(from, to, aside, func(tx *blockstore.Tx) { w.put(tx, func(*blockstore.Tx) {}) }))
	}
	return w.end(next, w.s.RenameNamespace(from, to, func(tx *blockstore.Tx) { w.put(tx, func(*blockstore.Tx) {}) }))
}

func (w *world) stepSwap() error {
	a, b := names[w.draw(len(names))], names[w.draw(len(names))]
	if a == b || w.now.spaces[a] == nil || w.now.spaces[b] == nil {
		return nil
	}
	next := w.begin()
	next.spaces[a], next.spaces[b] = next.spaces[b], next.spaces[a]
	return w.end(next, w.s.SwapNamespaces(a, b, func(tx *blockstore.Tx) { w.put(tx, func(*blockstore.Tx) {}) }))
}

func (w *world) stepRemove() error {
	name := names[w.draw(len(names))]
	if w.now.spaces[name] == nil || w.draw(2) == 0 {
		return nil
	}
	next := w.begin()
	delete(next.spaces, name)
	return w.end(next, w.s.RemoveNamespace(name, func(tx *blockstore.Tx) { w.put(tx, func(*blockstore.Tx) {}) }))
}

// snapshotNames are few, so that they come again.
var snapshotNames = []string{"s1", "s2", "s3"}

func (w *world) stepSnapshot() error {
	name := snapshotNames[w.draw(len(snapshotNames))]
	if _, ok := w.now.snapshots[name]; ok {
		return nil
	}
	return w.unwritten(func(next *state) error {
		next.snapshots[name] = next.step - 1
		_, err := w.s.Snapshot(name)
		return err
	})
}

func (w *world) stepForget() error {
	if len(w.now.snapshots) == 0 {
		return nil
	}
	list := slices.Sorted(maps.Keys(w.now.snapshots))
	name := list[w.draw(len(list))]
	return w.unwritten(func(next *state) error {
		delete(next.snapshots, name)
		return w.s.DeleteSnapshot(name)
	})
}

// unwritten makes a step that changes no record of its own, and is durable at once. Another step follows, which says that
// it happened.
func (w *world) unwritten(change func(next *state) error) error {
	next := w.begin()
	next.unwritten = true
	if err := w.end(next, change(next)); err != nil {
		return err
	}
	w.synced.Store(int64(next.step))
	return w.stepPut()
}
