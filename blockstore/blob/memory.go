package blob

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Memory keeps objects in memory. The zero value is an empty store without a
// limit. Nothing survives the process, so Sync has nothing to do.
type Memory struct {
	// Limit is how many bytes all objects together may have; 0 means no limit.
	// Set it before use.
	Limit int64

	mu      sync.Mutex
	objects map[string]*memoryObject
	used    int64
}

type memoryObject struct {
	mu      sync.RWMutex // taken after Memory.mu
	data    []byte       // grows only; bytes that are there never change
	writing bool         // guarded by Memory.mu
}

var _ Store = (*Memory)(nil)

// Create implements Store.
func (m *Memory) Create(ctx context.Context, name string) (Writer, error) {
	if err := begin(ctx, name); err != nil {
		return nil, wrap("create", name, err)
	}
	o := &memoryObject{writing: true}
	if err := m.place(name, o, false); err != nil {
		return nil, wrap("create", name, err)
	}
	return &memoryWriter{m: m, ctx: ctx, name: name, o: o, r: memoryReader{o: o, name: name}}, nil
}

// Put implements Store.
func (m *Memory) Put(ctx context.Context, name string, data []byte) error {
	return m.put(ctx, name, data, true)
}

// PutNew implements Store.
func (m *Memory) PutNew(ctx context.Context, name string, data []byte) error {
	return m.put(ctx, name, data, false)
}

func (m *Memory) put(ctx context.Context, name string, data []byte, replace bool) error {
	err := begin(ctx, name)
	if err == nil {
		err = m.place(name, &memoryObject{data: slices.Clone(data)}, replace)
	}
	return wrap("put", name, err)
}

// place makes o the object called name. One that is there may only be replaced
// if replace is set and nobody is writing it.
func (m *Memory) place(name string, o *memoryObject, replace bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.objects[name]
	var freed int64
	if old != nil {
		if !replace || old.writing {
			return ErrExist
		}
		freed = old.size()
	}
	if err := m.chargeLocked(int64(len(o.data)) - freed); err != nil {
		return err
	}
	if m.objects == nil {
		m.objects = map[string]*memoryObject{}
	}
	m.objects[name] = o
	return nil
}

// chargeLocked counts n more bytes as used.
func (m *Memory) chargeLocked(n int64) error {
	if m.Limit > 0 && n > 0 && m.used+n > m.Limit {
		return ErrNoSpace
	}
	m.used += n
	return nil
}

func (m *Memory) object(ctx context.Context, name string) (*memoryObject, error) {
	if err := begin(ctx, name); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.objects[name]
	if o == nil {
		return nil, ErrNotExist
	}
	return o, nil
}

// Open implements Store. An object whose Writer is open can be opened.
func (m *Memory) Open(ctx context.Context, name string) (Reader, error) {
	o, err := m.object(ctx, name)
	if err != nil {
		return nil, wrap("open", name, err)
	}
	return &memoryReader{o: o, name: name, size: o.size()}, nil
}

// Stat implements Store.
func (m *Memory) Stat(ctx context.Context, name string) (Info, error) {
	o, err := m.object(ctx, name)
	if err != nil {
		return Info{}, wrap("stat", name, err)
	}
	return Info{Name: name, Size: o.size()}, nil
}

// List implements Store.
func (m *Memory) List(ctx context.Context, prefix string, fn func(Info) error) error {
	m.mu.Lock()
	names := slices.Sorted(maps.Keys(m.objects))
	m.mu.Unlock()
	for _, name := range names {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		o, err := m.object(ctx, name)
		if errors.Is(err, ErrNotExist) {
			continue
		}
		if err != nil {
			return wrap("list", prefix, err)
		}
		if err := fn(Info{Name: name, Size: o.size()}); err != nil {
			return err
		}
	}
	return nil
}

// Remove implements Store. Readers that are open go on.
func (m *Memory) Remove(ctx context.Context, names ...string) error {
	var first error
	for _, name := range names {
		err := begin(ctx, name)
		if err == nil {
			m.remove(name)
		}
		if first == nil {
			first = wrap("remove", name, err)
		}
	}
	return first
}

func (m *Memory) remove(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if o := m.objects[name]; o != nil {
		m.used -= o.size()
		delete(m.objects, name)
	}
}
