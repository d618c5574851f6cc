// Command cron runs a job at every tick on exactly one of the machines that it
// is started on.
//
// Start it on as many machines as you like:
//
//	PRYTANY_ADDR=http://n1:7480,http://n2:7480 go run ./client/examples/cron -every 1m
//
// At each tick all of them try to get the lock, and whoever gets it looks
// whether the tick was served already: the machines' clocks differ a little, so
// another may have had the lock, and have finished, before. It writes the tick
// down before it works, and only while it holds the lock, so a machine that was
// asleep in between cannot serve a tick again. A machine that dies in the middle
// leaves its tick half done; write the tick down after the work to have it done
// at least once instead.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os/signal"
	"syscall"
	"time"

	"github.com/prytany/prytany/client"
)

func main() {
	every := flag.Duration("every", time.Minute, "time between ticks")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	c, err := client.New(client.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for {
		tick := time.Now().Truncate(*every).Add(*every)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(tick)):
		}
		if err := serve(ctx, c, tick.UTC().Format(time.RFC3339)); err != nil {
			log.Printf("tick %v: %v", tick, err)
		}
	}
}

// serve runs the job for tick, unless another machine does or has.
func serve(ctx context.Context, c *client.Client, tick string) (err error) {
	h, err := c.TryLock(ctx, "cron/report")
	if errors.Is(err, client.ErrHeld) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Unlock(context.WithoutCancel(ctx))) }()
	last, err := c.Get(ctx, "cron/report/last")
	switch {
	case err == nil && string(last.Value) >= tick:
		return nil
	case err != nil && !errors.Is(err, client.ErrNotFound):
		return err
	}
	if _, err := c.Put(ctx, "cron/report/last", []byte(tick), client.WhileHeld(h)); err != nil {
		return err
	}
	return report(h.Context(), tick, h.Fence())
}

// report is the job. It stops when ctx ends, because then another machine may
// begin, and passes the fence to whatever it writes to, which refuses smaller
// ones.
func report(ctx context.Context, tick string, fence uint64) error {
	fmt.Printf("report of %s, with fence %d\n", tick, fence)
	return context.Cause(ctx)
}
