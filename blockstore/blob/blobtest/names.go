package blobtest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"salliefs/blockstore/blob"
)

func testNames(t *testing.T, s blob.Store) {
	good := []string{
		"a", "0", "a-b_c.d", "segments/00000000000000ff", "a/b/c/d", "a/b.c/d..e", strings.Repeat("x", blob.MaxName),
	}
	for _, name := range good {
		name := strings.Replace(name, "a/", "dir-a/", 1) // "a" is an object here
		must(t, s.Put(ctx, name, []byte(name)))
		holds(t, s, name, []byte(name))
	}
	bad := []string{
		"", ".", "..", "/", "/a", "a/", "a//b", "../a", "a/../b", ".hidden", "a/.tmp.x", "-a", "A", "a b", "a\x00",
		"a\n", "ä", "a\\b", "a:b", "a?", strings.Repeat("x", blob.MaxName+1),
	}
	for _, name := range bad {
		_, err := s.Create(ctx, name)
		wants(t, "create", err, blob.ErrName, name)
		wants(t, "put", s.Put(ctx, name, nil), blob.ErrName, name)
		wants(t, "put new", s.PutNew(ctx, name, nil), blob.ErrName, name)
		_, err = s.Open(ctx, name)
		wants(t, "open", err, blob.ErrName, name)
		_, err = s.Stat(ctx, name)
		wants(t, "stat", err, blob.ErrName, name)
		wants(t, "remove", s.Remove(ctx, name), blob.ErrName, name)
	}
	if l := list(t, s, ""); len(l) != len(good) {
		t.Fatalf("%d objects, want %d: %v", len(l), len(good), l)
	}
}

func testNotExist(t *testing.T, s blob.Store) {
	store(t, s, "dir/obj", nil)
	for _, name := range []string{"obj", "no/such/dir", "dir"} {
		_, err := s.Open(ctx, name)
		wants(t, "open", err, blob.ErrNotExist, name)
		_, err = s.Stat(ctx, name)
		wants(t, "stat", err, blob.ErrNotExist, name)
	}
}

func testExclusive(t *testing.T, s blob.Store) {
	check := func(state string) {
		t.Helper()
		_, err := s.Create(ctx, "dir/obj")
		wants(t, "create while "+state, err, blob.ErrExist, "dir/obj")
		wants(t, "put new while "+state, s.PutNew(ctx, "dir/obj", nil), blob.ErrExist, "dir/obj")
	}
	w := create(t, s, "dir/obj")
	check("open")
	write(t, w, []byte("data"))
	must(t, w.Sync())
	check("synced")
	must(t, w.Close())
	check("closed")
	must(t, s.Put(ctx, "dir/obj", []byte("data")))
	check("put")
	holds(t, s, "dir/obj", []byte("data"))
	must(t, s.Remove(ctx, "dir/obj"))
	store(t, s, "dir/obj", []byte("new"))
	holds(t, s, "dir/obj", []byte("new"))
}

func testPut(t *testing.T, s blob.Store) {
	data := random(1, 100_000)
	given := bytes.Clone(data)
	must(t, s.PutNew(ctx, "dir/obj", given))
	if !bytes.Equal(given, data) {
		t.Fatal("put changed the caller's bytes")
	}
	clear(given)
	holds(t, s, "dir/obj", data)
	r, err := s.Open(ctx, "dir/obj")
	must(t, err)
	for _, n := range []int{5, 200_000, 0, 1} {
		must(t, s.Put(ctx, "dir/obj", data[:min(n, len(data))]))
		holds(t, s, "dir/obj", data[:min(n, len(data))])
	}
	must(t, r.Close())
	if l := list(t, s, ""); len(l) != 1 {
		t.Fatalf("left behind: %v", l)
	}
}

func testPutWhileWriting(t *testing.T, s blob.Store) {
	w := create(t, s, "obj")
	write(t, w, []byte("written"))
	wants(t, "put", s.Put(ctx, "obj", []byte("put")), blob.ErrExist, "obj")
	must(t, w.Close())
	holds(t, s, "obj", []byte("written"))
	must(t, s.Put(ctx, "obj", []byte("put")))
	holds(t, s, "obj", []byte("put"))
}

