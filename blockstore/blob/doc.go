// Package blob is where segments live: named objects, each written once.
//
// [Store] is one of the two interfaces of this project that have many
// implementations, so its contract is written down here, in words, and package
// blobtest holds the suite that each back end must pass. Package blobtest also
// has a faulty store, to test callers with.
//
// # Back ends
//
//   - [Local]: a directory, reached through Pebble's vfs.FS, so that a test can
//     put it on a disk that loses what was not synced.
//   - [Memory]: for tests, and for stores that need not outlive their process.
//
// # Words
//
// An object is a name and bytes. It is written from front to back by one
// [Writer], or whole by Put, and never changed afterwards; only Put replaces
// one, whole. A name consists of parts with "/" between them; see [CheckName].
//
// # What every back end guarantees
//
// Atomicity. Put and PutNew: after a crash at any moment the object is there
// whole, or as it was before. Create: the object may be visible from Create on,
// or from Close on; what is visible is a prefix of what was written.
//
// Durability. What Writer.Sync, Writer.Close, Put, PutNew and Remove have done
// when they return nil survives a crash: the bytes and the name, and that a
// removed name is gone. Past the last sync a crash may leave any part of what
// was written: bytes there are either as written, or zero, or absent, and
// never more of them than were written. A reader can tell by a checksum only,
// as segments do. On a local directory this holds as far as the filesystem below
// keeps its own promises (ext4, XFS and Btrfs do in their default modes).
//
// Ordering. None, other than by those calls: of two objects, or two parts of
// one, that were not synced, a crash may keep the later and lose the earlier.
//
// Errors. [ErrNotExist], [ErrExist], [ErrNoSpace] and [ErrName] are told apart
// by errors.Is on every back end; whatever else happens arrives with the error
// of the system below inside an [Error] that names the operation and the
// object. A Writer that has failed stays failed: in particular a failed Sync is
// never tried again, since after it the system may have dropped the data and
// would report success.
//
// Exclusion. Create and PutNew fail with [ErrExist] when the name is taken,
// also by a Writer of the same Store that is not closed yet. Between processes
// PutNew decides atomically where the back end can (a local filesystem with
// hard links); Create does not: one process writes a prefix.
//
// # Locking
//
// Every method of a Store and of a Reader may be called from several goroutines
// at once. A Writer belongs to one goroutine at a time, except for its ReadAt,
// which any number may call meanwhile.
//
// # Files
//
//	store.go   Store, Writer, Reader, Info
//	name.go    which names are allowed
//	errors.go  sentinels, Error
//	local.go   Local; localwriter.go its Writer, with pieces.go what it has
//	           collected and direct.go how it goes to the disk; localfile.go
//	           its Reader, localput.go small objects, reservations.go names
//	           being written
//	durable.go whole files and names that last, also for the layer above
//	memory.go  Memory; memorywriter.go its Writer and Reader
package blob
