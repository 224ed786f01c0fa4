package control

import (
	"context"
	"errors"
	"fmt"

	"salliefs/blockstore"
	"salliefs/fs"
)

// Namespaces implements Target.
func (l *Local) Namespaces(context.Context) ([]Namespace, error) {
	return l.namespaces(l.o.Store.Stats()), nil
}

func (l *Local) namespaces(st blockstore.Stats) []Namespace {
	all := l.o.Tree.Namespaces()
	described := make([]Namespace, len(all))
	for i, n := range all {
		described[i] = describe(n, st)
	}
	return described
}

func describe(n fs.Namespace, st blockstore.Stats) Namespace {
	return Namespace{
		Name: Name(n.Name), ID: uint32(n.ID), Context: n.Settings.Context, Created: n.Created,
		Compression: n.Settings.Compression.String(), BlockSize: n.Settings.BlockSize, Quota: n.Settings.Quota,
		Files: n.Usage.Files, LogicalBytes: n.Usage.Logical, StoredBytes: n.Usage.Stored, Blocks: n.Usage.Blocks,
		Ratio: ratio(n.Usage.Logical, n.Usage.Stored), DeadBytes: st.SegmentFreed[n.ID],
	}
}

// find looks a namespace up for a command that was given its name.
func (l *Local) find(name string) (fs.Namespace, error) {
	n, err := l.o.Tree.NamespaceStats(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, blockstore.ErrNotFound) {
		return n, fmt.Errorf("there is no namespace %q (ns create makes one): %w", name, fs.ErrNotExist)
	}
	return n, err
}

// CreateNamespace implements Target.
func (l *Local) CreateNamespace(_ context.Context, name string, s Settings) (Namespace, error) {
	var st fs.NamespaceSettings
	if err := s.apply(&st); err != nil {
		return Namespace{}, err
	}
	if err := l.o.Tree.CreateNamespace(name, st, l.o.Cred); err != nil {
		return Namespace{}, named(name, err)
	}
	return l.settled(name)
}

// SetNamespace implements Target.
func (l *Local) SetNamespace(_ context.Context, name string, s Settings) (Namespace, error) {
	n, err := l.find(name)
	if err != nil {
		return Namespace{}, err
	}
	st := n.Settings
	if err := s.apply(&st); err != nil {
		return Namespace{}, err
	}
	if err := l.o.Tree.SetNamespace(name, st); err != nil {
		return Namespace{}, named(name, err)
	}
	return l.settled(name)
}

// RenameNamespace implements Target.
func (l *Local) RenameNamespace(_ context.Context, old, new string) error {
	if _, err := l.find(old); err != nil {
		return err
	}
	if err := l.o.Tree.RenameNamespace(old, new); err != nil {
		return named(new, err)
	}
	return l.settle()
}

// RemoveNamespace implements Target.
func (l *Local) RemoveNamespace(_ context.Context, name string, o RemoveOptions) (Removed, error) {
	n, err := l.find(name)
	if err != nil {
		return Removed{}, err
	}
	if n.ID == blockstore.RootNamespace {
		return Removed{}, fmt.Errorf("the namespace of the root directory can not be removed: %w", fs.ErrInvalid)
	}
	removed := Removed{Files: n.Usage.Files, LogicalBytes: n.Usage.Logical}
	if o.DryRun {
		return removed, nil
	}
	if err := l.o.Tree.RemoveNamespace(name, o.Force); err != nil {
		return Removed{}, named(name, err)
	}
	return removed, l.settle()
}

// settled describes a namespace after making a change to it durable.
func (l *Local) settled(name string) (Namespace, error) {
	if err := l.settle(); err != nil {
		return Namespace{}, err
	}
	n, err := l.find(name)
	return describe(n, l.o.Store.Stats()), err
}

// named says which namespace an error is about.
func named(name string, err error) error {
	return at(fmt.Sprintf("namespace %q", name), err)
}

// apply changes what s says of st.
func (s Settings) apply(st *fs.NamespaceSettings) error {
	if s.Compression != nil {
		c, err := blockstore.ParseCodec(*s.Compression)
		if err != nil {
			return fmt.Errorf("%w: %w", fs.ErrInvalid, err)
		}
		st.Compression = c
	}
	if s.BlockSize != nil {
		st.BlockSize = *s.BlockSize
	}
	if s.Quota != nil {
		st.Quota = *s.Quota
	}
	if s.Context != nil {
		st.Context = *s.Context
	}
	return nil
}
