//go:build !race

package blockstore_test

// slow is how many times longer tests take in this build.
const slow = 1
