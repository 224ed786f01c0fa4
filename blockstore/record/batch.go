package record

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

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

func (b *batch) Len() int    { return b.b.Len() }
func (b *batch) Empty() bool { return b.b.Empty() }
