package control

import (
	"context"
	"io"
	"time"

	"salliefs/crypto"
)

// Target is a store as the commands see it. Paths are NAMESPACE/KEY, the KEY with as many slashes as it likes; a path
// without a slash is a file at the root. Methods are for one goroutine at a time.
type Target interface {
	// Stats tells what the store holds and how it has been working since it was opened.
	Stats(ctx context.Context, o StatsOptions) (Stats, error)

	// Check reads the structure of the store, and all its data if asked, and reports each problem. The error is about
	// the check itself: a store with problems is checked without error.
	Check(ctx context.Context, o CheckOptions, progress func(Progress), report func(Problem)) error

	// Repair checks the store with all its data, and repairs what it can: what it reports has a Remedy, or stays as it is.
	// It takes a snapshot before it changes anything, and is done again without harm after an error.
	Repair(ctx context.Context, o RepairOptions, progress func(Progress), report func(Problem)) (Repaired, error)

	Namespaces(ctx context.Context) ([]Namespace, error)
	CreateNamespace(ctx context.Context, name string, s Settings) (Namespace, error)
	SetNamespace(ctx context.Context, name string, s Settings) (Namespace, error)
	RenameNamespace(ctx context.Context, old, new string) error
	// RemoveNamespace removes a namespace with all that is in it. One that holds files is only removed with Force.
	RemoveNamespace(ctx context.Context, name string, o RemoveOptions) (Removed, error)

	// Get writes the value of a key to w, after begin was told its entry.
	Get(ctx context.Context, path string, begin func(Entry) error, w io.Writer) error
	// Set gives a key the value that r reads, whole or not at all: other programs see the old value until the new one
	// is complete. Directories on the way are made; the namespace must exist. The value is durable when Set returns.
	// After an error, r may still be being read from.
	Set(ctx context.Context, path string, r io.Reader) (Entry, error)
	// Remove removes a key; a directory only with Force. What it has removed is durable when it returns, with an error
	// as well.
	Remove(ctx context.Context, path string, o RemoveOptions) (Removed, error)
	// List reports what is in a directory, by name; "" is the root. A path that is a file reports that file.
	List(ctx context.Context, path string, recursive bool, report func(Entry) error) error

	// ChangePassphrase replaces the passphrase of a context. Nothing is re-encrypted: old copies of the keyring still
	// open with the old passphrase.
	ChangePassphrase(ctx context.Context, c PassphraseChange) error
	// Recover sets a new passphrase with a recovery key, and makes the keyring again if it is damaged or gone.
	Recover(ctx context.Context, r Recovery) (Recovered, error)

	Close() error
}

// StatsOptions says what Stats is about.
type StatsOptions struct {
	Requests bool `json:"requests,omitempty"` // count FUSE requests by kind, too
	Reset    bool `json:"reset,omitempty"`    // and start counting them from zero again
}

// Stats is what Target.Stats tells.
type Stats struct {
	Mounted      bool              `json:"mounted"`
	Files        int64             `json:"files"`
	LogicalBytes int64             `json:"logical_bytes"`
	StoredBytes  int64             `json:"stored_bytes"`
	Ratio        *float64          `json:"ratio"`      // stored to logical bytes; null without any
	DeadBytes    int64             `json:"dead_bytes"` // in segments, to be reclaimed, with what belongs to no namespace
	Segments     int64             `json:"segments"`
	SegmentBytes int64             `json:"segment_bytes"` // of all segments on disk
	RecordBytes  int64             `json:"record_bytes"`  // of the record engine on disk
	PendingBytes int64             `json:"pending_bytes"` // in memory, to be committed
	Disk         Disk              `json:"disk"`
	Caches       []Cache           `json:"caches"`
	Commits      Commits           `json:"commits"`
	Namespaces   []Namespace       `json:"namespaces"`
	Requests     map[string]uint64 `json:"requests,omitempty"`
	Failure      string            `json:"failure,omitempty"` // why the store refuses writes
}

// Disk is the disk that the store is on; zero where it can not tell.
type Disk struct {
	TotalBytes   int64 `json:"total_bytes"`
	FreeBytes    int64 `json:"free_bytes"`
	ReserveBytes int64 `json:"reserve_bytes"` // kept free so that deleting works on a full disk
}

// Cache is one of the caches in memory.
type Cache struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	Hits   int64  `json:"hits"`
	Misses int64  `json:"misses"`
}

// Commits tells of the groups that were committed since the store was opened.
type Commits struct {
	Groups       int64   `json:"groups"`
	SegmentBytes int64   `json:"segment_bytes"` // appended to segments
	RecordBytes  int64   `json:"record_bytes"`  // written to the record engine
	Latency      Latency `json:"latency"`
	SealStall    Latency `json:"seal_stall"` // for how long sealing a group stopped operations
}

