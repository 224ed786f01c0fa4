package blockstore_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"salliefs/blockstore"
	"salliefs/blockstore/storetest"
)

// TestConcurrent has goroutines do everything at once. Each owns some records and their blocks, which the others read as
// well; the race detector looks at the rest.
func TestConcurrent(t *testing.T) {
	st := storetest.New(t)
	o := blockstore.Options{CommitInterval: 5 * time.Millisecond}.Small()
	s := st.Open(t, o)
	s.SetBlockRefs(entryRefs)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	stop := make(chan struct{})
	time.AfterFunc(time.Duration(long())*time.Second, func() { close(stop) })
	var wg sync.WaitGroup
	var updates, reads, others atomic.Int64
	run := func(n int, fn func(rnd *rand.Rand) error) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(n)))
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := fn(rnd); err != nil {
					t.Errorf("goroutine %d: %v", n, err)
					return
				}
			}
		})
	}
	for n := range 4 {
		own := &owner{s: s, ino: blockstore.MakeIno(0, uint64(100+n)), blocks: make(map[uint64]*entry)}
		run(n, func(rnd *rand.Rand) error { updates.Add(1); return own.step(rnd) })
	}
	for n := range 2 {
		run(4+n, func(rnd *rand.Rand) error {
			reads.Add(1)
			return readAnother(s, blockstore.MakeIno(0, uint64(100+rnd.IntN(4))), uint64(1+rnd.IntN(30)))
		})
	}
	run(6, func(rnd *rand.Rand) error {
		others.Add(1)
		time.Sleep(time.Millisecond)
		switch rnd.IntN(6) {
		case 0:
			return s.Sync()
		case 1:
			return s.Reclaim(context.Background())
		case 2:
			return s.Sweep(context.Background())
		case 3:
			return check(s)
		case 4:
			s.Stats()
			s.Namespaces()
			return s.Throttle()
		}
		return s.MoveInlined()
	})
	run(7, func(rnd *rand.Rand) error {
		time.Sleep(3 * time.Millisecond)
		name := fmt.Sprint("n", rnd.IntN(3))
		switch rnd.IntN(6) {
		case 0:
			_, err := s.CreateNamespace(name, blockstore.NamespaceSettings{}, func(tx *blockstore.Tx, ns blockstore.NamespaceID) {
				tx.Put(topKey(ns), []byte("top"))
				tx.PutBlock(ns, noise(int(ns), 50_000))
			})
			return expect(err, blockstore.ErrExists)
		case 1:
			return expect(s.RenameNamespace(name, fmt.Sprint("n", rnd.IntN(3)), nil), blockstore.ErrExists, blockstore.ErrNotFound)
		case 2:
			return expect(s.RemoveNamespace(name, nil), blockstore.ErrNotFound)
		case 3:
			_, err := s.Snapshot(name)
			return expect(err, blockstore.ErrExists)
		case 4:
			return expect(s.DeleteSnapshot(name), blockstore.ErrNotFound)
		}
		for _, sn := range s.Snapshots() {
			if _, err := s.NamespacesAt(sn.Epoch); err != nil {
				return err
			}
		}
		return nil
	})
	<-stop
	within(t, "the goroutines", wg.Wait)
	mustCheck(t, s)
	mustClose(t, s)
	s = st.Open(t, o)
	mustCheck(t, s)
	mustClose(t, s)
	t.Logf("%d updates, %d reads, %d of everything else", updates.Load(), reads.Load(), others.Load())
}

func expect(err error, fine ...error) error {
	for _, f := range fine {
		if errors.Is(err, f) {
			return nil
		}
	}
	return err
}

// owner is a goroutine's own records.
type owner struct {
	s      *blockstore.Store
	ino    blockstore.Ino
	blocks map[uint64]*entry
}

func (o *owner) step(rnd *rand.Rand) error {
	if err := o.s.Throttle(); err != nil {
		return err
	}
	suffix := uint64(1 + rnd.IntN(30))
	k := blockstore.Key{Ino: o.ino, Kind: entryKind, Suffix: suffix}
	old := o.blocks[suffix]
	var e *entry
	if rnd.IntN(4) > 0 {
		sizes := [...]int{500, 5000, 50_000}
		e = &entry{tag: rnd.Uint64(), data: bytes.Repeat(binary.BigEndian.AppendUint64(nil, rnd.Uint64()), 1+rnd.IntN(sizes[rnd.IntN(3)])/8)}
	}
	err := o.s.Update(func(tx *blockstore.Tx) error {
		if old != nil {
			tx.FreeBlock(0, old.block)
		}
		if e == nil {
			tx.Delete(k)
			return nil
		}
		e.block = tx.PutBlock(0, e.data)
		tx.Put(k, e.encode())
		return nil
	})
	if err != nil {
		return err
	}
	o.blocks[suffix] = e
	if e == nil {
		delete(o.blocks, suffix)
	}
	if rnd.IntN(10) == 0 {
		if err := o.s.Sync(); err != nil {
			return err
		}
	}
	return o.verify()
}

// verify reads everything that the goroutine owns.
func (o *owner) verify() error {
	n := 0
	var bad error
	err := o.s.Scan(blockstore.Live, o.ino, entryKind, 0, func(suffix uint64, v []byte) bool {
		e := o.blocks[suffix]
		if n++; e == nil || !bytes.Equal(v, e.encode()) {
			bad = fmt.Errorf("record %d of inode %d is %x, want %+v", suffix, o.ino, v, e)
			return false
		}
		bad = verifyBlock(o.s, 0, e)
		return bad == nil
	})
	if err = errors.Join(err, bad); err == nil && n != len(o.blocks) {
		err = fmt.Errorf("%d records of inode %d, want %d", n, o.ino, len(o.blocks))
	}
	return err
}

// readAnother reads what another goroutine is just changing: it is whole, or gone.
func readAnother(s *blockstore.Store, ino blockstore.Ino, suffix uint64) error {
	v, err := s.Get(blockstore.Key{Ino: ino, Kind: entryKind, Suffix: suffix})
	if errors.Is(err, blockstore.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	dst := make([]byte, binary.BigEndian.Uint32(v[16:]))
	err = s.ReadBlock(0, blockstore.BlockID(binary.BigEndian.Uint64(v[8:])), 0, dst)
	if errors.Is(err, blockstore.ErrNotFound) {
		return nil // freed meanwhile
	}
	for i := 8; i+8 <= len(dst) && err == nil; i += 8 {
		if !bytes.Equal(dst[i:i+8], dst[:8]) {
			err = fmt.Errorf("block of record %d of inode %d is mixed", suffix, ino)
		}
	}
	return err
}
