package disktest

import (
	"fmt"
	"path"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// Site says, from within a hook, where an operation comes from: its kind, the kind of its file, the function that wants it and
// what that is part of. Operations of one site differ in time only.
func (o Op) Site() string {
	in, partOf := caller()
	return fmt.Sprintf("%v of %s in %s, part of %s", o.Kind, fileKind(o.Path), in, partOf)
}

var numbers = regexp.MustCompile(`[0-9a-f]{6,}|[0-9]+`)

// fileKind is a file's name without what counts up in it.
func fileKind(name string) string { return numbers.ReplaceAllString(path.Base(name), "N") }

// passing are the packages and types, as a function's name begins with them, that only pass operations on.
var passing = []string{
	"salliefs/blockstore/record.(*disk).", "salliefs/blockstore/record.(*mustFile).",
	"salliefs/blockstore/record.(*tableFile).", "salliefs/blockstore/record.writeZeros", "salliefs/blockstore/blob.", "salliefs/blockstore/segment.",
	"github.com/cockroachdb/pebble/v2/vfs.", "github.com/cockroachdb/pebble/v2/objstorage", "github.com/cockroachdb/pebble/v2/sstable",
}

// caller gives the innermost function that wants something of its own from the disk, and the outermost that is neither a
// test's nor the Go library's.
func caller() (in, partOf string) {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		if strings.HasSuffix(f.File, "_test.go") || strings.Contains(f.Function, "test.") || !strings.Contains(f.Function, "/") {
			continue
		}
		partOf = path.Base(f.Function)
		passes := slices.ContainsFunc(passing, func(p string) bool { return strings.HasPrefix(f.Function, p) })
		if in == "" && !passes {
			in = partOf
		}
	}
	if in == "" {
		in = partOf
	}
	return in, partOf
}
