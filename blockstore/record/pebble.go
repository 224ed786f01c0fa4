package record

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Options configure Open.
type Options struct {
	FS        vfs.FS
	Create    bool // make a new engine; without it a missing one is ErrDamaged
	ReadOnly  bool
	CacheSize int64 // bytes of decoded table blocks kept in memory, and more while nothing is written
	// MemTableSize is how many bytes are collected before a table is written; 0: DefaultMemTableSize. Tests make it small.
	MemTableSize int
	Log          *slog.Logger
	// Failed is told of the error that ended all writing, once, by any goroutine. It must not call the engine.
	Failed func(error)
}

// formatVersion is the Pebble format that stores are made with: tables with checksums over all their parts. Raising it is a
// change of the store's format.
const formatVersion = pebble.FormatTableFormatV6

// DefaultMemTableSize is the size of a memory table, of which there are up to memTables, in bytes.
const DefaultMemTableSize = 16 << 20

const (
	memTables      = 4
	l0StopWrites   = 24
	flushPatience  = time.Second      // for tables to be written where space is short
	settlePatience = 10 * time.Second // for tables to be written when the engine is closed
	creditShare    = 8                // of a memory table is what may come between two looks at them
)

type engine struct {
	db       *pebble.DB
	reader   pebble.Reader // db, or unlogged
	unlogged *pebble.Batch // over db what only the log holds, for reading only
	readOnly bool
	disk     *disk
	cache    *pebble.Cache
	memTable int // bytes

	// Of who applies batches.
	log   *commitLog
	held  uint64 // a position that the tables once had
	asked bool   // for tables to be written; until they are

	mu     sync.Mutex
	credit int // bytes of batches that the memory tables take whatever the disk does
}

// Open opens, or makes, the Pebble engine in dir. Errors: ErrDamaged, and what the filesystem says.
func Open(dir string, o Options) (Engine, error) {
	if o.MemTableSize == 0 {
		o.MemTableSize = DefaultMemTableSize
	}
	if _, err := o.FS.Stat(dir); !o.Create && errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("record engine in %s: %w: it is missing", dir, ErrDamaged)
	}
	d := newDisk(o.FS, dir, o.Log, o.Failed)
	// Pebble takes the room of memory tables out of the cache: that of the one that is written to, and of one that becomes
	// a table meanwhile.
	cache := pebble.NewCache(o.CacheSize + 2*int64(o.MemTableSize))
	opts := o.pebble(d, cache)
	type result struct {
		db  *pebble.DB
		err error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			if p := recover(); p != nil { // on some damage Pebble does not find in order
				r = result{err: fmt.Errorf("%w: %v", ErrDamaged, p)}
			}
			done <- r
		}()
		r.db, r.err = pebble.Open(dir, opts)
	}()
	select {
	case r := <-done:
		if r.err == nil && d.opened() == nil {
			e := &engine{db: r.db, reader: r.db, disk: d, cache: cache, memTable: o.MemTableSize}
			if err := e.openLog(o); err != nil {
				return nil, errors.Join(fmt.Errorf("record engine in %s: %w", dir, err), e.closeTables())
			}
			return e, nil
		}
		if r.err != nil {
			cache.Unref()
			if !errors.Is(r.err, ErrDamaged) { // it is no error of the disk: those end opening
				r.err = damagedError(r.err)
			}
			return nil, fmt.Errorf("record engine in %s: %w", dir, r.err)
		}
	case <-d.closed: // Pebble, or a part of it, waits for ever
	}
	err := d.failure()
	if pebble.IsCorruptionError(err) {
		err = damagedError(err)
	}
	return nil, fmt.Errorf("record engine in %s: %w", dir, err)
}

func (o *Options) pebble(d *disk, cache *pebble.Cache) *pebble.Options {
	log := logger{log: o.Log, disk: d}
	opts := &pebble.Options{
		FS:                          d,
		Cache:                       cache,
		Comparer:                    comparer(),
		ErrorIfNotExists:            !o.Create,
		ReadOnly:                    o.ReadOnly,
		FormatMajorVersion:          formatVersion,
		Logger:                      log,
		MemTableSize:                uint64(o.MemTableSize),
		DisableWAL:                  true,
		MemTableStopWritesThreshold: memTables,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       l0StopWrites,
		LBaseMaxBytes:               64 << 20,
		MaxOpenFiles:                512,
		BytesPerSync:                512 << 10,
		CompactionConcurrencyRange:  func() (lower, upper int) { return 1, 1 },
		EventListener: &pebble.EventListener{
			BackgroundError: log.backgroundError,
			DataCorruption:  log.corruption,
			FlushEnd:        func(pebble.FlushInfo) { d.flushed.Store(true) },
		},
	}
	for i := range opts.Levels {
		// Sealed values do not shrink; what keys would save is not worth the time.
		opts.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		opts.Levels[i].FilterType = pebble.TableFilter
		opts.Levels[i].BlockSize = 16 << 10
	}
	opts.TargetFileSizes[0] = 8 << 20
	return opts
}

func (e *engine) NewBatch(size int) Batch { return &batch{b: e.db.NewBatchWithSize(size)} }

// Reserve looks at what a commit can run into: the log, and memory tables that can not be written for a while. The latter
// would stop the commit in its middle.
func (e *engine) Reserve(size int) error {
	if err := e.reserveTables(size); err != nil {
		return err
	}
	return e.log.reserve(size+positionSize, e.position)
}