func testPutNewRace(t *testing.T, s blob.Store) {
	for round := range 10 {
		name := fmt.Sprint("obj", round)
		var winners, winner atomic.Int32
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				err := s.PutNew(ctx, name, []byte{byte(i)})
				if err == nil {
					winners.Add(1)
					winner.Store(int32(i))
				} else if !errors.Is(err, blob.ErrExist) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := winners.Load(); n != 1 {
			t.Fatalf("%d winners", n)
		}
		holds(t, s, name, []byte{byte(winner.Load())})
	}
}

func testPutRace(t *testing.T, s blob.Store) {
	must(t, s.Put(ctx, "obj", bytes.Repeat([]byte{99}, 1000)))
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 10 {
				if err := s.Put(ctx, "obj", bytes.Repeat([]byte{byte(i)}, 1000*(i+1))); err != nil {
					t.Error(err)
					return
				}
				got, err := load(s, "obj")
				if err != nil {
					t.Error(err)
					return
				}
				if whole := 1000 * (int(got[0]) + 1); len(got) != whole || bytes.Count(got, got[:1]) != whole {
					t.Errorf("%d bytes that start with %d: a mixture", len(got), got[0])
				}
			}
		})
	}
	wg.Wait()
}

func testList(t *testing.T, s blob.Store) {
	names := []string{"a", "a-b", "a.b", "ab/c", "ab/cd", "ab/d/e", "ab-", "b/a", "b0", "z"}
	slices.Sort(names)
	for i, name := range slices.Backward(names) {
		store(t, s, name, random(1, i))
	}
	for _, prefix := range []string{"", "a", "ab", "ab/", "ab/c", "ab/d/e", "ab/d/e/f", "b", "zz", "A", "/", ".", "z"} {
		var want []blob.Info
		for i, name := range names {
			if strings.HasPrefix(name, prefix) {
				want = append(want, blob.Info{Name: name, Size: int64(i)})
			}
		}
		if got := list(t, s, prefix); !slices.Equal(got, want) {
			t.Fatalf("prefix %q:\n got %v\nwant %v", prefix, got, want)
		}
	}
}

func testListCallback(t *testing.T, s blob.Store) {
	for i := range 5 {
		store(t, s, fmt.Sprint("obj", i), nil)
	}
	stop := errors.New("stop")
	n := 0
	err := s.List(ctx, "", func(i blob.Info) error {
		if n++; n == 3 {
			return stop
		}
		return s.Remove(ctx, i.Name)
	})
	if err != stop || n != 3 {
		t.Fatalf("error %v after %d objects", err, n)
	}
	if l := list(t, s, ""); len(l) != 3 {
		t.Fatalf("left: %v", l)
	}
}

func testRemove(t *testing.T, s blob.Store) {
	must(t, s.Remove(ctx))
	must(t, s.Remove(ctx, "never"))
	must(t, s.Remove(ctx, "never/there"))
	store(t, s, "dir/obj", []byte("x"))
	must(t, s.Remove(ctx, "dir"))
	holds(t, s, "dir/obj", []byte("x"))
	for range 2 {
		must(t, s.Remove(ctx, "dir/obj"))
		_, err := s.Open(ctx, "dir/obj")
		wants(t, "open", err, blob.ErrNotExist, "dir/obj")
	}
	must(t, s.Remove(ctx, "dir"))
	store(t, s, "dir/obj", []byte("y"))
	holds(t, s, "dir/obj", []byte("y"))
}

func testRemoveSome(t *testing.T, s blob.Store) {
	for _, name := range []string{"a", "dir/b", "c", "d"} {
		store(t, s, name, nil)
	}
	wants(t, "remove", s.Remove(ctx, "a", "NOT VALID", "never", "dir/b", "d"), blob.ErrName, "NOT VALID")
	if l := list(t, s, ""); len(l) != 1 || l[0].Name != "c" {
		t.Fatalf("left: %v", l)
	}
}
