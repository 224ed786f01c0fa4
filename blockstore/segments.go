package blockstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"salliefs/blockstore/blob"
	"salliefs/blockstore/record"
	"salliefs/blockstore/segment"
)

// segmentSet is the store's segments: the one that is appended to, and those that are only read.
type segmentSet struct {
	s     *Store
	blobs blob.Store

	nextID uint64          // commitMu
	cur    *currentSegment // replaced under commitMu and mu
	dirty  bool            // cur has bytes that are not synced; commitMu

	mu      sync.RWMutex
	table   map[uint64]*segmentInfo
	readers map[uint64]*segmentReader
}

// segmentInfo counts what a segment holds.
type segmentInfo struct {
	size   int64     // bytes of the object, about
	live   int64     // bytes of sealed blocks in use
	blocks int64     // blocks in use
	freed  nsBytes   // sealed blocks that are not in use any more
	stuck  bool      // reclaiming it met damage or did not empty it; it is left alone until the next open
	rest   time.Time // it could not be read for now; it is left alone until then
}

func (i segmentInfo) clone() segmentInfo {
	i.freed = slices.Clone(i.freed)
	return i
}

type segmentDelta struct {
	bytes, blocks int64 // in use
	freed         nsBytes
}

func (d *segmentDelta) add(bytes, blocks int64) {
	d.bytes += bytes
	d.blocks += blocks
}

// free counts a block that is not in use any more.
func (d *segmentDelta) free(ns NamespaceID, bytes int64) {
	d.add(-bytes, -1)
	d.freed.add(ns, bytes)
}

type currentSegment struct {
	id     uint64
	w      blob.Writer
	sw     *segment.Writer
	synced bool          // its file stays when it is given up
	wasted nsBytes       // blocks of commits that did not happen, to be counted as freed; commitMu
	ended  chan struct{} // closed when w is closed and this is not the current segment any more

	described map[Ino]described         // what its hints tell of; commitMu
	spaces    map[NamespaceID]*nsRecord // and of namespaces
}

func segmentName(id uint64) string { return fmt.Sprintf("%016x.seg", id) }

func parseSegmentName(name string) (uint64, bool) {
	hex, ok := strings.CutSuffix(name, ".seg")
	if !ok || len(hex) != 16 {
		return 0, false
	}
	id, err := strconv.ParseUint(hex, 16, 64)
	return id, err == nil && segmentName(id) == name
}

func segmentKey(id uint64) record.Key { return systemKey(kindSegment, 0, id) }

func (i segmentInfo) append(dst []byte) []byte {
	dst = append(dst, 1)
	dst = binary.AppendUvarint(dst, uint64(i.live))
	dst = binary.AppendUvarint(dst, uint64(i.blocks))
	return i.freed.append(dst)
}

func decodeSegmentInfo(b []byte) (segmentInfo, error) {
	d := decoder{b: b}
	if v := d.byte(); v != 1 && d.err == nil {
		return segmentInfo{}, fmt.Errorf("%w: segment record of version %d", ErrCorrupt, v)
	}
	i := segmentInfo{live: int64(d.uvarint(segment.MaxSize)), blocks: int64(d.uvarint(segment.MaxSize)), freed: d.nsBytes(segment.MaxSize)}
	return i, d.finish("segment record")
}

