package blockstore

import (
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore/internal/knobs"
	"salliefs/blockstore/record"
	"salliefs/blockstore/segment"
	"salliefs/crypto"
)

// Options say how to open a store. The zero value opens one on the machine's disk for writing.
type Options struct {
	FS             vfs.FS // nil: the machine's filesystem
	ReadOnly       bool
	Holder         Holder           // Mount and Socket, for the holder file; the rest is filled in
	Log            *slog.Logger     // nil: slog.Default
	Clock          func() time.Time // nil: time.Now
	CommitInterval time.Duration    // 0: DefaultCommitInterval
	RecordCache    int64            // bytes; 0: 32 MiB
	PlainCache     int64            // bytes; 0: 16 MiB

	// Knobs are for tests alone.
	Knobs knobs.Knobs
}

// DefaultCommitInterval is the age of a group's first change at which the group is committed. It leaves the commit a second
// to finish in, so that a crash loses at most 5 s.
const DefaultCommitInterval = 4 * time.Second

// view is what readers look at beside the engine: swapped as a whole.
type view struct {
	open       *group
	committing *group // sealed, not durable yet; nil when there is none
}

// Store is an open store. Its methods may be called by several goroutines; the package comment states the order of
// locks.
type Store struct {
	fs             vfs.FS
	dir            string
	id             crypto.StoreID
	readOnly       bool
	log            *slog.Logger
	clock          func() time.Time
	commitInterval time.Duration
	closePatience  time.Duration
	reclaimPause   time.Duration
	minReclaim     int64
	noReclaim      bool
	inlinedLimit   int
	segmentSize    int64
	master         *crypto.Master
	sealer         *crypto.Sealer // of the store's own records
	lock           *lock
	engine         record.Engine
	segments       *segmentSet
	compressor     compressor
	metas          *idCache[blockMeta]    // where blocks that were read lately are, or were: who reads one finds out
	recent         *idCache[placedBlock]  // where blocks that were written lately are; changed by commits alone
	framed         *idCache[*framedBlock] // large uncompressed blocks, of which parts were read
	plain          *plainCache

	commitMu    commitLock
	state       storeState     // as of the last commit; commitMu
	inlined     []inlinedBlock // large blocks in the record engine, which move to a segment; commitMu
	inlinedFrom BlockID        // the record engine says that there are some from this block on; 0: none; commitMu
	sweepNoted  bool           // the record engine says that blocks wait for a sweep; commitMu
	epoch       Epoch          // of the open group; written under commitMu and gate
	broken      knobs.BrokenOrder

	gate       sync.RWMutex
	view       atomic.Pointer[view]
	durable    atomic.Uint64 // ID of the newest durable group
	generation atomic.Uint64 // that of state
	stuck      atomic.Bool   // the last commit found the disk full
	versioned  atomic.Bool   // a snapshot was taken once: records may have several versions

	nextIno, nextBlock, nextNS atomic.Uint64

	nsOps      sync.Mutex // one change of the table of namespaces at a time
	nsMu       sync.RWMutex
	namespaces map[NamespaceID]*nsState
	retired    map[NamespaceID]*nsState // removed; snapshots may still see them
	dropped    []*crypto.NamespaceKey   // of those that nobody sees any more, to be wiped
	byName     map[string]*nsState

	snapMu    sync.RWMutex
	snapshots []Snapshot // by epoch

	refs                    atomic.Pointer[BlockRefs]
	descriptions            atomic.Pointer[Descriptions]
	hintSeed                maphash.Seed
	sweepWanted, dropWanted atomic.Bool
	sweepAsked              atomic.Bool // by who deleted a snapshot

	failMu   sync.Mutex
	failure  error
	failed   atomic.Bool
	failedCh chan struct{} // closed with failed

	sealQueue                 chan *pending
	dirty, full, moving, idle chan struct{}
	closing                   chan struct{}
	background                sync.WaitGroup
	space                     spaceGauge
	stats                     counters
}

