package blockstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"salliefs/blockstore/record"
	"salliefs/crypto"
)

// Kinds of the store's own records, which are sealed under the standard context's key. FORMAT.md draws them.
const (
	kindState     = 1 // counters of the store; inode 0, suffix 0
	kindNamespace = 2 // a namespace; inode = context number, suffix = namespace ID; versioned by epoch
	kindUsage     = 3 // what a namespace holds; same key as above, not versioned
	kindSnapshot  = 4 // suffix = epoch
	kindSegment   = 5 // suffix = segment ID
	kindBlock     = 6 // inode = namespace ID, suffix = block ID
	kindDropped   = 7 // a removed namespace whose content is not freed yet; suffix = namespace ID
	kindSweep     = 8 // blocks wait for a sweep; inode 0, suffix 0
	kindInlined   = 9 // large blocks are in the record engine; inode 0, suffix 0
)

const sweepVersion = 1

// standardContext is the number of the standard context in keys.
const standardContext = 0

func systemKey(kind uint8, inode, suffix uint64) record.Key {
	return record.Key{Namespace: systemNamespace, Kind: kind, Inode: inode, Suffix: suffix}
}

// storeState is the record of the store's counters. It changes with every commit.
type storeState struct {
	generation  uint64 // commits so far
	epoch       Epoch  // of the open group
	nextIno     uint64 // inode numbers and block IDs from here on were never given out
	nextBlock   uint64
	nextNS      uint64
	nextSegment uint64
}

const stateVersion = 1

func (st storeState) append(dst []byte) []byte {
	dst = append(dst, stateVersion)
	for _, x := range [...]uint64{st.generation, uint64(st.epoch), st.nextIno, st.nextBlock, st.nextNS, st.nextSegment} {
		dst = binary.AppendUvarint(dst, x)
	}
	return dst
}

func decodeState(b []byte) (storeState, error) {
	d := decoder{b: b}
	if v := d.byte(); v != stateVersion && d.err == nil {
		return storeState{}, fmt.Errorf("%w: state record of version %d", ErrCorrupt, v)
	}
	var x [6]uint64
	for i := range x {
		x[i] = d.uvarint(1<<63 - 1)
	}
	st := storeState{x[0], Epoch(x[1]), x[2], x[3], x[4], x[5]}
	return st, d.finish("state record")
}

// nsRecord is the record of a namespace.
type nsRecord struct {
	name     string
	created  time.Time
	settings NamespaceSettings
	keyEpoch uint32
	wrapped  []byte // the namespace key, wrapped by the context
}

const (
	nsRecordVersion = 1
	maxNSName       = 255
	maxWrapped      = 1 << 10
)

func (r nsRecord) append(dst []byte) []byte {
	dst = append(dst, nsRecordVersion)
	dst = appendBytes(dst, []byte(r.name))
	dst = binary.AppendVarint(dst, r.created.UnixNano())
	dst = append(dst, byte(r.settings.Compression))
	dst = binary.AppendUvarint(dst, uint64(r.settings.BlockSize))
	dst = binary.AppendUvarint(dst, uint64(r.settings.Quota))
	dst = binary.AppendUvarint(dst, uint64(r.keyEpoch))
	return appendBytes(dst, r.wrapped)
}

func decodeNSRecord(b []byte) (nsRecord, error) {
	d := decoder{b: b}
	if v := d.byte(); v != nsRecordVersion && d.err == nil {
		return nsRecord{}, fmt.Errorf("%w: namespace record of version %d", ErrCorrupt, v)
	}
	var r nsRecord
	r.name = string(d.bytes(maxNSName))
	r.created = time.Unix(0, d.varint())
	r.settings.Compression = Codec(d.byte())
	r.settings.BlockSize = int(d.uvarint(MaxBlockSize))
	r.settings.Quota = int64(d.uvarint(1<<63 - 1))
	r.keyEpoch = uint32(d.uvarint(1<<32 - 1))
	r.wrapped = append([]byte(nil), d.bytes(maxWrapped)...)
	if err := d.finish("namespace record"); err != nil {
		return r, err
	}
	if r.settings.BlockSize == 0 { // Validate would fill it in
		return r, fmt.Errorf("%w: namespace record without a block size", ErrCorrupt)
	}
	if err := r.settings.Validate(); err != nil {
		return r, fmt.Errorf("%w: namespace record: %w", ErrCorrupt, err)
	}
	return r, nil
}

