package blockstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"salliefs/blockstore/record"
	"salliefs/blockstore/segment"
)

// CheckOptions say how much Check looks at.
type CheckOptions struct {
	Data     bool                    // read every byte: open every block, not only its record
	Progress func(done, total int64) // bytes of sealed blocks, about, of which without Data only the records are read; nil for none
}

// Problem is one thing that Check found wrong.
type Problem struct {
	Namespace NamespaceID
	Block     BlockID // 0 when it is not about a block
	Ino       Ino     // 0 when it is not about an inode
	Message   string
	Remedy    string  // what Repair does about it; "" if it can do nothing
	Bad       []Range // what can not be read of the block; nil: nothing can
}

func (p Problem) String() string {
	switch {
	case p.Block != 0:
		return fmt.Sprintf("block %d of namespace %d: %s", p.Block, p.Namespace, p.Message)
	case p.Ino != 0:
		return fmt.Sprintf("inode %d of namespace %d: %s", p.Ino.Number(), p.Namespace, p.Message)
	}
	return fmt.Sprintf("namespace %d: %s", p.Namespace, p.Message)
}

// Check reads every record and every segment's header and footer, with Data all else too, and compares the blocks, the
// segments and the counters with each other. It calls report for all that is wrong and fails only when it can not go on. It
// may run beside writers: it looks at one committed state.
func (s *Store) Check(ctx context.Context, o CheckOptions, report func(Problem)) error {
	_, err := s.CheckForRepair(ctx, o, report)
	return err
}

// CheckForRepair is Check that gives what Repair can do something about.
func (s *Store) CheckForRepair(ctx context.Context, o CheckOptions, report func(Problem)) (*Repairs, error) {
	// What can not be committed is not looked at.
	if err := s.Sync(); err != nil && !errors.Is(err, ErrFailed) && !errors.Is(err, ErrNoSpace) {
		return nil, err
	}
	c := &check{
		s: s, ctx: ctx, o: o, report: report,
		spaces: make(map[NamespaceID]*checkedSpace), live: make(map[uint64]liveBlocks), segs: make(map[uint64]segmentInfo),
		damaged: make(map[BlockID]struct{}), repairs: newRepairs(),
	}
	c.begin()
	defer c.r.Close()
	if err := c.system(); err != nil {
		return nil, err
	}
	for _, n := range c.spaces {
		if err := c.records(n.ns); err != nil {
			return nil, err
		}
	}
	if err := c.blocks(); err != nil {
		return nil, err
	}
	c.usage()
	if err := c.segments(); err != nil {
		return nil, err
	}
	return c.repairs, nil
}

type check struct {
	s           *Store
	ctx         context.Context
	r           record.Snapshot
	o           CheckOptions
	report      func(Problem)
	spaces      map[NamespaceID]*checkedSpace
	segs        map[uint64]segmentInfo
	live        map[uint64]liveBlocks // what the blocks' records say
	damaged     map[BlockID]struct{}  // blocks that were reported
	done, total int64
	blind       bool // some records could not be read: what they count is not known
	repairs     *Repairs
}

// checkedSpace is a namespace that is there, or that a snapshot still sees.
type checkedSpace struct {
	ns    *nsState
	gone  bool  // nothing is counted any more
	usage Usage // as its counters say
	found Usage
}

// begin fixes what is looked at, at a moment between two commits.
func (c *check) begin() {
	s := c.s
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	c.r = s.engine.NewSnapshot()
	s.nsMu.RLock()
	for _, table := range []map[NamespaceID]*nsState{s.namespaces, s.retired} {
		for id, n := range table {
			c.spaces[id] = &checkedSpace{ns: n, gone: n.removed != 0, usage: n.durable}
			c.total += n.durable.Stored
		}
	}
	s.nsMu.RUnlock()
	s.segments.mu.RLock()
	for id, i := range s.segments.table {
		c.segs[id] = i.clone()
	}
	s.segments.mu.RUnlock()
}

// walk calls fn for each version in a range of physical keys, and goes on past damage.
func (c *check) walk(lower, upper []byte, fn func(k record.Key, physical, value []byte)) error {
	w := walk{r: c.r}
	w.visit = func(it record.Iterator) (func() bool, error) {
		k, err := record.DecodeKey(it.Key())
		if err != nil {
			c.report(Problem{Message: err.Error()})
			return it.Next, c.ctx.Err()
		}
		value, err := it.Value()
		if err != nil {
			c.report(Problem{Namespace: NamespaceID(k.Namespace), Message: fmt.Sprintf("record (%v): %v", k, engineError(err))})
			return it.Next, c.ctx.Err()
		}
		fn(k, it.Key(), value)
		return it.Next, c.ctx.Err()
	}
	w.unread = func(from, to []byte, err error) error {
		c.blind = true
		p := Problem{Message: "of the store's own records: " + unreadText(from, to, err)}
		if k := keyBound(from); k.Namespace != systemNamespace {
			p = Problem{Namespace: NamespaceID(k.Namespace), Message: "its " + unreadText(from, to, err)}
		}
		c.report(p)
		return c.ctx.Err()
	}
	return w.run(lower, upper)
}

