// Package record is the ordered, transactional engine under a store's records.
//
// An [Engine] keeps sealed values under physical keys and commits batches of changes whole or not at all. It knows
// neither sealing nor what the records mean; package blockstore does. Physical keys and the order they stand in are in
// key.go and in blockstore's FORMAT.md.
//
// The one implementation is Pebble, opened on a given vfs.FS, with a log of our own in front of it. Pebble's log would do the
// same; ours is written by who commits, without handing over to another goroutine, and tells damage from what a crash
// leaves: a commit that was once durable is found, or missed. FORMAT.md specifies it.
//
// # Guarantees of an Engine
//
// Atomicity: a batch is seen by readers, and survives a crash, whole or not at all.
// Durability: Commit returns after the batch, and every batch committed before it, is on stable storage.
// Ordering: batches take effect in the order of the Commit calls; a crash keeps a prefix of that order.
// Errors: an engine whose Commit has failed must not be written to again; what was committed stays readable. A full disk
// is found by Reserve before anything has changed, or waited for.
//
// # Locking
//
// All methods may be called by several goroutines; Reserve, Commit and Apply are called by one at a time. An Iterator belongs to one
// goroutine.
//
// # Files
//
//	engine.go   what an engine is
//	key.go      physical keys
//	pebble.go   Pebble as an engine; read.go, batch.go reading and writing
//	disk.go     what stands between Pebble and the disk; file.go its files, opening.go errors while it is opened
//	log.go      the commit log; logfile.go a file of it, logscan.go reading it, sector.go its sectors
package record
