//go:build !linux

package crypto

// secretMemory is plain memory where the system's means to protect it are not known.
type secretMemory struct {
	bytes  []byte
	locked bool
}

func newSecretMemory(size int) (*secretMemory, error) {
	return &secretMemory{bytes: make([]byte, size)}, nil
}

func (s *secretMemory) release() {
	clear(s.bytes)
	s.bytes = nil
}
