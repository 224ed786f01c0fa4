package record

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// The position is a record beside the others: the number of the last commit that tables, or a state, hold. Its key sorts
// before all physical keys.
var (
	positionKey = []byte{0}
	firstKey    = []byte{0, 0, 0, 0} // not greater than any physical key
)

// positionSize is what the position adds to a batch, in bytes, or more.
const positionSize = 32

func setPosition(b *pebble.Batch, number uint64) error {
	return b.Set(positionKey, binary.LittleEndian.AppendUint64(nil, number), nil)
}

func decodePosition(v []byte) (uint64, error) {
	if len(v) != 8 {
		return 0, fmt.Errorf("%w: position of %d bytes", ErrDamaged, len(v))
	}
	return binary.LittleEndian.Uint64(v), nil
}

// tablesPosition reads the position of the tables on the disk; 0 when there is none yet.
func tablesPosition(db *pebble.DB) (number uint64, err error) {
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: positionKey, UpperBound: firstKey, OnlyReadGuaranteedDurable: true})
	if err != nil {
		return 0, readError(err)
	}
	if it.First() {
		var v []byte
		if v, err = it.ValueAndErr(); err == nil {
			number, err = decodePosition(v)
		}
	}
	return number, readError(errors.Join(err, it.Close()))
}

// position is that of the tables, as far as it is known.
func (e *engine) position() uint64 {
	if !e.disk.flushed.Swap(false) {
		return e.held
	}
	e.asked = false
	if n, err := tablesPosition(e.db); err == nil { // else the next tables tell
		e.held = n
	}
	return e.held
}

// openLog opens the log, or makes it, and has the engine hold what it says.
func (e *engine) openLog(o Options) (err error) {
	if e.held, err = tablesPosition(e.db); err != nil {
		return err
	}
	limit := int64(o.MemTableSize)
	switch {
	case o.ReadOnly:
		e.readOnly = true
		return e.openLogForReading()
	case o.Create:
		e.log, err = createLog(e.disk, limit)
	default:
		e.log, err = openLog(e.disk, limit, e.held, func(batch []byte) error {
			b := e.db.NewBatch()
			if err := b.SetRepr(batch); err != nil {
				return fmt.Errorf("%w: a commit in the log: %w", ErrDamaged, err)
			}
			return errors.Join(b.Commit(pebble.NoSync), b.Close())
		})
	}
	return err
}

// openLogForReading lays what the log says over the tables.
func (e *engine) openLogForReading() error {
	e.log = &commitLog{d: e.disk}
	over := e.db.NewIndexedBatch()
	err := readLog(e.disk, e.held, func(batch []byte) error {
		b := e.db.NewBatch()
		defer b.Close()
		if err := b.SetRepr(batch); err != nil {
			return fmt.Errorf("%w: a commit in the log: %w", ErrDamaged, err)
		}
		return over.Apply(b, nil)
	})
	if err != nil || over.Empty() {
		return errors.Join(err, over.Close())
	}
	e.unlogged, e.reader = over, over
	it, err := over.NewIter(nil) // makes what iterators share
	if err != nil {
		return readError(err)
	}
	return readError(it.Close())
}
