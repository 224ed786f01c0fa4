//go:build race

package blockstore_test

const slow = 4
