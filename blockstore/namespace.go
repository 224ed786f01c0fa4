package blockstore

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"salliefs/blockstore/record"
	"salliefs/crypto"
)

// nsState is a namespace in memory.
type nsState struct {
	id      NamespaceID
	key     *crypto.NamespaceKey
	rec     atomic.Pointer[nsRecord] // replaced, never changed
	durable Usage                    // as of the last commit; commitMu
	removed Epoch                    // in which it was removed, once that is committed; 0 before; commitMu

	// The same with the open groups counted in, as far as it is known.
	files, logical, stored, blocks atomic.Int64
}

func (n *nsState) settings() *NamespaceSettings { return &n.rec.Load().settings }

func (n *nsState) describe() Namespace {
	r := n.rec.Load()
	return Namespace{
		ID: n.id, Name: r.name, Created: r.created, Settings: r.settings,
		Usage: Usage{Files: n.files.Load(), Logical: n.logical.Load(), Stored: n.stored.Load(), Blocks: n.blocks.Load()},
	}
}

func (n *nsState) setUsage(u Usage) {
	n.durable = u
	n.files.Store(u.Files)
	n.logical.Store(u.Logical)
	n.stored.Store(u.Stored)
	n.blocks.Store(u.Blocks)
}

// nsByID finds a namespace of the present.
func (s *Store) nsByID(id NamespaceID) *nsState {
	s.nsMu.RLock()
	n := s.namespaces[id]
	s.nsMu.RUnlock()
	return n
}

// readableNS finds a namespace of the present or one that only snapshots still hold.
func (s *Store) readableNS(id NamespaceID) *nsState {
	s.nsMu.RLock()
	defer s.nsMu.RUnlock()
	if n := s.namespaces[id]; n != nil {
		return n
	}
	return s.retired[id]
}

func (s *Store) noteUsage(id NamespaceID, files, logical int64) {
	if n := s.nsByID(id); n != nil {
		n.files.Add(files)
		n.logical.Add(logical)
	}
}

// Namespaces lists the namespaces by name; the root namespace, which has none, comes first.
func (s *Store) Namespaces() []Namespace {
	s.nsMu.RLock()
	defer s.nsMu.RUnlock()
	list := make([]Namespace, 0, len(s.namespaces))
	for _, n := range s.namespaces {
		list = append(list, n.describe())
	}
	slices.SortFunc(list, func(a, b Namespace) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// NamespaceByName finds a namespace of the present.
func (s *Store) NamespaceByName(name string) (Namespace, bool) {
	s.nsMu.RLock()
	defer s.nsMu.RUnlock()
	n := s.byName[name]
	if n == nil {
		return Namespace{}, false
	}
	return n.describe(), true
}

// NamespaceByID finds a namespace of the present.
func (s *Store) NamespaceByID(id NamespaceID) (Namespace, bool) {
	n := s.nsByID(id)
	if n == nil {
		return Namespace{}, false
	}
	return n.describe(), true
}

// NameHasher gives the keyed hash for names in a namespace; nil when there is no such namespace.
func (s *Store) NameHasher(id NamespaceID) *crypto.NameHasher {
	n := s.readableNS(id)
	if n == nil {
		return nil
	}
	return n.key.Names()
}

// checkName reports names that can not be directory entries.
func checkName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("%w: name %q", ErrInvalid, name)
	case len(name) > maxNSName:
		return fmt.Errorf("%w: name of %d bytes, at most %d are allowed", ErrInvalid, len(name), maxNSName)
	case strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("%w: name %q has a slash or a NUL in it", ErrInvalid, name)
	}
	return nil
}

