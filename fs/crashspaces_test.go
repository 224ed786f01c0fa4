package fs

import (
	"context"
	"fmt"
	"maps"
)

// Operations of a history on the whole: snapshots, namespaces, syncs, the power.

var crashSnapshots = []string{"s1", "s2", "s3"}

func (h *history) opSnapshot() error {
	name := crashSnapshots[h.draw(len(crashSnapshots))]
	h.note("%s", name)
	_, exists := h.now.snaps[name]
	err := h.change(func(next *state) error {
		if exists {
			return ErrExist
		}
		next.snaps[name] = h.now.treeSum(RootIno, false)
		return nil
	}, func(*state) error {
		_, err := h.Snapshot(name)
		return err
	})
	if exists {
		return err
	}
	return h.durably(err)
}

func (h *history) opDeleteSnapshot() error {
	name := crashSnapshots[h.draw(len(crashSnapshots))]
	if _, ok := h.now.snaps[name]; !ok {
		return nil
	}
	h.note("%s", name)
	return h.durably(h.change(func(next *state) error { delete(next.snaps, name); return nil }, func(*state) error {
		return h.DeleteSnapshot(name)
	}))
}

// durably notes that what was done so far is durable.
func (h *history) durably(err error) error {
	if err == nil {
		h.durable(int64(h.now.step))
	}
	return err
}

func (h *history) durable(step int64) {
	for was := h.synced.Load(); was < step && !h.synced.CompareAndSwap(was, step); was = h.synced.Load() {
	}
}

var crashSpaces = []string{"n1", "n2", "n3", "n4"}

func (h *history) space() string { return crashSpaces[h.draw(len(crashSpaces))] }

func (h *history) settings() NamespaceSettings {
	return NamespaceSettings{BlockSize: [...]int{0, 4 << 10, 32 << 10}[h.draw(3)]}
}

func (h *history) opCreateNamespace() error {
	name, st := h.space(), h.settings()
	h.note("%s", name)
	return h.change(func(next *state) error { return free(next, RootIno, name) }, func(next *state) error {
		if err := h.CreateNamespace(name, st, Cred{}); err != nil {
			return err
		}
		a, err := h.Lookup(RootIno, name)
		if err != nil {
			return err
		}
		n := h.add(next, RootIno, name, a, ModeDir|0o755)
		d, err := h.NamespaceStats(name)
		n.settings = d.Settings
		return err
	})
}

func (h *history) opRenameNamespace() error {
	return h.rename(RootIno, h.space(), RootIno, h.space(), [...]uint32{0, RenameNoReplace, RenameExchange}[h.draw(3)])
}

func (h *history) opRemoveNamespace() error {
	name, force := h.space(), h.draw(2) == 0
	top := h.now.nodes[RootIno].entries[name]
	if top == 0 {
		return nil
	}
	h.note("%s, force %v", name, force)
	return h.change(func(next *state) error {
		if len(next.nodes[top].entries) > 0 && !force {
			return ErrNotEmpty
		}
		next.lose(RootIno, name)
		return nil
	}, func(*state) error { return h.RemoveNamespace(name, force) })
}

func (h *history) opSetNamespace() error {
	name, st := h.space(), h.settings()
	top := h.now.nodes[RootIno].entries[name]
	if top == 0 {
		return nil
	}
	h.note("%s", name)
	return h.change(func(*state) error { return nil }, func(next *state) error {
		if err := h.SetNamespace(name, st); err != nil {
			return err
		}
		d, err := h.NamespaceStats(name)
		next.edit(top).settings = d.Settings
		return err
	})
}

func (h *history) opSync() error {
	if ino := h.pickFile(); ino != 0 && h.draw(2) == 0 {
		return h.durably(h.Fsync(ino))
	}
	return h.durably(h.Sync())
}

// opSyncBeside syncs while the next operations go on.
func (h *history) opSyncBeside() error {
	f, step := h.FS, int64(h.now.step)
	h.beside.Go(func() {
		if f.Sync() == nil { // else the next operation meets it
			h.durable(step)
		}
	})
	return nil
}

func (h *history) opReclaim() error { return h.st.Reclaim(context.Background()) }
func (h *history) opSweep() error   { return h.st.Sweep(context.Background()) }

// opRemount closes the tree and opens it again: all is durable, and nothing is open.
func (h *history) opRemount() error {
	clear(h.refs)
	return h.durably(h.change(func(*state) error { return nil }, func(*state) error {
		if err := h.close(); err != nil {
			return err
		}
		return h.open()
	}))
}

// opCrash cuts the power, and goes on with what that leaves.
func (h *history) opCrash() error {
	h.beside.Wait() // what is durable later is so on the disk that is left behind
	percent := [...]int{0, 20, 50, 80, 100}[h.draw(5)]
	c := powerCut{synced: h.synced.Load(), newest: h.started.Load(), disk: h.sim.Crash(h.rnd, percent), site: "an operation"}
	if err := h.verifyCuts(); err != nil {
		return err
	}
	h.sim.SetHook(nil)
	if err := h.close(); err != nil {
		return err
	}
	clear(h.refs)
	h.use(c.disk)
	at, err := h.verify(h.sim, func(f *FS) (*state, error) { return h.find(f, c) })
	if err == nil {
		err = h.open()
	}
	if err != nil {
		return fmt.Errorf("after a crash: %w", err)
	}
	next := h.begin()
	next.nodes, next.snaps = maps.Clone(at.nodes), maps.Clone(at.snaps)
	return h.durably(h.end(next))
}
