package fs

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore"
	"salliefs/blockstore/storetest"
)

// TestCrash cuts the power now and then while the tree changes: whatever the disk then holds is a tree that fits
// together, with nothing left of files that had no name.
func TestCrash(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	mem := vfs.NewCrashableMem()
	disk := storetest.Create(t, mem, storetest.Dir)
	w := &world{tb: t, disk: disk, clock: newClock(), opts: Options{Log: slog.New(slog.DiscardHandler)}}
	w.opts.Clock = w.clock.Now
	w.open()
	t.Cleanup(w.close)
	dirs := []Ino{RootIno, w.ns("n0"), w.ns("n1")}
	dirs = append(dirs, w.dir(dirs[1], "d1"), w.dir(dirs[1], "d2"))
	must(t, w.Sync())
	rounds := 20
	if testing.Short() {
		rounds = 5
	}
	for i := range rounds {
		for range r.IntN(400) {
			if err := w.randomOp(r, dirs); err != nil && !expected(err) {
				t.Fatal(err)
			}
			if r.IntN(100) == 0 {
				must(t, w.Sync())
			}
		}
		if f, err := w.Mknod(dirs[1], fmt.Sprint("open", i), ModeRegular, 0, Cred{}); err == nil {
			w.Ref(f.Ino)
			w.write(f.Ino, 0, "data")
			must(t, w.Unlink(dirs[1], fmt.Sprint("open", i)))
		}
		clone := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: r})
		after := &world{tb: t, disk: &storetest.Store{FS: clone, Dir: disk.Dir, Master: disk.Master}, clock: w.clock, opts: w.opts}
		after.open()
		after.background.Wait()
		after.check()
		must(t, after.Check(t.Context(), CheckOptions{}, func(p Problem) { t.Errorf("round %d: %+v", i, p) }))
		for _, d := range after.st.Namespaces() {
			must(t, after.st.Scan(blockstore.Live, blockstore.MakeIno(d.ID, 1), kindOrphan, 0, func(n uint64, _ []byte) bool {
				t.Errorf("round %d: inode %d is left over", i, n)
				return true
			}))
		}
		after.close()
	}
}
