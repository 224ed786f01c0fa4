// Package disktest is a disk in memory that misbehaves as disks do, for tests of everything that works on a vfs.FS.
//
// A [Disk] keeps what was synced apart from what was not. Pebble's crashable memory filesystem does that too, and was the
// start; what a power cut may leave is wider here:
//
//   - of a file's unsynced bytes each sector of 512 bytes is there or not, where Pebble's has pieces of 4 KiB. What is not
//     there within a length that came to the disk is zero;
//   - each unsynced change of a directory happened or not, whatever came of those before and after it. Pebble's can not lose
//     a name whose removal was not synced, and takes a rename apart: here it is one change;
//   - files have fates of their own: of one all came to the disk, of another nothing;
//   - several names of a file stay names of one file.
//
// Added to that:
//
//   - a hook before each operation, which can count it, take a copy of the disk as a power cut would leave it at that
//     moment, or fail the operation. A write that fails has written half of its bytes, a read may come out short
//     ([ErrShort]);
//   - where in the code an operation comes from ([Op.Site]), for tests that tell what they have reached;
//   - a size: what does not fit fails with ENOSPC, a write after as many bytes as fit, and GetDiskUsage tells. Room may be
//     taken late, at the sync of a file;
//   - a switch that makes the disk read-only, with the errors that Linux gives;
//   - access to the stored bytes, for tests that damage them.
//
// Files:
//
//	disk.go    Disk: operations on names, faults
//	file.go    open files
//	media.go   the tree of files, and the changes of directories that were not synced
//	cut.go     files' sectors, and what a power cut leaves
//	space.go   the size of the disk
//	site.go    where operations come from
package disktest
