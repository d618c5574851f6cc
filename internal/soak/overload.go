package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/scale/fleet"
)

const (
	keepers   = 100 // sessions that are kept alive beside an overload
	keeperTTL = 15 * time.Second
	keeperIn  = 5 * time.Second // for which each keepalive is held
	probing   = 64              // clients that measure what a cluster does
	probeFor  = 5 * time.Second
)

// overload offers a leader more than it does, and judges what it answers.
func overload(ctx context.Context, o options) ([]verdict, error) {
	say("overload: starting 3 nodes")
	c, err := start(ctx, o.binary, 3)
	if err != nil {
		return nil, err
	}
	defer c.stop()
	before, err := c.settle(ctx)
	if err != nil {
		return nil, err
	}
	rate, err := capacity(ctx, before.leader)
	if err != nil {
		return nil, err
	}
	k, err := openKeepers(ctx, c)
	if err != nil {
		return nil, err
	}
	say("overload: %d clients have %.0f writes a second done; offering %.0f a second for %v", probing, rate, rate*o.factor, o.overload)
	f, err := openFlood(ctx, before.leader, o.clients)
	if err != nil {
		return nil, err
	}
	defer f.close()
	var resident atomic.Int64
	begun := time.Now()
	again := begun
	watched, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	all.Go(func() { k.run(watched) })
	all.Go(func() {
		for sleep(watched, 500*time.Millisecond) {
			if u, err := before.leader.Usage(); err == nil {
				resident.Store(max(resident.Load(), u.Resident))
			}
		}
	})
	open, waiting := 0.0, 0.0
	all.Go(func() {
		for sleep(watched, 2*time.Second) {
			s := before.leader.take(watched, again)
			say("overload: %v: %.0f open, %.0f in the log, %.0f goroutines %s", s.At.Round(time.Millisecond), s.Tables["open requests"], s.Tables["requests in the log"], s.Goroutines, s.Error)
			open, waiting = max(open, s.Tables["open requests"]), max(waiting, s.Tables["requests in the log"])
		}
	})
	took := f.run(ctx, rate*o.factor, o.overload)
	again = time.Now()
	_, err = before.leader.Do(ctx, before.leader.probe, http.MethodPut, "/v1/config/overload/after", "x")
	back := time.Since(again)
	sleep(ctx, keeperIn+time.Second) // each keepalive of the time ends
	stop()
	all.Wait()
	if err := errors.Join(err, ctx.Err()); err != nil {
		return nil, err
	}
	after, err := c.settle(ctx)
	if err != nil {
		return nil, err
	}
	why := ""
	if before.ballot != after.ballot {
		why = reasons(ctx, c, begun)
	}
	r := overloaded{why: why, capacity: rate, factor: o.factor, took: took, before: before.ballot, after: after.ballot, back: back,
		resident: resident.Load(), open: open, waiting: waiting, renewed: int(k.renewed.Load()), expired: int(k.expired.Load()), late: time.Duration(k.late.Load())}
	f.fill(&r)
	return judgeOverload(r), nil
}

// reasons are why nodes wanted another leader since begun, by their own account.
func reasons(ctx context.Context, c *cluster, begun time.Time) string {
	var out []string
	for _, n := range c.nodes {
		all, err := fleet.Ask[api.NodeEvents](ctx, n.Process, n.probe, http.MethodGet, "/v1/events?limit=1000", "")
		if err != nil {
			continue
		}
		for _, e := range all.Events {
			if at, err := time.Parse(time.RFC3339Nano, e.Time); err == nil && at.After(begun) && (e.Kind == "discontent" || e.Kind == "unfit") && len(out) < 4 {
				out = append(out, e.Text)
			}
		}
	}
	return strings.Join(out, "; ")
}

// wide is a client whose many requests share few connections.
func wide() *http.Client {
	t := &http.Transport{DisableCompression: true, Protocols: new(http.Protocols)}
	t.Protocols.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: t}
}

// capacity is how many writes a second a leader has done for a few clients that wait for
// each.
func capacity(ctx context.Context, n *node) (float64, error) {
	client := wide()
	defer client.CloseIdleConnections()
	var count atomic.Int64
	begin := time.Now()
	var all sync.WaitGroup
	for i := range probing {
		all.Go(func() {
			for time.Since(begin) < probeFor && ctx.Err() == nil {
				if _, err := n.Do(ctx, client, http.MethodPut, fmt.Sprintf("/v1/config/overload/%d", i), "x"); err == nil {
					count.Add(1)
				}
			}
		})
	}
	all.Wait()
	rate := float64(count.Load()) / time.Since(begin).Seconds()
	if rate < 1 {
		return 0, fmt.Errorf("the cluster does %.1f writes a second", rate)
	}
	return rate, ctx.Err()
}

func refusal(status int) bool {
	return status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests
}

// keeping keeps sessions alive by held keepalives.
type keeping struct {
	c                      *cluster
	ids                    []string
	renewed, expired, late atomic.Int64
}

func openKeepers(ctx context.Context, c *cluster) (*keeping, error) {
	k := &keeping{c: c}
	for i := range keepers {
		n := c.node(i)
		s, err := fleet.Ask[api.SessionCreated](ctx, n.Process, n.HTTP1, http.MethodPost, "/v1/sessions", fmt.Sprintf(`{"ttl":%q}`, keeperTTL))
		if err != nil {
			return nil, err
		}
		k.ids = append(k.ids, s.ID)
	}
	return k, nil
}

