// Package blobtest tests what implements blob.Store, and what calls it.
//
// [Run] is the suite that every back end passes. [RunCrash] is the part of it for
// back ends on a vfs.FS: it cuts the power at every single call into the
// filesystem below and compares what is left with what the contract allows.
// [Faulty] wraps a store and fails where a test wants it to.
//
// # Files
//
//	suite.go     Run
//	writers.go   its tests of Writer and Reader
//	names.go     its tests of names, Put, List, Remove
//	crash.go     RunCrash; crashmodel.go what a crash may leave
//	faulty.go    Faulty
package blobtest
