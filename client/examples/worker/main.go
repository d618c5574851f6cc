// Command worker has one of several processes do the work, and another go on
// when that one stops.
//
// Start it a few times:
//
//	PRYTANY_ADDR=http://n1:7480,http://n2:7480 go run ./client/examples/worker -me http://10.0.0.7:8080
//
// Interrupt the one that works: it finishes the item at hand, resigns, and the
// next takes over at once. Kill it with kill -9: the next takes over when the
// lease has run out, after 15 s. Ask for a hand-over while all go on running:
//
//	curl -d '{"reason":"deploy"}' localhost:7480/v1/locks/example/worker:yield
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"os/signal"
	"syscall"
	"time"

	"github.com/prytany/prytany/client"
)

func main() {
	me := flag.String("me", "http://localhost:8080", "`URL` to publish while leading")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	c, err := client.New(client.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	e := c.Election("example/worker", client.ElectionConfig{Value: *me})
	go tell(ctx, e)
	if err := e.Run(ctx, work); err != nil && !errors.Is(err, context.Canceled) {
		log.Print(err)
	}
}

// work serves one term. When ctx ends, by a signal or because the term is over,
// no other process leads yet: there is time to finish what is at hand, though
// not much. Returning hands over.
func work(ctx context.Context, term client.Term) error {
	log.Printf("term %d begins", term.Fence)
	defer log.Printf("term %d is over", term.Fence)
	items := time.NewTicker(time.Second)
	defer items.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case r := <-term.Held.Yield():
			log.Printf("asked to yield: %s", r.Reason)
			return nil
		case <-items.C:
			log.Printf("item %d, written with fence %d", n, term.Fence)
		}
	}
}

// tell says who leads, as other services would want to know.
func tell(ctx context.Context, e *client.Election) {
	for l, err := range e.Observe(ctx) {
		switch {
		case err != nil:
			return
		case l.Term == 0:
			log.Print("nobody leads")
		default:
			log.Printf("%s leads, at %s", l.Owner, l.Value)
		}
	}
}
