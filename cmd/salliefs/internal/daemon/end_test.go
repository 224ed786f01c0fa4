package daemon

import (
	"context"
	"errors"
	"testing"
)

// TestLateRequestGetsTheOutcome: one that comes after serve has ended is answered before its connection is closed.
func TestLateRequestGetsTheOutcome(t *testing.T) {
	for range 1000 {
		d := &daemon{asks: make(chan ask), over: make(chan struct{})}
		ctx, hangUp := context.WithCancel(t.Context())
		got := make(chan error)
		go func() { got <- d.ask(ctx, false) }()
		want := errors.New("outcome")
		d.outcome = want
		close(d.over)
		hangUp()
		if err := <-got; err != want {
			t.Fatalf("got %v", err)
		}
	}
}
