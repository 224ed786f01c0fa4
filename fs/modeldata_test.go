package fs

import (
	"bytes"

	"pgregory.net/rapid"
)

// grow makes a model's file at least so long.
func (n *mnode) grow(size int) {
	if more := size - len(n.data); more > 0 {
		n.data = append(n.data, make([]byte, more)...)
		n.written = append(n.written, make([]byte, more)...)
	}
}

// blur is called before something happens to a part of a page: if there is data in the page, all of it may have become
// data by now. Such bytes get a 2.
func (n *mnode) blur(off, end int) {
	for p := off &^ (pageSize - 1); p < min(end, len(n.data)); p += pageSize {
		page := n.written[p:min(p+pageSize, len(n.data))]
		if bytes.Count(page, []byte{0}) == len(page) {
			continue
		}
		for i := range page {
			if page[i] == 0 {
				page[i] = 2
			}
		}
	}
}

// span draws a place in a file, and a length: many at the borders of pages and regions.
func (m *model) span(n *mnode, most int) (off, length int) {
	t := m.t
	switch rapid.IntRange(0, 3).Draw(t, "where") {
	case 0:
		off = rapid.IntRange(0, 300<<10).Draw(t, "off")
	case 1:
		off = len(n.data)
	case 2:
		off = pageSize * rapid.IntRange(0, 80).Draw(t, "page")
	default:
		off = RegionSize*rapid.IntRange(0, 3).Draw(t, "region") + rapid.IntRange(-3, 3).Draw(t, "beside")
	}
	switch rapid.IntRange(0, 3).Draw(t, "how much") {
	case 0:
		length = rapid.IntRange(1, 200).Draw(t, "bytes")
	case 1:
		length = pageSize
	case 2:
		length = pageSize * rapid.IntRange(1, 40).Draw(t, "pages")
	default:
		length = rapid.IntRange(1, most).Draw(t, "length")
	}
	return max(off, 0), length
}

func (m *model) write() {
	n := m.file()
	off, length := m.span(n, 150<<10)
	data := bytes.Repeat([]byte{byte(rapid.IntRange(1, 255).Draw(m.t, "fill"))}, length)
	for i := range data {
		data[i] += byte(i >> 8)
	}
	times := 1
	if length < 300 {
		times = rapid.SampledFrom([]int{1, 1, 20}).Draw(m.t, "pieces") // to have regions in many pieces
	}
	since := m.now()
	for i := range times {
		at := off + i*(length+7)
		if _, err := m.w.WriteAt(n.ino, data, int64(at), false); !m.want("write", err, nil) {
			return
		}
		n.grow(at + length)
		copy(n.data[at:], data)
		copy(n.written[at:], bytes.Repeat([]byte{1}, length))
	}
	m.times(since, moved{n: n, mtime: true, ctime: true})
}

func (m *model) truncate() {
	n := m.file()
	size, _ := m.span(n, 1)
	since := m.now()
	a, err := m.w.SetAttr(n.ino, SetAttr{Valid: SetSize, Size: int64(size)})
	if !m.want("truncate", err, nil) {
		return
	}
	if size < len(n.data) {
		n.blur(size, len(n.data))
		n.data, n.written = n.data[:size:size], n.written[:size:size]
	}
	n.grow(size)
	if a.Mtime <= since || a.Ctime <= since {
		m.t.Fatal("times did not move")
	}
	n.attr.Mtime, n.attr.Ctime = a.Mtime, a.Ctime
}

func (m *model) fallocate() {
	n := m.file()
	off, length := m.span(n, 300<<10)
	mode := rapid.SampledFrom([]uint32{
		0, FallocKeepSize, FallocPunchHole | FallocKeepSize, FallocZeroRange, FallocZeroRange | FallocKeepSize, 8, FallocPunchHole,
	}).Draw(m.t, "mode")
	err := m.w.Fallocate(n.ino, mode, int64(off), int64(length))
	var want error
	if mode == 8 || mode == FallocPunchHole {
		want = ErrNotSupported
	}
	if !m.want("fallocate", err, want) {
		return
	}
	if mode&FallocKeepSize == 0 {
		n.grow(off + length)
	}
	if mode&(FallocPunchHole|FallocZeroRange) != 0 && off < len(n.data) {
		end := min(off+length, len(n.data))
		n.blur(off, end)
		clear(n.data[off:end])
		clear(n.written[off:end])
	}
	a := m.w.attr(n.ino)
	n.attr.Mtime, n.attr.Ctime = a.Mtime, a.Ctime
}

func (m *model) copyRange() {
	a, b := m.file(), m.file()
	if rapid.Bool().Draw(m.t, "same") {
		b = a
	}
	srcOff, length := m.span(a, 300<<10)
	dstOff, _ := m.span(b, 1)
	srcSize := len(a.data)
	k, err := m.w.CopyRange(a.ino, int64(srcOff), b.ino, int64(dstOff), int64(length))
	n := max(min(length, srcSize-srcOff), 0)
	var want error
	switch {
	case a.ino.Namespace() != b.ino.Namespace():
		want = ErrXDev
	case n > 0 && a == b && srcOff < dstOff+n && dstOff < srcOff+n:
		want = ErrInvalid
	}
	if !m.want("copy", err, want) {
		return
	}
	if k != int64(n) {
		m.t.Fatalf("copied %d bytes, want %d", k, n)
	}
	if n == 0 {
		return
	}
	a.blur(srcOff, srcOff+n)
	b.grow(dstOff + n)
	b.blur(dstOff, dstOff+n)
	copy(b.data[dstOff:], a.data[srcOff:srcOff+n])
	copy(b.written[dstOff:], a.written[srcOff:srcOff+n])
	x := m.w.attr(b.ino)
	b.attr.Mtime, b.attr.Ctime = x.Mtime, x.Ctime
}
