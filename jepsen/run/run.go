//go:build linux

// Package run carries a whole run out: it makes a world, has clients work in it, a
// nemesis break it, and writes down what happened. Everything of one run lies in one
// directory: the history, the logs of the nodes, what they had on their disks.
package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/nemesis"
	"github.com/prytany/prytany/jepsen/resource"
	"github.com/prytany/prytany/jepsen/workload"
	"github.com/prytany/prytany/jepsen/world"
)

// ClientCommand is the argument by which a program that uses this package becomes a
// process of clients; see [Client].
const ClientCommand = "internal-client"

// The phases of a run beside its faults.
const (
	warmUp   = 2 * time.Second
	slowest  = 30 * time.Second // that the clients may take for enough calls before the first fault
	quiet    = 3 * time.Second
	recovery = 30 * time.Second // until the cluster has come to rest after a fault
	stopTime = 40 * time.Second // until all clients have stopped
	readTime = 2 * time.Minute  // until all have read everything
)

// Options say what to run.
type Options struct {
	Binary    string
	Version   string // of it
	Nodes     int
	Clients   int
	Time      time.Duration
	Seed      uint64
	Faults    []string
	Left      []string // faults that are left out, and why
	Workloads []string
	TTL       time.Duration
	Level     string
	Args      []string // more arguments for the nodes
	Out       string   // directory, made
	Snapshots bool     // so many calls that nodes take snapshots: the log is not whole then
	Abilities world.Abilities
	Name      string
	Say       func(format string, args ...any)
}

// A Record is what a run has left.
type Record struct {
	Run      history.Run
	Plan     []nemesis.Step
	Breaches []string       // what may not be, beside what the history shows
	Done     map[string]int // faults that came and went, by kind
	Counts   map[history.Kind]int
}

// Plan makes the plan of a run.
func (o Options) Plan() ([]nemesis.Step, error) {
	return nemesis.Plan(o.Seed, o.Faults, max(o.Time-warmUp-quiet, 0))
}

// A theatre is one run while it goes on.
type theatre struct {
	Options
	world   *world.World
	book    *book
	parties *parties
	things  *resource.Server
	nemesis *nemesis.Nemesis
	plan    []nemesis.Step
	run     history.Run
	lost    int // disks that were archived
	pulse   pulse
}

// Do carries a run out. An error is that it could not be: whatever is wrong with the
// service is in the record.
func Do(ctx context.Context, o Options) (rec Record, err error) {
	t := &theatre{Options: o}
	if t.plan, err = o.Plan(); err != nil {
		return rec, err
	}
	t.run = history.Run{
		Name: o.Name, Seed: o.Seed, Workload: strings.Join(o.Workloads, ","), Faults: kinds(t.plan), Time: o.Time, TTL: o.TTL, Drift: drift,
		Binary: o.Version, Left: o.Left, Started: time.Now(), Negative: slices.Contains(o.Workloads, "lock-unfenced"),
	}
	for i := range o.Nodes {
		t.run.Nodes = append(t.run.Nodes, fmt.Sprintf("n%d", i+1))
	}
	rec.Run, rec.Plan = t.run, t.plan
	if err := prepare(o.Out); err != nil {
		return rec, err
	}
	if err := t.open(ctx); err != nil {
		return rec, errors.Join(err, t.close())
	}
	err = t.act(ctx)
	rec.Breaches, rec.Done, rec.Counts = t.nemesis.Breaches(), t.nemesis.Done(), t.book.counts
	return rec, errors.Join(err, t.close())
}

// kinds are the faults of a plan: what is asked of a run depends on what happens in it,
// and not on what might have been drawn.
func kinds(plan []nemesis.Step) (names []string) {
	for _, s := range plan {
		if !slices.Contains(names, s.Fault) {
			names = append(names, s.Fault)
		}
	}
	return names
}

