package integration_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"salliefs/integration/mounttest"
)

// TestReadmeSession replays the first session of the README on a terminal, as a new user of the
// machine would type it, and compares what the terminal shows with what the README says.
//
// In the transcript "$ " begins what is typed; the rest is what is shown. "…" stands for anything
// within a line, and alone on a line for any number of lines. The passphrase is typed where one is
// asked for.
func TestReadmeSession(t *testing.T) {
	mounttest.NeedMount(t, "session")
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	steps, err := transcript(string(readme), "## A first session")
	if err != nil {
		t.Fatal(err)
	}
	if len(steps) < 8 {
		t.Fatalf("the first session has only %d commands", len(steps))
	}
	home := mounttest.Dir(t)
	bin := filepath.Join(home, ".bin")
	if err := errors.Join(os.Mkdir(bin, 0o755), os.Symlink(mounttest.Binary(t), filepath.Join(bin, "salliefs"))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the session ends with an unmount, unless it failed before
		mounts, err := mounttest.Mounts()
		if err != nil {
			t.Error(err)
		}
		for _, m := range mounts {
			if strings.HasPrefix(m.Point, home+"/") {
				exec.Command("umount", "-l", m.Point).Run()
			}
		}
	})
	for _, s := range steps {
		got, err := onTerminal(home, bin, s.command)
		if err != nil {
			t.Fatalf("$ %s\n%s%v", s.command, got, err)
		}
		if !s.shows(got) {
			t.Fatalf("$ %s\nshows\n%s\nbut the README says\n%s", s.command, got, s.output)
		}
	}
	if mounts, err := mounttest.Mounts(); err != nil || strings.Contains(fmt.Sprint(mounts), home) {
		t.Errorf("the session leaves a mount behind (%v)", err)
	}
}

// step is one command of a transcript and what it shows.
type step struct{ command, output string }

// transcript reads the first fenced block of kind console after a heading.
func transcript(page, heading string) ([]step, error) {
	_, section, ok := strings.Cut(page, "\n"+heading+"\n")
	if !ok {
		return nil, fmt.Errorf("no heading %q", heading)
	}
	_, block, ok := strings.Cut(section, "\n```console\n")
	block, _, closed := strings.Cut(block, "\n```\n")
	if !ok || !closed {
		return nil, fmt.Errorf("no console block under %q", heading)
	}
	var steps []step
	for _, line := range strings.Split(block, "\n") {
		switch command, typed := strings.CutPrefix(line, "$ "); {
		case typed:
			steps = append(steps, step{command: command})
		case len(steps) == 0:
			return nil, fmt.Errorf("the block begins with output: %q", line)
		default:
			steps[len(steps)-1].output += line + "\n"
		}
	}
	return steps, nil
}

// shows compares what a command printed with what the transcript says.
func (s step) shows(got string) bool {
	var b strings.Builder
	b.WriteString(`\A`)
	for _, line := range strings.SplitAfter(s.output, "\n") {
		if line == "…\n" {
			b.WriteString(`(?:.*\n)*?`)
			continue
		}
		parts := strings.Split(line, "…")
		for i, p := range parts {
			parts[i] = regexp.QuoteMeta(p)
		}
		b.WriteString(strings.Join(parts, `.*`))
	}
	b.WriteString(`\z`)
	return regexp.MustCompile(b.String()).MatchString(got)
}

// onTerminal runs a command in a shell on a terminal of its own and returns what it shows.
func onTerminal(home, bin, command string) (string, error) {
	master, slave, err := openTerminal()
	if err != nil {
		return "", err
	}
	defer master.Close()
	cmd := exec.Command("bash", "--norc", "-c", command)
	cmd.Dir = home
	cmd.Env = []string{"HOME=" + home, "PATH=" + bin + ":" + os.Getenv("PATH"), "TERM=dumb", "NO_COLOR=1", "LC_ALL=C.UTF-8", "USER=you"}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	err = cmd.Start()
	slave.Close()
	if err != nil {
		return "", err
	}
	var shown bytes.Buffer
	read := make(chan struct{})
	go func() { // ends with EIO when nobody has the terminal any more
		defer close(read)
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			shown.Write(buf[:n])
			if asks(shown.Bytes()) && echoEnds(master) {
				io.WriteString(master, "correct horse battery staple\n")
			}
			if err != nil {
				return
			}
		}
	}()
	timer := time.AfterFunc(5*time.Minute, func() { cmd.Process.Kill() })
	err = cmd.Wait()
	timer.Stop()
	select {
	case <-read:
	case <-time.After(time.Minute):
		master.Close()
		<-read
		err = errors.Join(err, errors.New("something keeps the terminal after the command has ended"))
	}
	return strings.ReplaceAll(shown.String(), "\r\n", "\n"), err
}

// asks says whether the last thing on the terminal is a question for a passphrase.
func asks(shown []byte) bool {
	line := shown[bytes.LastIndexByte(shown, '\n')+1:]
	return bytes.HasSuffix(line, []byte("assphrase: "))
}

// echoEnds waits until the terminal no longer shows what is typed, as a person does without knowing.
func echoEnds(terminal *os.File) bool {
	raw, err := terminal.SyscallConn()
	if err != nil {
		return false
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		var mode *unix.Termios
		if raw.Control(func(fd uintptr) { mode, err = unix.IoctlGetTermios(int(fd), unix.TCGETS) }) != nil || err != nil {
			return false
		}
		if mode.Lflag&unix.ECHO == 0 {
			return true
		}
	}
	return false
}

// openTerminal makes a pseudoterminal; see pty(7).
func openTerminal() (master, slave *os.File, err error) {
	// Not blocking, so that closing it ends a read.
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("/dev/ptmx: %w", err)
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	n, err2 := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err := errors.Join(err, err2); err != nil {
		return nil, nil, errors.Join(err, master.Close())
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, errors.Join(err, master.Close())
	}
	return master, slave, nil
}

// TestTranscriptSees gives the comparison what it must tell apart.
func TestTranscriptSees(t *testing.T) {
	for _, c := range []struct {
		says, shown string
		same        bool
	}{
		{"a\n", "a\n", true},
		{"a\n", "b\n", false},
		{"a\n", "a\nb\n", false},
		{"a\nb\n", "a\n", false},
		{"id …\n", "id 1234\n", true},
		{"id …\n", "no 1234\n", false},
		{"…\nend\n", "1\n2\nend\n", true},
		{"…\nend\n", "1\n2\n", false},
		{"a.c\n", "abc\n", false},
		{"", "", true},
		{"", "an error\n", false},
	} {
		if got := (step{output: c.says}).shows(c.shown); got != c.same {
			t.Errorf("%q against %q: %v, want %v", c.shown, c.says, got, c.same)
		}
	}
}

// TestTerminal asks for a passphrase as the command does, on the terminal whatever the standard
// streams are.
func TestTerminal(t *testing.T) {
	got, err := onTerminal(mounttest.Dir(t), "", `printf 'Passphrase: ' >/dev/tty; read -rs x </dev/tty; echo; echo "read $x" </dev/null`)
	if want := "Passphrase: \nread correct horse battery staple\n"; err != nil || got != want {
		t.Errorf("shows %q, %v; want %q", got, err, want)
	}
	if _, err := onTerminal(mounttest.Dir(t), "", "exit 3"); err == nil {
		t.Error("a command that fails was taken for one that works")
	}
}
