package fuse

import (
	"testing"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"

	"salliefs/fs"
)

// BenchmarkBridge measures the bridge itself, over a filesystem that does nothing.
func BenchmarkBridge(b *testing.B) {
	br := newBridge(idleFS{}, false, quiet)
	buf := make([]byte, 4096)
	h := gofuse.InHeader{NodeId: 2}
	var entry gofuse.EntryOut
	var attr gofuse.AttrOut
	for name, request := range map[string]func() gofuse.Status{
		"Lookup":  func() gofuse.Status { return br.Lookup(nil, &h, "name", &entry) },
		"GetAttr": func() gofuse.Status { return br.GetAttr(nil, &gofuse.GetAttrIn{InHeader: h}, &attr) },
		"Read": func() gofuse.Status {
			r, st := br.Read(nil, &gofuse.ReadIn{InHeader: h}, buf)
			r.Bytes(nil)
			r.Done()
			return st
		},
		"Write": func() gofuse.Status {
			_, st := br.Write(nil, &gofuse.WriteIn{InHeader: h, WriteFlags: gofuse.WRITE_CACHE}, buf)
			return st
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if st := request(); st != gofuse.OK {
					b.Fatal(st)
				}
			}
		})
	}
}

// idleFS answers some requests at once.
type idleFS struct{ filesystem }

func (idleFS) Lookup(fs.Ino, string) (fs.Attr, error)            { return fs.Attr{Ino: 2}, nil }
func (idleFS) GetAttr(fs.Ino) (fs.Attr, error)                   { return fs.Attr{Ino: 2}, nil }
func (idleFS) Ref(fs.Ino)                                        {}
func (idleFS) ReadAt(_ fs.Ino, dst []byte, _ int64) (int, error) { return len(dst), nil }
func (idleFS) WriteBack(_ fs.Ino, data []byte, _ int64) (int, error) {
	return len(data), nil
}
