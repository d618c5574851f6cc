// Command fuzzboard runs the fuzz targets of this module, counts what they were given,
// and keeps the sums.
//
//	go run ./internal/fuzzboard -time 20s
//	go run ./internal/fuzzboard -campaign 30m -ledger docs/evidence-fuzz.json -doc docs/evidence.md
//
// Every package with targets is built once, by `go test -c` with the compiler's
// instrumentation for fuzzing in the packages of this module alone. `go test -fuzz`
// instruments the standard library too; reading and clearing those counters is then
// most of the work for each input, and an input that is new to package fmt is no news.
// What runs is the fuzzing of package testing all the same, with the cache of inputs
// that `go test -fuzz` uses.
//
// It prints a line for each target and the total. An input is one call of a target's
// function, as package testing counts them. It exits with 1 if a target has failed;
// the failing input is then in the target's testdata/fuzz.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	campaigns "github.com/prytany/prytany/internal/ledger"
)

// options are the flags.
type options struct {
	time     string
	campaign time.Duration
	only     *regexp.Regexp
	parallel int
	ledger   string
	doc      string
	keep     bool
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("fuzzboard", flag.ContinueOnError)
	f.StringVar(&o.time, "time", "20s", "what each target gets: a duration, or a number of inputs such as 100000x")
	f.DurationVar(&o.campaign, "campaign", 0, "share this time among all targets instead: half of it evenly, the rest among the quickest")
	only := f.String("only", "", "run the targets alone that match this `regexp`, such as paxos.FuzzDecode")
	f.IntVar(&o.parallel, "parallel", 1, "how many inputs at a time")
	f.StringVar(&o.ledger, "ledger", "", "add what was run to the sums in this `file`")
	f.StringVar(&o.doc, "doc", "", "put the table of the ledger into this `file`, between the marks of fuzzing")
	f.BoolVar(&o.keep, "keep", false, "run nothing; copy from the cache of inputs into testdata/fuzz those that reach something new")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.only, err = regexp.Compile(*only); err != nil {
		return o, err
	}
	if f.NArg() > 0 || o.parallel < 1 || o.campaign < 0 || o.doc != "" && o.ledger == "" {
		return o, errors.New("want no arguments, numbers that are not negative, and -doc with -ledger alone")
	}
	return o, nil
}

func main() {
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		err = o.run(ctx)
		stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fuzzboard:", err)
		os.Exit(1)
	}
}

// errFailed says that a target has failed.
var errFailed = errors.New("targets have failed; their inputs are in testdata/fuzz, and go test replays them")

func (o options) run(ctx context.Context) error {
	w, err := open(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	targets, err := find(w.root, o.only)
	if err != nil {
		return err
	}
	if o.keep {
		return w.keep(ctx, targets)
	}
	done, err := o.runAll(ctx, w, targets)
	if err := errors.Join(err, o.note(done)); err != nil { // what was run counts, failures most of all
		return err
	}
	all := total(done)
	fmt.Printf("%-50s %15s inputs in %s of %d targets, %d failed\n", "total", campaigns.Grouped(all.Inputs), seconds(all.Seconds), len(targets), all.Failures)
	if ctx.Err() != nil {
		return errors.New("it was interrupted")
	}
	if all.Failures > 0 {
		return errFailed
	}
	for _, t := range done {
		if t.Inputs == 0 {
			return fmt.Errorf("%s was given no input: give it more time", t.target)
		}
	}
	return nil
}

// runAll runs the targets, one after the other, and returns what each was given, with an
// error those before it. It ends early, without one, with ctx.
func (o options) runAll(ctx context.Context, w *workshop, targets []target) (done []tally, err error) {
	turn := func(list []target, limit string) error {
		for _, t := range list {
			if ctx.Err() != nil {
				return nil
			}
			out, err := w.fuzz(ctx, t, limit, o.parallel)
			if err != nil {
				return err
			}
			fmt.Println(out.line())
			done = append(done, out)
		}
		return nil
	}
	if o.campaign == 0 {
		err := turn(targets, o.time)
		return done, err
	}
	if err := w.buildAll(ctx, targets); err != nil {
		return nil, err
	}
	even := o.campaign / 2
	if err := turn(targets, share(even, len(targets))); err != nil {
		return done, err
	}
	quick := quickest(done)
	err = turn(quick, share(o.campaign-even, len(quick)))
	return done, err
}

// share is what each of n gets of d, as -test.fuzztime has it.
func share(d time.Duration, n int) string { return (d / time.Duration(max(n, 1))).String() }

// note adds done to the ledger and writes the table.
func (o options) note(done []tally) error {
	if o.ledger == "" {
		return nil
	}
	l, err := readLedger(o.ledger)
	if err != nil {
		return err
	}
	l.add(done)
	if err := l.write(o.ledger); err != nil || o.doc == "" {
		return err
	}
	text, err := os.ReadFile(o.doc)
	if err != nil {
		return err
	}
	out, err := replaced(string(text), l.table())
	if err != nil {
		return fmt.Errorf("%s: %w", o.doc, err)
	}
	return os.WriteFile(o.doc, []byte(out), 0o644)
}
