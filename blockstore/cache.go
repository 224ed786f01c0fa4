package blockstore

import (
	"container/list"
	"sync"
)

// metaCache remembers where blocks are. It is cut into shards, each of which forgets at random when it is full:
// what is forgotten is in the record engine's own cache most of the time.
type metaCache struct {
	shards [16]struct {
		mu sync.Mutex
		m  map[BlockID]blockMeta
	}
}

const metaShardSize = 4 << 10 // entries, of about 64 bytes

func newMetaCache() *metaCache {
	c := new(metaCache)
	for i := range c.shards {
		c.shards[i].m = make(map[BlockID]blockMeta)
	}
	return c
}

func (c *metaCache) get(id BlockID) (blockMeta, bool) {
	s := &c.shards[id%16]
	s.mu.Lock()
	m, ok := s.m[id]
	s.mu.Unlock()
	return m, ok
}

func (c *metaCache) put(id BlockID, m blockMeta) {
	s := &c.shards[id%16]
	s.mu.Lock()
	if len(s.m) >= metaShardSize {
		for old := range s.m {
			delete(s.m, old)
			break
		}
	}
	s.m[id] = m
	s.mu.Unlock()
}

func (c *metaCache) drop(id BlockID) {
	s := &c.shards[id%16]
	s.mu.Lock()
	delete(s.m, id)
	s.mu.Unlock()
}

// plainCache keeps the plaintext of blocks of which only a part was read, least recently used out first. Blocks do not
// change, so nothing in it goes stale.
type plainCache struct {
	mu     sync.Mutex
	limit  int64 // bytes
	size   int64
	m      map[BlockID]*list.Element
	lru    *list.List // of plainEntry, newest first
	hits   int64
	misses int64
}

type plainEntry struct {
	id   BlockID
	data []byte
}

func newPlainCache(limit int64) *plainCache {
	return &plainCache{limit: limit, m: make(map[BlockID]*list.Element), lru: list.New()}
}

// get returns the plaintext of a block, which may not be changed, or nil.
func (c *plainCache) get(id BlockID) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.m[id]
	if e == nil {
		c.misses++
		return nil
	}
	c.hits++
	c.lru.MoveToFront(e)
	return e.Value.(plainEntry).data
}

func (c *plainCache) put(id BlockID, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m[id] != nil {
		return
	}
	c.m[id] = c.lru.PushFront(plainEntry{id, data})
	c.size += int64(len(data))
	for c.size > c.limit {
		e := c.lru.Back()
		old := c.lru.Remove(e).(plainEntry)
		delete(c.m, old.id)
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
