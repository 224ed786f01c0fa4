package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
)

const (
	opStats    = "stats"
	opCheck    = "check"
	opRepair   = "repair"
	opNSList   = "ns-list"
	opNSCreate = "ns-create"
	opNSSet    = "ns-set"
	opNSRename = "ns-rename"
	opNSRemove = "ns-remove"
	opGet      = "get"
	opSet      = "set"
	opRemove   = "remove"
	opList     = "list"
	opPasswd   = "passwd"
	opRecover  = "recover"
	opUnmount  = "unmount"
)

// Arguments that are not a type of target.go.
type (
	namespaceArgs struct {
		Name     Name     `json:"name"`
		Settings Settings `json:"settings"`
	}
	renameArgs struct {
		Old Name `json:"old"`
		New Name `json:"new"`
	}
	nsRemoveArgs struct {
		Name Name `json:"name"`
		RemoveOptions
	}
	pathArgs struct {
		Path Name `json:"path"`
	}
	removeArgs struct {
		Path Name `json:"path"`
		RemoveOptions
	}
	listArgs struct {
		Path      Name `json:"path"`
		Recursive bool `json:"recursive,omitempty"`
	}
	unmountArgs struct {
		Lazy bool `json:"lazy,omitempty"`
	}
)

// call is a request as its operation sees it.
type call struct {
	lines *lines
	in    *inbox
	id    uint64
	args  json.RawMessage
}

// operations carries out every request on a Target. The result goes into the last message.
var operations = map[string]func(context.Context, Target, *call) (any, error){
	opStats: on(func(ctx context.Context, t Target, _ *call, a StatsOptions) (any, error) {
		return t.Stats(ctx, a)
	}),
	opCheck: on(func(ctx context.Context, t Target, c *call, a CheckOptions) (any, error) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		err := t.Check(ctx, a,
			func(p Progress) { c.stream(cancel, message{Progress: &p}) },
			func(p Problem) { c.streamItem(cancel, p) })
		return nil, err
	}),
	opRepair: on(func(ctx context.Context, t Target, c *call, o RepairOptions) (any, error) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		return t.Repair(ctx, o,
			func(p Progress) { c.stream(cancel, message{Progress: &p}) },
			func(p Problem) { c.streamItem(cancel, p) })
	}),
	opNSList: on(func(ctx context.Context, t Target, c *call, _ struct{}) (any, error) {
		all, err := t.Namespaces(ctx)
		for _, n := range all {
			if err := c.item(n); err != nil {
				return nil, err
			}
		}
		return nil, err
	}),
	opNSCreate: on(func(ctx context.Context, t Target, _ *call, a namespaceArgs) (any, error) {
		return t.CreateNamespace(ctx, string(a.Name), a.Settings)
	}),
	opNSSet: on(func(ctx context.Context, t Target, _ *call, a namespaceArgs) (any, error) {
		return t.SetNamespace(ctx, string(a.Name), a.Settings)
	}),
	opNSRename: on(func(ctx context.Context, t Target, _ *call, a renameArgs) (any, error) {
		return nil, t.RenameNamespace(ctx, string(a.Old), string(a.New))
	}),
	opNSRemove: on(func(ctx context.Context, t Target, _ *call, a nsRemoveArgs) (any, error) {
		return t.RemoveNamespace(ctx, string(a.Name), a.RemoveOptions)
	}),
	opGet: on(func(ctx context.Context, t Target, c *call, a pathArgs) (any, error) {
		return nil, t.Get(ctx, string(a.Path), func(e Entry) error { return c.item(e) }, dataWriter{c})
	}),
	opSet: on(func(ctx context.Context, t Target, c *call, a pathArgs) (any, error) {
		return t.Set(ctx, string(a.Path), &dataReader{in: c.in, id: c.id})
	}),
	opRemove: on(func(ctx context.Context, t Target, _ *call, a removeArgs) (any, error) {
		return t.Remove(ctx, string(a.Path), a.RemoveOptions)
	}),
	opList: on(func(ctx context.Context, t Target, c *call, a listArgs) (any, error) {
		return nil, t.List(ctx, string(a.Path), a.Recursive, func(e Entry) error { return c.item(e) })
	}),
	opPasswd: on(func(ctx context.Context, t Target, _ *call, a PassphraseChange) (any, error) {
		defer clear(a.Old)
		defer clear(a.New)
		if a.Old == nil { // only who has the store open may leave it out
			a.Old = []byte{}
		}
		return nil, t.ChangePassphrase(ctx, a)
	}),
	opRecover: on(func(ctx context.Context, t Target, _ *call, a Recovery) (any, error) {
		defer clear(a.New)
		return t.Recover(ctx, a)
	}),
}

// on decodes the arguments for an operation.
func on[A any](run func(context.Context, Target, *call, A) (any, error)) func(context.Context, Target, *call) (any, error) {
	return func(ctx context.Context, t Target, c *call) (any, error) {
		var args A
		err := decodeArgs(c.args, &args)
		clear(c.args)
		if err != nil {
			return nil, err
		}
		return run(ctx, t, c, args)
	}
}

func encode(v any) (json.RawMessage, error) {
	if v == nil {
		return json.RawMessage("{}"), nil
	}
	return json.Marshal(v)
}

func (c *call) item(v any) error {
	raw, err := encode(v)
	if err != nil {
		return err
	}
	return c.lines.send(message{ID: c.id, Item: raw})
}

// stream sends what a callback without an error reports; a connection that takes nothing cancels the operation.
func (c *call) stream(cancel context.CancelCauseFunc, m message) {
	m.ID = c.id
	if err := c.lines.send(m); err != nil {
		cancel(err)
	}
}

func (c *call) streamItem(cancel context.CancelCauseFunc, v any) {
	if err := c.item(v); err != nil {
		cancel(err)
	}
}

// dataWriter sends a value in messages of bounded length.
type dataWriter struct{ c *call }

func (w dataWriter) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n := min(len(p)-done, chunkSize)
		if err := w.c.lines.send(message{ID: w.c.id, Data: p[done : done+n]}); err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// errAborted is what a value that its sender could not read ends with.
var errAborted = errors.New("the sender gave up")

// dataReader is the value that follows a request.
type dataReader struct {
	in   *inbox
	id   uint64
	rest []byte
	err  error
}

func (r *dataReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 && r.err == nil {
		m, ok := <-r.in.messages
		switch {
		case !ok:
			r.err = io.ErrUnexpectedEOF
		case m.ID != r.id || m.Op != "":
			r.err = ErrBadMessage
		case m.Abort:
			r.err = errAborted
		case m.End:
			r.err = io.EOF
		}
		r.rest = m.Data
	}
	if len(r.rest) == 0 {
		return 0, r.err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
