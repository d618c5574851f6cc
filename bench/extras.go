package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/prytany/prytany/bench/peer"
	"github.com/prytany/prytany/internal/load"
)

// A figure is one thing that was measured beside the cells, once a round.
type figure struct {
	What   string  `json:"what"`
	Unit   string  `json:"unit"`
	System string  `json:"system"`
	Round  int     `json:"round"`
	Value  float64 `json:"value"`
}

// extra measures one of the things that are no cells, for each system in turn.
func (b *bench) extra(ctx context.Context, what string) error {
	do := map[string]func(context.Context, string, int) error{
		"start": b.starting, "failover": b.failing, "memory": b.remembering, "idle": b.idling,
	}[what]
	names := split(b.systems)
	rounds := b.extraRounds
	if what == "memory" || what == "idle" {
		rounds = 1 // a fresh cluster, and long enough
	}
	for round := 1; round <= rounds; round++ {
		for i := range names {
			if err := do(ctx, names[(i+round)%len(names)], round); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
		}
	}
	return nil
}

func (b *bench) note(what, unit, system string, round int, value float64) {
	b.out.Figures = append(b.out.Figures, figure{what, unit, system, round, value})
	say("%s, round %d: %s: %.4g %s", what, round, system, value, unit)
}

// fresh runs f on a cluster that was started for it.
func (b *bench) fresh(ctx context.Context, name string, f func(s peer.System) error) error {
	s, err := b.start(name)
	if err != nil {
		return err
	}
	defer s.Nodes().Stop()
	if err := peer.Await(ctx, s, s.Ready); err != nil {
		return err
	}
	return f(s)
}

var everyNode = []int{0, 1, 2}

// starting measures how soon after its three processes were started an empty
// cluster grants a lock, and how soon all three serve and vote and have granted
// one each.
func (b *bench) starting(ctx context.Context, name string, round int) error {
	began := time.Now()
	s, err := b.start(name)
	if err != nil {
		return err
	}
	defer s.Nodes().Stop()
	grant := func(ctx context.Context, at []int, lock string) error {
		c, err := s.Clients(at, true)
		if err != nil {
			return err
		}
		defer c.Close()
		return peer.Await(ctx, s, func(ctx context.Context) error {
			try, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			session, err := c.Open(try, 0, ttl)
			if err != nil {
				return err
			}
			defer func() { _ = session.End(try) }()
			_, err = session.Cycle(try, lock)
			return err
		})
	}
	var first time.Duration
	var early error
	var both sync.WaitGroup
	both.Go(func() {
		early = grant(ctx, everyNode, "first")
		first = time.Since(began)
	})
	err = peer.Await(ctx, s, s.Ready)
	both.Wait()
	if err == nil {
		err = early
	}
	for i := 0; i < len(everyNode) && err == nil; i++ {
		err = grant(ctx, everyNode[i:i+1], fmt.Sprint("each/", i))
	}
	if err != nil {
		return err
	}
	b.note("from the start of three processes to the first lock granted", "ms", name, round, ms(first))
	b.note("from the start to all three vote and have granted one", "ms", name, round, ms(time.Since(began)))
	return nil
}

// remembering compares the memory and the processor time of nodes under the same
// load: so many puts a second, whatever else they could do.
func (b *bench) remembering(ctx context.Context, name string, round int) error {
	return b.fresh(ctx, name, func(s peer.System) error {
		c, err := s.Clients(everyNode, false)
		if err != nil {
			return err
		}
		defer c.Close()
		const workers = 64
		w, err := newWork(ctx, c, "put", "memory/", workers, b.size)
		if err != nil {
			return err
		}
		res, err := load.Run(ctx, load.Plan{Workers: workers, Rate: b.rate, Duration: b.warmup + 5*b.duration, Kinds: []string{"put"}, Do: w.do})
		if err != nil {
			return err
		}
		used, err := peer.Usages(s.Nodes())
		if err != nil {
			return err
		}
		if k := res.Kinds[0]; k.Failed > 0 || res.Late > 0 {
			return fmt.Errorf("%s: %d of %d puts a second failed, %d were never sent (%v): choose a smaller -rate", name, k.Failed, int(b.rate), res.Late, k.First)
		}
		if _, err := w.verify(ctx); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		text := fmt.Sprintf(", %.0f puts a second for %s", b.rate, b.warmup+5*b.duration)
		b.note("resident memory of a node"+text, "MiB", name, round, float64(used.Resident)/(1<<20))
		b.note("… of that without files", "MiB", name, round, float64(used.Private)/(1<<20))
		b.note("latency at 99 %"+text, "ms", name, round, ms(load.Quantile(res.Kinds[0].Latency, 99)))
		return nil
	})
}

