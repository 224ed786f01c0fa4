// Package fs is the filesystem of a store: inodes, directories, file data, extended attributes, namespaces and snapshots
// as trees. It is a plain Go API that knows nothing of FUSE; package fuse puts a kernel in front of it, and commands use
// it directly.
//
// # Words
//
// A region is 128 KiB of a file. An extent says which bytes of which block a piece of a region is; what no extent covers
// is a hole. An orphan is an inode without a name that is still referred to. The other words are those of the project's
// README. FORMAT.md specifies each stored byte of this package.
//
// # What is in memory
//
// Nothing that the store does not have: each operation ends with one Update, after which the store's open group has the
// newest records. So an inode in memory may be dropped whenever nobody has it pinned, and there is no write buffer. The
// caches are of fixed size: inodes, regions of files (regionBudget), names of directories (nameBudget, nameCache,
// listingRing).
//
// An operation locks what it changes, reads what it needs from the store, works out the new records, and puts them. Only
// when the Update has succeeded, the inodes in memory take over the change.
//
// # Locking
//
// In this order:
//
//	FS.renames     one move of a name to another directory at a time: the tree of directories stays as it is
//	inode.mu       directories before what is in them; of two directories of which neither is above the other, the
//	               smaller number first; then what is no directory, the smaller number first
//	namespace.gate held shared around each Update, so that a namespace is not removed meanwhile
//	leaves         cacheShard.mu before inode.regionMu; refTable, spaceTable, virtualTable before refTable, listingRing,
//	               nameShard
//
// No lock is held while waiting for memory or disk space before an operation (FS.begin); long truncations and copies
// wait between their steps with only their file locked. The store never calls back into this package with locks that an
// Update needs.
//
// # What a crash leaves
//
// Each operation is one Update, but for those on much data (mostWrite, mostCopy, stepRegions), whose steps readers see as well;
// a truncation that was cut short is ended at the next open. So after a crash the tree is as somebody could have seen it before.
// TestCrash holds the package to that on a simulated disk (blockstore/record/disktest): random operations, power cuts, and a
// model that knows the tree after each operation. A run that fails tells its seed; SALLIEFS_CRASH_SEED repeats it, and
// SALLIEFS_CRASH_CUTS says how many cuts are made.
//
// # Repair
//
// Repair works on what a check has proven to be wrong, beside other users: it locks each inode that it changes, looks once more,
// and counts anew. Counts that go over several inodes are corrected by what they were off, as others may have changed them since.
// Nothing is thrown away that anybody could still read: what has no name gets one in lost+found, a file that has lost bytes stays
// where it is, and gives an error there. Each step leaves a tree of which a check says no more than before, so that a repair that
// a crash has ended is done again.
//
// # Files of this package
//
//	types.go, errors.go, fs.go   the API's words; opening, closing
//	codec.go, inoderec.go, direntrec.go, smallrec.go, extent.go   records, encoded and decoded
//	inode.go, refs.go, nstable.go   inodes and namespaces in memory; references
//	dir.go, namecache.go, readdir.go   looking up and listing
//	create.go, link.go, remove.go, rename.go   names
//	attr.go, xattr.go, acl.go   attributes
//	read.go, write.go, ahead.go, rewrite.go, region.go   data
//	edit.go, truncate.go, fallocate.go, copy.go, seek.go   changes of extents
//	orphan.go   inodes without names, and what earlier runs left behind
//	namespace.go, snapshot.go   what is in the root directory beside its own entries
//	keys.go, path.go   files by path, for commands
//	check.go, checkend.go   whether it all fits together
//	repair.go, repairrec.go, repairsave.go   and making it so again
//	hint.go, rebuild.go   what the store's hints tell of files, and making files of it when the records are lost
package fs
