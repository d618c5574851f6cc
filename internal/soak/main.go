// Command soak works on a cluster for long, and on another for more than it can do,
// and judges what is left: a leak shows in the first, a queue without a bound in the
// second. The nodes are processes of their own on loopback, real disks; the load is in
// this one.
//
//	go run ./internal/soak -prytany bin/prytany -for 10m
//
// It has three parts, which -parts chooses from:
//
//   - soak: a mixed load at a fixed rate, and one mild fault a minute. Every few seconds
//     each node is asked what it has: goroutines, open files, memory, the size of its data
//     directory, rows of its tables. At the end all clients leave, and what they left has
//     to go, too.
//   - overload: ten times as many writes are offered as the cluster does. They are refused
//     fast, the leader stays, and no session ends.
//   - slow: connections that send a byte a second, or never read, beside clients that do
//     neither.
//
// Each verdict is a line in Markdown: what, the figure, its bound, yes or NO. The exit code
// is 1 after a NO. A figure without a bound is information.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	binary string
	parts  []string
	seed   uint64

	last     time.Duration
	warm     time.Duration
	drain    time.Duration
	sample   time.Duration
	fault    time.Duration
	nodes    int
	rate     float64
	sessions int
	watchers int
	csv      string

	overload time.Duration
	factor   float64
	clients  int

	slow   int
	rounds int
	round  time.Duration
	calm   float64
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("soak", flag.ContinueOnError)
	parts := ""
	f.StringVar(&o.binary, "prytany", "bin/prytany", "the `binary` to work on")
	f.StringVar(&parts, "parts", "soak,overload,slow", "which `parts` to run, with commas between them")
	f.Uint64Var(&o.seed, "seed", 1, "what is drawn follows from it; what happens depends on the machine, too")
	f.DurationVar(&o.last, "for", 10*time.Minute, "soak: how long clients work")
	f.DurationVar(&o.warm, "warm", 2*time.Minute, "soak: how much of that, and of the life of a process, says nothing of slopes")
	f.DurationVar(&o.drain, "drain", 13*time.Minute, "soak: how long to wait, at most, until what clients left is forgotten; answers are kept for ten minutes")
	f.DurationVar(&o.sample, "sample", 5*time.Second, "soak: from one look at the nodes to the next")
	f.DurationVar(&o.fault, "fault-every", time.Minute, "soak: from one fault to the next; 0s: none")
	f.IntVar(&o.nodes, "nodes", 5, "soak: how many nodes")
	f.Float64Var(&o.rate, "rate", 60, "soak: operations a second that are due, beside what sessions and watchers do")
	f.IntVar(&o.sessions, "sessions", 50, "soak: how many sessions are kept alive at a time, each for 5 to 30 s")
	f.IntVar(&o.watchers, "watchers", 50, "soak: how many watch at a time, each for 5 to 30 s")
	f.StringVar(&o.csv, "csv", "", "soak: write all that was sampled into this `file`")
	f.DurationVar(&o.overload, "overload", 20*time.Second, "overload: how long")
	f.Float64Var(&o.factor, "factor", 10, "overload: how many times what the cluster does is offered")
	f.IntVar(&o.clients, "clients", 18_000, "overload: how many clients, each of which waits for one answer at a time; a node takes 16,384 requests into its log at a time. Each needs a file here, and the node one")
	f.IntVar(&o.slow, "slow", 1000, "slow: how many connections; each needs a file here, and its node one")
	f.IntVar(&o.rounds, "rounds", 3, "slow: how often clients are measured without and with them")
	f.DurationVar(&o.round, "round", 10*time.Second, "slow: how long one measurement lasts")
	f.Float64Var(&o.calm, "calm", 150, "slow: requests a second of the clients that are measured")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.parts = strings.Split(parts, ",")
	return o, o.check(f.NArg())
}

// check refuses what makes no sense.
func (o options) check(more int) error {
	for _, p := range o.parts {
		if !slices.Contains([]string{"soak", "overload", "slow"}, p) {
			return fmt.Errorf("there is no part %q", p)
		}
	}
	switch {
	case more > 0:
		return errors.New("want no arguments but flags")
	case o.nodes < 3 || o.nodes > 9:
		return errors.New("-nodes: want 3 to 9")
	case o.rate <= 0 || o.rate > 10_000 || o.calm <= 0 || o.factor < 1:
		return errors.New("-rate, -calm and -factor: want more than nothing, and not more than 10,000 a second")
	case o.sessions < 1 || o.watchers < 1 || o.clients < 1 || o.slow < 3 || o.rounds < 1:
		return errors.New("-sessions, -watchers, -clients, -slow and -rounds: want numbers from 1 (-slow: 3)")
	case o.last < time.Second || o.sample < 100*time.Millisecond || o.overload < time.Second || o.round < time.Second:
		return errors.New("-for, -sample, -overload and -round: want a second or more (-sample: 100 ms)")
	}
	return nil
}

func main() {
	runtime.LockOSThread() // children die with the thread that started them
	o, err := parse(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	verdicts, err := run(ctx, o)
	stop()
	fmt.Print(table(verdicts))
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
	}
	if err != nil || failed(verdicts) {
		os.Exit(1)
	}
}

// run runs the parts; verdicts hold what was judged before an error.
func run(ctx context.Context, o options) (verdicts []verdict, err error) {
	verdicts = append(verdicts, verdict{What: "machine", Figure: machine()})
	for _, part := range []struct {
		name string
		run  func(context.Context, options) ([]verdict, error)
	}{{"soak", soak}, {"overload", overload}, {"slow", slow}} {
		if !slices.Contains(o.parts, part.name) {
			continue
		}
		more, err := part.run(ctx, o)
		verdicts = append(verdicts, more...)
		if err != nil {
			return verdicts, fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return verdicts, nil
}

// machine says what all this ran on, and beside what.
func machine() string {
	load := "unknown"
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		load = strings.Join(strings.Fields(string(b))[:3], " ")
	}
	return fmt.Sprintf("%d cores, %s, load average before %s", runtime.NumCPU(), runtime.Version(), load)
}

// say tells how far it is.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "soak: "+format+"\n", args...) }

// sleep waits for d, and reports whether ctx lasts.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