// idling measures what nodes cost when nothing happens, and what sessions that do
// nothing but live add to that.
func (b *bench) idling(ctx context.Context, name string, round int) error {
	return b.fresh(ctx, name, func(s peer.System) error {
		span := 4 * b.duration
		spent := func() (u peer.Usage, err error) {
			before, err := peer.Usages(s.Nodes())
			if err != nil {
				return u, err
			}
			select {
			case <-time.After(span):
			case <-ctx.Done():
				return u, ctx.Err()
			}
			u, err = peer.Usages(s.Nodes())
			return u.Sub(before), err
		}
		quiet, err := spent()
		if err != nil {
			return err
		}
		c, err := s.Clients(everyNode, false)
		if err != nil {
			return err
		}
		defer c.Close()
		w, err := newWork(ctx, c, "lock", "idle/", b.sessions, b.size)
		if err != nil {
			return err
		}
		busy, err := spent()
		if err != nil {
			return err
		}
		if _, err := w.verify(ctx); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		share := func(u peer.Usage) float64 { return 100 * u.CPU.Seconds() / span.Seconds() }
		b.note("processor time of three idle nodes", "% of a core", name, round, share(quiet))
		text := fmt.Sprintf(" %d idle sessions", b.sessions)
		b.note("processor time of three nodes with"+text, "% of a core", name, round, share(busy))
		b.note("resident memory of a node, without files, with"+text, "MiB", name, round, float64(busy.Private)/(1<<20))
		return nil
	})
}

// failing kills the leader while puts come in at fixed times, and measures the
// longest time in which none was acknowledged.
func (b *bench) failing(ctx context.Context, name string, round int) error {
	return b.fresh(ctx, name, func(s peer.System) error {
		c, err := s.Clients(everyNode, true)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := b.settle(ctx, s); err != nil {
			return err
		}
		lead, err := s.Leader(ctx)
		if err != nil {
			return err
		}
		p := newProbe(ctx, c)
		time.Sleep(2 * time.Second)
		if err := s.Nodes().All[lead].Signal(syscall.SIGKILL); err != nil {
			return err
		}
		killed := time.Now()
		s.Nodes().All[lead].Kill() // waits for it
		time.Sleep(10 * time.Second)
		acks, failed := p.stop()
		gap, err := outage(acks, killed)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		b.note("kill -9 of the leader: longest time without an acknowledged put", "ms", name, round, ms(gap))
		b.note("… of 100 puts a second for 12 s with a time limit of 5 s each, failed", "puts", name, round, float64(failed))
		return p.verify(ctx, name)
	})
}

// probeEvery is how often a probe puts, whether or not it has been answered.
const probeEvery = 10 * time.Millisecond

// A probe puts at fixed times, each time to a key of its own.
type probe struct {
	clients peer.Clients
	end     context.CancelFunc
	all     sync.WaitGroup

	mu     sync.Mutex
	acks   []time.Time
	keys   []string // of what was acknowledged
	failed int
}

func newProbe(ctx context.Context, c peer.Clients) *probe {
	ctx, cancel := context.WithCancel(ctx)
	p := &probe{clients: c, end: cancel}
	p.all.Go(func() {
		ticks := time.NewTicker(probeEvery)
		defer ticks.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-ticks.C:
				p.all.Go(func() { p.put(context.WithoutCancel(ctx), n) })
			}
		}
	})
	return p
}

func (p *probe) put(ctx context.Context, n int) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	key := fmt.Sprintf("probe/%d", n)
	err := p.clients.Put(ctx, n, key, []byte(key))
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.failed++
		return
	}
	p.acks = append(p.acks, time.Now())
	p.keys = append(p.keys, key)
}

func (p *probe) stop() (acks []time.Time, failed int) {
	p.end()
	p.all.Wait()
	return p.acks, p.failed
}

// verify reads everything that was acknowledged.
func (p *probe) verify(ctx context.Context, name string) error {
	for i, key := range p.keys {
		got, _, err := p.clients.Get(ctx, i, key)
		if err != nil || string(got) != key {
			return fmt.Errorf("%s: %w: %s was acknowledged, and is %q (%v)", name, errWrong, key, got, err)
		}
	}
	return nil
}

// outage is the longest gap between acks that ended after killed.
func outage(acks []time.Time, killed time.Time) (gap time.Duration, err error) {
	slices.SortFunc(acks, time.Time.Compare)
	for i := 1; i < len(acks); i++ {
		if acks[i].After(killed) {
			gap = max(gap, acks[i].Sub(acks[i-1]))
		}
	}
	if len(acks) < 2 || !acks[len(acks)-1].After(killed) {
		return 0, fmt.Errorf("no put was acknowledged after the leader was killed")
	}
	return gap, nil
}
