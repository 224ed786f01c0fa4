package blobtest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"salliefs/blockstore/blob"
)

// outcome is one thing that a crash may leave of an object.
type outcome struct {
	absent bool
	synced int    // how many bytes must be there
	bytes  []byte // past those, there may be a prefix of these, with zeros in it
}

func exactly(data []byte) outcome { return outcome{synced: len(data), bytes: data} }

func (o outcome) allows(got []byte, exists bool) bool {
	if o.absent || !exists {
		return o.absent && !exists
	}
	if len(got) < o.synced || len(got) > len(o.bytes) || !bytes.Equal(got[:o.synced], o.bytes[:o.synced]) {
		return false
	}
	for i := o.synced; i < len(got); i++ {
		if got[i] != o.bytes[i] && got[i] != 0 {
			return false
		}
	}
	return true
}

// crashModel knows, for each name that was ever used, what a crash at this
// moment may leave. While an operation runs it knows what there was before and
// what there will be.
type crashModel map[string][]outcome

func (m crashModel) of(name string) []outcome {
	if o := m[name]; o != nil {
		return o
	}
	return []outcome{{absent: true}}
}

// may adds an outcome, must leaves it as the only one.
func (m crashModel) may(name string, o outcome)  { m[name] = append(m.of(name), o) }
func (m crashModel) must(name string, o outcome) { m[name] = []outcome{o} }

// check compares a store that was opened after a crash with the model.
func (m crashModel) check(s blob.Store) error {
	listed := map[string]int64{}
	if err := s.List(ctx, "", func(i blob.Info) error {
		listed[i.Name] = i.Size
		return nil
	}); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		size, exists := listed[name]
		delete(listed, name)
		if err := m.checkObject(s, name, size, exists); err != nil {
			return err
		}
	}
	for name := range listed {
		return fmt.Errorf("object %q was never created", name)
	}
	return nil
}

func (m crashModel) checkObject(s blob.Store, name string, size int64, exists bool) error {
	var data []byte
	if exists {
		var err error
		if data, err = load(s, name); err != nil {
			return err
		}
		if int64(len(data)) != size {
			return fmt.Errorf("object %q: listed with %d bytes, has %d", name, size, len(data))
		}
	} else if _, err := s.Stat(ctx, name); err == nil {
		return fmt.Errorf("object %q exists and is not listed", name)
	}
	for _, o := range m[name] {
		if o.allows(data, exists) {
			return nil
		}
	}
	return fmt.Errorf("object %q: exists %v with %d bytes; allowed is %v", name, exists, len(data), m[name])
}

// String is for the message of a failed check.
func (o outcome) String() string {
	switch {
	case o.absent:
		return "absent"
	case o.synced == len(o.bytes):
		return fmt.Sprintf("exactly %d bytes", o.synced)
	}
	return fmt.Sprintf("%d … %d bytes", o.synced, len(o.bytes))
}
