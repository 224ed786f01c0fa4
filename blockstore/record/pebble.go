package record

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Options configure Open.
type Options struct {
	FS        vfs.FS
	ReadOnly  bool
	CacheSize int64 // bytes of decoded table blocks kept in memory
	Log       *slog.Logger
	// Failed is told of errors that the engine met on its own, outside any call. It may be called more than once, by
	// any goroutine, and must not call the engine.
	Failed func(error)
}

// formatVersion is the Pebble format that stores are made with. Raising it is a change of the store's format.
const formatVersion = pebble.FormatColumnarBlocks

type engine struct {
	db    *pebble.DB
	cache *pebble.Cache
}

// Open opens, or makes, the Pebble engine in dir.
func Open(dir string, o Options) (_ Engine, err error) {
	cache := pebble.NewCache(o.CacheSize)
	log := &logger{log: o.Log, failed: o.Failed}
	opts := &pebble.Options{
		FS:                          logFS{o.FS},
		Cache:                       cache,
		Comparer:                    comparer(),
		ReadOnly:                    o.ReadOnly,
		FormatMajorVersion:          formatVersion,
		Logger:                      log,
		MemTableSize:                16 << 20,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       24,
		LBaseMaxBytes:               64 << 20,
		MaxOpenFiles:                512,
		BytesPerSync:                512 << 10,
		CompactionConcurrencyRange:  func() (lower, upper int) { return 1, 1 },
		DisableTableStats:           false,
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { log.report(fmt.Errorf("record engine: %w", err)) },
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
	defer func() {
		if r := recover(); r != nil {
			cache.Unref()
			err = fmt.Errorf("record engine in %s: %v", dir, r)
		}
	}()
	db, err := pebble.Open(dir, opts)
	if err != nil {
		cache.Unref()
		return nil, fmt.Errorf("record engine in %s: %w", dir, err)
	}
	return &engine{db: db, cache: cache}, nil
}

func (e *engine) Get(key []byte, fn func(value []byte) error) error { return get(e.db, key, fn) }

func get(r pebble.Reader, key []byte, fn func(value []byte) error) error {
	v, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	defer closer.Close()
	return fn(v)
}

func (e *engine) NewIter(lower, upper []byte) (Iterator, error) { return newIter(e.db, lower, upper) }

func newIter(r pebble.Reader, lower, upper []byte) (Iterator, error) {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, err
	}
	return &iterator{it: it}, nil
}

func (e *engine) NewBatch(size int) Batch { return &batch{b: e.db.NewBatchWithSize(size)} }

func (e *engine) Apply(b Batch, sync bool) (err error) {
	// Pebble calls Fatalf on a failed commit; logger turns that into this panic, so that the process lives on to
	// serve reads.
	defer func() {
		if r := recover(); r != nil {
			f, ok := r.(fatalCommit)
			if !ok {
				panic(r)
			}
			err = f.err
		}
	}()
	pb := b.(*batch).b
	o := pebble.NoSync
	if sync {
		o = pebble.Sync
	}
	if err := pb.Commit(o); err != nil {
		return err
	}
	return pb.Close()
}

type snapshot struct{ s *pebble.Snapshot }

func (e *engine) NewSnapshot() Snapshot { return &snapshot{e.db.NewSnapshot()} }

func (s *snapshot) Get(key []byte, fn func(value []byte) error) error { return get(s.s, key, fn) }
func (s *snapshot) NewIter(lower, upper []byte) (Iterator, error)     { return newIter(s.s, lower, upper) }
func (s *snapshot) Close() error                                      { return s.s.Close() }

func (e *engine) SoleWriter() bool { return true }

func (e *engine) Metrics() Metrics {
	m := e.db.Metrics()
	return Metrics{
		DiskBytes:   int64(m.DiskSpaceUsage()),
		CacheBytes:  m.BlockCache.Size,
		CacheHits:   m.BlockCache.Hits,
		CacheMisses: m.BlockCache.Misses,
		MemoryBytes: int64(m.MemTable.Size),
		Compactions: m.Compact.Count,
		WALBytes:    int64(m.WAL.BytesWritten),
	}
}

func (e *engine) Close() error {
	err := e.db.Close()
	e.cache.Unref()
	return err
}

type iterator struct{ it *pebble.Iterator }

func (i *iterator) First() bool                 { return i.it.First() }
func (i *iterator) SeekGE(key []byte) bool      { return i.it.SeekGE(key) }
func (i *iterator) SeekVersion(key []byte) bool { return i.it.SeekPrefixGE(key) }
func (i *iterator) Next() bool                  { return i.it.Next() }
func (i *iterator) NextRecord() bool            { return i.it.NextPrefix() }
func (i *iterator) Key() []byte                 { return i.it.Key() }
func (i *iterator) Value() ([]byte, error)      { return i.it.ValueAndErr() }
func (i *iterator) Close() error                { return i.it.Close() }

type batch struct{ b *pebble.Batch }

func (b *batch) Set(key []byte, valueSize int, seal func(dst []byte) []byte) {
	op := b.b.SetDeferred(len(key), valueSize)
	copy(op.Key, key)
	if v := seal(op.Value[:0]); len(v) != valueSize {
		panic(fmt.Sprintf("record: value of %d bytes announced as %d", len(v), valueSize))
	}
	if err := op.Finish(); err != nil {
		panic(err) // only for indexed batches
	}
}

func (b *batch) Delete(key []byte) {
	if err := b.b.Delete(key, nil); err != nil {
		panic(err) // only for indexed batches
	}
}

func (b *batch) DeleteRange(lower, upper []byte) {
	if err := b.b.DeleteRange(lower, upper, nil); err != nil {
		panic(err) // only for indexed batches
	}
}

func (b *batch) Len() int { return b.b.Len() }

// fatalCommit carries a failed commit from logger.Fatalf to Apply.
type fatalCommit struct{ err error }

// logger passes Pebble's messages on. Its Fatalf must not return, by Pebble's contract, and must not end the process,
// by ours: reads go on after a failed disk.
type logger struct {
	log    *slog.Logger
	failed func(error)
}

func (l *logger) report(err error) {
	if l.failed != nil {
		l.failed(err)
	}
}

func (l *logger) Infof(format string, args ...any) {
	if l.log != nil {
		l.log.Debug(fmt.Sprintf(format, args...))
	}
}

func (l *logger) Errorf(format string, args ...any) {
	if l.log != nil {
		l.log.Error(fmt.Sprintf(format, args...))
	}
}

func (l *logger) Fatalf(format string, args ...any) {
	err := fmt.Errorf("record engine: "+format, args...)
	l.report(err)
	if strings.Contains(format, "fatal commit error") {
		panic(fatalCommit{err})
	}
	runtime.Goexit()
}