// openSegments reads the table of segments and removes those that no commit knows: what a group wrote that a crash
// ended.
func openSegments(s *Store) (*segmentSet, error) {
	blobs, err := blob.OpenLocal(s.fs, s.fs.PathJoin(s.dir, segmentsDir), blob.LocalOptions{})
	if isNotExist(err) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err != nil {
		return nil, err
	}
	ss := &segmentSet{
		s: s, blobs: blobs, nextID: s.state.nextSegment,
		table: make(map[uint64]*segmentInfo), readers: make(map[uint64]*segmentReader),
	}
	err = s.scanSystem(s.engine, kindSegment, func(k record.Key, v []byte) error {
		info, err := decodeSegmentInfo(v)
		ss.table[k.Suffix] = &info
		ss.nextID = max(ss.nextID, k.Suffix+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	var orphans []string
	err = blobs.List(context.Background(), "", func(o blob.Info) error {
		id, ok := parseSegmentName(o.Name)
		if !ok {
			return nil
		}
		ss.nextID = max(ss.nextID, id+1)
		if info := ss.table[id]; info != nil {
			info.size = o.Size
		} else {
			orphans = append(orphans, o.Name)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !s.readOnly && len(orphans) > 0 {
		if err := blobs.Remove(context.Background(), orphans...); err != nil {
			s.log.Warn("segments that nothing uses stay until the next open", "store", s.dir, "err", err)
		}
	}
	return ss, nil
}

func (ss *segmentSet) next() uint64 { return ss.nextID }

// ready makes sure that there is a current segment with room for a sealed block and its hint. commitMu is held.
func (ss *segmentSet) ready(sealed int) error {
	if ss.cur != nil && (!ss.cur.sw.Fits(sealed, maxHint) || ss.cur.sw.Size()+int64(sealed) > ss.s.segmentLimit()) {
		if err := ss.finish(); err != nil {
			return err
		}
	}
	if ss.cur == nil {
		return ss.begin()
	}
	return nil
}

// append adds a sealed block to the current segment and says where it is. It is not durable before sync. commitMu is held. After
// ErrNoSpace the segment is given up: nothing that was appended to it since the last sync counts.
func (ss *segmentSet) append(ns NamespaceID, id BlockID, sealed, hint []byte) (seg uint64, off int64, err error) {
	if err := ss.ready(len(sealed)); err != nil {
		return 0, 0, err
	}
	ss.dirty = true
	if off, err = ss.cur.sw.Append(uint64(id), uint32(ns), sealed, hint); err != nil {
		return 0, 0, ss.broken(err)
	}
	ss.s.stats.bytesSegments.Add(int64(len(sealed)))
	return ss.cur.id, off, nil
}

func (ss *segmentSet) header(id uint64) segment.Header {
	return segment.Header{Store: [16]byte(ss.s.id), ID: id}
}

func (ss *segmentSet) begin() error {
	id := ss.nextID
	ss.nextID++ // also when it fails: the file may be there
	w, err := ss.blobs.Create(context.Background(), segmentName(id))
	if err != nil {
		return diskError(err)
	}
	ss.mu.Lock()
	ss.table[id] = new(segmentInfo)
	ss.cur = &currentSegment{
		id: id, w: w, sw: segment.NewWriter(w, ss.header(id)), ended: make(chan struct{}),
		described: make(map[Ino]described), spaces: make(map[NamespaceID]*nsRecord),
	}
	ss.mu.Unlock()
	return nil
}

// finish ends the current segment, durably. commitMu is held.
func (ss *segmentSet) finish() error {
	cur := ss.cur
	if cur == nil {
		return nil
	}
	err := cur.sw.Finish(ss.s.sealer, cur.w.Sync)
	if err == nil {
		err = cur.w.Sync() // so that Close, for which readers wait, has nothing to wait for
	}
	if err != nil {
		return ss.broken(err)
	}
	err = cur.w.Close()
	ss.mu.Lock()
	ss.cur, ss.dirty = nil, false
	info := ss.table[cur.id]
	info.size = cur.sw.Size()
	info.freed.addAll(cur.wasted)
	ss.mu.Unlock()
	close(cur.ended)
	return diskError(err)
}

// end finishes the current segment, of which all that counts is committed. If the disk has no room for its footer it does
// without. commitMu is held.
func (ss *segmentSet) end() error {
	if err := ss.finish(); !errors.Is(err, ErrNoSpace) {
		return err
	}
	return nil
}

// broken gives the current segment up after an error. What was synced of it stays, without a footer, as after a crash.
func (ss *segmentSet) broken(err error) error {
	cur := ss.cur
	err = fmt.Errorf("segment %s: %w", segmentName(cur.id), diskError(err))
	if aerr := cur.w.Abort(); aerr != nil && !errors.Is(err, ErrNoSpace) {
		err = errors.Join(err, aerr)
	}
	ss.mu.Lock()
	ss.cur, ss.dirty = nil, false
	ss.table[cur.id].size = cur.w.Size()
	if !cur.synced {
		delete(ss.table, cur.id)
	}
	ss.mu.Unlock()
	close(cur.ended)
	return err
}

// sync makes all that was appended durable. commitMu is held. It fails as append does.
func (ss *segmentSet) sync() error {
	if !ss.dirty {
		return nil
	}
	if err := ss.cur.w.Sync(); err != nil {
		return ss.broken(err)
	}
	ss.dirty, ss.cur.synced = false, true
	return nil
}

// segment counts a commit's changes to one segment.
func (c *commit) segment(id uint64) *segmentDelta {
	d := c.segs[id]
	if d == nil {
		d = new(segmentDelta)
		c.segs[id] = d
	}
	return d
}

// wasted notes what a commit that does not happen has put into the current segment. The next one that does happen, and that
// changes the segment, counts it: before its sync the segment may still lose it. What a segment that has ended holds of such
// a commit is at its end, and nobody counts it.
func (c *commit) wasted() {
	cur := c.s.segments.cur
	if cur == nil {
		return
	}
	for _, b := range c.placed {
		if b.m.segment == cur.id {
			cur.wasted.add(b.ns, int64(b.m.storedLen()))
		}
	}
}

// recordSize is what the records of the segments that a commit changes take, in bytes, or more.
func (ss *segmentSet) recordSize(c *commit) (n int) {
	ss.mu.RLock()
	defer ss.mu.RUnlock()
	for id, d := range c.segs {
		n += 200 + nsCountSize*len(d.freed)
		if info := ss.table[id]; info != nil {
			n += nsCountSize * len(info.freed)
		}
	}
	if ss.cur != nil {
		n += nsCountSize * len(ss.cur.wasted)
	}
	return n
}

// apply puts a commit's changes into the table and into its batch. It returns those of its segments that nothing uses any
// more, to be removed when the commit is durable.
func (ss *segmentSet) apply(c *commit) (removed []uint64) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for id, d := range c.segs {
		info := ss.table[id]
		if info == nil {
			continue
		}
		info.live += d.bytes
		info.blocks += d.blocks
		info.freed.addAll(d.freed)
		if ss.cur != nil && ss.cur.id == id {
			info.size = ss.cur.sw.Size()
			info.freed.addAll(ss.cur.wasted)
			ss.cur.wasted = nil
		} else if info.blocks == 0 {
			removed = append(removed, id)
			c.delete(segmentKey(id))
			continue
		}
		c.setSystem(segmentKey(id), info.append(nil))
	}
	return removed
}

// remove deletes segments for good. One that can not be deleted is tried again at the next open.
func (ss *segmentSet) remove(ids []uint64) {
	if len(ids) == 0 {
		return
	}
	names := make([]string, 0, len(ids))
	readers := make([]*segmentReader, 0, len(ids))
	ss.mu.Lock()
	for _, id := range ids {
		delete(ss.table, id)
		readers = append(readers, ss.takeReaderLocked(id))
		names = append(names, segmentName(id))
	}
	ss.mu.Unlock()
	for _, r := range readers {
		r.release()
	}
	if err := ss.blobs.Remove(context.Background(), names...); err != nil {
		ss.s.log.Warn("dead segments stay until the next open", "err", err)
	}
}

func (ss *segmentSet) totals() (n int, size, live int64, freed map[NamespaceID]int64) {
	freed = make(map[NamespaceID]int64)
	ss.mu.RLock()
	defer ss.mu.RUnlock()
	for _, i := range ss.table {
		size += i.size
		live += i.live
		for _, f := range i.freed {
			freed[f.ns] += f.bytes
		}
	}
	return len(ss.table), size, live, freed
}

func (ss *segmentSet) close() error {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	var err error
	if ss.cur != nil {
		err = ss.cur.w.Abort()
		close(ss.cur.ended)
		ss.cur = nil
	}
	for seg := range ss.readers {
		ss.takeReaderLocked(seg).release()
	}
	return err
}
