package integration_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"salliefs/integration/mounttest"
)

// smallDisk makes a filesystem of the given size in a file and mounts it.
func smallDisk(t *testing.T, megabytes int) string {
	t.Helper()
	mounttest.NeedRoot(t, "mount a small disk")
	mounttest.Need(t, "mkfs.ext4", "e2fsprogs")
	mounttest.Need(t, "mount", "mount")
	dir := mounttest.Dir(t)
	image, disk := filepath.Join(dir, "image"), filepath.Join(dir, "disk")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, int64(megabytes)<<20), os.Mkdir(disk, 0o755)); err != nil {
		t.Fatal(err)
	}
	mounttest.Sh(t, dir, "mkfs.ext4", "-q", "-m", "0", "-F", image)
	if out, err := mounttest.Command(dir, "mount", "-o", "loop", image, disk).CombinedOutput(); err != nil {
		t.Skipf("no loop device can be mounted here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := mounttest.Command(dir, "umount", disk).CombinedOutput(); err != nil {
			t.Errorf("umount %s: %v: %s", disk, err, out)
			mounttest.Command(dir, "umount", "-l", disk).Run()
		}
	})
	return disk
}

// TestFullDisk fills the disk under the store: the writer gets ENOSPC, nothing that was
// accepted is lost, removing works, and then writing works again.
func TestFullDisk(t *testing.T) {
	mounttest.NeedMount(t, "store on a disk")
	disk := smallDisk(t, 320)
	s := mounttest.New(t, mounttest.Options{Dir: disk})
	dir := s.Namespace(t, "full")
	const size = 4 << 20
	kept := 0
	var full error
	for ; full == nil; kept++ {
		if kept > 100 {
			t.Fatal("400 MiB of noise fit on a disk of 320 MiB")
		}
		full = writeSync(noiseFile(dir, kept), noise(kept, size))
	}
	kept--
	if !errors.Is(full, unix.ENOSPC) {
		t.Fatalf("file %d: %v, want ENOSPC", kept, full)
	}
	t.Logf("full after %d files of 4 MiB", kept)
	if kept < 40 {
		t.Errorf("full after %d MiB on a disk of 320 MiB", kept*4)
	}
	os.Remove(noiseFile(dir, kept)) // the one that did not fit
	// Programs that do not sync must hear of it, too.
	cmd := mounttest.Command(dir, "dd", "if=/dev/urandom", "of="+dir+"/dd", "bs=1M", "count=200", "conv=fsync")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "No space left on device") {
		t.Errorf("dd on the full disk: %v: %s", err, out)
	}
	intact(t, dir, 0, kept)

	for i := 0; i < kept; i += 2 {
		if err := os.Remove(noiseFile(dir, i)); err != nil {
			t.Fatalf("removing on the full disk: %v", err)
		}
	}
	// The disk may have been too full even for its name.
	if err := os.Remove(dir + "/dd"); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Errorf("removing on the full disk: %v", err)
	}
	if err := syncDir(dir); err != nil {
		t.Fatalf("syncing after removing on the full disk: %v", err)
	}
	again := 1000
	if err := eventually(time.Minute, func() error { return writeSync(noiseFile(dir, again), noise(again, size)) }); err != nil {
		t.Fatalf("half of the files are gone, but writing one again: %v", err)
	}
	for i := 1; i < kept/4; i++ {
		if err := eventually(time.Minute, func() error { return writeSync(noiseFile(dir, again+i), noise(again+i, size)) }); err != nil {
			t.Fatalf("half of the files are gone, but writing number %d again: %v", i, err)
		}
	}
	s.Remount(t)
	for i := 1; i < kept; i += 2 {
		intact(t, dir, i, i+1)
	}
	intact(t, dir, again, again+kept/4)
	s.Unmount(t)
	s.Check(t, "--data")
}

