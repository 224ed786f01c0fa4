package crypto

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// secretMemory is memory of its own pages, outside the Go heap, so that the garbage collector never copies it.
type secretMemory struct {
	bytes   []byte // what was asked for: the beginning of mapping
	mapping []byte
	locked  bool
	cleanup runtime.Cleanup
}

// newSecretMemory returns size zero bytes that are left out of core dumps and, if the limits allow, never swapped out.
func newSecretMemory(size int) (*secretMemory, error) {
	page := unix.Getpagesize()
	mapping, err := unix.Mmap(-1, 0, (size+page-1)/page*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, err
	}
	s := &secretMemory{bytes: mapping[:size:size], mapping: mapping}
	// Each of the two is worth having without the other, and neither is worth refusing to work for.
	s.locked = unix.Mlock(mapping) == nil
	_ = unix.Madvise(mapping, unix.MADV_DONTDUMP)
	s.cleanup = runtime.AddCleanup(s, releaseMapping, mapping) // for those who forget to release
	return s, nil
}

// release erases the memory and gives it back. s.bytes is nil afterwards.
func (s *secretMemory) release() {
	s.cleanup.Stop()
	s.bytes = nil
	releaseMapping(s.mapping)
	s.mapping = nil
}

func releaseMapping(mapping []byte) {
	clear(mapping)
	runtime.KeepAlive(mapping)
	_ = unix.Munmap(mapping) // also unlocks; it cannot fail for what Mmap returned
}
