package blockstore

import (
	"cmp"
	"fmt"
	"slices"

	"salliefs/blockstore/record"
	"salliefs/crypto"
)

// records writes the group's records.
func (c *commit) records() {
	var ns *nsState
	for k, r := range c.g.recs {
		id := k.Ino.Namespace()
		if ns == nil || ns.id != id {
			// One that a later group removes is written like any other: that group may not be committed.
			if ns = c.s.readableNS(id); ns == nil || ns.removed != 0 || c.removed[id] {
				ns = nil
				continue // the namespace is gone, and its records with it
			}
		}
		phys := record.Key{Namespace: uint32(id), Kind: uint8(k.Kind), Inode: uint64(k.Ino), Suffix: k.Suffix}
		c.setVersioned(ns.key.Records(), phys, r.value)
	}
}

// setVersioned writes a record's version of the group's epoch, or deletes the record when value is nil, and removes the
// older versions that no snapshot sees. It tells whether any is left.
func (c *commit) setVersioned(sealer *crypto.Sealer, k record.Key, value []byte) (kept bool) {
	k.Epoch = uint64(c.g.epoch)
	if c.g.epoch > firstEpoch {
		var err error
		if kept, err = c.pruneVersions(k); err != nil {
			c.keepVersions(k, err)
			kept = true
		}
	}
	if value == nil && !kept {
		c.delete(k)
	} else {
		c.set(sealer, k, value) // a tombstone if it is nil: it hides the version that a snapshot still sees
	}
	return kept
}

// keepVersions leaves older versions that can not be read to the sweep. No read relies on their being gone.
func (c *commit) keepVersions(k record.Key, err error) {
	if !c.unpruned {
		c.s.log.Error("older versions of a record stay for now", "store", c.s.dir, "record", k, "err", err)
	}
	c.sweep, c.unpruned = true, true
	if c.versions != nil {
		_ = c.versions.Close() // it was only read, and says the same again
		c.versions = nil
	}
}

// pruneVersions deletes the versions of k older than k.Epoch that no snapshot sees, knowing that k.Epoch gets a version.
// It tells whether any is left.
func (c *commit) pruneVersions(k record.Key) (kept bool, err error) {
	it := c.versions
	if it == nil {
		if it, err = c.s.engine.NewIter(nil, nil); err != nil {
			return false, err
		}
		c.versions = it
	}
	newer := Epoch(k.Epoch)
	c.key = k.Append(c.key[:0])
	for ok := it.SeekVersion(c.key); ok; ok = it.Next() {
		v, err := record.DecodeKey(it.Key())
		if err != nil {
			return false, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		if v.Epoch == k.Epoch {
			continue
		}
		if c.s.snapshotBetween(Epoch(v.Epoch), newer) {
			kept = true
		} else {
			c.batch.Delete(it.Key())
		}
		newer = Epoch(v.Epoch)
	}
	return kept, it.Err()
}

// snapshotBetween tells whether a snapshot sees a version of epoch from that a version of epoch to replaced.
func (s *Store) snapshotBetween(from, to Epoch) bool {
	s.snapMu.RLock()
	defer s.snapMu.RUnlock()
	i, _ := slices.BinarySearchFunc(s.snapshots, from, func(sn Snapshot, e Epoch) int { return cmp.Compare(sn.Epoch, e) })
	return i < len(s.snapshots) && s.snapshots[i].Epoch < to
}

// youngBlocks is the first block ID that the newest snapshot does not know.
func (s *Store) youngBlocks() BlockID {
	s.snapMu.RLock()
	defer s.snapMu.RUnlock()
	if n := len(s.snapshots); n > 0 {
		return s.snapshots[n-1].firstID
	}
	return 0
}
