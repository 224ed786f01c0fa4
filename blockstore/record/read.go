package record

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

func (e *engine) Get(key []byte, fn func(value []byte) error) error { return get(e.reader, key, fn) }

func get(r pebble.Reader, key []byte, fn func(value []byte) error) error {
	v, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return ErrNotFound
	}
	if err != nil {
		return readError(err)
	}
	defer closer.Close()
	return fn(v)
}

func readError(err error) error {
	if err != nil && pebble.IsCorruptionError(err) {
		return damagedError(err)
	}
	return err
}

// damagedError says what Pebble found, without the line that Pebble puts below it for itself.
func damagedError(err error) error {
	text, _, _ := strings.Cut(err.Error(), "\n<")
	return fmt.Errorf("%w: %s", ErrDamaged, text)
}

func (e *engine) NewIter(lower, upper []byte) (Iterator, error) {
	return newIter(e.reader, lower, upper)
}

func newIter(r pebble.Reader, lower, upper []byte) (Iterator, error) {
	if lower == nil {
		lower = firstKey // without the position
	}
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, readError(err)
	}
	return &iterator{it: it}, nil
}

type snapshot struct{ s *pebble.Snapshot }

func (e *engine) NewSnapshot() Snapshot {
	if e.unlogged != nil {
		return frozen{e} // nobody changes it
	}
	return &snapshot{e.db.NewSnapshot()}
}

// frozen is the snapshot of an engine that is opened for reading only.
type frozen struct{ *engine }

func (frozen) Close() error { return nil }

func (s *snapshot) Get(key []byte, fn func(value []byte) error) error { return get(s.s, key, fn) }
func (s *snapshot) NewIter(lower, upper []byte) (Iterator, error)     { return newIter(s.s, lower, upper) }
func (s *snapshot) Close() error                                      { return s.s.Close() }

type iterator struct{ it *pebble.Iterator }

func (i *iterator) First() bool                 { return i.it.First() }
func (i *iterator) SeekGE(key []byte) bool      { return i.it.SeekGE(key) }
func (i *iterator) SeekVersion(key []byte) bool { return i.it.SeekPrefixGE(key) }
func (i *iterator) Next() bool                  { return i.it.Next() }
func (i *iterator) NextRecord() bool            { return i.it.NextPrefix() }
func (i *iterator) Key() []byte                 { return i.it.Key() }
func (i *iterator) Err() error                  { return readError(i.it.Error()) }
func (i *iterator) Close() error                { return readError(i.it.Close()) }

func (i *iterator) Value() ([]byte, error) {
	v, err := i.it.ValueAndErr()
	return v, readError(err)
}
