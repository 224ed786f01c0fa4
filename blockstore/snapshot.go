package blockstore

import (
	"fmt"
	"slices"

	"salliefs/blockstore/record"
)

// firstEpoch is the epoch of a new store.
const firstEpoch Epoch = 1

// Snapshot fixes the present state under a name. When it returns, the snapshot and all that it holds are durable. It
// costs the commit of a group. After an error there is no snapshot.
func (s *Store) Snapshot(name string) (Snapshot, error) {
	if err := checkName(name); err != nil {
		return Snapshot{}, err
	}
	if err := s.writable(); err != nil {
		return Snapshot{}, err
	}
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	if slices.ContainsFunc(s.Snapshots(), func(sn Snapshot) bool { return sn.Name == name }) {
		return Snapshot{}, fmt.Errorf("snapshot %q: %w", name, ErrExists)
	}
	sn := Snapshot{Name: name, Created: s.clock()}
	err := s.commitChange(func(g *group) func(*commit) {
		sn.Epoch = g.epoch
		s.epoch = g.epoch + 1 // of the group that is opened after it
		s.versioned.Store(true)
		return func(c *commit) {
			// Blocks of the group after this one that have a smaller ID are taken for older than they are, which is safe:
			// when they are freed they stay until the snapshot goes.
			sn.firstID = BlockID(s.nextBlock.Load())
			c.setSystem(systemKey(kindSnapshot, 0, uint64(sn.Epoch)), sn.append(nil))
			c.after = append(c.after, func() {
				s.snapMu.Lock()
				s.snapshots = append(s.snapshots, sn)
				s.snapMu.Unlock()
			})
		}
	})
	if err != nil {
		return Snapshot{}, err
	}
	return sn, nil
}

// commitChange commits the open group together with a change of the store's own records. commitMu is held. When the
// commit fails the change is not tried again with the next one.
func (s *Store) commitChange(prepare func(g *group) func(*commit)) error {
	cancelled := false
	s.gate.Lock()
	g := s.view.Load().open
	change := prepare(g)
	g.mu.Lock() // Sync looks at the group without the gate
	g.system = append(g.system, func(c *commit) {
		if !cancelled {
			change(c)
		}
	})
	g.mu.Unlock()
	s.gate.Unlock()
	err := s.commitOpenLocked(true)
	cancelled = err != nil
	return err
}

// Snapshots lists the snapshots, oldest first.
func (s *Store) Snapshots() []Snapshot {
	s.snapMu.RLock()
	defer s.snapMu.RUnlock()
	return slices.Clone(s.snapshots)
}

// DeleteSnapshot forgets a snapshot, durably. The space that only it held comes back in the background.
func (s *Store) DeleteSnapshot(name string) error {
	if err := s.writable(); err != nil {
		return err
	}
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	s.snapMu.Lock()
	i := slices.IndexFunc(s.snapshots, func(sn Snapshot) bool { return sn.Name == name })
	if i < 0 {
		s.snapMu.Unlock()
		return fmt.Errorf("snapshot %q: %w", name, ErrNotFound)
	}
	sn := s.snapshots[i]
	s.snapMu.Unlock()
	err := s.commitChange(func(*group) func(*commit) {
		return func(c *commit) {
			c.delete(systemKey(kindSnapshot, 0, uint64(sn.Epoch)))
			c.sweep = true
			c.after = append(c.after, func() {
				s.snapMu.Lock()
				s.snapshots = slices.DeleteFunc(s.snapshots, func(x Snapshot) bool { return x.Epoch == sn.Epoch })
				s.snapMu.Unlock()
				s.dropWanted.Store(true)
				s.sweepAsked.Store(true)
			})
		}
	})
	if err != nil {
		return err
	}
	s.kick(s.idle)
	return nil
}

func (s *Store) loadSnapshots() error {
	return s.scanSystem(s.engine, kindSnapshot, func(k record.Key, v []byte) error {
		sn, err := decodeSnapshot(Epoch(k.Suffix), v)
		s.snapshots = append(s.snapshots, sn) // in the order of their epochs
		return err
	})
}
