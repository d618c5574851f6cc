// Command groups measures what many groups cost on three nodes: what idle ones send
// and compute, how long a restart takes, how soon all are led again when the node of
// their leaders is killed, and what many busy ones achieve beside one. The nodes are
// processes of their own, on real disks, in a network namespace with nothing else in
// it, so that every packet in it is theirs.
//
//	go run ./internal/scale/groups -prytany bin/prytany
//
// It prints its figures as a table in Markdown, or puts it into a file between two
// marks, and fails if a write that was acknowledged is lost, or with -bars if a bar is
// missed. It needs Linux and either root or user namespaces.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/scale/fleet"
)

// options are the flags.
type options struct {
	binary string
	groups int
	idle   time.Duration
	busy   int
	rounds int
	round  time.Duration
	doc    string
	asJSON bool
	bars   bool
	log    string // kind
	inside bool
}

// A figure is one line of the result.
type figure struct {
	What  string `json:"what"`
	Value string `json:"value"`
	Bar   string `json:"bar,omitempty"` // what it must be at least or at most, and whether it is
	OK    bool   `json:"ok"`
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("groups", flag.ContinueOnError)
	f.StringVar(&o.binary, "prytany", "bin/prytany", "the `binary` to measure")
	f.IntVar(&o.groups, "groups", 1000, "how many groups, beside main")
	f.DurationVar(&o.idle, "idle", time.Minute, "how long idle nodes are watched, each time")
	f.IntVar(&o.busy, "busy", 16, "how many busy groups to compare with one")
	f.IntVar(&o.rounds, "rounds", 5, "how often that is compared")
	f.DurationVar(&o.round, "round", 5*time.Second, "how long one run of it lasts")
	f.StringVar(&o.doc, "doc", "", "put the table into this `file`, between the marks of groups")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	f.BoolVar(&o.bars, "bars", false, "fail if a bar is missed")
	f.StringVar(&o.log, "log-store", "", "start nodes with --log-store `KIND`, not as they do by themselves")
	f.BoolVar(&o.inside, "inside", false, "internal: work in this network namespace")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 || o.groups < 1 || o.busy < 1 || o.rounds < 1 {
		return o, errors.New("want no arguments, and numbers from 1")
	}
	return o, nil
}

func main() {
	runtime.LockOSThread() // children die with the thread that started them
	o, err := parse(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
	case o.inside:
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = measure(ctx, o)
	default:
		if code := enter(); code != 0 {
			os.Exit(code)
		}
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "groups:", err)
		os.Exit(1)
	}
}

// measure does everything and tells what there is, also after an error.
func measure(ctx context.Context, o options) error {
	figures, err := run(ctx, o)
	missed := 0
	for _, f := range figures {
		if !f.OK {
			missed++
		}
	}
	if o.bars && missed > 0 {
		err = errors.Join(err, fmt.Errorf("%d bars are missed", missed))
	}
	return errors.Join(err, tell(figures, o, err == nil))
}

// run measures everything; figures hold what was measured before an error.
func run(ctx context.Context, o options) (figures []figure, err error) {
	var more []string
	if o.log != "" {
		more = []string{"--log-store", o.log}
	}
	c, err := fleet.Start(ctx, o.binary, 3, more...)
	if err != nil {
		return nil, err
	}
	defer c.Stop()
	b := &bench{options: o, c: c}
	st, err := fleet.Ask[api.Status](ctx, c.Nodes[0], c.Nodes[0].HTTP1, http.MethodGet, "/v1/status", "")
	if err != nil {
		return nil, err
	}
	figures = append(figures, figure{What: "machine", Value: fmt.Sprintf("%d cores, %s; log %s", runtime.NumCPU(), runtime.Version(), st.Disk.Log), OK: true})
	for _, phase := range []func(context.Context) ([]figure, error){b.idleAndCreation, b.restarts, b.failover, b.writers, b.verify} {
		if ctx.Err() != nil {
			return figures, context.Cause(ctx)
		}
		more, err := phase(ctx)
		figures = append(figures, more...)
		if err != nil {
			return figures, err
		}
	}
	return figures, nil
}

// within is a figure with a bar.
func within(what, value, bar string, ok bool) figure {
	return figure{What: what, Value: value, Bar: bar + map[bool]string{true: ": yes", false: ": NO"}[ok], OK: ok}
}

// tell prints the figures; a file gets them only if they are complete.
func tell(figures []figure, o options, complete bool) error {
	if o.asJSON {
		return json.NewEncoder(os.Stdout).Encode(figures)
	}
	var b strings.Builder
	b.WriteString("| what | figure | bar |\n|---|---|---|\n")
	for _, f := range figures {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", f.What, f.Value, f.Bar)
	}
	if _, err := os.Stdout.WriteString(b.String()); err != nil || o.doc == "" || !complete {
		return err
	}
	text, err := os.ReadFile(o.doc)
	if err != nil {
		return err
	}
	out, err := replaced(string(text), b.String())
	if err != nil {
		return fmt.Errorf("%s: %w", o.doc, err)
	}
	return os.WriteFile(o.doc, []byte(out), 0o644)
}

// The marks between which a file has the table.
const (
	begins = "<!-- groups: begin -->\n"
	ends   = "<!-- groups: end -->\n"
)

// replaced is text with table between the marks.
func replaced(text, table string) (string, error) {
	before, rest, ok := strings.Cut(text, begins)
	_, after, ok2 := strings.Cut(rest, ends)
	if !ok || !ok2 {
		return "", errors.New("it lacks the marks of groups")
	}
	return before + begins + table + ends + after, nil
}

// say tells how far it is.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "groups: "+format+"\n", args...) }
