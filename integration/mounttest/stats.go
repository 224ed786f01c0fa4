package mounttest

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Stats is the part of what `salliefs stats --json` prints that tests look at.
type Stats struct {
	LogicalBytes int64             `json:"logical_bytes"`
	StoredBytes  int64             `json:"stored_bytes"`
	DeadBytes    int64             `json:"dead_bytes"`
	PendingBytes int64             `json:"pending_bytes"`
	Requests     map[string]uint64 `json:"requests"`
	Commits      struct {
		Groups    int64   `json:"groups"`
		Latency   Latency `json:"latency"`
		SealStall Latency `json:"seal_stall"`
	} `json:"commits"`
	Namespaces []struct {
		Name         any   `json:"name"`
		Files        int64 `json:"files"`
		LogicalBytes int64 `json:"logical_bytes"`
		StoredBytes  int64 `json:"stored_bytes"`
	} `json:"namespaces"`
}

// Latency is a distribution of durations in nanoseconds.
type Latency struct {
	P50 int64 `json:"p50_ns"`
	P99 int64 `json:"p99_ns"`
	Max int64 `json:"max_ns"`
}

// Stats asks the mounted store for its numbers.
func (s *Store) Stats(t testing.TB, flags ...string) Stats {
	t.Helper()
	NeedMount(t, "numbers of a store")
	out := s.Run(t, append([]string{"stats", "--json", "--store", s.Mnt}, flags...)...)
	var stats Stats
	if err := json.Unmarshal([]byte(out), &stats); err != nil {
		t.Fatalf("salliefs stats --json: %v\n%s", err, out)
	}
	return stats
}

// Usage is how many files and bytes the store counts in a namespace.
func (s *Store) Usage(t testing.TB, namespace string) (files, logical int64) {
	t.Helper()
	stats := s.Stats(t)
	for _, n := range stats.Namespaces {
		if n.Name == namespace {
			return n.Files, n.LogicalBytes
		}
	}
	t.Fatalf("salliefs stats does not know the namespace %s: %+v", namespace, stats.Namespaces)
	return 0, 0
}

// Requests counts the FUSE requests that do causes, by kind. What the kernel sends late, the
// writing back of pages among it, counts too: do ends with a sync if it wants that.
func (s *Store) Requests(t testing.TB, do func()) map[string]uint64 {
	t.Helper()
	before := s.Stats(t, "--requests").Requests
	do()
	after := s.Stats(t, "--requests").Requests
	if len(after) == 0 {
		t.Fatal("salliefs stats --requests counts nothing")
	}
	for kind, n := range before {
		after[kind] -= n
	}
	return after
}

// Memory is the resident memory of the daemon in bytes: what it is now and the most that it was.
func (s *Store) Memory(t testing.TB) (now, most int64) {
	t.Helper()
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(s.PID(t)) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	field := func(name string) int64 {
		_, rest, ok := strings.Cut(string(raw), name+":")
		if !ok {
			t.Fatalf("/proc/PID/status has no %s", name)
		}
		kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return kib << 10
	}
	return field("VmRSS"), field("VmHWM")
}

// CPU is the processor time that the daemon has used.
func (s *Store) CPU(t testing.TB) time.Duration {
	t.Helper()
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(s.PID(t)) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	// After the name, which may hold spaces: state is field 3, utime 14, stime 15.
	_, rest, _ := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		t.Fatalf("/proc/PID/stat is %q", raw)
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100 // USER_HZ
}