// TestFullDiskManyWriters has several processes fill the disk at once, and then somebody else take its last byte. Each writer
// hears of it, what was synced stays, and removing makes room again with not a byte free and without a remount.
func TestFullDiskManyWriters(t *testing.T) {
	mounttest.NeedMount(t, "store on a disk")
	disk := smallDisk(t, 200)
	s := mounttest.New(t, mounttest.Options{Dir: disk})
	dir := s.Namespace(t, "full")
	const writers = 4
	var synced [writers]int
	var all sync.WaitGroup
	for i := range writers {
		cmd := helper("filler", dir, fmt.Sprint(i))
		cmd.Stderr = os.Stderr
		all.Go(func() {
			out, err := cmd.Output()
			if err == nil {
				synced[i], err = strconv.Atoi(string(out))
			}
			if err != nil {
				t.Errorf("writer %d: %v: %s", i, err, out)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	t.Logf("full after %v files of 1 MiB", synced)
	ballast := filepath.Join(disk, "ballast")
	if err := os.Mkdir(ballast, 0o755); err != nil {
		t.Fatal(err)
	}
	free := func() uint64 {
		t.Helper()
		var st unix.Statfs_t
		if err := unix.Statfs(disk, &st); err != nil {
			t.Fatal(err)
		}
		return st.Bavail
	}
	mounttest.Command(disk, "dd", "if=/dev/zero", "of="+ballast+"/large", "bs=4k").Run()
	for i := 0; free() > 0 && i < 100; i++ { // single blocks are left
		os.WriteFile(fmt.Sprint(ballast, "/small", i), []byte("x"), 0o644)
	}
	if n := free(); n != 0 {
		t.Fatalf("%d blocks are free on a disk that was filled up", n)
	}
	read := func(removed bool) {
		t.Helper()
		for i := range writers {
			for n := range synced[i] {
				if removed && n < synced[i]/2 {
					continue
				}
				if got, err := os.ReadFile(fillerFile(dir, i, n)); err != nil || !bytes.Equal(got, noise(i*1000+n, 1<<20)) {
					t.Fatalf("file %d of writer %d is not as it was synced (%d bytes, %v)", n, i, len(got), err)
				}
			}
		}
	}
	read(false)
	for i := range writers {
		if f, err := os.Create(fmt.Sprint(dir, "/late", i)); err == nil {
			_, err = f.Write(noise(i, 1<<20))
			if err := errors.Join(err, f.Sync(), f.Close()); !errors.Is(err, unix.ENOSPC) {
				t.Errorf("writing with no byte free: %v, want ENOSPC", err)
			}
		} else if !errors.Is(err, unix.ENOSPC) {
			t.Errorf("making a file with no byte free: %v, want ENOSPC", err)
		}
	}
	// The older half of each writer's: segments of which half is in use give nothing back while there is no room to move that.
	for i := range writers {
		for n := range synced[i] / 2 {
			if err := os.Remove(fillerFile(dir, i, n)); err != nil {
				t.Fatalf("removing with no byte free: %v", err)
			}
		}
	}
	if err := eventually(60*time.Second, func() error { return syncDir(dir) }); err != nil {
		t.Fatalf("syncing after removing with no byte free: %v", err)
	}
	read(true)
	// What others have is theirs; the space of what was removed comes back.
	if err := eventually(60*time.Second, func() error { return writeSync(noiseFile(dir, 0), noise(0, 4<<20)) }); err != nil {
		t.Fatalf("half of the files are gone, but writing one again: %v", err)
	}
	intact(t, dir, 0, 1)
	if err := os.RemoveAll(ballast); err != nil {
		t.Fatal(err)
	}
	if err := eventually(60*time.Second, func() error { return writeSync(noiseFile(dir, 1), noise(1, 4<<20)) }); err != nil {
		t.Fatalf("writing when there is space again: %v", err)
	}
	s.Kill(t)
	s.Mount(t)
	read(true)
	intact(t, dir, 0, 2)
	for i := range writers {
		if _, err := os.Lstat(fillerFile(dir, i, 0)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a file that was removed with no byte free, and the removal synced: %v", err)
		}
	}
	s.Unmount(t)
	s.Check(t, "--data")
}

func fillerFile(dir string, writer, n int) string { return fmt.Sprintf("%s/w%d-%d", dir, writer, n) }

// filler is one of the writers: DIR NUMBER. It prints how many files were synced when it met ENOSPC.
func filler(args []string) error {
	me, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	for n := range 1000 {
		path := fillerFile(args[0], me, n)
		switch err := writeSync(path, noise(me*1000+n, 1<<20)); {
		case errors.Is(err, unix.ENOSPC):
			fmt.Print(n)
			return nil
		case err != nil:
			return err
		}
	}
	return errors.New("a disk of 200 MiB took 1000 MiB")
}

// TestFullDiskByOthers has the disk filled to its last byte by somebody else, under the mount and before
// it.
func TestFullDiskByOthers(t *testing.T) {
	mounttest.NeedMount(t, "store on a disk")
	disk := smallDisk(t, 128)
	s := mounttest.New(t, mounttest.Options{Dir: disk})
	dir := s.Namespace(t, "full")
	if err := writeSync(noiseFile(dir, 0), noise(0, 4<<20)); err != nil {
		t.Fatal(err)
	}
	stranger := filepath.Join(disk, "stranger")
	fill := func() { mounttest.Command(disk, "dd", "if=/dev/zero", "of="+stranger, "bs=4k").Run() }
	clear := func() {
		t.Helper()
		if err := os.Remove(stranger); err != nil {
			t.Fatal(err)
		}
	}
	fill()
	if err := writeSync(noiseFile(dir, 1), noise(1, 4<<20)); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("writing on a disk that is full: %v, want ENOSPC", err)
	}
	intact(t, dir, 0, 1)
	clear()
	if err := eventually(time.Minute, func() error { return writeSync(noiseFile(dir, 2), noise(2, 4<<20)) }); err != nil {
		t.Errorf("writing when there is space again: %v", err)
	}
	s.Unmount(t)

	// The record engine cannot open without writing, so that the mount may be refused: then it must say so, change
	// nothing, and a mount that only reads must work.
	fill()
	_, errs, code := s.Try("mount", "--password-file", s.Password, s.Dir, s.Mnt)
	if code == 0 {
		intact(t, dir, 0, 1)
		s.Run(t, "umount", s.Mnt)
	} else {
		wantComplaint(t, errs, code, codeNoSpace, "space")
	}
	s.MountWith(t, "-o", "ro")
	intact(t, dir, 0, 1)
	intact(t, dir, 2, 3)
	s.Unmount(t)
	clear()
	s.Mount(t)
	intact(t, dir, 0, 1)
	intact(t, dir, 2, 3)
	s.Unmount(t)
	s.Check(t, "--data")
}

// TestQuota fills a namespace up to its quota and wants the others to go on.
func TestQuota(t *testing.T) {
	mounttest.NeedMount(t, "quota")
	s := mounttest.New(t, mounttest.Options{})
	s.Run(t, "ns", "create", "--quota", "8MiB", "--store", s.Mnt, "small")
	var full error
	n := 0
	for ; full == nil && n < 20; n++ {
		full = writeSync(noiseFile(s.Mnt+"/small", n), noise(n, 1<<20))
	}
	if !errors.Is(full, unix.EDQUOT) && !errors.Is(full, unix.ENOSPC) {
		t.Fatalf("after %d MiB in a namespace with a quota of 8 MiB: %v, want EDQUOT or ENOSPC", n, full)
	}
	if n < 7 || n > 10 {
		t.Errorf("a quota of 8 MiB took %d files of 1 MiB", n)
	}
	if err := writeSync(noiseFile(s.Namespace(t, "other"), 0), noise(0, 1<<20)); err != nil {
		t.Errorf("another namespace: %v", err)
	}
	if err := os.Remove(noiseFile(s.Mnt+"/small", 0)); err != nil {
		t.Errorf("removing: %v", err)
	}
	if err := os.Remove(noiseFile(s.Mnt+"/small", n-1)); err != nil && !os.IsNotExist(err) {
		t.Errorf("removing: %v", err)
	}
	if err := eventually(time.Minute, func() error { return writeSync(noiseFile(s.Mnt+"/small", 50), noise(50, 200<<10)) }); err != nil {
		t.Errorf("writing after removing: %v", err)
	}
}

// noise is data that does not compress, the same each time.
func noise(seed, n int) []byte {
	data := make([]byte, n)
	x := uint64(seed)*0x9e3779b97f4a7c15 + 1
	for i := range data {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		data[i] = byte(x >> 24)
	}
	return data
}

func noiseFile(dir string, i int) string { return fmt.Sprintf("%s/noise%d", dir, i) }

// intact wants the files from..to-1 to be as they were written.
func intact(t *testing.T, dir string, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if got, err := os.ReadFile(noiseFile(dir, i)); err != nil || !bytes.Equal(got, noise(i, 4<<20)) {
			t.Fatalf("file %d is not as it was written (%d bytes, %v)", i, len(got), err)
		}
	}
}

// eventually repeats until it works: space comes back in the background.
func eventually(within time.Duration, do func() error) error {
	for deadline := time.Now().Add(within); ; time.Sleep(200 * time.Millisecond) {
		err := do()
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}
