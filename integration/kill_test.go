package integration_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"salliefs/integration/mounttest"
)

const (
	// killShare is how many kills a plain run makes; SALLIEFS_TEST_KILLS says another number.
	killShare = 6
	// handedBound is what the README says of data that has reached the daemon; heldBound of that of files that stay open,
	// with a second for the writing.
	handedBound = 5 * time.Second
	heldBound   = handedBound + 3*time.Second
	// Each round in quietEvery is one in which nobody syncs.
	quietEvery = 6
)

// killRun kills the daemon of one store again and again.
type killRun struct {
	s     *mounttest.Store
	seed  uint64
	rnd   *rand.Rand
	works []*killWork
	base  map[string]int // the last deed that is there, by work
	notes string         // the directory of the ledgers

	deeds, lost int
	oldest      time.Duration // how long before a kill the oldest deed was done that is lost
	late        time.Duration // the most that a daemon was late, of rounds in which it counts
}

// TestKill kills the daemon with SIGKILL at random moments while programs work in the mount. Each time the store must mount
// without help, its check and the programs' own checks must find nothing, and what the README promises must be there.
func TestKill(t *testing.T) {
	mounttest.NeedMount(t, "daemon to kill")
	kills := int(killEnv(t, "SALLIEFS_TEST_KILLS", killShare))
	k := &killRun{seed: killEnv(t, "SALLIEFS_TEST_KILL_SEED", rand.Uint64()>>1), base: map[string]int{}, notes: mounttest.Dir(t)}
	k.rnd = rand.New(rand.NewPCG(k.seed, 0))
	t.Logf("seed %d", k.seed)
	for i := range killWorks {
		work := &killWorks[i]
		if work.program == "" {
			k.works = append(k.works, work)
			continue
		}
		t.Run(work.name, func(t *testing.T) {
			mounttest.Need(t, work.program, work.pkg)
			k.works = append(k.works, work)
		})
	}
	k.s = mounttest.New(t, mounttest.Options{})
	for _, work := range k.works {
		dir := k.s.Namespace(t, work.name)
		if work.setup != nil {
			if err := work.setup(dir); err != nil {
				t.Fatalf("%s: %v", work.name, err)
			}
		}
		if err := syncDir(dir); err != nil {
			t.Fatal(err)
		}
	}
	said := time.Now()
	for round := range kills {
		k.round(t, round)
		if t.Failed() {
			t.Fatalf("killed in round %d of %d, with SALLIEFS_TEST_KILL_SEED=%d", round, kills, k.seed)
		}
		if time.Since(said) > 30*time.Second || round == kills-1 {
			said = time.Now()
			t.Logf("%d kills, %d deeds; %d were lost, the oldest done %v before; the machine kept a daemon waiting for at most %v",
				round+1, k.deeds, k.lost, k.oldest.Round(time.Millisecond), k.late.Round(time.Millisecond))
		}
	}
	k.s.Unmount(t)
	k.s.Check(t, "--data")
}

