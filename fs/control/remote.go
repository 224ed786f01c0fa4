package control

import (
	"context"
	"encoding/json"
	"io"
)

var _ Target = (*Client)(nil)

// items decodes each item and hands it on.
func items[T any](report func(T) error) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		var v T
		if err := decodeArgs(raw, &v); err != nil {
			return err
		}
		return report(v)
	}
}

// Stats implements Target.
func (c *Client) Stats(ctx context.Context, o StatsOptions) (Stats, error) {
	var s Stats
	err := c.do(ctx, request{op: opStats, args: o, result: &s})
	return s, err
}

// Check implements Target.
func (c *Client) Check(ctx context.Context, o CheckOptions, progress func(Progress), report func(Problem)) error {
	return c.do(ctx, request{op: opCheck, args: o, progress: progress,
		item: items(func(p Problem) error { report(p); return nil })})
}

// Repair implements Target.
func (c *Client) Repair(ctx context.Context, o RepairOptions, progress func(Progress), report func(Problem)) (Repaired, error) {
	var r Repaired
	err := c.do(ctx, request{op: opRepair, args: o, progress: progress, result: &r,
		item: items(func(p Problem) error { report(p); return nil })})
	return r, err
}

// Namespaces implements Target.
func (c *Client) Namespaces(ctx context.Context) ([]Namespace, error) {
	var all []Namespace
	err := c.do(ctx, request{op: opNSList,
		item: items(func(n Namespace) error { all = append(all, n); return nil })})
	return all, err
}

// CreateNamespace implements Target.
func (c *Client) CreateNamespace(ctx context.Context, name string, s Settings) (Namespace, error) {
	var n Namespace
	err := c.do(ctx, request{op: opNSCreate, args: namespaceArgs{Name(name), s}, result: &n})
	return n, err
}

// SetNamespace implements Target.
func (c *Client) SetNamespace(ctx context.Context, name string, s Settings) (Namespace, error) {
	var n Namespace
	err := c.do(ctx, request{op: opNSSet, args: namespaceArgs{Name(name), s}, result: &n})
	return n, err
}

// RenameNamespace implements Target.
func (c *Client) RenameNamespace(ctx context.Context, old, new string) error {
	return c.do(ctx, request{op: opNSRename, args: renameArgs{Name(old), Name(new)}})
}

// RemoveNamespace implements Target.
func (c *Client) RemoveNamespace(ctx context.Context, name string, o RemoveOptions) (Removed, error) {
	var r Removed
	err := c.do(ctx, request{op: opNSRemove, args: nsRemoveArgs{Name(name), o}, result: &r})
	return r, err
}

// Get implements Target.
func (c *Client) Get(ctx context.Context, path string, begin func(Entry) error, w io.Writer) error {
	return c.do(ctx, request{op: opGet, args: pathArgs{Name(path)}, item: items(begin), data: w})
}

// Set implements Target.
func (c *Client) Set(ctx context.Context, path string, r io.Reader) (Entry, error) {
	var e Entry
	err := c.do(ctx, request{op: opSet, args: pathArgs{Name(path)}, value: r, result: &e})
	return e, err
}

// Remove implements Target.
func (c *Client) Remove(ctx context.Context, path string, o RemoveOptions) (Removed, error) {
	var r Removed
	err := c.do(ctx, request{op: opRemove, args: removeArgs{Name(path), o}, result: &r})
	return r, err
}

// List implements Target.
func (c *Client) List(ctx context.Context, path string, recursive bool, report func(Entry) error) error {
	return c.do(ctx, request{op: opList, args: listArgs{Name(path), recursive}, item: items(report)})
}

// ChangePassphrase implements Target.
func (c *Client) ChangePassphrase(ctx context.Context, p PassphraseChange) error {
	return c.do(ctx, request{op: opPasswd, args: p})
}

// Recover implements Target.
func (c *Client) Recover(ctx context.Context, r Recovery) (Recovered, error) {
	var got Recovered
	err := c.do(ctx, request{op: opRecover, args: r, result: &got})
	return got, err
}

// Unmount asks the daemon to unmount and returns when it has made everything durable and is about to end. When programs
// use the mount it fails with ErrBusy, unless lazy: then the mount point is free at once, and Unmount returns when the
// last of them is done.
func (c *Client) Unmount(ctx context.Context, lazy bool) error {
	return c.do(ctx, request{op: opUnmount, args: unmountArgs{lazy}})
}
