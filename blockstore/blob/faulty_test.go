package blob_test

import (
	"errors"
	"testing"

	"salliefs/blockstore/blob"
	"salliefs/blockstore/blob/blobtest"
)

func TestFaulty(t *testing.T) {
	each := map[blobtest.Op]func(s blob.Store) error{
		blobtest.OpCreate: func(s blob.Store) error { _, err := s.Create(ctx, "new"); return err },
		blobtest.OpPut:    func(s blob.Store) error { return s.Put(ctx, "new", nil) },
		blobtest.OpPutNew: func(s blob.Store) error { return s.PutNew(ctx, "new", nil) },
		blobtest.OpOpen:   func(s blob.Store) error { _, err := s.Open(ctx, "old"); return err },
		blobtest.OpStat:   func(s blob.Store) error { _, err := s.Stat(ctx, "old"); return err },
		blobtest.OpList:   func(s blob.Store) error { return s.List(ctx, "", func(blob.Info) error { return nil }) },
		blobtest.OpRemove: func(s blob.Store) error { return s.Remove(ctx, "old") },
		blobtest.OpWrite:  onWriter(func(w blob.Writer) error { _, err := w.Write(make([]byte, 10)); return err }),
		blobtest.OpSync:   onWriter(blob.Writer.Sync),
		blobtest.OpClose:  onWriter(blob.Writer.Close),
		blobtest.OpWriterRead: onWriter(func(w blob.Writer) error {
			_, err := w.ReadAt(make([]byte, 1), 0)
			return err
		}),
		blobtest.OpRead: func(s blob.Store) error {
			r, err := s.Open(ctx, "old")
			if err != nil {
				return err
			}
			_, err = r.ReadAt(make([]byte, 1), 0)
			return err
		},
	}
	for op, do := range each {
		t.Run(string(op), func(t *testing.T) {
			m := &blob.Memory{}
			must(t, m.Put(ctx, "old", []byte("x")))
			f := &blobtest.Faulty{Store: m, Fault: blobtest.FailNth(op, 1, blobtest.ErrInjected, false)}
			if err := do(f); !errors.Is(err, blobtest.ErrInjected) {
				t.Fatalf("first call: error %v", err)
			}
			if err := do(f); err != nil {
				t.Fatalf("second call: error %v", err)
			}
		})
	}
}

// onWriter calls do on a new Writer that holds a byte.
func onWriter(do func(blob.Writer) error) func(blob.Store) error {
	n := 0
	return func(s blob.Store) error {
		n++
		w, err := s.Create(ctx, "new"+string(rune('0'+n)))
		if err != nil {
			return err
		}
		if _, err := w.Write([]byte("xx")); err != nil {
			return err
		}
		return do(w)
	}
}

func TestFaultyWrite(t *testing.T) {
	m := &blob.Memory{}
	f := &blobtest.Faulty{Store: m, Fault: blobtest.FailNth(blobtest.OpWrite, 2, blobtest.ErrInjected, true)}
	w, err := f.Create(ctx, "obj")
	must(t, err)
	_, err = w.Write([]byte("1234"))
	must(t, err)
	for range 2 {
		if _, err := w.Write([]byte("5678")); !errors.Is(err, blobtest.ErrInjected) {
			t.Fatalf("error %v", err)
		}
	}
	if err := w.Sync(); !errors.Is(err, blobtest.ErrInjected) {
		t.Fatalf("sync: error %v", err)
	}
	if w.Size() != 6 {
		t.Fatalf("size %d after a write that failed half way", w.Size())
	}
}
