package fuse

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

const (
	// typeName makes the mount's type "fuse.salliefs" in /proc/mounts.
	typeName = "salliefs"
	// maxRequest is the size of the largest READ and WRITE, in bytes; the kernel's limit.
	maxRequest = 1 << 20
	// maxBackground is how many read-aheads and write-backs the kernel has under way; a large one keeps a worker with its
	// buffers, also while the store makes it wait.
	maxBackground = 12
	// writebackEvery is how long data of an open file may stay in the kernel alone.
	writebackEvery = 2 * time.Second
)

// Options say how to mount. Only Mountpoint is needed.
type Options struct {
	// Mountpoint is an empty directory.
	Mountpoint string
	// FSName is shown as the source of the mount; "salliefs" if empty.
	FSName string
	// AllowOther lets other users in, as far as modes and owners allow. For users
	// other than root it takes user_allow_other in /etc/fuse.conf.
	AllowOther bool
	ReadOnly   bool
	NoAtime    bool
	// ACL turns on POSIX ACLs. The fs.FS must have been opened with them as well.
	ACL bool
	// NoXattr turns extended attributes off: two requests fewer per file of ls -l.
	NoXattr bool
	// Debug logs each request.
	Debug bool
	// Extra are more options as mount(8) knows them: dev, suid, noexec, sync, … What
	// fstab says for others (noauto, nofail, _netdev, x-…) is passed over. "nonempty"
	// allows a mount point that is not empty.
	Extra []string
	// Log gets what goes wrong while mounted; none if nil.
	Log *slog.Logger
	// WritebackInterval is how often the kernel is made to write back; 2 s if 0.
	WritebackInterval time.Duration
}

// ErrOption is an unknown mount option, or one that the user may not have.
var ErrOption = errors.New("mount option cannot be used")

// mountFlag is an option that mount(2) takes as a flag.
type mountFlag struct {
	name       string
	set, clear uintptr
	rootOnly   bool
}

var mountFlags = [...]mountFlag{
	{name: "ro", set: unix.MS_RDONLY},
	{name: "rw", clear: unix.MS_RDONLY},
	{name: "noatime", set: unix.MS_NOATIME},
	{name: "atime", clear: unix.MS_NOATIME},
	{name: "nodiratime", set: unix.MS_NODIRATIME},
	{name: "diratime", clear: unix.MS_NODIRATIME},
	{name: "dev", clear: unix.MS_NODEV, rootOnly: true},
	{name: "nodev", set: unix.MS_NODEV},
	{name: "suid", clear: unix.MS_NOSUID, rootOnly: true},
	{name: "nosuid", set: unix.MS_NOSUID},
	{name: "exec", clear: unix.MS_NOEXEC},
	{name: "noexec", set: unix.MS_NOEXEC},
	{name: "sync", set: unix.MS_SYNCHRONOUS},
	{name: "async", clear: unix.MS_SYNCHRONOUS},
	{name: "dirsync", set: unix.MS_DIRSYNC},
}

// passedOver are options for mount(8), systemd and the like, not for a filesystem.
var passedOver = map[string]bool{
	"defaults": true, "auto": true, "noauto": true, "user": true, "nouser": true, "users": true,
	"owner": true, "group": true, "nofail": true, "_netdev": true, "relatime": true,
}

// parsed is what Options come to: flags for mount(2), and the words that fusermount3
// makes flags of.
type parsed struct {
	flags    uintptr
	words    []string
	nonempty bool
}

// parse reads the options that are mount flags. As elsewhere the last word counts.
func (o *Options) parse(root bool) (parsed, error) {
	p := parsed{flags: unix.MS_NOSUID | unix.MS_NODEV}
	words := o.Extra
	if o.NoAtime {
		words = append(words[:len(words):len(words)], "noatime")
	}
	if o.ReadOnly {
		words = append(words[:len(words):len(words)], "ro")
	}
	for _, w := range words {
		if err := p.add(w, root); err != nil {
			return parsed{}, err
		}
	}
	return p, nil
}

func (p *parsed) add(word string, root bool) error {
	name, _, _ := strings.Cut(word, "=")
	switch {
	case word == "nonempty":
		p.nonempty = true
		return nil
	case word == "", passedOver[word], strings.HasPrefix(word, "x-"), strings.HasPrefix(word, "X-"),
		name == "comment":
		return nil
	}
	for _, f := range mountFlags {
		if f.name != word {
			continue
		}
		if f.rootOnly && !root {
			return fmt.Errorf("%q: %w: only root may use it", word, ErrOption)
		}
		p.flags = p.flags&^f.clear | f.set
		p.words = append(p.words, word)
		return nil
	}
	return fmt.Errorf("%q: %w: it is not known", word, ErrOption)
}

// goFuse turns o into what go-fuse wants.
func (o *Options) goFuse(p parsed, root bool, log *slog.Logger) *gofuse.MountOptions {
	m := &gofuse.MountOptions{
		FsName:                   o.FSName,
		Name:                     typeName,
		AllowOther:               o.AllowOther,
		Debug:                    o.Debug,
		Logger:                   slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		Options:                  []string{"default_permissions"},
		MaxBackground:            maxBackground,
		MaxWrite:                 maxRequest,
		DisableXAttrs:            o.NoXattr,
		EnableAcl:                o.ACL,
		EnableSymlinkCaching:     true,
		ExplicitDataCacheControl: true,
		DisableSplice:            true, // for files that have a descriptor; ours have none
		PanicHandler:             panicHandler(log),
		ExtraCapabilities: gofuse.CAP_WRITEBACK_CACHE | gofuse.CAP_HANDLE_KILLPRIV_V2 |
			gofuse.CAP_ASYNC_DIO | gofuse.CAP_SETXATTR_EXT,
	}
	if m.FsName == "" {
		m.FsName = typeName
	}
	if o.ACL {
		m.ExtraCapabilities |= gofuse.CAP_DONT_MASK
	}
	if root {
		m.DirectMountFlags = p.flags | unix.MS_MGC_VAL // go-fuse takes 0 for "not set"
	} else {
		m.Options = append(m.Options, p.words...)
	}
	return m
}
