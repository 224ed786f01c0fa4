// Package knobs is what tests turn in a store: sizes that are small, so that little work makes all happen that a store does
// in months, and orders that are wrong, so that a test shows that it would find out. No program can: package storetest is the
// only way to it from outside of blockstore.
package knobs

import "time"

// Knobs are part of a store's options. The zero value leaves all as it is.
type Knobs struct {
	MemTable      int           // of the record engine, in bytes
	Segment       int64         // bytes at which a segment ends
	MinReclaim    int64         // dead bytes from which a segment's live blocks are moved
	Inlined       int           // large blocks that may be in the record engine
	ClosePatience time.Duration // how long Close waits for space
	ReclaimPause  time.Duration // between two sweeps that nobody asked for, and before another try
	NoReclaim     bool          // space comes back only by Reclaim and Sweep
	Broken        BrokenOrder
}

// BrokenOrder makes commits forget what a crash needs.
type BrokenOrder struct {
	SkipSegmentSync bool // segments are not synced
	RecordsFirst    bool // records are committed before the segments they name are synced
}
