// Package integration holds the tests that only a mounted store can answer: the
// binary is built once, stores are made and mounted, and the programs that people
// run (tar, git, rsync, SQLite, PostgreSQL, the Go compiler, fio) work in them.
//
// # How a test gets a mount
//
// mounttest.New makes a store in a directory of its own, mounts it and promises
// the end: when the test is over, however it ended, the store is unmounted and
// checked, and a mount that had to be torn off fails the test. TestMain fails the
// run when a mount or a daemon of ours is still there after the last test.
//
// # Environment
//
//   - SALLIEFS_TEST_LONG=1 runs the long share: more random operations, a million
//     files, full trees. The short share is what every run does.
//   - SALLIEFS_TEST_PLAIN=1 gives the tests an ordinary directory instead of a
//     mount. A test that fails there is wrong itself.
//   - SALLIEFS_TEST_RACE=1 builds the daemon with the race detector; a report of
//     it fails the run.
//   - SALLIEFS_TEST_FILES=N makes TestMillionFiles make N files.
//   - SALLIEFS_TEST_KILLS=N makes TestKill kill N times; SALLIEFS_TEST_KILL_SEED=N
//     has it choose as a run before, though not what the programs were doing.
//   - SALLIEFS_TEST_BINARY=PATH tests a copy of that binary instead of building one.
//   - TMPDIR says where stores are made. It should be on a disk.
//
// # Which file tests what
//
//   - imports_test.go: the layers, and what only cmd may do
//   - posix_test.go, model_test.go, names_test.go, sparse_test.go, mmap_test.go,
//     bigdir_test.go, parallel_test.go: the filesystem itself
//   - gotree_test.go, git_test.go, sqlite_test.go, postgres_test.go, fio_test.go,
//     rsync_test.go: programs
//   - durability_test.go, flush_test.go, diskfull_test.go, faildisk_test.go: what
//     survives
//   - kill_test.go, killwork_test.go, killcheck_test.go, killbroken_test.go: the
//     daemon killed at random moments; the programs at work, what each must find
//     afterwards, and the proof that a fault would be found
//   - lifecycle_test.go, badinput_test.go, readonly_test.go, user_test.go: the
//     command line around a mount
//   - requests_test.go, stall_test.go, million_test.go: the cost
//   - readme_test.go: the first session of the README, replayed
//   - compare_test.go: the tests' own comparisons see every kind of difference
package integration