// CreateNamespace makes a namespace, atomically with what init puts. It fails with ErrExists, ErrInvalid, ErrNoSpace
// when no number is left, or as Update does.
func (s *Store) CreateNamespace(name string, st NamespaceSettings, init func(tx *Tx, ns NamespaceID)) (NamespaceID, error) {
	if err := checkName(name); err != nil {
		return 0, err
	}
	if err := st.Validate(); err != nil {
		return 0, err
	}
	s.nsOps.Lock()
	defer s.nsOps.Unlock()
	if _, ok := s.NamespaceByName(name); ok {
		return 0, fmt.Errorf("namespace %q: %w", name, ErrExists)
	}
	if s.nextNS.Load() > uint64(MaxNamespaceID) {
		return 0, fmt.Errorf("%d namespaces were made in this store, no number is left: %w", MaxNamespaceID, ErrNoSpace)
	}
	n, err := s.newNamespace(NamespaceID(s.nextNS.Add(1)-1), name, st)
	if err != nil {
		return 0, err
	}
	r := n.rec.Load()
	err = s.Update(func(tx *Tx) error {
		s.nsMu.Lock()
		s.namespaces[n.id] = n
		s.byName[name] = n
		s.nsMu.Unlock()
		tx.system = append(tx.system, func(c *commit) { c.setNamespace(n.id, r) })
		tx.usage = append(tx.usage, txUsage{ns: n.id})
		if init != nil {
			init(tx, n.id)
		}
		return nil
	})
	if err != nil {
		n.key.Wipe()
	}
	return n.id, err
}

func (s *Store) newNamespace(id NamespaceID, name string, st NamespaceSettings) (*nsState, error) {
	const keyEpoch = 1
	key, wrapped, err := s.master.NewNamespaceKey(s.id, uint32(id), keyEpoch)
	if err != nil {
		return nil, err
	}
	n := &nsState{id: id, key: key}
	n.rec.Store(&nsRecord{name: name, created: s.clock(), settings: st, keyEpoch: keyEpoch, wrapped: wrapped})
	return n, nil
}

func namespaceKey(id NamespaceID) record.Key {
	return systemKey(kindNamespace, standardContext, uint64(id))
}

// setNamespace writes a namespace's record; nil removes it. It tells whether a snapshot still sees the namespace.
func (c *commit) setNamespace(id NamespaceID, r *nsRecord) (seen bool) {
	var value []byte
	if r != nil {
		value = r.append(nil)
	}
	return c.setVersioned(c.s.sealer, namespaceKey(id), value)
}

// removeNamespace removes a namespace's record, and notes that what it held is to be freed.
func (c *commit) removeNamespace(n *nsState) {
	var last Epoch // that a snapshot may have which sees it
	if c.setNamespace(n.id, nil) {
		last = c.g.epoch
	}
	c.delete(systemKey(kindUsage, standardContext, uint64(n.id)))
	c.setSystem(systemKey(kindDropped, 0, uint64(n.id)), droppedRecord(last))
	if c.removed == nil {
		c.removed = make(map[NamespaceID]bool)
	}
	c.removed[n.id] = true
	c.after = append(c.after, func() {
		n.removed = c.g.epoch
		c.s.dropWanted.Store(true)
	})
}

// changeNamespace replaces a namespace's record by what change makes of a copy, together with what also puts.
func (s *Store) changeNamespace(name string, also func(tx *Tx), change func(r *nsRecord)) error {
	return s.Update(func(tx *Tx) error {
		s.nsMu.Lock()
		n := s.byName[name]
		if n == nil {
			s.nsMu.Unlock()
			return fmt.Errorf("namespace %q: %w", name, ErrNotFound)
		}
		r := *n.rec.Load()
		change(&r)
		n.rec.Store(&r)
		delete(s.byName, name)
		s.byName[r.name] = n
		s.nsMu.Unlock()
		tx.system = append(tx.system, func(c *commit) { c.setNamespace(n.id, &r) })
		if also != nil {
			also(tx)
		}
		return nil
	})
}

// RenameNamespace changes a namespace's name, together with what also puts. It fails with ErrNotFound, ErrExists or
// ErrInvalid.
func (s *Store) RenameNamespace(old, name string, also func(tx *Tx)) error {
	if err := checkName(name); err != nil {
		return err
	}
	s.nsOps.Lock()
	defer s.nsOps.Unlock()
	if _, ok := s.NamespaceByName(name); ok {
		return fmt.Errorf("namespace %q: %w", name, ErrExists)
	}
	if old == "" {
		return fmt.Errorf("%w: the root namespace has no name", ErrInvalid)
	}
	return s.changeNamespace(old, also, func(r *nsRecord) { r.name = name })
}

