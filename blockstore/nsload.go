package blockstore

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"salliefs/blockstore/record"
)

// loadNamespaces reads all namespaces, also those that only snapshots see.
func (s *Store) loadNamespaces() error {
	it, err := s.engine.NewIter(record.KindBounds(systemNamespace, kindNamespace))
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.NextRecord() {
		if err := s.loadNamespace(it); err != nil {
			return errors.Join(err, it.Close())
		}
	}
	if err := it.Close(); err != nil {
		return err
	}
	return s.scanSystem(s.engine, kindUsage, func(k record.Key, v []byte) error {
		u, err := decodeUsage(v)
		if n := s.namespaces[NamespaceID(k.Suffix)]; n != nil && err == nil {
			n.setUsage(u)
		}
		return err
	})
}

// loadNamespace reads the newest version of the namespace that it stands at; of a removed one, the newest that still
// says something.
func (s *Store) loadNamespace(it record.Iterator) error {
	var removed Epoch
	first, err := record.DecodeKey(it.Key())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	id := NamespaceID(first.Suffix)
	for {
		sealed, err := it.Value()
		if err != nil {
			return err
		}
		v, err := s.openRecord(s.sealer, it.Key(), sealed)
		if err != nil {
			return err
		}
		if len(v) > 0 {
			n, err := s.openNamespace(id, v)
			if err != nil {
				return err
			}
			if removed != 0 {
				n.removed = removed
				s.retired[id] = n
			} else {
				s.namespaces[id] = n
				s.byName[n.rec.Load().name] = n
			}
			return nil
		}
		removed = Epoch(first.Epoch)
		if !it.Next() {
			return nil
		}
		if k, err := record.DecodeKey(it.Key()); err != nil || k.Suffix != first.Suffix {
			return fmt.Errorf("%w: namespace %d has a deletion and no record", ErrCorrupt, id)
		}
	}
}

func (s *Store) openNamespace(id NamespaceID, v []byte) (*nsState, error) {
	r, err := decodeNSRecord(v)
	if err != nil {
		return nil, fmt.Errorf("namespace %d: %w", id, err)
	}
	key, err := s.master.OpenNamespaceKey(s.id, uint32(id), r.keyEpoch, r.wrapped)
	if err != nil {
		return nil, fmt.Errorf("key of namespace %d: %w: %w", id, ErrCorrupt, err)
	}
	n := &nsState{id: id, key: key}
	n.rec.Store(&r)
	return n, nil
}

// NamespacesAt lists the namespaces as they were at an epoch, without what they held.
func (s *Store) NamespacesAt(e Epoch) ([]Namespace, error) {
	if e == Live {
		return s.Namespaces(), nil
	}
	s.nsMu.RLock()
	ids := make([]NamespaceID, 0, len(s.namespaces)+len(s.retired))
	for id := range s.namespaces {
		ids = append(ids, id)
	}
	for id := range s.retired {
		ids = append(ids, id)
	}
	s.nsMu.RUnlock()
	var list []Namespace
	for _, id := range ids {
		v, err := s.getVersion(s.engine, s.sealer, e, namespaceKey(id))
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		r, err := decodeNSRecord(v)
		if err != nil {
			return nil, err
		}
		list = append(list, Namespace{ID: id, Name: r.name, Created: r.created, Settings: r.settings})
	}
	slices.SortFunc(list, func(a, b Namespace) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}
