package record

import "errors"

var (
	// ErrNotFound says that an engine holds nothing under a key.
	ErrNotFound = errors.New("record not found")
	// ErrDamaged says that an engine's files are not what it wrote.
	ErrDamaged = errors.New("the record engine's files are damaged")
)

// Engine is an ordered, transactional store of values under physical keys. See the package comment for what it
// promises.
type Engine interface {
	Reader

	// NewBatch makes an empty batch with room for size bytes.
	NewBatch(size int) Batch
	// Reserve makes sure, as far as it can be done, that a batch of size bytes will find room on the disk. When it fails
	// with "no space", nothing has changed, and all may be tried again later.
	Reserve(size int) error
	// Commit makes b durable. Readers see it after Apply, which must follow before anything else is committed.
	Commit(b Batch) error
	// Apply shows readers what Commit has made durable. b may not be used afterwards.
	Apply(b Batch) error
	// GiveUp ends the waiting for disk space in a Commit, which then fails.
	GiveUp()
	// NewSnapshot fixes the present state for reading, until closed.
	NewSnapshot() Snapshot
	// SoleWriter tells whether no other process can write while this engine is open, so that what was read or written
	// may be kept in memory.
	SoleWriter() bool
	// Metrics gives counters for people to read.
	Metrics() Metrics
	// Close frees the engine.
	Close() error
}

// Reader reads one state of an engine.
type Reader interface {
	// Get calls fn with the value under key, which is only valid during the call. It fails with ErrNotFound, or with
	// what fn returns.
	Get(key []byte, fn func(value []byte) error) error
	// NewIter walks the keys in [lower, upper); a nil upper means to the end. It is not positioned yet.
	NewIter(lower, upper []byte) (Iterator, error)
}

// Snapshot is a Reader of a state that does not change.
type Snapshot interface {
	Reader
	Close() error
}

// Iterator walks keys in order. Key and Value are valid until the next move.
type Iterator interface {
	First() bool
	SeekGE(key []byte) bool
	// SeekVersion moves to the first key ≥ key among the versions of key's record only.
	SeekVersion(key []byte) bool
	Next() bool
	// NextRecord skips the other versions of the present record.
	NextRecord() bool
	Key() []byte
	Value() ([]byte, error)
	// Err is what ended the last walk or seek, nil if there is nothing more. The next seek forgets it.
	Err() error
	// Close frees the iterator and returns the error of its last walk or seek.
	Close() error
}

// Batch collects changes.
type Batch interface {
	// Set asks seal to write the value of valueSize bytes in place.
	Set(key []byte, valueSize int, seal func(dst []byte) []byte)
	Delete(key []byte)
	// DeleteRange deletes all keys in [lower, upper).
	DeleteRange(lower, upper []byte)
	Len() int // bytes
	Empty() bool
}

// Metrics are an engine's counters.
type Metrics struct {
	DiskBytes   int64 // bytes of tables and logs
	CacheBytes  int64
	CacheHits   int64
	CacheMisses int64
	MemoryBytes int64 // write buffers
	Compactions int64
	LogBytes    int64 // bytes written to the log since open
}