func (d *decoder) varint() int64 {
	x, n := binary.Varint(d.b)
	if n <= 0 || n > 1 && d.b[n-1] == 0 {
		d.fail("number out of range")
		return 0
	}
	d.b = d.b[n:]
	return x
}

func (u Usage) append(dst []byte) []byte {
	dst = append(dst, 1)
	for _, x := range [...]int64{u.Files, u.Logical, u.Stored, u.Blocks} {
		dst = binary.AppendVarint(dst, x)
	}
	return dst
}

func decodeUsage(b []byte) (Usage, error) {
	d := decoder{b: b}
	if v := d.byte(); v != 1 && d.err == nil {
		return Usage{}, fmt.Errorf("%w: usage record of version %d", ErrCorrupt, v)
	}
	u := Usage{d.varint(), d.varint(), d.varint(), d.varint()}
	return u, d.finish("usage record")
}

func (sn Snapshot) append(dst []byte) []byte {
	dst = append(dst, 1)
	dst = appendBytes(dst, []byte(sn.Name))
	dst = binary.AppendVarint(dst, sn.Created.UnixNano())
	return binary.AppendUvarint(dst, uint64(sn.firstID))
}

func decodeSnapshot(epoch Epoch, b []byte) (Snapshot, error) {
	d := decoder{b: b}
	if v := d.byte(); v != 1 && d.err == nil {
		return Snapshot{}, fmt.Errorf("%w: snapshot record of version %d", ErrCorrupt, v)
	}
	sn := Snapshot{Name: string(d.bytes(maxNSName)), Epoch: epoch}
	sn.Created = time.Unix(0, d.varint())
	sn.firstID = BlockID(d.uvarint(1<<63 - 1))
	return sn, d.finish("snapshot record")
}

const recordADSize = 16 + record.KeySize

// recordAD is the associated data of a record: the store and the whole physical key, the epoch included.
func recordAD(dst []byte, store crypto.StoreID, physical []byte) []byte {
	return append(append(dst, store[:]...), physical...)
}

// openRecord gives the plaintext of a sealed record.
func (s *Store) openRecord(sealer *crypto.Sealer, physical, sealed []byte) ([]byte, error) {
	var ad [recordADSize]byte
	v, err := sealer.Open(nil, sealed, recordAD(ad[:0], s.id, physical))
	if err != nil {
		k, kerr := record.DecodeKey(physical)
		if kerr != nil {
			return nil, errors.Join(sealError(err), kerr)
		}
		return nil, fmt.Errorf("record (%v): %w", k, sealError(err))
	}
	if v == nil {
		v = []byte{}
	}
	return v, nil
}

// getSystem reads one of the store's own, unversioned records.
func (s *Store) getSystem(r record.Reader, k record.Key) (v []byte, err error) {
	physical := k.Append(nil)
	err = r.Get(physical, func(sealed []byte) error {
		v, err = s.openRecord(s.sealer, physical, sealed)
		return err
	})
	return v, engineError(err)
}

// scanSystem walks the store's own, unversioned records of a kind.
func (s *Store) scanSystem(r record.Reader, kind uint8, fn func(k record.Key, value []byte) error) error {
	it, err := r.NewIter(record.KindBounds(systemNamespace, kind))
	if err != nil {
		return engineError(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		k, err := record.DecodeKey(it.Key())
		if err != nil {
			return errors.Join(fmt.Errorf("%w: %w", ErrCorrupt, err), it.Close())
		}
		var v []byte
		sealed, err := it.Value()
		if err == nil {
			v, err = s.openRecord(s.sealer, it.Key(), sealed)
		}
		if err == nil {
			err = fn(k, v)
		}
		if err != nil {
			return errors.Join(engineError(err), it.Close())
		}
	}
	return engineError(it.Close())
}
