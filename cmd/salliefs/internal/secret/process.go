package secret

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"salliefs/crypto"
)

// ProtectProcess is called before a process gets hold of a passphrase or a key: nothing of its memory is to be found in
// a core dump or read by another process of the user.
func ProtectProcess() error {
	err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	if err != nil {
		err = fmt.Errorf("turning core dumps off: %w", err)
	}
	return errors.Join(crypto.ProtectProcess(), err)
}
