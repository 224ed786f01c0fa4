package crypto

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
)

// WrappedKeySize is the length of a wrapped namespace key.
const WrappedKeySize = Overhead + KeySize

// A NamespaceKey seals what belongs to one namespace during one key epoch. Its subkeys are derived once; the key itself
// is not kept. It may be used by several goroutines at once.
type NamespaceKey struct {
	blocks, records *Sealer
	names           *NameHasher
}

// NewNamespaceKey makes a random key for namespace ns of store id in key epoch epoch, and returns it together with its
// wrapped form, WrappedKeySize bytes, that OpenNamespaceKey takes.
func (m *Master) NewNamespaceKey(id StoreID, ns, epoch uint32) (*NamespaceKey, []byte, error) {
	return m.newNamespaceKey(rand.Reader, id, ns, epoch)
}

func (m *Master) newNamespaceKey(random io.Reader, id StoreID, ns, epoch uint32) (*NamespaceKey, []byte, error) {
	key := make([]byte, KeySize)
	defer clear(key)
	if _, err := io.ReadFull(random, key); err != nil {
		return nil, nil, fmt.Errorf("reading a random namespace key: %w", err)
	}
	sealer := m.deriveSealer(id, labelNamespaceWrap)
	defer sealer.Wipe()
	sealer.rand = random
	wrapped := sealer.Seal(nil, key, namespaceAD(id, ns, epoch))
	return namespaceKey(key, id, ns, epoch), wrapped, nil
}

// OpenNamespaceKey unwraps the key of namespace ns. The error wraps ErrAuth if wrapped was not made by this master for
// the same store, namespace and key epoch.
func (m *Master) OpenNamespaceKey(id StoreID, ns, epoch uint32, wrapped []byte) (*NamespaceKey, error) {
	sealer := m.deriveSealer(id, labelNamespaceWrap)
	defer sealer.Wipe()
	key, err := sealer.Open(make([]byte, 0, KeySize), wrapped, namespaceAD(id, ns, epoch))
	if err == nil && len(key) != KeySize {
		clear(key)
		err = ErrAuth
	}
	if err != nil {
		return nil, fmt.Errorf("the key of namespace %d, key epoch %d: %w", ns, epoch, err)
	}
	defer clear(key)
	return namespaceKey(key, id, ns, epoch), nil
}

// Blocks returns the sealer for the namespace's blocks.
func (k *NamespaceKey) Blocks() *Sealer { return k.blocks }

// Records returns the sealer for the namespace's records.
func (k *NamespaceKey) Records() *Sealer { return k.records }

// Names returns the hasher for the names in the namespace's directories.
func (k *NamespaceKey) Names() *NameHasher { return k.names }

// Wipe erases all three subkeys. It may not run beside a use of one of them.
func (k *NamespaceKey) Wipe() {
	k.blocks.Wipe()
	k.records.Wipe()
	k.names.wipe()
}

func namespaceKey(key []byte, id StoreID, ns, epoch uint32) *NamespaceKey {
	salt := namespacePlace(nil, id, ns, epoch)
	blocks := derive(key, salt, labelNamespaceBlocks)
	records := derive(key, salt, labelNamespaceRecords)
	names := derive(key, salt, labelNamespaceNames)
	defer clear(blocks)
	defer clear(records)
	defer clear(names)
	return &NamespaceKey{NewSealer(blocks), NewSealer(records), newNameHasher(names)}
}

func namespaceAD(id StoreID, ns, epoch uint32) []byte {
	return namespacePlace([]byte(adNamespaceKey), id, ns, epoch)
}

// namespacePlace appends what tells one namespace key from all others.
func namespacePlace(b []byte, id StoreID, ns, epoch uint32) []byte {
	b = append(b, id[:]...)
	b = binary.BigEndian.AppendUint32(b, ns)
	return binary.BigEndian.AppendUint32(b, epoch)
}
