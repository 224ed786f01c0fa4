package blockstore

import (
	"container/list"
	"sync"
)

// idCache remembers something small about blocks. It is cut into shards, each of which forgets at random when it is
// full: what is forgotten is in the record engine's or the system's cache most of the time.
type idCache[V any] struct {
	shardSize int // entries
	shards    [16]struct {
		mu sync.Mutex
		m  map[BlockID]V
	}
}

// newIDCache makes a cache of size entries.
func newIDCache[V any](size int) *idCache[V] {
	c := new(idCache[V])
	c.shardSize = size / len(c.shards)
	for i := range c.shards {
		c.shards[i].m = make(map[BlockID]V)
	}
	return c
}

func (c *idCache[V]) get(id BlockID) (v V, ok bool) {
	s := &c.shards[id%16]
	s.mu.Lock()
	v, ok = s.m[id]
	s.mu.Unlock()
	return v, ok
}

func (c *idCache[V]) put(id BlockID, v V) {
	s := &c.shards[id%16]
	s.mu.Lock()
	if len(s.m) >= c.shardSize {
		for old := range s.m {
			delete(s.m, old)
			break
		}
	}
	s.m[id] = v
	s.mu.Unlock()
}

func (c *idCache[V]) drop(id BlockID) {
	s := &c.shards[id%16]
	s.mu.Lock()
	delete(s.m, id)
	s.mu.Unlock()
}

// clear forgets everything, and hands it to wipe. Nobody may use the cache beside it.
func (c *idCache[V]) clear(wipe func(V)) {
	for i := range c.shards {
		for _, v := range c.shards[i].m {
			wipe(v)
		}
		clear(c.shards[i].m)
	}
}

// plainCache keeps the plaintext of blocks of which only a part was read, least recently used out first. Blocks do not
// change, so nothing in it goes stale.
type plainCache struct {
	mu     sync.Mutex
	limit  int64 // bytes
	size   int64
	m      map[plainKey]*list.Element
	lru    *list.List // of plainEntry, newest first
	hits   int64
	misses int64
}

// plainKey has the namespace too: what one namespace's key opened is not for who asks in the name of another.
type plainKey struct {
	ns NamespaceID
	id BlockID
}

type plainEntry struct {
	key  plainKey
	data []byte
}

func newPlainCache(limit int64) *plainCache {
	return &plainCache{limit: limit, m: make(map[plainKey]*list.Element), lru: list.New()}
}

// get returns the plaintext of a block, which may not be changed, or nil.
func (c *plainCache) get(ns NamespaceID, id BlockID) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.m[plainKey{ns, id}]
	if e == nil {
		c.misses++
		return nil
	}
	c.hits++
	c.lru.MoveToFront(e)
	return e.Value.(plainEntry).data
}

func (c *plainCache) put(ns NamespaceID, id BlockID, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := plainKey{ns, id}
	if c.m[k] != nil {
		return
	}
	c.m[k] = c.lru.PushFront(plainEntry{k, data})
	c.size += int64(len(data))
	for c.size > c.limit {
		e := c.lru.Back()
		old := c.lru.Remove(e).(plainEntry)
		delete(c.m, old.key)
		c.size -= int64(len(old.data))
	}
}

// drop forgets a block.
func (c *plainCache) drop(ns NamespaceID, id BlockID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := plainKey{ns, id}
	if e := c.m[k]; e != nil {
		old := c.lru.Remove(e).(plainEntry)
		delete(c.m, k)
		c.size -= int64(len(old.data))
	}
}

// clear wipes and forgets everything.
func (c *plainCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.m {
		clear(e.Value.(plainEntry).data)
	}
	clear(c.m)
	c.lru.Init()
	c.size = 0
}
