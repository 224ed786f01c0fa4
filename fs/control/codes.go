package control

import (
	"context"
	"errors"
	iofs "io/fs"
	"strings"
	"syscall"

	"salliefs/blockstore"
	"salliefs/crypto"
	"salliefs/fs"
)

// Errors of this package.
var (
	ErrBadMessage = errors.New("a message that does not follow the protocol")
	ErrTooLong    = errors.New("a message that is too long")
	ErrVersion    = errors.New("the process that holds the store speaks another version of the control protocol: use the salliefs that mounted it, or unmount and mount again")
	ErrPeer       = errors.New("the store was mounted by another user, who alone (and root) may use commands on it")
	ErrLost       = errors.New("the process that held the store ended or was killed before it answered")
	ErrBusy       = errors.New("in use by a program")
	ErrElsewhere  = errors.New("unmounted here, but a container or another mount namespace still has the mount: the daemon goes on until that lets go of it")
	ErrNotDurable = errors.New("the last changes could not be made durable")
	ErrUnknown    = errors.New("failed")
	ErrUnmounting = errors.New("the store is being unmounted")
)

// codes gives errors a name that survives the trip. The first match counts, so what is narrow stands above what is
// broad. Codes are part of the protocol: they are added, never changed.
var codes = []struct {
	code string
	err  error
}{
	{"bad-message", ErrBadMessage},
	{"too-long", ErrTooLong},
	{"version", ErrVersion},
	{"peer", ErrPeer},
	{"not-durable", ErrNotDurable},
	{"mount-busy", ErrBusy},
	{"mount-elsewhere", ErrElsewhere},
	{"unmounting", ErrUnmounting},
	{"wrong-secret", crypto.ErrWrongSecret},
	{"recovery-key", crypto.ErrRecoveryKey},
	{"keyring-damaged", crypto.ErrKeyringDamaged},
	{"newer-keyring", crypto.ErrNewerKeyring},
	{"no-context", crypto.ErrNoContext},
	{"passphrase", crypto.ErrPassphrase},
	{"not-store", blockstore.ErrNotStore},
	{"newer-format", blockstore.ErrNewerFormat},
	{"incomplete", blockstore.ErrIncomplete},
	{"in-use", blockstore.ErrInUse},
	{"wrong-key", blockstore.ErrWrongKey},
	{"quota", fs.ErrQuota},
	{"no-space", fs.ErrNoSpace},
	{"no-space", blockstore.ErrNoSpace},
	{"read-only", fs.ErrReadOnly},
	{"read-only", blockstore.ErrReadOnly},
	{"store-failed", blockstore.ErrFailed},
	{"damaged", fs.ErrCorrupt},
	{"damaged", blockstore.ErrCorrupt},
	{"damaged", crypto.ErrAuth},
	{"closed", blockstore.ErrClosed},
	{"not-found", fs.ErrNotExist},
	{"not-found", blockstore.ErrNotFound},
	{"exists", fs.ErrExist},
	{"exists", blockstore.ErrExists},
	{"not-dir", fs.ErrNotDir},
	{"is-dir", fs.ErrIsDir},
	{"not-empty", fs.ErrNotEmpty},
	{"name-too-long", fs.ErrNameTooLong},
	{"too-big", fs.ErrTooBig},
	{"locked", fs.ErrLocked},
	{"not-supported", fs.ErrNotSupported},
	{"permission", fs.ErrPerm},
	{"permission", iofs.ErrPermission},
	{"invalid", fs.ErrInvalid},
	{"invalid", blockstore.ErrInvalid},
	{"cancelled", context.Canceled},
	{"no-space", syscall.ENOSPC},
	{"read-only", syscall.EROFS},
	{codeUnknown, ErrUnknown},
}

const codeUnknown = "unknown"

// Error is an error that came over the wire. It unwraps to the sentinel that its code stands for.
type Error struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

func (e *Error) Error() string { return e.Text }

func (e *Error) Unwrap() error {
	for _, c := range codes {
		if c.code == e.Code {
			return c.err
		}
	}
	return ErrUnknown
}

// wireError is err as it goes over the wire: on one line, short enough for a message.
func wireError(err error) *Error {
	var e *Error
	if errors.As(err, &e) && e.Text == err.Error() {
		return e
	}
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	const most = 4 << 10
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return &Error{Code: c.code, Text: text}
		}
	}
	return &Error{Code: codeUnknown, Text: text}
}
