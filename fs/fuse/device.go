package fuse

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// openDevice mounts, and returns the descriptor of /dev/fuse that the mount's requests come from.
func openDevice(mountpoint string, m *gofuse.MountOptions, root bool) (int, error) {
	if root {
		return mountByCall(mountpoint, m)
	}
	return mountByFusermount(mountpoint, m)
}

// mountByCall is mount(2), which root may do. The options are those of the kernel's Documentation/filesystems/fuse.
func mountByCall(mountpoint string, m *gofuse.MountOptions) (int, error) {
	var st unix.Stat_t
	if err := unix.Stat(mountpoint, &st); err != nil {
		return -1, err
	}
	fd, err := unix.Open(fuseDevice, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	options := append([]string{
		fmt.Sprintf("fd=%d", fd),
		fmt.Sprintf("rootmode=%o", st.Mode&unix.S_IFMT),
		fmt.Sprintf("user_id=%d", os.Geteuid()),
		fmt.Sprintf("group_id=%d", os.Getegid()),
		fmt.Sprintf("max_read=%d", m.MaxWrite),
	}, m.Options...)
	if m.AllowOther {
		options = append(options, "allow_other")
	}
	if err := unix.Mount(m.FsName, mountpoint, "fuse."+m.Name, m.DirectMountFlags, strings.Join(options, ",")); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// mountByFusermount has fusermount3 mount, which sends the descriptor over a socket, the number of which it finds in
// _FUSE_COMMFD (libfuse, util/fusermount.c). What is wrong it says on standard error.
func mountByFusermount(mountpoint string, m *gofuse.MountOptions) (int, error) {
	program, err := fusermount()
	if err != nil {
		return -1, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socketpair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "socket"), os.NewFile(uintptr(pair[1]), "socket")
	defer ours.Close()
	defer theirs.Close()
	options := append([]string{}, m.Options...)
	if m.AllowOther {
		options = append(options, "allow_other")
	}
	options = append(options, "fsname="+m.FsName, "subtype="+m.Name, fmt.Sprintf("max_read=%d", m.MaxWrite))
	for i, o := range options {
		options[i] = optionEscaper.Replace(o)
	}
	cmd := exec.Command(program, "-o", strings.Join(options, ","), "--", mountpoint)
	cmd.Env = append(os.Environ(), "_FUSE_COMMFD=3")
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return -1, fmt.Errorf("%s: %w", program, err)
	}
	theirs.Close()
	return receiveDevice(pair[0])
}

var optionEscaper = strings.NewReplacer(`\`, `\\`, `,`, `\,`)

// receiveDevice takes a descriptor out of the message that it came with.
func receiveDevice(socket int) (int, error) {
	var data [1]byte
	control := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, data[:], control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("the descriptor of fusermount3: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil {
		return -1, fmt.Errorf("the descriptor of fusermount3: %w", err)
	}
	for i := range messages {
		if fds, err := unix.ParseUnixRights(&messages[i]); err == nil && len(fds) == 1 {
			return fds[0], nil
		}
	}
	return -1, fmt.Errorf("fusermount3 sent no descriptor")
}