// run renews all until ctx ends. Each has a client of its own, as in life: a connection
// shared with the flood would have it wait on this side.
func (k *keeping) run(ctx context.Context) {
	var all sync.WaitGroup
	for i, id := range k.ids {
		all.Go(func() {
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1, DisableCompression: true}, Timeout: keeperTTL}
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				n, begin := k.c.node(i), time.Now()
				_, err := n.Do(ctx, client, http.MethodPut, fmt.Sprintf("/v1/sessions/%s?hold=%v", id, keeperIn), "")
				switch took := time.Since(begin); {
				case ctx.Err() != nil:
				case err == nil:
					k.renewed.Add(1)
					k.slowest(took - keeperIn)
				case strings.Contains(err.Error(), string(api.CodeSessionExpired)):
					k.expired.Add(1)
					return
				default:
					k.slowest(took)
					sleep(ctx, 50*time.Millisecond)
				}
			}
		})
	}
	all.Wait()
}

func (k *keeping) slowest(took time.Duration) {
	for {
		was := k.late.Load()
		if int64(took) <= was || k.late.CompareAndSwap(was, int64(took)) {
			return
		}
	}
}

// overloaded is what an overload has shown.
type overloaded struct {
	capacity, factor float64
	took             time.Duration
	sent, unsent     int64
	failed           int64                   // no answer at all
	first            error                   // of those
	noRetryAfter     int64                   // refusals that do not say when to come again
	statuses         map[int][]time.Duration // how long answers took
	before, after    string                  // ballots
	why              string                  // nodes wanted another leader
	back             time.Duration           // what one write took right after it
	resident         int64                   // of the leader, at most
	open, waiting    float64                 // requests at the leader, and of them in the log, at most
	renewed, expired int
	late             time.Duration // of the slowest keepalive, beyond what it was held
}

func (f *flood) fill(r *overloaded) {
	r.sent, r.unsent, r.failed, r.noRetryAfter = f.sent.Load(), f.unsent.Load(), f.failed.Load(), f.noRetryAfter.Load()
	r.statuses, r.first = f.statuses, f.first
}

// refusedWithin is within what a refusal must come in half of all cases: the one who is
// refused shares two cores with the one who refuses.
const refusedWithin = time.Second

func judgeOverload(r overloaded) []verdict {
	var refusals, doneIn []time.Duration
	other := ""
	for _, status := range slices.Sorted(maps.Keys(r.statuses)) {
		switch took := r.statuses[status]; {
		case refusal(status):
			refusals = append(refusals, took...)
		case status < 300:
			doneIn = append(doneIn, took...)
		default:
			other += fmt.Sprintf(", %d answered %d after %v in the middle", len(took), status, median(took).Round(time.Millisecond))
		}
	}
	offered := float64(r.sent+r.unsent) / r.took.Seconds()
	out := []verdict{
		{What: "overload", Figure: fmt.Sprintf("%.0f writes a second are done for %d clients; %.0f a second were due for %v, of which %d were sent and %d found all clients waiting",
			r.capacity, probing, offered, r.took.Round(time.Second), r.sent, r.unsent)},
		{What: "… what came of them", Figure: fmt.Sprintf("%d done, %.0f a second, after %v in the middle; %d refused%s; %d without an answer%s; at the leader at most %.0f were open, %.0f of them in the log, %.0f MiB resident; a write right after it took %v",
			len(doneIn), float64(len(doneIn))/r.took.Seconds(), median(doneIn).Round(time.Millisecond), len(refusals), other, r.failed, because(r.first), r.open, r.waiting, mib(float64(r.resident)), r.back.Round(time.Millisecond))},
		{"… the leader stays", strings.TrimSuffix(fmt.Sprintf("ballot %s before, %s after: %s", r.before, r.after, r.why), ": "), "the same", r.before == r.after},
		{"… held keepalives", fmt.Sprintf("%d answered, the slowest %v beyond the %v that they are held; %d of %d sessions expired", r.renewed, r.late.Round(time.Millisecond), keeperIn, r.expired, keepers),
			fmt.Sprintf("none expires, at most %v beyond", keeperTTL-keeperIn), r.expired == 0 && r.renewed > 0 && r.late <= keeperTTL-keeperIn},
	}
	if len(refusals) == 0 {
		return append(out, verdict{What: "… refusals", Figure: "none: the clients here could not fill the bounds; try more -clients"})
	}
	m, p99 := median(refusals), quantile(refusals, 0.99)
	return append(out,
		verdict{"… refusals come fast", fmt.Sprintf("after %v in the middle, %v at 99 %%", m.Round(time.Millisecond), p99.Round(time.Millisecond)), fmt.Sprintf("the middle at most %v", refusedWithin), m <= refusedWithin},
		verdict{"… and say when to come again", fmt.Sprintf("%d of %d without Retry-After", r.noRetryAfter, len(refusals)), "none", r.noRetryAfter == 0})
}

func median(d []time.Duration) time.Duration { return quantile(d, 0.5) }

// quantile sorts d.
func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(int(q*float64(len(d))), len(d)-1)]
}
