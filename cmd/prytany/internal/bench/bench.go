// Package bench has the commands that measure a cluster from outside: how many
// operations a second it does, how long each takes, and for how long it stands
// still when its leader goes. Everything that was acknowledged is looked for at
// the end: figures of a cluster that forgets are worth nothing.
package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/internal/load"
)

// The bounds of what can be asked for.
const (
	mostClients = 10000
	mostKeys    = 10000000
	leastValue  = 32      // a value tells its key and which write it is of
	mostValue   = 1 << 18 // the API's bound
)

// settings are the flags of the commands.
type settings struct {
	clients  int
	rate     float64
	duration time.Duration
	warmup   time.Duration
	size     int
	keys     int
	locks    int
	ttl      time.Duration
	reads    float64
	prefix   string
	keep     bool
}

// Command returns the command bench, which has the others below it.
func Command(a *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure the cluster under load",
		Long: `Drives the cluster with so many clients for so long, and prints the rate and the latencies. Clients are spread over the
addresses of --addr. Without --rate each begins an operation when its last one has ended. With --rate operations are due at
fixed times, and latencies count from when one was due: a cluster that stands still for a second makes everybody wait who
came in that second.

What was acknowledged is looked for at the end, and what was written is removed. Exit code 1: something was lost.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return a.UnknownCommand(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(putCommand(a), getCommand(a), mixedCommand(a), lockCommand(a), failoverCommand(a))
	return cmd
}

// addFlags adds the flags of all commands that drive a cluster by a plan.
func (s *settings) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.IntVar(&s.clients, "clients", 16, "how many operations are under way at a time")
	f.Float64Var(&s.rate, "rate", 0, "operations that are due each second; 0: each client goes on when it has its answer")
	f.DurationVar(&s.duration, "duration", 10*time.Second, "for how long to measure")
	f.DurationVar(&s.warmup, "warmup", time.Second, "for how long to do the same before that")
	f.StringVar(&s.prefix, "prefix", "bench/", "what the names of all keys and locks begin with")
	f.BoolVar(&s.keep, "keep", false, "leave what was written where it is")
}

// addEntryFlags adds the flags of commands about config entries.
func (s *settings) addEntryFlags(cmd *cobra.Command) {
	cmd.Flags().IntVar(&s.size, "value-size", 256, "`bytes` of each value")
	cmd.Flags().IntVar(&s.keys, "keys", 0, "how many keys to use, at random; 0: one for each client")
}

// check refuses settings that make no sense. help is the command to try.
func (s *settings) check(cmd *cobra.Command) error {
	help := cmd.CommandPath() + " --help"
	name := cli.CommandName(cmd)
	has := func(flag string) bool { return cmd.Flags().Lookup(flag) != nil }
	switch {
	case s.clients < 1 || s.clients > mostClients:
		return cli.Usage("%s: --clients %d: want 1 to %d", name, s.clients, mostClients).Try(help)
	case has("rate") && !(s.rate >= 0 && s.rate <= 1e9): // NaN is neither
		return cli.Usage("%s: --rate %v: want 0 or more operations a second", name, s.rate).Try(help)
	case has("duration") && s.duration <= 0:
		return cli.Usage("%s: --duration %s: want more than nothing", name, s.duration).Try(help)
	case has("warmup") && s.warmup < 0:
		return cli.Usage("%s: --warmup %s: want 0s or more", name, s.warmup).Try(help)
	case has("value-size") && (s.size < leastValue || s.size > mostValue):
		return cli.Usage("%s: --value-size %d: want %d to %d bytes", name, s.size, leastValue, mostValue).Try(help)
	case has("keys") && (s.keys < 0 || s.keys > mostKeys):
		return cli.Usage("%s: --keys %d: want 0 to %d", name, s.keys, mostKeys).Try(help)
	case has("locks") && (s.locks < 0 || s.locks > mostClients):
		return cli.Usage("%s: --locks %d: want 0 to %d", name, s.locks, mostClients).Try(help)
	case has("reads") && !(s.reads >= 0 && s.reads <= 1):
		return cli.Usage("%s: --reads %v: want a share from 0 to 1", name, s.reads).Try(help)
	case s.prefix == "" || len(s.prefix) > 400:
		return cli.Usage("%s: --prefix has %d bytes: want 1 to 400", name, len(s.prefix)).Try(help)
	}
	return nil
}

// A task is what the workers do.
type task interface {
	kinds() []string
	// prepare does what has to be there before, by all workers together.
	prepare(ctx context.Context) error
	do(ctx context.Context, worker, n int) (kind int, err error)
	// verify looks for everything that was acknowledged, blames what is wrong, and
	// returns how many operations it has accounted for.
	verify(ctx context.Context) (checked int64, err error)
	// clean removes what was written.
	clean(ctx context.Context) error
}

// A base is what all tasks have.
type base struct {
	*settings
	app     *cli.App
	clients []*client.Client // worker i uses the one at i modulo their number
	run     string           // prefix of all names of this run

	mu    sync.Mutex
	wrong []string // what no correct cluster does
}

// blame notes what no correct cluster does.
func (b *base) blame(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wrong = append(b.wrong, fmt.Sprintf(format, args...))
}

func (b *base) client(worker int) *client.Client { return b.clients[worker%len(b.clients)] }

// connect makes the clients, and asks the cluster something, so that a user who
// mistook the address hears of it at once.
func (s *settings) connect(ctx context.Context, a *cli.App, ttl time.Duration) (*base, error) {
	// A fall of the whole cluster is no reason to give up later.
	begin, cancel := context.WithCancel(ctx)
	defer cancel()
	all, err := a.ClientsSpread(ttl, cancel)
	if err != nil {
		return nil, err
	}
	b := &base{settings: s, app: a, clients: all, run: s.prefix + strings.ToLower(rand.Text()[:8]) + "/"}
	if _, err := all[0].Get(begin, b.run); !errors.Is(err, client.ErrNotFound) {
		if sig, ok := cli.SignalOf(ctx); ok {
			return nil, a.Interrupted(sig, err)
		}
		return nil, err
	}
	return b, nil
}

// measure carries out a task and prints what came of it.
func (b *base) measure(ctx context.Context, name string, t task) (err error) {
	if !b.keep {
		defer func() { err = errors.Join(err, b.tidy(ctx, t)) }()
	}
	if err := t.prepare(ctx); err != nil {
		return err
	}
	line := newLine(b.app)
	work, end := lingering(ctx)
	defer end()
	res, err := load.Run(ctx, load.Plan{
		Workers: b.settings.clients, Rate: b.rate, Warmup: b.warmup, Duration: b.duration,
		Kinds: t.kinds(), Unclear: unclear,
		Do:       func(_ context.Context, worker, n int) (int, error) { return t.do(work, worker, n) },
		Progress: func(p load.Progress) { line.show(b.settings, p) },
	})
	line.end()
	if err != nil {
		return err
	}
	rep := b.report(name, res)
	if sig, ok := cli.SignalOf(ctx); ok {
		// What was measured so far is still worth printing.
		if err := show(b.app, rep); err != nil {
			return err
		}
		return cli.Failure(sig.Code(), "%v; nothing was verified", sig)
	}
	if rep.Verified, err = t.verify(ctx); err != nil {
		return err
	}
	rep.Wrong = append(rep.Wrong, b.wrong...)
	if err := show(b.app, rep); err != nil {
		return err
	}
	return rep.verdict(res)
}

// lingerFor is for how long what is under way may go on when somebody stops a command.
const lingerFor = 5 * time.Second

// lingering is ctx, and lasts a little longer: what is under way when somebody stops it comes
// to its end, or it could be done after all was removed.
func lingering(ctx context.Context) (context.Context, context.CancelFunc) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(lingerFor, cancel) })
	return work, func() { stop(); cancel() }
}

// tidy removes what was written, also after a signal.
func (b *base) tidy(ctx context.Context, t task) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(b.app.Timeout, 10*time.Second))
	defer cancel()
	if err := t.clean(ctx); err != nil {
		b.app.Say("prytany: could not remove what was written below %s: %v", b.run, err)
		b.app.Say("try: prytany list %s, and prytany delete", b.run)
	}
	return nil
}

// unclear reports whether an error leaves open what happened.
func unclear(err error) bool { return errors.Is(err, client.ErrUnknownOutcome) }
