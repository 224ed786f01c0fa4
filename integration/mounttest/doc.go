// Package mounttest makes stores and mounts for tests, and takes them away again.
//
// Main wraps a package's tests: it builds the binary once, into a directory that
// every user may enter, and afterwards fails the run when a mount or a daemon of
// this run is left. New makes a store and mounts it. Scan and Diff compare trees
// in all that a filesystem keeps: types, modes, owners, times, links, extended
// attributes, contents.
//
// Files: main.go (the run), store.go (one store and its mount), mountinfo.go (what
// the kernel says is mounted), scan.go (trees), tools.go (programs that a test
// needs), stats.go (the numbers that a store reports).
package mounttest