// system opens the store's own records, other than those of blocks.
func (c *check) system() error {
	lower, upper := record.NamespaceBounds(systemNamespace)
	blocks, behind := record.KindBounds(systemNamespace, kindBlock)
	for _, bounds := range [...][2][]byte{{lower, blocks}, {behind, upper}} {
		err := c.walk(bounds[0], bounds[1], func(k record.Key, physical, sealed []byte) {
			v, err := c.s.openRecord(c.s.sealer, physical, sealed)
			if err == nil {
				err = decodeSystem(k, v)
			}
			if err != nil {
				c.report(Problem{Message: fmt.Sprintf("of the store's own records: %v", err)})
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// decodeSystem tells whether one of the store's own records, other than those of blocks, means something.
func decodeSystem(k record.Key, v []byte) (err error) {
	switch k.Kind {
	case kindState:
		_, err = decodeState(v)
	case kindNamespace:
		if len(v) > 0 { // else it is removed
			_, err = decodeNSRecord(v)
		}
	case kindUsage:
		_, err = decodeUsage(v)
	case kindSnapshot:
		_, err = decodeSnapshot(Epoch(k.Suffix), v)
	case kindSegment:
		_, err = decodeSegmentInfo(v)
	case kindDropped:
		_, err = decodeDropped(v)
	case kindInlined:
		_, err = decodeInlined(v)
	case kindSweep:
		if !bytes.Equal(v, []byte{sweepVersion}) {
			err = fmt.Errorf("%w: sweep record of %d bytes", ErrCorrupt, len(v))
		}
	default:
		err = fmt.Errorf("%w: record (%v) of no kind that is known", ErrCorrupt, k)
	}
	return err
}

// records opens every record of a namespace, in all versions.
func (c *check) records(n *nsState) error {
	lower, upper := record.NamespaceBounds(uint32(n.id))
	return c.walk(lower, upper, func(k record.Key, physical, sealed []byte) {
		if _, err := c.s.openRecord(n.key.Records(), physical, sealed); err != nil {
			c.repairs.record(n.id, k)
			c.report(Problem{Namespace: n.id, Ino: Ino(k.Inode), Message: err.Error(), Remedy: remedyRecord})
		}
	})
}

// blocks looks at every block.
func (c *check) blocks() error {
	blocks := 0
	lower, upper := record.KindBounds(systemNamespace, kindBlock)
	return c.walk(lower, upper, func(k record.Key, physical, value []byte) {
		if blocks++; c.o.Progress != nil && blocks%64 == 0 {
			c.o.Progress(c.done, max(c.done, c.total))
		}
		ns, id := NamespaceID(k.Inode), BlockID(k.Suffix)
		if err := c.block(ns, id, physical, value); err != nil {
			c.damaged[id] = struct{}{}
			p := Problem{Namespace: ns, Block: id, Message: sealError(err).Error()}
			if c.repairable(ns, id, err) {
				p.Remedy = remedyBlock
				p.Bad = c.salvageable(ns, id, physical, value)
			}
			c.report(p)
		}
	})
}

func (c *check) block(ns NamespaceID, id BlockID, physical, v []byte) error {
	m, inline, err := c.s.decodeBlockRecord(physical, v)
	if err != nil {
		return err
	}
	c.done += int64(m.storedLen())
	if m.segment != 0 {
		d := c.live[m.segment]
		d.add(int64(m.storedLen()), 1)
		d.spaces.add(ns, int64(m.storedLen()))
		d.end = max(d.end, m.offset+int64(m.storedLen()))
		c.live[m.segment] = d
	}
	n := c.spaces[ns]
	if n == nil {
		return nil // of a namespace that is being removed, which nobody sees
	}
	n.found.Blocks++
	n.found.Stored += int64(m.storedLen())
	if !c.o.Data || m.gone() {
		return nil
	}
	sealed := inline
	if m.segment != 0 {
		buf := newBuffer(segment.EntryOverhead + m.storedLen())
		defer freeBuffer(buf)
		if sealed, err = c.read(ns, id, m, buf); errors.Is(err, errMoved) {
			return nil // reclaimed since; its new place was written by us just now
		} else if err != nil {
			return err
		}
	}
	data, err := c.s.openBlock(newBuffer(m.plainLen), n.ns, id, m, sealed)
	if err == nil {
		freeBuffer(data)
	}
	return err
}

// repairable notes a block that can not be read, unless the disk may be to blame.
func (c *check) repairable(ns NamespaceID, id BlockID, err error) bool {
	if c.spaces[ns] == nil || unlessLasting(err) != nil {
		return false
	}
	c.repairs.blocks = append(c.repairs.blocks, blockRef{ns, id})
	return true
}

// salvageable tells what can not be read of a block; nil for all.
func (c *check) salvageable(ns NamespaceID, id BlockID, physical, v []byte) []Range {
	m, inline, err := c.s.decodeBlockRecord(physical, v)
	if err != nil || !c.o.Data {
		return nil
	}
	if m.segment != 0 {
		c.repairs.segments[m.segment] = struct{}{} // what else is in it moves out, so that it goes
	}
	_, bad, err := c.s.salvage(c.spaces[ns].ns, id, m, c.s.reader(m, id, inline))
	if err != nil {
		return nil
	}
	return bad
}

// usage compares what namespaces hold with their counters.
func (c *check) usage() {
	for id, n := range c.spaces {
		if !c.blind && !n.gone && (n.found.Blocks != n.usage.Blocks || n.found.Stored != n.usage.Stored) {
			c.repairs.usage[id] = usageDelta{stored: n.found.Stored - n.usage.Stored, blocks: n.found.Blocks - n.usage.Blocks}
			c.report(Problem{Namespace: id, Remedy: remedyCount, Message: fmt.Sprintf("its counters say %d blocks of %d bytes, there are %d of %d",
				n.usage.Blocks, n.usage.Stored, n.found.Blocks, n.found.Stored)})
		}
	}
}
