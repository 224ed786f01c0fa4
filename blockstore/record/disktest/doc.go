// Package disktest is a disk in memory that misbehaves as disks do, for tests of everything that works on a vfs.FS.
//
// A [Disk] rests on Pebble's crashable memory filesystem, which keeps synced and unsynced bytes and directory entries
// apart. Added to it here:
//
//   - a hook before each operation, which can count it, take a copy of the disk as a power cut would leave it at that
//     moment, or fail the operation. A write that fails has written half of its bytes;
//   - a size: what does not fit fails with ENOSPC, a write after as many bytes as fit, and GetDiskUsage tells. Room may be
//     taken late, at the sync of a file;
//   - a switch that makes the disk read-only, with the errors that Linux gives;
//   - access to the stored bytes, for tests that damage them.
//
// Files:
//
//	disk.go   Disk: operations on names, faults, power cuts
//	file.go   open files
//	space.go  the size of the disk
package disktest
