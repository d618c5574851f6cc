// Command scale measures how far one cluster goes: how many sessions it keeps
// alive, how a long queue is served, how many watch one prefix. It starts three
// nodes as processes of their own on loopback, real disks, and drives them from
// this one, so that what a node takes can be told from what the load takes.
//
//	go run ./internal/scale -prytany bin/prytany
//
// It prints its figures as a table in Markdown, and fails if anything was lost,
// out of order or over that should not be.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"time"

	"github.com/prytany/prytany/internal/scale/fleet"
)

// options are the flags.
type options struct {
	binary   string
	sessions int
	ttl      time.Duration
	last     time.Duration
	waiters  int
	watchers int
	changes  int
	asJSON   bool
}

// A figure is one line of the result.
type figure struct {
	What  string `json:"what"`
	Value string `json:"value"`
}

func main() {
	var o options
	flag.StringVar(&o.binary, "prytany", "bin/prytany", "the `binary` to measure")
	flag.IntVar(&o.sessions, "sessions", 50_000, "how many sessions, each holding a lock")
	flag.DurationVar(&o.ttl, "ttl", 15*time.Second, "their TTL")
	flag.DurationVar(&o.last, "last", time.Minute, "how long they are kept alive, beside the time to open them")
	flag.IntVar(&o.waiters, "waiters", 1000, "how many wait for one lock")
	flag.IntVar(&o.watchers, "watchers", 10_000, "how many watch one prefix")
	flag.IntVar(&o.changes, "changes", 100, "how many changes they are told of")
	flag.BoolVar(&o.asJSON, "json", false, "print JSON")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	figures, err := run(ctx, o)
	if printErr := show(figures, o.asJSON); printErr != nil {
		err = errors.Join(err, printErr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

// run measures everything; figures hold what was measured before an error.
func run(ctx context.Context, o options) (figures []figure, err error) {
	c, err := fleet.Start(ctx, o.binary, 3)
	if err != nil {
		return nil, err
	}
	defer c.Stop()
	figures = append(figures, figure{"machine", fmt.Sprintf("%d cores, %s", runtime.NumCPU(), runtime.Version())})
	for _, phase := range []func(context.Context, *fleet.Cluster, options) ([]figure, error){measureQueue, measureWatchers, measureSessions} {
		if ctx.Err() != nil {
			return figures, ctx.Err()
		}
		more, err := phase(ctx, c, o)
		figures = append(figures, more...)
		if err != nil {
			return figures, err
		}
	}
	return figures, nil
}

func show(figures []figure, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(os.Stdout).Encode(figures)
	}
	fmt.Println("| what | figure |\n|---|---|")
	for _, f := range figures {
		fmt.Printf("| %s | %s |\n", f.What, f.Value)
	}
	return nil
}

// say tells how far it is.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "scale: "+format+"\n", args...) }