// Open opens the store in dir with the standard context's master key, which the caller keeps and wipes after Close.
// Errors: ErrNotStore, ErrIncomplete, ErrNewerFormat, *InUseError, ErrReadOnly for a disk that can not be written,
// ErrWrongKey, ErrCorrupt.
func Open(dir string, std *crypto.Master, o Options) (*Store, error) {
	s, err := prepare(dir, std, o)
	if err == nil {
		err = s.open(o)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// prepare is Open up to where something may go wrong with keys at hand.
func prepare(dir string, std *crypto.Master, o Options) (_ *Store, err error) {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if dir, err = realPath(o.FS, dir); err != nil {
		return nil, err
	}
	h, err := readHeader(o.FS, dir)
	if err != nil {
		return nil, err
	}
	return newStore(dir, h.id, std, o), nil
}

func (s *Store) open(o Options) (err error) {
	defer func() {
		if err != nil {
			s.wipe()
		}
	}()
	s.lock, err = acquire(s.fs, s.dir, fillHolder(o.Holder, s.clock()), s.readOnly)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.lock.release())
		}
	}()
	s.engine, err = record.Open(s.fs.PathJoin(s.dir, recordsDir), record.Options{
		FS: s.fs, ReadOnly: s.readOnly, CacheSize: def(o.RecordCache, 32<<20), MemTableSize: o.Knobs.MemTable,
		Log: s.log, Failed: s.fail,
	})
	if err != nil {
		return engineError(diskError(err))
	}
	if err = s.load(); err != nil {
		if errors.Is(err, record.ErrDamaged) { // which says what, and not where
			err = fmt.Errorf("%s: %w", s.fs.PathJoin(s.dir, recordsDir), err)
		}
		return errors.Join(err, s.engine.Close())
	}
	s.start()
	return nil
}

// realPath gives one store on the machine's filesystem one name: the lock is told apart by it within a process. To lock
// the same file by another name would end the first lock, as fcntl(2) has it.
func realPath(fs vfs.FS, dir string) (string, error) {
	if fs != vfs.Default {
		return dir, nil
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		return real, nil
	}
	return abs, nil // what is missing is reported where it is looked for
}

func def[T comparable](x, otherwise T) T {
	var zero T
	if x == zero {
		return otherwise
	}
	return x
}

func fillHolder(h Holder, now time.Time) Holder {
	h.Host, _ = os.Hostname() // "" says as much
	h.PID = os.Getpid()
	h.Since = now
	return h
}

