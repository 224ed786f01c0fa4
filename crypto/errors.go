package crypto

import "errors"

var (
	// ErrAuth says that sealed bytes do not authenticate: they are damaged, belong elsewhere, are of another age, or
	// were sealed under another key. Which of these it is cannot be known.
	ErrAuth = errors.New("sealed data does not authenticate: it is damaged, misplaced, or of another key")

	// ErrWiped says that the key that should open something has been wiped, as when its context is locked.
	ErrWiped = errors.New("the key has been wiped from memory: unlock its context first")

	// ErrWrongSecret says that a passphrase or recovery key opens no slot of the context.
	ErrWrongSecret = errors.New("wrong passphrase or recovery key")

	// ErrKeyringDamaged says that a keyring is not what was once written: cut, flipped or changed on purpose.
	// A copy of the keyring, or the recovery key, gives access again.
	ErrKeyringDamaged = errors.New("the keyring is damaged; restore a copy of it, or make it again from the recovery key")

	// ErrNewerKeyring says that a keyring is intact but of a format that this version does not know.
	ErrNewerKeyring = errors.New("the keyring was written by a newer version of salliefs")

	// ErrNoContext says that a keyring has no context of the given name.
	ErrNoContext = errors.New("no such context")

	// ErrContextExists says that a keyring already has a context of the given name.
	ErrContextExists = errors.New("the context exists already")

	// ErrPrimaryLocked says that the keyring cannot be changed because the master of its first context, which
	// authenticates it as a whole, has not been seen.
	ErrPrimaryLocked = errors.New("the first context of the keyring must be unlocked before the keyring can change")

	// ErrKeyringFull says that a keyring cannot take one more context or slot.
	ErrKeyringFull = errors.New("the keyring is full")

	// ErrKDF says that key derivation parameters are below the floor or above the ceiling.
	ErrKDF = errors.New("key derivation parameters are out of bounds")

	// ErrPassphrase says that a new passphrase cannot be used: it is empty or too long.
	ErrPassphrase = errors.New("unusable passphrase")

	// ErrRecoveryKey says that a recovery key has been mistyped.
	ErrRecoveryKey = errors.New("not a valid recovery key")
)
