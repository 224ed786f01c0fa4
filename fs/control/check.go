package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"salliefs/blockstore"
	"salliefs/fs"
)

// examined is what a check found that can be repaired.
type examined struct {
	store *blockstore.Repairs
	tree  *fs.Repairs
	block func(fs.NamespaceID, blockstore.BlockID, int, int) error
}

func (e *examined) empty() bool { return e.store.Empty() && e.tree.Empty() }

// examine checks the store. Its structure comes first: what is wrong there explains what the tree lacks.
func (l *Local) examine(ctx context.Context, o CheckOptions, progress func(Progress), report func(Problem)) (*examined, error) {
	part := func(name, unit string) func(done, total int64) {
		return func(done, total int64) { progress(Progress{Part: name, Done: done, Total: total, Unit: unit}) }
	}
	bad := make(damagedBlocks)
	store, err := l.o.Store.CheckForRepair(ctx, blockstore.CheckOptions{Data: o.Data, Progress: part("store", UnitBytes)}, func(p blockstore.Problem) {
		if p.Block != 0 && bad[p.Block] == nil && len(bad) < mostDamaged {
			bad[p.Block] = &damagedBlock{Problem: p}
			return
		}
		report(Problem{Where: Name(l.placeOf(p)), What: p.Message, Remedy: p.Remedy})
	})
	if err != nil {
		return nil, err
	}
	block := bad.ask(l.o.Store)
	options := fs.CheckOptions{Progress: part("files", ""), Block: block}
	if !o.Data && len(bad) == 0 {
		options.Block = nil
	}
	tree, err := l.o.Tree.CheckForRepair(ctx, options, func(p fs.Problem) {
		report(Problem{Where: Name(whereOf(p)), What: p.What, Remedy: p.Remedy, From: p.From, To: p.To, Lost: p.Lost})
	})
	if err != nil {
		return nil, err
	}
	for _, id := range slices.Sorted(maps.Keys(bad)) { // those that no file has now, but a snapshot may
		if b := bad[id]; !b.named {
			report(Problem{Where: Name(l.placeOf(b.Problem)), What: b.Message, Remedy: b.Remedy})
		}
	}
	return &examined{store, tree, block}, nil
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
			err := errors.New(b.Message)
			if b.Remedy != "" {
				err = damageText(b.Message)
			}
			return &blockstore.DamageError{Bad: b.Bad, Err: err}
		}
		return st.HasBlock(ns, id, off, n)
	}
}

// damageText is damage, in the words of the store's check.
type damageText string

func (e damageText) Error() string        { return string(e) }
func (e damageText) Is(target error) bool { return target == blockstore.ErrCorrupt }

// rounds is how often a repair looks at what it has done: what counts wrong is known when all else is right.
const rounds = 4

// Repair implements Target.
func (l *Local) Repair(ctx context.Context, o RepairOptions, progress func(Progress), report func(Problem)) (r Repaired, err error) {
	r.DryRun = o.DryRun
	note := func(p Problem) {
		switch {
		case p.Lost:
			r.Lost++
		case p.Remedy == "":
			r.Left++
		default:
			r.Repaired++
		}
		report(p)
	}
	found, err := l.examine(ctx, CheckOptions{Data: true}, progress, note)
	if err != nil || o.DryRun || found.empty() {
		return r, err
	}
	now := time.Now()
	if r.Snapshot, err = l.snapshotBefore(now); err != nil {
		return r, fmt.Errorf("nothing was changed: the snapshot that a repair begins with can not be taken: %w", err)
	}
	head := fmt.Sprintf("salliefs check --repair, %s. The state before it is the snapshot %s.\n\n", now.UTC().Format(time.RFC3339), r.Snapshot)
	stay := r.Left
	for i := 0; i < rounds && !found.empty(); i++ {
		options := fs.RepairOptions{Block: found.block, Time: now, Head: head, Silent: i > 0}
		if err := l.repair(ctx, found, options); err != nil {
			return r, err
		}
		left := 0
		if found, err = l.examine(ctx, CheckOptions{}, progress, func(p Problem) {
			if !p.Lost {
				left++
			}
		}); err != nil {
			return r, err
		}
		r.Left = max(stay, left)
	}
	return r, l.settle()
}

func (l *Local) snapshotBefore(now time.Time) (string, error) {
	for i := 1; ; i++ {
		name := "before-repair-" + now.UTC().Format("20060102-150405")
		if i > 1 {
			name = fmt.Sprintf("%s.%d", name, i)
		}
		_, err := l.o.Tree.Snapshot(name)
		if !errors.Is(err, fs.ErrExist) && !errors.Is(err, blockstore.ErrExists) {
			return name, err
		}
	}
}

// repair repairs the tree before what it stands on: a record that does not open is needed until then, to hide an older one.
func (l *Local) repair(ctx context.Context, found *examined, o fs.RepairOptions) error {
	if err := l.o.Tree.Repair(ctx, found.tree, o); err != nil {
		return err
	}
	if err := l.o.Tree.Sync(); err != nil {
		return err
	}
	found.tree.EachMissing(found.store.Missing)
	if err := l.o.Store.Repair(ctx, found.store); err != nil {
		return err
	}
	if !found.tree.Sweep() {
		return nil
	}
	// What only a lost record named stays until the snapshot that has it is deleted.
	if err := l.o.Store.Sweep(ctx); !errors.Is(err, blockstore.ErrCorrupt) {
		return err
	}
	return nil
}
