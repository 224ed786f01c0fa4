package main

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"strings"
	"syscall"

	"salliefs/blockstore"
	"salliefs/cmd/salliefs/internal/daemon"
	"salliefs/cmd/salliefs/internal/secret"
	"salliefs/cmd/salliefs/internal/session"
	"salliefs/crypto"
	"salliefs/fs"
	"salliefs/fs/control"
	"salliefs/fs/fuse"
)

// errUsage is a command line that makes no sense.
var errUsage = errors.New("usage")

// errProblems is a check that found something.
var errProblems = errors.New("the store is damaged")

// errRepaired is a repair that has left nothing to do.
var errRepaired = errors.New("the store was damaged")

// exitCode is one row of the table of exit codes. They are part of the interface: none is ever given another meaning.
type exitCode struct {
	code    int
	name    string
	meaning string
	errs    []error
}

const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// exitCodes is the table, in the order in which an error is looked up: what is narrow comes first.
var exitCodes = []exitCode{
	{exitOK, "ok", "done", nil},
	{exitUsage, "usage", "the command line makes no sense, or a value in it is not allowed", []error{
		errUsage, session.ErrNoPath, fuse.ErrOption, fs.ErrInvalid, fs.ErrNameTooLong, blockstore.ErrInvalid}},
	{130, "interrupted", "stopped by Ctrl-C or a signal; of several keys some may be done, none half", []error{context.Canceled}},
	{15, "not-durable", "the mount ended, but the last changes could not be made durable, or nobody knows", []error{control.ErrNotDurable, control.ErrLost}},
	{16, "no-passphrase", "no passphrase was given, it was empty, or its file or command failed", []error{secret.ErrNone, crypto.ErrPassphrase}},
	{3, "wrong-passphrase", "the passphrase or recovery key is wrong", []error{crypto.ErrWrongSecret, crypto.ErrRecoveryKey, blockstore.ErrWrongKey}},
	{13, "keyring", "the keyring is damaged or gone: salliefs recover makes it again", []error{crypto.ErrKeyringDamaged}},
	{4, "not-a-store", "there is no store, or only an init that was not finished", []error{blockstore.ErrNotStore, blockstore.ErrIncomplete}},
	{5, "newer-format", "the store was made by a newer salliefs", []error{blockstore.ErrNewerFormat, crypto.ErrNewerKeyring, control.ErrVersion}},
	{6, "in-use", "another process has the store open", []error{blockstore.ErrInUse, control.ErrUnmounting}},
	{11, "mount", "the mount point, FUSE or the mount is in the way: missing, not empty, mounted already, not mounted, busy, or in another mount namespace", []error{
		fuse.ErrNoDevice, fuse.ErrNoMountpoint, fuse.ErrNotEmpty, fuse.ErrMounted, fuse.ErrDead, fuse.ErrNotMounted, fuse.ErrBusy,
		fuse.ErrElsewhere, control.ErrBusy, control.ErrElsewhere, daemon.ErrInside, daemon.ErrLogInside}},
	{12, "read-only", "the disk, the store or the mount can not be written", []error{fs.ErrReadOnly, blockstore.ErrReadOnly, syscall.EROFS}},
	{8, "no-space", "the disk is full, or the quota of the namespace", []error{fs.ErrNoSpace, fs.ErrQuota, blockstore.ErrNoSpace, syscall.ENOSPC, syscall.EDQUOT}},
	{7, "damaged", "data is damaged, or check found something", []error{errProblems, fs.ErrCorrupt, blockstore.ErrCorrupt, crypto.ErrAuth}},
	{17, "repaired", "check --repair or --rebuild found damage and repaired what can be; what is lost is in its report", []error{errRepaired}},
	{14, "exists", "what was to be made exists already, or what was to be removed is not empty", []error{
		fs.ErrExist, fs.ErrNotEmpty, blockstore.ErrExists, iofs.ErrExist}},
	{10, "permission", "not allowed for this user", []error{
		fuse.ErrPermission, fs.ErrPerm, fs.ErrLocked, control.ErrPeer, iofs.ErrPermission}},
	{9, "not-found", "no such key, namespace or file", []error{fs.ErrNotExist, blockstore.ErrNotFound, iofs.ErrNotExist}},
	{exitFailure, "failure", "anything else; standard error says what", nil},
}

// exitCodeOf is the row that an error belongs to.
func exitCodeOf(err error) exitCode {
	if err == nil {
		return exitCodes[0]
	}
	for _, row := range exitCodes {
		for _, known := range row.errs {
			if errors.Is(err, known) {
				return row
			}
		}
	}
	return exitCodes[len(exitCodes)-1]
}

// exitTable is the table for people.
func exitTable() string {
	var b strings.Builder
	for code := 0; code <= 130; code++ {
		for _, row := range exitCodes {
			if row.code == code {
				fmt.Fprintf(&b, "%3d  %-16s  %s\n", row.code, row.name, row.meaning)
			}
		}
	}
	return b.String()
}

// outcome is an error of another process, which knew its exit code. Without a message, it has been told already.
type outcome struct {
	code    int
	message string
}

func (o *outcome) Error() string { return o.message }
