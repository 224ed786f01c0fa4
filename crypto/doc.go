// Package crypto seals the bytes of a store and guards the keys that seal them. It does no file I/O and imports nothing
// of this module.
//
// # Words
//
//   - A [Sealer] seals and opens records and blocks under one key, with XAES-256-GCM.
//   - A block longer than [FrameSize] is sealed in frames, so that a part of it can be opened alone.
//   - A [Master] is the random master key of one context. Everything that the context holds hangs on it.
//   - A [NamespaceKey] belongs to one namespace and one key epoch. The context's master wraps it.
//   - A [NameHasher] turns names into the keyed hashes that stand in record keys.
//   - A [Keyring] holds the contexts of a store and, for each, its slots: the ways to get at its master.
//   - A recovery key is a printed line that carries a context's master itself.
//
// # Hierarchy
//
//	passphrase ──Argon2id──► slot key ──unwraps──► master ◄──is carried by── recovery key
//	                                                 │
//	                      ┌──────────────────────────┼───────────────────────┐
//	                  HKDF│ store records        HKDF│ wrapping key      HKDF│ MACs of the keyring
//	                      ▼                          ▼                       ▼
//	                   Sealer               namespace key (random)         Keyring
//	                                                 │ HKDF
//	                                 ┌───────────────┼──────────────┐
//	                              blocks          records         names
//	                              Sealer           Sealer       NameHasher
//
// # Nonces
//
// Every seal draws a fresh random 24-byte nonce from the operating system. There is no counter to persist, so nothing
// has to be remembered across a crash, a clone of the store or a virtual machine that is resumed twice. Nonces are not
// buffered either: the vDSO answers in about 0.1 µs.
//
// # Locking
//
// A [Sealer], a [NameHasher], a [NamespaceKey] and a [Master] may be used by several goroutines at once; their Wipe may
// not run beside another method of the same value. A [Keyring] is not safe for concurrent use.
//
// # What wiping does not reach
//
// Keys of single messages and blocks, and what the standard library's HKDF and HMAC keep while they work, are garbage on
// the Go heap until it is reused. They open one message, or are gone within moments; masters and the keys of sealers and
// name hashers are erased for certain. [ProtectProcess] keeps all of it from other processes and out of core dumps.
//
// # Files
//
//	xaes.go        XAES-256-GCM: Sealer, Seal, Open
//	frames.go      blocks in frames
//	names.go       keyed hashes of names
//	labels.go      every HKDF label and associated-data prefix, and the derivation
//	master.go      masters; secret_*.go: their memory
//	namespace.go   namespace keys and their subkeys
//	kdf.go         Argon2id: parameters, bounds, calibration
//	keyring.go     contexts, slots, unlocking
//	slot.go        the kinds of slots
//	codec.go       the keyring's bytes
//	recovery.go    recovery keys
//	errors.go      what can go wrong; process_*.go: the process that holds keys
//	FORMAT.md      every stored byte, with worked examples
package crypto
