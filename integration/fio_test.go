package integration_test

import (
	"fmt"
	"testing"

	"salliefs/integration/mounttest"
)

// TestFio lets fio write blocks that carry their own checksums and read them back, in
// each of the ways that programs do I/O, and once more after a remount.
func TestFio(t *testing.T) {
	mounttest.Need(t, "fio", "fio")
	s := mounttest.New(t, mounttest.Options{})
	dir := s.Namespace(t, "fio")
	size := fmt.Sprintf("--size=%dm", mounttest.Scale(24, 512))
	common := []string{"--name=x", "--directory=" + dir, size, "--verify=crc32c", "--verify_fatal=1", "--randseed=7", "--output-format=terse"}
	for _, c := range []struct {
		name  string
		flags []string
	}{
		{"random 4k", []string{"--rw=randwrite", "--bs=4k", "--ioengine=psync"}},
		{"random mixed sizes", []string{"--rw=randwrite", "--bsrange=1k-200k", "--ioengine=psync", "--norandommap=0"}},
		{"stream", []string{"--rw=write", "--bs=1m", "--ioengine=psync"}},
		{"mapped", []string{"--rw=randwrite", "--bs=4k", "--ioengine=mmap"}},
		{"direct", []string{"--rw=randwrite", "--bs=4k", "--ioengine=psync", "--direct=1"}},
		{"libaio deep", []string{"--rw=randwrite", "--bs=16k", "--ioengine=libaio", "--iodepth=16", "--direct=1"}},
		{"synced", []string{"--rw=randwrite", "--bs=4k", "--ioengine=psync", "--fsync=8", "--io_size=4m"}},
		{"two jobs", []string{"--rw=randwrite", "--bs=8k", "--ioengine=psync", "--numjobs=2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := "--filename_format=" + fmt.Sprintf("%x", c.name) + ".$jobnum"
			args := append(append([]string{file}, common...), c.flags...)
			mounttest.Sh(t, dir, "fio", append(args, "--do_verify=1")...)
			s.Remount(t)
			mounttest.Sh(t, dir, "fio", append(args, "--verify_only=1")...)
		})
	}
	t.Run("damage is seen", func(t *testing.T) {
		// The check of the check: a file that was written by others' rules must not verify.
		path := fmt.Sprintf("%s/%x.0", dir, "stream")
		if err := overwrite(path, pattern(1, 8192)); err != nil {
			t.Fatal(err)
		}
		cmd := mounttest.Command(dir, "fio", append([]string{"--filename=" + path, "--rw=write", "--bs=1m", "--ioengine=psync", "--verify_only=1"}, common...)...)
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Errorf("fio verified a file that was changed: %s", out)
		}
	})
}