// SwapNamespaces exchanges the names of two namespaces, together with what also puts.
func (s *Store) SwapNamespaces(a, b string, also func(tx *Tx)) error {
	s.nsOps.Lock()
	defer s.nsOps.Unlock()
	return s.Update(func(tx *Tx) error {
		s.nsMu.Lock()
		na, nb := s.byName[a], s.byName[b]
		if na == nil || nb == nil || a == "" || b == "" {
			s.nsMu.Unlock()
			return fmt.Errorf("namespaces %q and %q: %w", a, b, ErrNotFound)
		}
		ra, rb := *na.rec.Load(), *nb.rec.Load()
		ra.name, rb.name = b, a
		na.rec.Store(&ra)
		nb.rec.Store(&rb)
		s.byName[a], s.byName[b] = nb, na
		s.nsMu.Unlock()
		tx.system = append(tx.system, func(c *commit) {
			c.setNamespace(na.id, &ra)
			c.setNamespace(nb.id, &rb)
		})
		if also != nil {
			also(tx)
		}
		return nil
	})
}

// ReplaceNamespace gives a namespace the name of another, together with what also puts. The other is removed, or takes
// the name aside if that is not "".
func (s *Store) ReplaceNamespace(old, name, aside string, also func(tx *Tx)) error {
	if aside != "" {
		if err := checkName(aside); err != nil {
			return err
		}
	}
	s.nsOps.Lock()
	defer s.nsOps.Unlock()
	return s.Update(func(tx *Tx) error {
		s.nsMu.Lock()
		n, other := s.byName[old], s.byName[name]
		switch {
		case n == nil || other == nil || n == other || old == "" || name == "":
			s.nsMu.Unlock()
			return fmt.Errorf("namespaces %q and %q: %w", old, name, ErrNotFound)
		case aside != "" && s.byName[aside] != nil:
			s.nsMu.Unlock()
			return fmt.Errorf("namespace %q: %w", aside, ErrExists)
		}
		r, ro := *n.rec.Load(), *other.rec.Load()
		r.name, ro.name = name, aside
		n.rec.Store(&r)
		delete(s.byName, old)
		s.byName[name] = n
		if aside == "" {
			delete(s.namespaces, other.id)
			s.retired[other.id] = other
		} else {
			other.rec.Store(&ro)
			s.byName[aside] = other
		}
		s.nsMu.Unlock()
		tx.system = append(tx.system, func(c *commit) {
			if aside == "" {
				c.removeNamespace(other)
			} else {
				c.setNamespace(other.id, &ro)
			}
			c.setNamespace(n.id, &r)
		})
		if also != nil {
			also(tx)
		}
		return nil
	})
}

// SetNamespace changes a namespace's settings; the name "" means the root namespace. What is stored already stays as
// it is.
func (s *Store) SetNamespace(name string, st NamespaceSettings) error {
	if err := st.Validate(); err != nil {
		return err
	}
	s.nsOps.Lock()
	defer s.nsOps.Unlock()
	return s.changeNamespace(name, nil, func(r *nsRecord) { r.settings = st })
}

// RemoveNamespace removes a namespace with all that is in it, together with what also puts. The space comes back in
// the background, or when the last snapshot that sees it is deleted.
func (s *Store) RemoveNamespace(name string, also func(tx *Tx)) error {
	s.nsOps.Lock()
	defer s.nsOps.Unlock()
	if name == "" {
		return fmt.Errorf("%w: the root namespace can not be removed", ErrInvalid)
	}
	return s.Update(func(tx *Tx) error {
		s.nsMu.Lock()
		n := s.byName[name]
		if n == nil {
			s.nsMu.Unlock()
			return fmt.Errorf("namespace %q: %w", name, ErrNotFound)
		}
		delete(s.byName, name)
		delete(s.namespaces, n.id)
		s.retired[n.id] = n
		s.nsMu.Unlock()
		tx.system = append(tx.system, func(c *commit) { c.removeNamespace(n) })
		if also != nil {
			also(tx)
		}
		return nil
	})
}
