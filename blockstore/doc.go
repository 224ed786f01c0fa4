// Package blockstore keeps the blocks and the records of a store.
//
// Two things are promised, and everything above is built on them: a group commits atomically, and a snapshot is free.
//
//   - Changes are made by [Store.Update]. They enter the open group, in memory, and can be read at once.
//   - A group is sealed 4 s after its first change, when it grows large, or when [Store.Sync] asks. Sealing swaps pointers,
//     and stops Updates for that moment. The sealed group is then committed: blocks are compressed and sealed, large ones
//     appended to a segment, the segment synced, and one batch of the record engine committed, which syncs its log.
//     What others see of it then, and what the store keeps in mind, can wait for the next who takes commitMu ([Store.SyncAhead]).
//   - Blocks are compressed with zstd unless somebody waits or much is pending, then with S2, if their namespace does not say
//     otherwise ([Codec]). What is written at length is compressed and sealed before its Update ([Store.SealAhead]).
//   - After a crash the store is at the state of the last committed group: data and names alike.
//   - When the disk is full, nothing is lost: the group is opened again, which stops Updates while it is joined with the one
//     after it, and is committed when there is space. After any other failed write the store takes no more, and goes on
//     reading.
//   - A snapshot seals a group and advances the epoch. A record's version of an older epoch stays where it is when the
//     record changes, for as long as a snapshot can see it.
//
// # Words
//
// Block, segment, record, group, epoch, snapshot, namespace and context are those of the project's README. A pending
// block is one of a group that is not committed yet.
//
// # Files of a store
//
//	salliefs.store  the header: format, features, store ID. Written last by Create.
//	keyring         the slots (package crypto)
//	lock, holder    the exclusive lock, and who holds it
//	records/        the record engine (package record)
//	segments/       the segments (packages blob and segment)
//
// FORMAT.md specifies each stored byte of this package.
//
// # Repair
//
// Repair works on what Check has proven to be damaged. Blocks keep their IDs: what can be read of one is stored anew, and its
// record says what is lost, so that the present and all snapshots see the same, and reading the rest stays an error. An error of
// the disk proves nothing. Where the record engine's own files are damaged, walks go on behind the place, and what is in it is
// neither there nor missing.
//
// Options.Knobs, of the package internal/knobs, make all of that small for tests, or wrong.
//
// # Locking
//
// In this order:
//
//	nsOps      one change of the table of namespaces at a time
//	commitMu   one commit, housekeeping step or snapshot at a time
//	gate       Updates hold it shared; sealing a group holds it exclusively, for a pointer swap, opening it again for a merge
//	group.mu   the maps of a group
//	pending.mu the bytes of one pending block
//	segmentSet.mu, nsMu, snapMu   tables of segments, namespaces and snapshots
//	failMu, spaceGauge.mu, caches   leaves
//
// No lock is held while waiting for memory or disk space (Throttle); only a commit that has begun to write its records
// may have to wait for the disk. The function given to Update runs with the gate held shared: it must be short and must
// not read from the store.
//
// # Files of this package
//
//	types.go, pathname.go, errors.go   the words as types
//	header.go, keyring.go, lock.go, create.go   what surrounds the data
//	store.go      open, close, failure
//	group.go, suffix.go, tx.go, update.go   the open group
//	block.go, blockmeta.go, seal.go, ahead.go, compress.go, cache.go   blocks
//	segments.go, nsbytes.go, segread.go   segments in use: appending, counting and reading
//	commit.go, commitlock.go   committing a group, or giving it back on a full disk
//	place.go, version.go   a commit's blocks and records
//	read.go, scan.go   reading records, at the present or at an epoch
//	system.go, namespace.go, nsload.go, snapshot.go   the store's own records, and what they say
//	reclaim.go, move.go, sweep.go, drop.go   space reclaim
//	space.go, stats.go, check.go, checkseg.go, unread.go   accounting and checking
//	repair.go, lost.go   repairing what a check has found
//	hint.go, remains.go   what segments tell when the records are lost
package blockstore