func killEnv(t *testing.T, name string, usual uint64) uint64 {
	t.Helper()
	given := os.Getenv(name)
	if given == "" {
		return usual
	}
	n, err := strconv.ParseUint(given, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// killProcess is a worker's process.
type killProcess struct {
	work   *killWork
	ledger string
	cmd    *exec.Cmd
	stderr bytes.Buffer
	ended  chan struct{}
}

func (k *killRun) round(t *testing.T, round int) {
	quiet := round%quietEvery == quietEvery-2
	salt := k.rnd.Uint64()
	load := time.Duration(k.rnd.Int64N(int64(2500 * time.Millisecond)))
	if quiet {
		load = handedBound + load*2
	}
	var all []*killProcess
	defer func() {
		for _, p := range all {
			syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
			<-p.ended
		}
	}()
	for _, work := range k.works {
		if quiet && !work.quiet {
			continue
		}
		p, err := k.start(work, round, salt, quiet)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	for _, p := range all {
		if err := eventually(60*time.Second, func() error { return p.atWork() }); err != nil {
			t.Errorf("%s: %v", p.work.name, err)
			return
		}
	}
	waited := processorWait(k.s.PID(t))
	stalled := gaugeStalls(k.s.Dir + ".probe")
	time.Sleep(load)
	for _, p := range all {
		select {
		case <-p.ended:
			t.Errorf("%s ended before the kill: %s", p.work.name, p.stderr.Bytes())
			return
		default:
		}
	}
	late := stalled() + max(0, processorWait(k.s.PID(t))-waited)
	killed := time.Now()
	k.s.KillDaemon(t)
	for _, p := range all { // while they can not make anything in the directory below the mount
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.ended
	}
	k.s.TakeAway(t)
	k.recover(t, round)
	k.look(t, all, quiet, salt, killed, late)
}

func (k *killRun) start(work *killWork, round int, salt uint64, quiet bool) (*killProcess, error) {
	p := &killProcess{work: work, ledger: filepath.Join(k.notes, work.name), ended: make(chan struct{})}
	if err := os.WriteFile(p.ledger, nil, 0o644); err != nil {
		return nil, err
	}
	p.cmd = helper("killworking", work.name, filepath.Join(k.s.Mnt, work.name), p.ledger,
		strconv.Itoa(k.base[work.name]), strconv.FormatUint(salt, 10), strconv.FormatBool(quiet))
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with what it starts
	p.cmd.Stderr = &p.stderr
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// atWork wants a deed to be done.
func (p *killProcess) atWork() error {
	select {
	case <-p.ended:
		return fmt.Errorf("it ended: %s", p.stderr.Bytes())
	default:
	}
	l, err := readLedger(p.ledger)
	if err == nil && len(l.done) == 0 {
		err = fmt.Errorf("nothing is done yet")
	}
	return err
}

// recover mounts the store after a kill. Now and then the daemon that does so is killed, too, and the check comes before
// it or after.
func (k *killRun) recover(t *testing.T, round int) {
	t.Helper()
	if round%5 == 3 {
		k.s.KillMounting(t, time.Duration(k.rnd.Int64N(int64(100*time.Millisecond))))
	}
	var flags []string
	if round%4 == 1 {
		flags = append(flags, "--data")
	}
	before := round%2 == 1
	if before {
		k.s.Check(t, flags...)
	}
	k.s.Mount(t)
	if !before {
		k.s.CheckMounted(t, flags...)
	}
}

// look compares what is there with what has to be. A daemon that the machine kept from its work is late.
func (k *killRun) look(t *testing.T, all []*killProcess, quiet bool, salt uint64, killed time.Time, late time.Duration) {
	t.Helper()
	ledgers := make([]ledger, len(all))
	var synced time.Time // when the last sync began that was acknowledged
	for i, p := range all {
		var err error
		if ledgers[i], err = readLedger(p.ledger); err != nil {
			t.Fatal(err)
		}
		if p.work.synced && !quiet {
			for n := range ledgers[i].done {
				if at := ledgers[i].begun[n]; at.After(synced) {
					synced = at
				}
			}
		}
	}
	if quiet {
		k.late = max(k.late, late)
	}
	due := killed.Add(-handedBound - late)
	if synced.After(due) {
		due = synced
	}
	var wait sync.WaitGroup
	var mu sync.Mutex
	for i, p := range all {
		l := ledgers[i]
		base := k.base[p.work.name]
		c := killCase{dir: filepath.Join(k.s.Mnt, p.work.name), salt: salt, base: base}
		c.begun = max(base, last(l.begun, killed.Add(time.Hour)))
		switch {
		case p.work.name == "holder":
			c.owed = max(base, last(l.done, killed.Add(-heldBound-late)))
		case p.work.synced && !quiet:
			c.owed = max(base, last(l.done, killed.Add(time.Hour)))
		default:
			c.owed = max(base, last(l.done, due))
		}
		wait.Go(func() {
			found, err := p.work.check(c)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("%s (quiet: %v, the machine kept the daemon waiting for %v): deeds up to %d had been there, up to %d had to be now: %v",
					p.work.name, quiet, late, c.base, c.owed, err)
				if n := min(found, c.owed) + 1; !l.done[n].IsZero() {
					t.Logf("%s: deed %d was done %v before the kill", p.work.name, n, killed.Sub(l.done[n]))
				}
			}
			k.base[p.work.name] = found
			k.deeds += c.begun - base
			if at, ok := l.done[found+1]; ok {
				k.lost += c.begun - found
				k.oldest = max(k.oldest, killed.Sub(at))
			}
		})
	}
	wait.Wait()
}

// gaugeStalls measures how long the machine stands still from now on until what it gives is called: it syncs a small file again
// and again, and sums up what that takes beyond what a disk needs.
func gaugeStalls(path string) (stalled func() time.Duration) {
	const usual, pause = 50 * time.Millisecond, 200 * time.Millisecond
	quit, sum := make(chan struct{}), make(chan time.Duration)
	go func() {
		var late time.Duration
		for {
			start := time.Now()
			writeSync(path, []byte("probe"))
			select {
			case <-quit:
				sum <- late
				return
			case <-time.After(pause):
			}
			late += max(0, time.Since(start)-pause-usual)
		}
	}()
	return func() time.Duration {
		close(quit)
		return <-sum
	}
}

// processorWait is how long the threads of a process were ready to run and did not, together; 0 where that is not counted.
func processorWait(pid int) (sum time.Duration) {
	list, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, name := range list {
		raw, _ := os.ReadFile(name) // the thread may be gone
		if fields := strings.Fields(string(raw)); len(fields) > 1 {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			sum += time.Duration(n)
		}
	}
	return sum
}
