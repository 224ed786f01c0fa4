package control

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// peerUID is the user at the other end of a connection, as the kernel saw it when the connection was made.
func peerUID(c *net.UnixConn) (uint32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err == nil {
		err = credErr
	}
	if err != nil {
		return 0, fmt.Errorf("asking who is at the other end of the control socket: %w", err)
	}
	return cred.Uid, nil
}

// mayServe says whether a server of user self serves user peer.
func mayServe(self, peer uint32) bool { return peer == self || peer == 0 }

// mayTrust says whether a client of user self tells its secrets to a server of user peer. Root reaches for stores of
// other users on purpose.
func mayTrust(self, peer uint32) bool { return peer == self || peer == 0 || self == 0 }
