package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/client/prytanytest"
)

// newClient returns a client of a cluster that lives until stop.
func newClient() (c *client.Client, stop func()) {
	cluster, err := prytanytest.Start(1)
	if err != nil {
		log.Fatal(err)
	}
	// Elsewhere: client.New(client.Config{Endpoints: []string{...}}).
	return cluster.Client(client.Config{SessionName: "web-2"}), cluster.Stop
}

func ExampleClient_Lock() {
	c, stop := newClient()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	h, err := c.Lock(ctx, "billing/nightly")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("have", h.Name(), h.Err())
	// Work under h.Context(), and pass h.Fence() to what the work writes to.
	if err := h.Unlock(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(context.Cause(h.Context()))
	// Output:
	// have billing/nightly <nil>
	// prytany: the lock was released
}

func ExampleClient_TryLock() {
	c, stop := newClient()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	mine, err := c.NewSession(ctx, client.SessionConfig{Name: "worker-7"})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := c.Acquire(ctx, "reports", client.Options{Session: mine, Note: "July"}); err != nil {
		log.Fatal(err)
	}
	_, err = c.TryLock(ctx, "reports")
	var p *client.ProblemError
	if errors.Is(err, client.ErrHeld) && errors.As(err, &p) {
		fmt.Println(p.Holder.Owner, "has it for", p.Holder.Note)
	}
	// Ending a session releases everything it holds.
	if err := mine.End(ctx); err != nil {
		log.Fatal(err)
	}
	h, err := c.TryLock(ctx, "reports")
	fmt.Println(h.Name(), err)
	// Output:
	// worker-7 has it for July
	// reports <nil>
}

func ExampleClient_WithLock() {
	c, stop := newClient()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	err := c.WithLock(ctx, "counter", func(ctx context.Context, h *client.Held) error {
		// The condition is checked together with the change: even a write that
		// comes late cannot do harm.
		_, err := c.Put(ctx, "counter/value", []byte("1"), client.WhileHeld(h))
		return err
	})
	fmt.Println(err)
	e, err := c.Get(ctx, "counter/value")
	fmt.Println(string(e.Value), err)
	// Output:
	// <nil>
	// 1 <nil>
}

func ExampleIfRevision() {
	c, stop := newClient()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	first, err := c.Put(ctx, "feature/dark-mode", []byte("off"), client.IfAbsent())
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.Put(ctx, "feature/dark-mode", []byte("on"), client.IfRevision(first))
	fmt.Println(err)
	// Whoever read the entry before that change does not undo it unseen.
	_, err = c.Put(ctx, "feature/dark-mode", []byte("auto"), client.IfRevision(first))
	fmt.Println(errors.Is(err, client.ErrConflict))
	// Output:
	// <nil>
	// true
}
