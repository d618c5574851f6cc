// Command failover measures how long a cluster stands still when its leader
// fails. Three `prytany serve` processes run in a network namespace each, on
// real disks, joined by a bridge in a fourth; this program, in a fifth, writes
// to all of them, breaks something, and looks for the longest time without an
// acknowledged write.
//
//	go run ./internal/failover -prytany bin/prytany -only kill,cable
//
// It needs Linux, root, iproute2, util-linux, e2fsprogs and nftables. It prints
// a table in Markdown and exits with 1 if a bar is missed or an acknowledged
// write is lost. Links are cut in the bridge, in both directions or one, by one
// atomic change of rules: to drop a packet where it is sent would tell the
// sender, which no broken wire does.
//
// The process that is started makes the namespaces, starts itself again within
// one of them, and takes all away when that ends, however it ends.
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
	runs   int
	only   string
	load   time.Duration
	timing string
	md     string
	json   string
	logs   string
	level  string
	bars   bool
	inside string // prefix of the world this process works in
	spin   bool
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("failover", flag.ContinueOnError)
	f.StringVar(&o.binary, "prytany", "bin/prytany", "the `binary` to measure")
	f.IntVar(&o.runs, "runs", 20, "how often each scenario; half as often those that last 10 s, a fifth as often loss, load once")
	f.StringVar(&o.only, "only", "", "measure these `scenarios` only, separated by commas: "+strings.Join(names(), ", "))
	f.DurationVar(&o.load, "load", time.Minute, "how long the scenario load lasts")
	f.StringVar(&o.timing, "timing", "", "start nodes with --timing `PROFILE`")
	f.StringVar(&o.md, "md", "", "write the table to this `file`, not to stdout")
	f.StringVar(&o.json, "json", "", "write all runs to this `file`")
	f.StringVar(&o.logs, "logs", "", "keep the logs of the nodes in this `directory`")
	f.StringVar(&o.level, "log-level", "info", "of the nodes")
	f.BoolVar(&o.bars, "bars", true, "fail if a bar is missed")
	f.StringVar(&o.inside, "inside", "", "internal: work in the namespaces with this prefix")
	f.BoolVar(&o.spin, "spin", false, "internal: keep one core busy")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if o.runs < 1 {
		return o, errors.New("-runs is at least 1")
	}
	for _, name := range o.wanted() {
		if !slices.Contains(names(), name) {
			return o, fmt.Errorf("no scenario %q; there are %s", name, strings.Join(names(), ", "))
		}
	}
	return o, nil
}

// wanted lists the scenarios asked for.
func (o options) wanted() []string {
	if o.only == "" {
		return names()
	}
	return strings.Split(o.only, ",")
}

func main() {
	// Children die with the thread that started them: this one lasts.
	runtime.LockOSThread()
	o, err := parse(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
	case o.spin:
		err = spin()
	case o.inside != "":
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
		defer stop()
		err = measure(ctx, o)
	default:
		err = supervise(o)
	}
	if _, told := errors.AsType[*childError](err); err != nil && !told {
		fmt.Fprintln(os.Stderr, "failover:", err)
	}
	if err != nil {
		os.Exit(1)
	}
}

// spin keeps one core busy, before most others, until the process is killed.
func spin() error {
	const nice = -5
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, nice); err != nil { // of this thread
		return err
	}
	for n := 0; ; n++ {
		_ = n
	}
}

// say tells how far it is.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "failover: "+format+"\n", args...) }
