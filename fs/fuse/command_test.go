package fuse

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"salliefs/fs"
)

// TestCommandsOnStore: what commands do to a mounted store shows in the mount at once.
func TestCommandsOnStore(t *testing.T) {
	f := newStoreFS(t, Options{})
	m := newMounted(t, f, Options{})
	key := m.dir + "/a/b"
	_, err := os.Stat(key)
	wantErr(t, "stat", err, unix.ENOENT)
	wantNames(t, m.dir)
	wantNames(t, m.dir)

	must(t, f.SetKey(spaceName, "a/b", []byte("one"), fs.Cred{}))
	m.Settle()
	wantContent(t, key, "one")
	wantNames(t, m.dir, "a")

	// A value of another length, while a program has the old one open.
	h, err := os.Open(key)
	must(t, err)
	defer h.Close()
	must(t, f.SetKey(spaceName, "a/b", []byte("a longer value"), fs.Cred{}))
	m.Settle()
	wantContent(t, key, "a longer value")
	buf := make([]byte, 100)
	if n, err := h.ReadAt(buf, 0); string(buf[:n]) != "one" {
		t.Errorf("who has the old value open reads %q, %v", buf[:n], err)
	}

	// A value that a program wrote is what commands read.
	must(t, os.WriteFile(key, []byte("by a program"), 0o644))
	if got := string(f.content("a/b")); got != "by a program" {
		t.Errorf("a command reads %q", got)
	}
	must(t, f.RemoveKey(spaceName, "a/b"))
	m.Settle()
	_, err = os.Stat(key)
	wantErr(t, "stat of a removed key", err, unix.ENOENT)

	// Namespaces.
	root := m.Mountpoint()
	must(t, f.CreateNamespace("made", fs.NamespaceSettings{}, fs.Cred{}))
	m.Settle()
	stat(t, root+"/made")
	wantNames(t, root, "made", spaceName)
	must(t, f.RenameNamespace("made", "renamed"))
	m.Settle()
	wantNames(t, root, "renamed", spaceName)
	_, err = os.Stat(root + "/made")
	wantErr(t, "stat of a namespace's old name", err, unix.ENOENT)
	must(t, f.SetKey("renamed", "key", []byte("x"), fs.Cred{}))
	m.Settle()
	wantContent(t, root+"/renamed/key", "x")
	must(t, f.RemoveNamespace("renamed", true))
	m.Settle()
	_, err = os.Stat(root + "/renamed")
	wantErr(t, "stat of a removed namespace", err, unix.ENOENT)
	_, err = os.Stat(root + "/renamed/key")
	wantErr(t, "stat of a key in a removed namespace", err, unix.ENOENT)
	wantNames(t, root, spaceName)
}

// TestSnapshotsInMount: a snapshot can be read below .snapshots, does not change, and
// can not be changed.
func TestSnapshotsInMount(t *testing.T) {
	f := newStoreFS(t, Options{})
	m := newMounted(t, f, Options{})
	must(t, os.WriteFile(m.dir+"/file", []byte("then"), 0o644))
	h, err := os.Create(m.dir + "/open")
	must(t, err)
	defer h.Close()
	_, err = h.WriteString("not closed")
	must(t, err)
	must(t, m.Writeback())
	_, err = f.Snapshot("first")
	must(t, err)
	m.Settle()
	must(t, os.WriteFile(m.dir+"/file", []byte("now, and longer"), 0o644))

	snap := m.Mountpoint() + "/.snapshots/first/" + spaceName
	wantContent(t, snap+"/file", "then")
	wantContent(t, snap+"/open", "not closed")
	wantContent(t, m.dir+"/file", "now, and longer")
	wantErr(t, "write to a snapshot", os.WriteFile(snap+"/file", nil, 0o644), unix.EROFS)
	wantErr(t, "create in a snapshot", os.Mkdir(snap+"/dir", 0o755), unix.EROFS)
	wantErr(t, "remove from a snapshot", unix.Unlink(snap+"/file"), unix.EROFS)
	wantNames(t, m.Mountpoint(), spaceName)
	wantNames(t, m.Mountpoint()+"/.snapshots", "first")
	must(t, f.DeleteSnapshot("first"))
	m.Settle()
	_, err = os.Stat(snap + "/file")
	wantErr(t, "stat in a deleted snapshot", err, unix.ENOENT)
}