// reserveTables looks, every now and then, at whether the memory tables take size bytes more.
func (e *engine) reserveTables(size int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.credit -= size; e.credit >= 0 {
		return nil
	}
	e.credit = 0
	for end := time.Now().Add(flushPatience); e.crowded(size); time.Sleep(flushPatience / 100) {
		room, known := e.disk.tableRoom()
		if known && room {
			break // Pebble waits no longer than it takes to write a table
		}
		if err := e.disk.failure(); err != nil {
			return err
		}
		late := time.Now().After(end)
		if late && !known {
			break
		}
		if e.disk.tablesFull() || e.disk.givenUp() || late {
			return fmt.Errorf("record engine: tables can not be written: %w", syscall.ENOSPC)
		}
	}
	if credit := e.memTable / creditShare; !e.crowded(size + credit) {
		e.credit = credit
	}
	return nil
}

// crowded tells whether a batch of size bytes could have to wait until tables are written.
func (e *engine) crowded(size int) bool {
	m := e.db.Metrics()
	size = min(size, e.memTable) // a larger batch is a memory table of its own
	return m.MemTable.Size+uint64(size) > uint64((memTables-1)*e.memTable) || m.Levels[0].Sublevels >= l0StopWrites-4
}

func (e *engine) Commit(b Batch) error {
	if err := e.disk.failure(); err != nil {
		return err
	}
	pb := b.(*batch).b
	if err := setPosition(pb, e.log.last+1); err != nil {
		return err
	}
	e.log.append(pb.Repr())
	return e.disk.failure()
}

func (e *engine) Apply(b Batch) error {
	pb := b.(*batch).b
	if err := pb.Commit(pebble.NoSync); err != nil {
		return err
	}
	e.log.takeTurns(e.position)
	if e.log.overdue() && !e.asked && !e.crowded(e.memTable) {
		_, err := e.db.AsyncFlush()
		e.asked = err == nil
	}
	return pb.Close()
}

func (e *engine) SoleWriter() bool { return true }

func (e *engine) Metrics() Metrics {
	m := e.db.Metrics()
	return Metrics{
		DiskBytes:   int64(m.DiskSpaceUsage()) + e.log.size.Load(),
		CacheBytes:  m.BlockCache.Size,
		CacheHits:   m.BlockCache.Hits,
		CacheMisses: m.BlockCache.Misses,
		MemoryBytes: int64(m.MemTable.Size),
		Compactions: m.Compact.Count,
		LogBytes:    e.log.written.Load(),
	}
}

func (e *engine) GiveUp() { e.disk.giveUp() }

func (e *engine) Close() error {
	before := e.disk.failure()
	e.settle()
	err := errors.Join(e.log.close(), e.closeTables())
	if before != nil {
		return nil // the caller knows, and other errors are its consequences
	}
	return errors.Join(err, e.disk.failure())
}

// settle has the tables hold everything, if the disk lets it. Then an older copy of the log is told from the one that belongs
// to them, and there is nothing to replay.
func (e *engine) settle() {
	if e.readOnly || e.disk.failure() != nil || e.position() == e.log.last || e.crowded(e.memTable) {
		return
	}
	done, err := e.db.AsyncFlush()
	if err != nil {
		return
	}
	look := time.NewTicker(minTablePause / 10)
	defer look.Stop()
	for end := time.Now().Add(settlePatience); time.Now().Before(end) && !e.disk.full() && !e.disk.givenUp(); {
		select {
		case <-done:
			return
		case <-e.disk.closed:
			return
		case <-look.C:
		}
	}
}

func (e *engine) closeTables() error {
	e.disk.beginClose()
	if e.unlogged != nil {
		_ = e.unlogged.Close() // it is only memory
	}
	err := e.db.Close()
	e.cache.Unref()
	return err
}

// logger takes Pebble's messages and errors.
type logger struct {
	log  *slog.Logger
	disk *disk
}

func (l logger) Infof(format string, args ...any) {
	if l.log != nil {
		l.log.Debug(fmt.Sprintf(format, args...))
	}
}

func (l logger) Errorf(format string, args ...any) {
	if l.log != nil {
		l.log.Error(fmt.Sprintf(format, args...))
	}
}

// Fatalf may not return, by Pebble's contract. disk keeps the errors away that Pebble means with it; what is left is
// damage found during opening, and bugs.
func (l logger) Fatalf(format string, args ...any) {
	err := fmt.Errorf("record engine: "+format, args...)
	l.disk.fail(err)
	l.disk.dead() // does not return during opening
	panic(err)
}

// backgroundError hears of tables that could not be written or read by Pebble's own work. It is called with Pebble's
// mutex held.
func (l logger) backgroundError(err error) {
	switch {
	case !l.disk.running.Load():
		l.disk.fail(err)
		l.disk.dead() // does not return: it would be tried again for ever
	case isFull(err):
		l.disk.warn("the record engine could not write a table", err)
	default:
		if pebble.IsCorruptionError(err) {
			l.disk.unmade.Store(true)
		}
		l.Errorf("record engine: %v", err) // the disk knows already if it was a write
	}
}

// corruption hears of damage, on a reader's goroutine or in a compaction, which Pebble tries again at once.
func (l logger) corruption(info pebble.DataCorruptionInfo) {
	l.Errorf("record engine: %v", info)
	l.disk.noteDamage()
}