// prepare makes the directory of a run, and takes away what another run of the same seed
// has left in it.
func prepare(dir string) error {
	logs := filepath.Join(dir, "logs")
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return err
	}
	for _, pattern := range []string{DecidedFile(dir, "*"), filepath.Join(logs, "*.log")} {
		old, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, name := range old {
			if err := os.Remove(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// drift is by how much the rates of clocks are promised to differ at most.
const drift = 0.01

// pace is by how much longer than usual clients pause, so that the log stays whole: a
// node drops slots once it has 20,000 of them.
func (t *theatre) pace() float64 {
	const usual, most, fast = 500, 14_000, 0.05 // slots a second; slots in a run
	if t.Snapshots {
		return fast
	}
	return max(1, t.Time.Seconds()*usual/most)
}

// needs reports whether a fault of the plan cannot do without what.
func (t *theatre) needs(what nemesis.Need) bool {
	return slices.ContainsFunc(t.plan, func(s nemesis.Step) bool {
		f, _ := nemesis.Find(s.Fault)
		return slices.Contains(f.Needs, what)
	})
}

// open makes the world and starts the cluster.
func (t *theatre) open(ctx context.Context) (err error) {
	t.nemesis = &nemesis.Nemesis{Recovery: recovery}
	t.book = newBook(func() time.Duration { return 0 })
	t.world, err = world.New(world.Options{
		Binary: t.Binary, Seed: t.Seed, Nodes: t.Nodes, Spares: 1, Clients: t.Options.Clients, Disks: t.needs(nemesis.Disk), FUSE: t.needs(nemesis.FUSE), Clocks: t.needs(nemesis.Clock),
		Level: t.Level, Args: t.Args, Logs: filepath.Join(t.Out, "logs"),
	}, t.Abilities.Network == "")
	if err != nil {
		return err
	}
	t.Say("starting %d nodes", t.Nodes)
	return t.world.Form(ctx)
}

// close takes everything away.
func (t *theatre) close() (err error) {
	if t.parties != nil {
		t.parties.kill()
	}
	if t.world != nil {
		err = t.world.Close()
	}
	if t.things != nil {
		err = errors.Join(err, t.things.Close())
	}
	return err
}

// act is the run itself, from the first call to the last line of the history.
func (t *theatre) act(ctx context.Context) (err error) {
	file, err := os.Create(filepath.Join(t.Out, "history.ndjson"))
	if err != nil {
		return err
	}
	epoch := workload.Clock()
	lines := history.NewWriter(file, t.run)
	t.book.now = func() time.Duration { return time.Duration(workload.Clock() - epoch) }
	err = t.scenes(ctx, epoch)
	if t.parties != nil {
		if err == nil {
			err = t.parties.close()
		} else {
			t.parties.kill()
			_ = t.parties.close() // they were killed
		}
		t.parties = nil
	}
	t.book.mu.Lock()
	defer t.book.mu.Unlock()
	// In the order of time, which all processes share; each one's own order stays.
	slices.SortStableFunc(t.book.events, func(a, b history.Event) int { return cmp.Compare(a.At, b.At) })
	for _, e := range t.book.events {
		lines.Write(e)
	}
	if err != nil {
		// Without its last line a history is known to be none of a whole run.
		return errors.Join(err, lines.Flush(), file.Close())
	}
	return errors.Join(lines.Close(), file.Close())
}

// scenes is what happens between the first call and the end of the last node.
func (t *theatre) scenes(ctx context.Context, epoch int64) (err error) {
	socket := filepath.Join(t.world.Dir(), "resource")
	if t.things, err = resource.Serve(socket); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	spec := workload.Spec{Epoch: epoch, Seed: t.Seed, Nodes: t.world.URLs(), Names: t.run.Nodes, Workloads: t.Workloads, TTL: t.TTL, Resource: socket, Pace: t.pace()}
	if t.parties, err = startParties(t.world, spec, self, t.book); err != nil {
		return err
	}
	t.nemesis.World, t.nemesis.Clients, t.nemesis.Write, t.nemesis.Say, t.nemesis.Archive = t.world, t.parties, t.book.write, t.Say, t.archive
	t.nemesis.Stood = func() time.Duration { return t.pulse.stood(t.book.now()) }
	watching, stop := context.WithCancel(ctx)
	defer stop()
	var told sync.WaitGroup
	told.Go(func() { t.progress(watching) })
	pulse := make(chan error, 1)
	go func() { pulse <- t.watchMachine(watching) }()
	defer func() { stop(); told.Wait(); err = errors.Join(err, <-pulse) }()
	t.warm(ctx)
	until := time.Now().Add(t.Time - warmUp - quiet)
	if err := t.nemesis.Run(ctx, t.plan, until); err != nil {
		return err
	}
	sleep(ctx, time.Until(until))
	t.book.write(history.Event{Kind: history.Note, Text: "quiet"})
	sleep(ctx, quiet)
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return t.finish(ctx)
}

// warm lets clients work without faults: for a while, and on a slow machine until they
// have been answered often enough for the run to tell anything.
func (t *theatre) warm(ctx context.Context) {
	const enough, between = 300, 100 * time.Millisecond
	begin := time.Now()
	sleep(ctx, warmUp)
	for ctx.Err() == nil && time.Since(begin) < slowest && t.book.answered() < enough {
		sleep(ctx, between)
	}
	if late := time.Since(begin) - warmUp; late > between {
		t.book.write(history.Event{Kind: history.Note, Text: fmt.Sprintf("the faults begin %v later: so long it took until enough calls were answered", late.Round(between))})
	}
}

// finish has everything read, and ends the nodes.
func (t *theatre) finish(ctx context.Context) error {
	t.Say("reading everything")
	if err := t.parties.tell(ctx, workload.Stopped, stopTime, func(int) string { return workload.Stop }); err != nil {
		return err
	}
	if err := t.world.Drain(ctx, recovery); err != nil {
		return err
	}
	keys, things := t.book.objects()
	err := t.parties.tell(ctx, workload.HasRead, readTime, func(i int) string {
		list := keys
		if i == 0 {
			list = slices.Concat(keys, things)
		}
		return workload.Read + " " + strings.Join(list, " ")
	})
	if err != nil {
		return err
	}
	if err := t.world.Drain(ctx, recovery); err != nil {
		return err
	}
	return t.keep(ctx)
}

// objects are the entries, and the resources with a number sign, that clients used.
func (b *book) objects() (keys, things []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key := range b.keys {
		keys = append(keys, key)
	}
	for lock := range b.things {
		things = append(things, "#"+lock)
	}
	slices.Sort(keys)
	slices.Sort(things)
	return keys, things
}

// progress tells every few seconds how it goes.
func (t *theatre) progress(ctx context.Context) {
	const every = 5 * time.Second
	for {
		sleep(ctx, every)
		if ctx.Err() != nil {
			return
		}
		t.book.mu.Lock()
		c := t.book.counts
		ok, fail, info := c[history.OK], c[history.Fail], c[history.Info]
		t.book.mu.Unlock()
		t.Say("%v: %d ok, %d refused, %d unknown", t.book.now().Round(time.Second), ok, fail, info)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
