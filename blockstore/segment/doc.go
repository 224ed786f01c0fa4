// Package segment is the segment format: encode, decode, scan. FORMAT.md beside
// this file specifies every byte.
//
// A segment is an append-only object of at most [MaxSize] bytes that holds sealed
// blocks. It starts with a plain header, goes on with entries (a plain entry
// header, then one sealed block), and when it is finished ends in a sealed
// footer, the table of its contents, and a plain trailer that finds the footer.
// A segment whose writer crashed has no footer and is scanned instead. It is
// never appended to by a later process.
//
// Nothing here does I/O other than through the io.Writer and io.ReaderAt that
// the caller passes, and nothing here has a key: the footer is sealed by the
// caller's [Sealer], and blocks arrive sealed.
//
// # What the parts protect
//
// Checksums tell damage from accident, without any key. They do not
// authenticate: whoever can write the disk can make a plausible one. Authentic
// is what opens: the block under its block ID (the caller's associated data), and
// the footer under the store's and segment's ID. A checksum covers the segment's
// identity and the entry's place, so bytes that a disk returns from another
// segment or another offset do not check.
//
// # Bounds
//
// Every length is checked against the object's size and a constant before it is
// used. What decoding allocates for stored lengths is at most 1 MiB for a scan,
// [MaxSealedSize] + [EntryOverhead] for one entry, [MaxFooterSize] for a sealed
// footer, the same for its plaintext and 3 times that for the decoded [Table].
//
// # Locking
//
// A [Writer] belongs to one goroutine at a time. Everything else is a pure
// function.
//
// # Files
//
//	format.go   sizes, limits, checksums
//	errors.go   sentinels, DamageError
//	header.go   Header
//	entry.go    entry headers, ReadEntry
//	footer.go   Table, its encoding
//	trailer.go  the trailer, ReadFooter
//	writer.go   Writer
//	scan.go     Scan
package segment