// Latency describes a distribution of durations, in nanoseconds.
type Latency struct {
	P50 int64 `json:"p50_ns"`
	P99 int64 `json:"p99_ns"`
	Max int64 `json:"max_ns"`
}

// CheckOptions says how deep Check looks.
type CheckOptions struct {
	Data bool `json:"data,omitempty"` // read and authenticate every block
}

// Progress is how far a part of some work is; Total is 0 while it is not known.
type Progress struct {
	Part  string `json:"part"`
	Done  int64  `json:"done"`
	Total int64  `json:"total"`
	Unit  string `json:"unit,omitempty"` // UnitBytes, or "" for things
}

// UnitBytes is the Unit of a Progress in bytes.
const UnitBytes = "bytes"

// Problem is something that Check found.
type Problem struct {
	Where  Name   `json:"where"` // the file, record or segment, as well as it can be named
	What   string `json:"what"`
	Remedy string `json:"remedy,omitempty"` // what Repair does about it; "" if it can do nothing
	From   int64  `json:"from,omitempty"`   // the bytes of the file that can not be read
	To     int64  `json:"to,omitempty"`     // 0 if it is not about bytes
	Lost   bool   `json:"lost,omitempty"`   // a repair has noted them as lost: no damage that is new
}

// RepairOptions says how Repair works.
type RepairOptions struct {
	DryRun bool `json:"dry_run,omitempty"` // only tell
}

// Repaired tells what Repair did, or would do.
type Repaired struct {
	DryRun   bool   `json:"dry_run"`
	Snapshot string `json:"snapshot,omitempty"` // of the state before; "" if nothing was changed
	Repaired int    `json:"repaired"`           // problems
	Left     int    `json:"left"`               // problems that stay
	Lost     int    `json:"lost"`               // pieces of files that an earlier repair has noted as lost
}

// Settings are those of a namespace; what is nil stays as it is, or takes the default.
type Settings struct {
	Compression *string `json:"compression,omitempty"` // auto, none, s2, zstd
	BlockSize   *int    `json:"block_size,omitempty"`  // bytes
	Quota       *int64  `json:"quota,omitempty"`       // logical bytes; 0 for none
	Context     *string `json:"context,omitempty"`
}

// Namespace describes a namespace. The built-in one that holds the files at the root has no name.
type Namespace struct {
	Name         Name      `json:"name"`
	ID           uint32    `json:"id"`
	Context      string    `json:"context"`
	Created      time.Time `json:"created"`
	Compression  string    `json:"compression"`
	BlockSize    int       `json:"block_size"`
	Quota        int64     `json:"quota_bytes"`
	Files        int64     `json:"files"`
	LogicalBytes int64     `json:"logical_bytes"`
	StoredBytes  int64     `json:"stored_bytes"`
	Ratio        *float64  `json:"ratio"` // stored to logical bytes; null without any
	Blocks       int64     `json:"blocks"`
	DeadBytes    int64     `json:"dead_bytes"` // of its blocks that are not in use any more, to be reclaimed
}

// RemoveOptions says how far a removal may go.
type RemoveOptions struct {
	Force  bool `json:"force,omitempty"`   // what is not empty, too
	DryRun bool `json:"dry_run,omitempty"` // only tell
}

// Removed tells what went, or would go.
type Removed struct {
	Files        int64 `json:"files"` // of any kind, directories included
	LogicalBytes int64 `json:"logical_bytes"`
}

// Entry is a key or a directory.
type Entry struct {
	Path     Name      `json:"path"`
	Type     string    `json:"type"` // file, dir, symlink, fifo, socket, char, block
	Mode     uint32    `json:"mode"` // permission bits, as in stat(2)
	UID      uint32    `json:"uid"`
	GID      uint32    `json:"gid"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
	Target   Name      `json:"target,omitzero"` // of a symlink
}

// KDF says what deriving a key from the new passphrase should cost.
type KDF struct {
	Time time.Duration `json:"time_ns"` // about how long it takes on this machine; the floor always holds
}

// Calibrate finds parameters that take about as long.
func (k KDF) Calibrate() crypto.KDF {
	if k.Time <= time.Millisecond { // below the floor on every machine: it need not be measured
		return crypto.FloorKDF()
	}
	return crypto.CalibrateKDF(k.Time)
}

// PassphraseChange replaces a passphrase.
type PassphraseChange struct {
	Context string `json:"context"`
	Old     []byte `json:"old"` // may be nil for a Local whose owner was let in by the old passphrase just now
	New     []byte `json:"new"`
	KDF     KDF    `json:"kdf"`
}

// Recovery sets a passphrase with a recovery key.
type Recovery struct {
	Key string `json:"recovery_key"`
	New []byte `json:"new"`
	KDF KDF    `json:"kdf"`
}

// Recovered tells what Recover did.
type Recovered struct {
	Context string `json:"context"`
	Remade  bool   `json:"keyring_remade"` // the keyring was unusable: contexts other than Context are not in the new one
}