func newStore(dir string, id crypto.StoreID, std *crypto.Master, o Options) *Store {
	s := &Store{
		fs: o.FS, dir: dir, id: id, readOnly: o.ReadOnly, log: o.Log, clock: o.Clock,
		commitInterval: def(o.CommitInterval, DefaultCommitInterval),
		closePatience:  def(o.Knobs.ClosePatience, closePatience),
		reclaimPause:   def(o.Knobs.ReclaimPause, reclaimPause),
		minReclaim:     def(o.Knobs.MinReclaim, minReclaim),
		inlinedLimit:   def(o.Knobs.Inlined, inlinedLimit),
		segmentSize:    def(o.Knobs.Segment, segment.MaxSize),
		noReclaim:      o.Knobs.NoReclaim,
		broken:         o.Knobs.Broken,
		master:         std,
		sealer:         std.StoreSealer(id),
		metas:          newIDCache[blockMeta](64 << 10),
		recent:         newIDCache[placedBlock](64 << 10),
		framed:         newIDCache[*framedBlock](8 << 10),
		plain:          newPlainCache(def(o.PlainCache, 16<<20)),
		namespaces:     make(map[NamespaceID]*nsState),
		retired:        make(map[NamespaceID]*nsState),
		byName:         make(map[string]*nsState),
		sealQueue:      make(chan *pending, sealQueueLen),
		dirty:          make(chan struct{}, 1),
		full:           make(chan struct{}, 1),
		moving:         make(chan struct{}, 1),
		idle:           make(chan struct{}, 1),
		closing:        make(chan struct{}),
		hintSeed:       maphash.MakeSeed(),
		failedCh:       make(chan struct{}),
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.clock == nil {
		s.clock = time.Now
	}
	return s
}

// load reads what is kept in memory.
func (s *Store) load() error {
	v, err := s.getSystem(s.engine, systemKey(kindState, 0, 0))
	switch {
	case errors.Is(err, crypto.ErrAuth):
		return fmt.Errorf("%s: %w, or its records are damaged: %w", s.dir, ErrWrongKey, err)
	case errors.Is(err, ErrNotFound):
		return fmt.Errorf("%s: %w: the record of the store's counters is missing", s.dir, ErrCorrupt)
	case err != nil:
		return err
	}
	if s.state, err = decodeState(v); err != nil {
		return err
	}
	s.epoch = s.state.epoch
	s.generation.Store(s.state.generation)
	s.versioned.Store(s.epoch > firstEpoch)
	s.nextIno.Store(s.state.nextIno)
	s.nextBlock.Store(s.state.nextBlock)
	s.nextNS.Store(s.state.nextNS)
	s.view.Store(&view{open: newGroup(1, s.epoch)})
	if err := s.loadSnapshots(); err != nil {
		return err
	}
	if err := s.loadNamespaces(); err != nil {
		return err
	}
	switch _, err := s.getSystem(s.engine, systemKey(kindSweep, 0, 0)); {
	case err == nil:
		s.sweepNoted = true
		s.sweepWanted.Store(true)
	case !errors.Is(err, ErrNotFound):
		return err
	}
	if !s.readOnly {
		if err := s.findInlined(); err != nil {
			s.log.Warn("blocks stay in the record engine", "store", s.dir, "err", err)
		}
	}
	s.segments, err = openSegments(s)
	return err
}

func (s *Store) start() {
	if s.readOnly {
		return
	}
	s.space.update(s)
	s.dropWanted.Store(true) // a removal may have been interrupted
	s.background.Add(2)
	go s.committer()
	go s.mover()
	if !s.noReclaim {
		s.background.Add(1)
		go s.reclaimer()
	}
	for range runtime.GOMAXPROCS(0) {
		s.background.Add(1)
		go s.sealWorker()
	}
	s.kick(s.idle)
}

// ID is the store's identity.
func (s *Store) ID() crypto.StoreID { return s.id }

// Dir is where the store is.
func (s *Store) Dir() string { return s.dir }

// ReadOnly tells whether the store was opened for reading only.
func (s *Store) ReadOnly() bool { return s.readOnly }

// SetHolder changes what the holder file says of Mount and Socket.
func (s *Store) SetHolder(h Holder) error { return s.lock.announce(fillHolder(h, s.clock())) }

func (s *Store) writable() error {
	if s.readOnly {
		return fmt.Errorf("%s was opened %w", s.dir, ErrReadOnly)
	}
	return s.Failed()
}

// fail makes the store refuse all further writes. The first reason stays.
func (s *Store) fail(err error) {
	s.failMu.Lock()
	defer s.failMu.Unlock()
	if s.failure != nil {
		return
	}
	s.failure = fmt.Errorf("%w: %w", ErrFailed, err)
	s.failed.Store(true)
	close(s.failedCh)
	s.log.Error("the store takes no more writes; what is durable stays readable", "store", s.dir, "err", err)
}

// Failed is why the store takes no more writes; nil while it does.
func (s *Store) Failed() error {
	if !s.failed.Load() {
		return nil
	}
	s.failMu.Lock()
	defer s.failMu.Unlock()
	return s.failure
}

// closePatience is how long Close waits for space on a full disk.
const closePatience = 10 * time.Second

// Close makes everything durable, frees the store and wipes its keys. After an error, what was not durable before may
// be lost. Nobody may use the store any more.
func (s *Store) Close() error {
	var err error
	if !s.readOnly {
		patience := time.AfterFunc(s.closePatience, s.engine.GiveUp)
		err = s.lastSync()
		close(s.closing)
		s.background.Wait()
		patience.Stop()
		if err == nil {
			if err = s.moveInlined(0); errors.Is(err, ErrNoSpace) {
				err = nil // the next run finds them
			}
		}
		s.commitMu.Lock()
		defer s.commitMu.Unlock()
		if err == nil {
			err = s.segments.end()
		}
	}
	err = errors.Join(err, s.segments.close(), s.engine.Close())
	s.wipe()
	return errors.Join(err, s.lock.release())
}

// lastSync is Sync that waits for disk space for a while.
func (s *Store) lastSync() error {
	end := time.Now().Add(s.closePatience)
	for {
		err := s.Sync()
		if !errors.Is(err, ErrNoSpace) || s.Failed() != nil || time.Now().After(end) {
			return err
		}
		time.Sleep(s.closePatience / 20)
	}
}

func (s *Store) wipe() {
	s.plain.clear()
	s.framed.clear(func(b *framedBlock) { b.opener.Wipe() })
	s.nsMu.Lock()
	defer s.nsMu.Unlock()
	for _, table := range []map[NamespaceID]*nsState{s.namespaces, s.retired} {
		for _, n := range table {
			n.key.Wipe()
		}
	}
	for _, key := range s.dropped {
		key.Wipe()
	}
	s.sealer.Wipe()
}
