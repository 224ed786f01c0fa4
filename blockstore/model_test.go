package blockstore_test

import (
	"maps"
	"testing"

	"pgregory.net/rapid"

	"salliefs/blockstore/record/disktest"
	"salliefs/blockstore/storetest"
)

// TestModel compares a store with maps after random steps, with reopenings among them. rapid prints the seed of a failing
// run, and makes it short.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		draw := func(n int) int { return rapid.IntRange(0, n-1).Draw(rt, "n") }
		w, err := newWorld(storetest.Create(t, disktest.New(), storetest.Dir), manual(), draw)
		if err != nil {
			rt.Fatal(err)
		}
		actions := make(map[string]func(*rapid.T))
		steps := w.steps()
		steps["reopen"] = func() error {
			if err := w.s.Close(); err != nil {
				return err
			}
			return w.open()
		}
		for name, step := range maps.All(steps) {
			actions[name] = func(rt *rapid.T) {
				if err := step(); err != nil {
					rt.Fatalf("%s: %v", name, err)
				}
			}
		}
		actions["verify"] = func(rt *rapid.T) {
			if err := w.verify(w.s, w.now); err != nil {
				rt.Fatal(err)
			}
		}
		rt.Repeat(actions)
		for _, last := range []func() error{
			func() error { return w.verify(w.s, w.now) },
			w.sync,
			func() error { return check(w.s) },
			steps["reopen"],
			func() error { return w.verify(w.s, w.now) },
			func() error { return check(w.s) },
			func() error { return w.collected() },
			func() error { return w.s.Close() },
		} {
			if err := last(); err != nil {
				rt.Fatal(err)
			}
		}
	})
}
