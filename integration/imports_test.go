package integration_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "salliefs"

// layer is the height of each room. A package may import packages of its own room
// and of lower ones; two rooms of one height know nothing of each other.
var layer = map[string]int{
	"crypto":             0,
	"blockstore/segment": 1,
	"blockstore/blob":    1,
	"blockstore/record":  1,
	"blockstore":         2,
	"fs":                 3,
	"fs/fuse":            4,
	"fs/control":         4,
	"backup":             4,
	"migrate":            5,
	"cmd/salliefs":       6,
	"integration":        7,
}

// vagueNames are package names that say nothing about what is inside.
var vagueNames = []string{"util", "utils", "common", "helper", "helpers", "misc", "base", "shared"}

// room is the nearest enclosing entry of layer.
func room(dir string) (string, bool) {
	for d := dir; d != "."; d = path.Dir(d) {
		if _, ok := layer[d]; ok {
			return d, true
		}
	}
	return "", false
}

// faults lists the rules that one file breaks. name is the file's path in the module.
func faults(name string, src any) ([]string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	dir := path.Dir(filepath.ToSlash(name))
	here, ok := room(dir)
	if !ok {
		return []string{fmt.Sprintf("%s: the package is in no room of the design", name)}, nil
	}
	var found []string
	fault := func(format string, args ...any) {
		found = append(found, name+": "+fmt.Sprintf(format, args...))
	}
	inCmd := here == "cmd/salliefs"
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		if within, ok := strings.CutPrefix(imported, module+"/"); ok {
			there, ok := room(within)
			switch {
			case !ok:
				fault("imports %s, which is in no room of the design", imported)
			case there != here && layer[there] >= layer[here]:
				fault("imports %s: imports only go down", imported)
			}
		}
		if strings.HasPrefix(imported, "github.com/hanwen/go-fuse/") && here != "fs/fuse" && here != "integration" {
			fault("imports go-fuse, which is the business of fs/fuse alone")
		}
		if strings.HasPrefix(imported, "github.com/urfave/cli") && !inCmd {
			fault("imports urfave/cli, which is the business of cmd alone")
		}
	}
	if slices.Contains(vagueNames, strings.TrimSuffix(file.Name.Name, "_test")) {
		fault("package %s: the name says nothing", file.Name.Name)
	}
	for _, decl := range file.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			fault("has a func init")
		}
	}
	if !inCmd && !strings.HasSuffix(name, "_test.go") { // TestMain has to
		for _, fn := range callers(file, "os", "Exit") {
			fault("%s calls os.Exit, which is the business of cmd alone", fn)
		}
	}
	return found, nil
}

// callers lists the functions that mention pkg.name, once for each mention.
func callers(file *ast.File, pkg, name string) []string {
	var in []string
	for _, decl := range file.Decls {
		fn := "the package level"
		if f, ok := decl.(*ast.FuncDecl); ok {
			fn = f.Name.Name
		}
		ast.Inspect(decl, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == name {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == pkg {
					in = append(in, fn)
				}
			}
			return true
		})
	}
	return in
}

func TestImportsGoDown(t *testing.T) {
	root := ".."
	seen := map[string]int{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			base := d.Name()
			if p != root && (strings.HasPrefix(base, ".") || base == "testdata" || base == "demo" || base == "bin") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		src, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		found, err := faults(rel, src)
		for _, f := range found {
			t.Error(f)
		}
		if r, ok := room(path.Dir(filepath.ToSlash(rel))); ok {
			seen[r]++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, must := range []string{"crypto", "blockstore", "fs", "fs/fuse", "fs/control", "cmd/salliefs"} {
		if seen[must] == 0 {
			t.Errorf("no Go file in %s: the rules were tested on nothing", must)
		}
	}
}

// TestImportRulesBite gives every rule a file that breaks it.
func TestImportRulesBite(t *testing.T) {
	for _, c := range []struct{ name, file, src, want string }{
		{"up", "fs/a.go", `package fs; import _ "salliefs/fs/fuse"`, "only go down"},
		{"up from a test", "crypto/a_test.go", `package crypto_test; import _ "salliefs/blockstore"`, "only go down"},
		{"sideways", "fs/fuse/a.go", `package fuse; import _ "salliefs/fs/control"`, "only go down"},
		{"sideways below", "blockstore/blob/a.go", `package blob; import _ "salliefs/blockstore/segment"`, "only go down"},
		{"homeless", "storage/a.go", `package storage`, "no room"},
		{"homeless import", "fs/a.go", `package fs; import _ "salliefs/storage"`, "no room"},
		{"go-fuse", "fs/a.go", `package fs; import _ "github.com/hanwen/go-fuse/v2/fuse"`, "go-fuse"},
		{"cli", "fs/control/a.go", `package control; import _ "github.com/urfave/cli/v2"`, "urfave/cli"},
		{"exit", "fs/a.go", `package fs; import "os"; func f() { os.Exit(1) }`, "f calls os.Exit"},
		{"exit in a variable", "fs/a.go", `package fs; import "os"; var end = os.Exit`, "os.Exit"},
		{"init", "crypto/a.go", `package crypto; func init() {}`, "func init"},
		{"name", "fs/util/a.go", `package util`, "says nothing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			found, err := faults(c.file, c.src)
			if err != nil {
				t.Fatal(err)
			}
			if len(found) != 1 || !strings.Contains(found[0], c.want) {
				t.Errorf("got %q, want one fault with %q", found, c.want)
			}
		})
	}
	for _, c := range []struct{ name, file, src string }{
		{"down", "fs/fuse/a.go", `package fuse; import (_ "salliefs/fs"; _ "github.com/hanwen/go-fuse/v2/fuse")`},
		{"own room", "blockstore/segment/segmenttest/a.go", `package segmenttest; import _ "salliefs/blockstore/segment"`},
		{"cmd", "cmd/salliefs/a.go", `package main; import ("os"; _ "github.com/urfave/cli/v2"; _ "salliefs/fs"); func main() { os.Exit(0) }`},
		{"TestMain", "fs/a_test.go", `package fs_test; import "os"; func TestMain() { os.Exit(0) }`},
		{"method named init", "fs/a.go", `package fs; type T struct{}; func (T) init() {}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if found, err := faults(c.file, c.src); err != nil || len(found) > 0 {
				t.Errorf("got %q, %v, want nothing", found, err)
			}
		})
	}
}
