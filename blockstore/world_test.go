package blockstore_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"salliefs/blockstore"
	"salliefs/blockstore/storetest"
)

// world drives a store with random steps and knows what it must hold: the state after each step is kept, and the number of
// the step stands in a record of the store itself, written with each change. So it can be told which moment of history a
// store that went through a crash is at, and whether all of it is.
type world struct {
	disk  *storetest.Store
	opts  blockstore.Options
	s     *blockstore.Store
	draw  func(n int) int // a random number below n
	now   *state
	past  []*state           // after step i
	given blockstore.BlockID // the newest

	started, synced atomic.Int64 // the newest step that was begun, and that is known to be durable
}

// state is what a store holds at one moment. What it points to does not change.
type state struct {
	step      int
	spaces    map[string]*space
	snapshots map[string]int // the step that each one holds
	unwritten bool           // the step is one of snapshots, which leaves no number behind
}

type space struct {
	id   blockstore.NamespaceID
	recs map[blockstore.Key]*entry
}

// entry is a record, and perhaps a block that it names.
type entry struct {
	tag    uint64
	block  blockstore.BlockID // 0: none
	shared bool
	data   []byte // of the block
}

func (s *state) clone() *state {
	c := &state{step: s.step, spaces: make(map[string]*space, len(s.spaces)), snapshots: maps.Clone(s.snapshots)}
	for name, sp := range s.spaces {
		c.spaces[name] = &space{sp.id, maps.Clone(sp.recs)}
	}
	return c
}

const (
	stepKind  blockstore.Kind = 0x20
	entryKind blockstore.Kind = 0x21
)

func stepKey() blockstore.Key { return blockstore.Key{Ino: blockstore.RootIno, Kind: stepKind} }

// encode gives an entry's record.
func (e *entry) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, e.tag)
	b = binary.BigEndian.AppendUint64(b, uint64(e.block))
	b = binary.BigEndian.AppendUint32(b, uint32(len(e.data)))
	if e.shared {
		return append(b, 1)
	}
	return append(b, 0)
}

func entryRefs(kind blockstore.Kind, value []byte, visit func(blockstore.BlockID)) error {
	if kind == entryKind && len(value) >= 16 {
		if id := blockstore.BlockID(binary.BigEndian.Uint64(value[8:])); id != 0 {
			visit(id)
		}
	}
	return nil
}

func newWorld(disk *storetest.Store, o blockstore.Options, draw func(n int) int) (*world, error) {
	w := &world{disk: disk, opts: o, draw: draw}
	w.now = &state{spaces: map[string]*space{"": {0, map[blockstore.Key]*entry{}}}, snapshots: map[string]int{}}
	w.past = []*state{w.now}
	return w, w.open()
}

func (w *world) open() (err error) {
	if w.s, err = w.disk.TryOpen(w.opts); err == nil {
		w.s.SetBlockRefs(entryRefs)
	}
	return err
}

// update makes one step: change changes the next state and returns what is to be put for it.
func (w *world) update(change func(next *state) func(tx *blockstore.Tx)) error {
	next := w.begin()
	put := change(next)
	return w.end(next, w.s.Update(func(tx *blockstore.Tx) error { w.put(tx, put); return nil }))
}

func (w *world) begin() *state {
	next := w.now.clone()
	next.step = len(w.past)
	w.past = append(w.past, next) // a crash may find it
	w.started.Store(int64(next.step))
	return next
}

func (w *world) put(tx *blockstore.Tx, put func(tx *blockstore.Tx)) {
	tx.Put(stepKey(), binary.BigEndian.AppendUint64(nil, uint64(len(w.past)-1)))
	put(tx)
}

func (w *world) end(next *state, err error) error {
	switch {
	case err == nil:
		w.now = next
	case errors.Is(err, blockstore.ErrFailed): // it may have come to the disk all the same
	default:
		w.past = w.past[:next.step]
		w.started.Store(int64(next.step - 1))
	}
	return err
}

func (w *world) sync() error {
	err := w.s.Sync()
	if err == nil {
		w.synced.Store(int64(w.now.step))
	}
	return err
}

// set replaces an entry; nil deletes it. It returns what that frees and puts.
func (sp *space) set(k blockstore.Key, e *entry) func(tx *blockstore.Tx) {
	old := sp.recs[k]
	if e == nil {
		delete(sp.recs, k)
	} else {
		sp.recs[k] = e
	}
	return func(tx *blockstore.Tx) {
		if old != nil && old.block != 0 && (e == nil || e.block != old.block) {
			if old.shared {
				tx.FreeShared(sp.id, old.block)
			} else {
				tx.FreeBlock(sp.id, old.block)
			}
		}
		tx.Account(sp.id, count(e)-count(old), length(e)-length(old))
		if e == nil {
			tx.Delete(k)
		} else {
			tx.Put(k, e.encode())
		}
	}
}

func count(e *entry) int64 {
	if e == nil {
		return 0
	}
	return 1
}

func length(e *entry) int64 {
	if e == nil {
		return 0
	}
	return int64(len(e.data))
}

