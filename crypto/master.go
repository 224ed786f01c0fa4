package crypto

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
)

// A Master is the random 32-byte master key of one context. It lies outside the Go heap, in memory that is not swapped
// out and not part of a core dump as far as the system allows. Wipe it when its context is locked. It may be used by
// several goroutines at once.
type Master struct {
	memory *secretMemory
	wiped  atomic.Bool
}

// NewMaster returns a new master key read from random; nil stands for crypto/rand.
func NewMaster(random io.Reader) (*Master, error) {
	if random == nil {
		random = rand.Reader
	}
	m, err := allocateMaster()
	if err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(random, m.memory.bytes); err != nil {
		m.Wipe()
		return nil, fmt.Errorf("reading a random master key: %w", err)
	}
	return m, nil
}

// masterOf returns a master with a copy of key, and erases key.
func masterOf(key []byte) (*Master, error) {
	defer clear(key)
	if len(key) != KeySize {
		panic(fmt.Sprintf("crypto: a master key has %d bytes, not %d", len(key), KeySize))
	}
	m, err := allocateMaster()
	if err != nil {
		return nil, err
	}
	copy(m.memory.bytes, key)
	return m, nil
}

func allocateMaster() (*Master, error) {
	memory, err := newSecretMemory(KeySize)
	if err != nil {
		return nil, fmt.Errorf("no memory for a master key: %w", err)
	}
	return &Master{memory: memory}, nil
}

// Locked says whether the master's memory is locked into RAM. It is not when the limit on locked memory
// (RLIMIT_MEMLOCK) is used up, or where the system has no such thing; then only encrypted swap keeps it off the disk.
func (m *Master) Locked() bool { return m.memory.locked }

// Wipe erases the master key. It may not run beside another method of m; afterwards they panic. What was derived from m
// lives on until it is wiped itself.
func (m *Master) Wipe() {
	if !m.wiped.Swap(true) {
		m.memory.release()
	}
}

// Equal says, in constant time, whether both are the same key.
func (m *Master) Equal(other *Master) (equal bool) {
	m.use(func(key []byte) {
		other.use(func(otherKey []byte) {
			equal = subtle.ConstantTimeCompare(key, otherKey) == 1
		})
	})
	return equal
}

// StoreSealer returns the sealer for the records of the store itself. Only the first context of a store has any.
func (m *Master) StoreSealer(id StoreID) *Sealer {
	return m.deriveSealer(id, labelStoreRecords)
}

// derive returns the key that the master gives for a store and a label.
func (m *Master) derive(id StoreID, label string) (key []byte) {
	m.use(func(master []byte) { key = derive(master, id[:], label) })
	return key
}

func (m *Master) deriveSealer(id StoreID, label string) *Sealer {
	key := m.derive(id, label)
	defer clear(key)
	return NewSealer(key)
}

// use lends the key to fn, which must not keep it.
func (m *Master) use(fn func(key []byte)) {
	if m.wiped.Load() {
		panic("crypto: a wiped master key was used")
	}
	fn(m.memory.bytes)
	runtime.KeepAlive(m) // or the memory could go while fn reads it
}
