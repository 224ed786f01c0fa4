package crypto

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
)

// A StoreID names one store. It is random, public, and bound into everything that is sealed.
type StoreID [16]byte

// String returns 32 hexadecimal digits.
func (id StoreID) String() string { return hex.EncodeToString(id[:]) }

// Every derived key has a label of its own, and none is the beginning of another. A label is never used for a second
// purpose: a change of meaning takes a new label.
const (
	labelStoreRecords     = "salliefs/1 store records"
	labelNamespaceWrap    = "salliefs/1 namespace wrap"
	labelNamespaceBlocks  = "salliefs/1 namespace blocks"
	labelNamespaceRecords = "salliefs/1 namespace records"
	labelNamespaceNames   = "salliefs/1 namespace names"
	labelSlotKey          = "salliefs/1 slot key"
	labelSlotCommitment   = "salliefs/1 slot commitment"
	labelRecoveryCheck    = "salliefs/1 recovery check"
	labelContextMAC       = "salliefs/1 context mac"
	labelKeyringMAC       = "salliefs/1 keyring mac"
)

// What begins the associated data of wrapped keys, so that one kind never passes for the other.
const (
	adNamespaceKey = "salliefs/1 namespace key"
	adSlotMaster   = "salliefs/1 slot master"
)

// What begins the hashed bytes of a recovery key's checksum.
const sumRecoveryKey = "salliefs/1 recovery key"

// derive returns the KeySize bytes of HKDF-SHA-256 (RFC 5869) over secret, which must be uniformly random, with the
// given salt, and the label as info.
func derive(secret, salt []byte, label string) []byte {
	key, err := hkdf.Key(sha256.New, secret, salt, label, KeySize)
	if err != nil {
		panic("crypto: " + err.Error())
	}
	return key
}