// recovered finds out which moment of history a store is at.
func (w *world) recovered(s *blockstore.Store) (*state, error) {
	v, err := s.Get(stepKey())
	if err != nil && !errors.Is(err, blockstore.ErrNotFound) {
		return nil, err
	}
	step := 0
	if err == nil {
		step = int(binary.BigEndian.Uint64(v))
	}
	if step >= len(w.past) {
		return nil, fmt.Errorf("step %d was never made", step)
	}
	have := make(map[string]int)
	for _, sn := range s.Snapshots() {
		have[sn.Name]++
	}
	at := w.past[step]
	if step+1 < len(w.past) && w.past[step+1].unwritten && sameNames(have, w.past[step+1].snapshots) {
		at = w.past[step+1]
	}
	if !sameNames(have, at.snapshots) {
		return nil, fmt.Errorf("snapshots %v at step %d, want %v", have, at.step, at.snapshots)
	}
	return at, nil
}

func sameNames(a, b map[string]int) bool {
	return slices.Equal(slices.Sorted(maps.Keys(a)), slices.Sorted(maps.Keys(b)))
}

// verify compares a store with a state, snapshots included.
func (w *world) verify(s *blockstore.Store, want *state) error {
	if err := verifySpaces(s, blockstore.Live, s.Namespaces(), want); err != nil {
		return fmt.Errorf("step %d: %w", want.step, err)
	}
	for _, sn := range s.Snapshots() {
		list, err := s.NamespacesAt(sn.Epoch)
		if err == nil {
			err = verifySpaces(s, sn.Epoch, list, w.past[want.snapshots[sn.Name]])
		}
		if err != nil {
			return fmt.Errorf("snapshot %s of step %d at step %d: %w", sn.Name, want.snapshots[sn.Name], want.step, err)
		}
	}
	return nil
}

func verifySpaces(s *blockstore.Store, e blockstore.Epoch, list []blockstore.Namespace, want *state) error {
	if len(list) != len(want.spaces) {
		return fmt.Errorf("%d namespaces, want %d", len(list), len(want.spaces))
	}
	for _, ns := range list {
		sp := want.spaces[ns.Name]
		if sp == nil || sp.id != ns.ID {
			return fmt.Errorf("namespace %q with ID %d is not wanted", ns.Name, ns.ID)
		}
		if err := verifySpace(s, e, sp); err != nil {
			return fmt.Errorf("namespace %q: %w", ns.Name, err)
		}
		if e != blockstore.Live {
			continue
		}
		var u blockstore.Usage
		for _, e := range sp.recs {
			u.Files++
			u.Logical += int64(len(e.data))
		}
		if u.Files != ns.Usage.Files || u.Logical != ns.Usage.Logical {
			return fmt.Errorf("namespace %q: usage %+v, want %+v", ns.Name, ns.Usage, u)
		}
	}
	return nil
}

func verifySpace(s *blockstore.Store, e blockstore.Epoch, sp *space) error {
	left := maps.Clone(sp.recs)
	for n := uint64(1); n < 5; n++ {
		ino := blockstore.MakeIno(sp.id, n)
		var bad error
		err := s.Scan(e, ino, entryKind, 0, func(suffix uint64, v []byte) bool {
			k := blockstore.Key{Ino: ino, Kind: entryKind, Suffix: suffix}
			want := left[k]
			delete(left, k)
			if want == nil || !bytes.Equal(v, want.encode()) {
				bad = fmt.Errorf("%v is %x, want %+v", k, v, want)
				return false
			}
			if got, err := s.GetAt(e, k); err != nil || !bytes.Equal(got, v) {
				bad = fmt.Errorf("%v: Scan gives %x, GetAt %x, %w", k, v, got, err)
				return false
			}
			bad = verifyBlock(s, sp.id, want)
			return bad == nil
		})
		if err = errors.Join(err, bad); err != nil {
			return err
		}
	}
	for k := range left {
		return fmt.Errorf("%v is missing", k)
	}
	return nil
}

func verifyBlock(s *blockstore.Store, ns blockstore.NamespaceID, want *entry) error {
	if want.block == 0 {
		return nil
	}
	dst := make([]byte, len(want.data))
	if err := s.ReadBlock(ns, want.block, 0, dst); err != nil {
		return err
	}
	if !bytes.Equal(dst, want.data) {
		return fmt.Errorf("block %d holds something else", want.block)
	}
	return nil
}

// check runs Check and gives the first problem as an error.
func check(s *blockstore.Store) error {
	var first error
	err := s.Check(context.Background(), blockstore.CheckOptions{Data: true}, func(p blockstore.Problem) {
		if first == nil {
			first = fmt.Errorf("check: %v", p)
		}
	})
	return errors.Join(err, first)
}

// collected looks whether reclaim and sweep leave nothing behind: after them, every block is named by a record of the
// present or of a snapshot.
func (w *world) collected() error {
	ctx := context.Background()
	if err := errors.Join(w.s.Reclaim(ctx), w.s.Sweep(ctx), w.s.Reclaim(ctx)); err != nil {
		return err
	}
	named := make(map[blockstore.BlockID]bool)
	note := func(s *state) {
		for _, sp := range s.spaces {
			for _, e := range sp.recs {
				if e.block != 0 {
					named[e.block] = true
				}
			}
		}
	}
	note(w.now)
	for _, step := range w.now.snapshots {
		note(w.past[step])
	}
	for _, id := range w.s.BlockIDs() {
		if !named[id] {
			return fmt.Errorf("block %d is there, and nothing names it", id)
		}
		delete(named, id)
	}
	for id := range named {
		return fmt.Errorf("block %d is gone", id)
	}
	return nil
}
