package session

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"salliefs/blockstore"
	"salliefs/crypto"
	"salliefs/fs/control"
)

// Info is what can be told of a store without a key.
type Info struct {
	Store    control.Name `json:"store"` // its directory
	ID       string       `json:"id"`
	Format   int          `json:"format"`
	Holder   *Holder      `json:"holder"` // the process that has it open, or null
	Contexts []Context    `json:"contexts"`
	Keyring  string       `json:"keyring"`           // "ok", or what is wrong with it
	Failure  string       `json:"failure,omitempty"` // why the process that has it open refuses writes
}

// Holder is the process that has a store open.
type Holder struct {
	Host  string       `json:"host"`
	PID   int          `json:"pid"`
	Mount control.Name `json:"mount,omitempty"`
	Since time.Time    `json:"since,omitzero"`
}

// Context is a security context and its slots.
type Context struct {
	Name  string `json:"name"`
	Slots []Slot `json:"slots"`
}

// Slot is one way to unlock a context.
type Slot struct {
	Kind    string    `json:"kind"`
	Label   string    `json:"label,omitempty"`
	Created time.Time `json:"created"`
	KDF     string    `json:"kdf,omitempty"`
}

// askPatience is how long Inspect waits for what only the daemon knows.
const askPatience = 5 * time.Second

// Inspect tells of the store that path names. When the keyring is damaged, the error says so and the rest is told.
func Inspect(ctx context.Context, path string) (Info, error) {
	place, err := Find(path)
	if err != nil {
		return Info{}, err
	}
	h, err := blockstore.Inspect(vfs.Default, place.Dir)
	if err != nil {
		return Info{}, err
	}
	i := Info{Store: control.Name(place.Dir), ID: h.StoreID.String(), Format: h.FormatVersion, Contexts: []Context{}, Keyring: "ok"}
	if h.Holder != nil {
		i.Holder = &Holder{Host: h.Holder.Host, PID: h.Holder.PID, Mount: h.Holder.Mount, Since: h.Holder.Since}
	} else if c := search(ctx, place.Dir, h); c != nil {
		host, _ := os.Hostname()
		i.Holder = &Holder{Host: host, PID: c.PID(), Mount: control.Name(c.Mount())}
		_ = c.Close()
	}
	i.Failure = failure(ctx, place.Dir, h)
	kr, err := keyring(place.Dir)
	if err == nil && kr.StoreID() != h.StoreID {
		err = errors.Join(crypto.ErrKeyringDamaged, errors.New("it is of another store"))
	}
	if err != nil {
		i.Keyring = err.Error()
		return i, err
	}
	for _, name := range kr.Contexts() {
		c := Context{Name: name}
		for _, s := range kr.Slots(name) {
			slot := Slot{Kind: s.Kind.String(), Label: s.Label, Created: s.Created}
			if s.Kind == crypto.SlotPassphrase {
				slot.KDF = s.KDF.String()
			}
			c.Slots = append(c.Slots, slot)
		}
		i.Contexts = append(i.Contexts, c)
	}
	return i, nil
}

// failure asks the daemon that has a store open why it refuses writes; "" if it does not, or does not answer us.
func failure(ctx context.Context, dir string, h blockstore.HeaderInfo) string {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	c, err := dialClient(ctx, dir, h)
	if err != nil || c == nil {
		return ""
	}
	defer c.Close()
	s, _ := c.Stats(ctx, control.StatsOptions{})
	return s.Failure
}
