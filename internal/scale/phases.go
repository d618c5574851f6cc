package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/scale/fleet"
)

// parallel runs f for 0 to n-1, at most width at a time, and returns the first
// error.
func parallel(n, width int, f func(i int) error) error {
	var next atomic.Int64
	var first atomic.Pointer[error]
	var all sync.WaitGroup
	for range min(n, width) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && first.Load() == nil; i = int(next.Add(1)) - 1 {
				if err := f(i); err != nil {
					first.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	all.Wait()
	if err := first.Load(); err != nil {
		return *err
	}
	return nil
}

// openSessions opens n sessions and returns their ids.
func openSessions(ctx context.Context, c *fleet.Cluster, n int, ttl time.Duration) ([]string, error) {
	ids := make([]string, n)
	err := parallel(n, 128, func(i int) error {
		p := c.Node(i)
		s, err := fleet.Ask[api.SessionCreated](ctx, p, p.HTTP1, http.MethodPost, "/v1/sessions", fmt.Sprintf(`{"ttl":%q}`, ttl))
		ids[i] = s.ID
		return err
	})
	return ids, err
}

// measureSessions keeps many sessions alive, each of which holds a lock, by
// held keepalives.
func measureSessions(ctx context.Context, c *fleet.Cluster, o options) ([]figure, error) {
	before, err := c.Usages()
	if err != nil {
		return nil, err
	}
	say("opening %d sessions with a TTL of %v", o.sessions, o.ttl)
	began := time.Now()
	kept := &keepers{c: c}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	err = parallel(o.sessions, 128, func(i int) error {
		p := c.Node(i)
		s, err := fleet.Ask[api.SessionCreated](ctx, p, p.HTTP1, http.MethodPost, "/v1/sessions", fmt.Sprintf(`{"ttl":%q}`, o.ttl))
		if err != nil {
			return err
		}
		kept.all.Go(func() { kept.keep(ctx, i, s.ID, o.ttl*2/3) })
		_, err = p.Do(ctx, p.HTTP1, http.MethodPut, fmt.Sprintf("/v1/locks/scale/%d", i), fmt.Sprintf(`{"session":%q}`, s.ID))
		return err
	})
	if err != nil {
		return nil, err
	}
	opened := time.Since(began)
	say("all are open and hold their locks after %v; keeping them for %v", opened.Round(time.Millisecond), o.last)
	start, err := c.Usages()
	if err != nil {
		return nil, err
	}
	renewals := kept.renewals.Load()
	select {
	case <-time.After(o.last):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	end, err := c.Usages()
	if err != nil {
		return nil, err
	}
	renewals = kept.renewals.Load() - renewals
	sessions, held, err := count(ctx, c)
	if err != nil {
		return nil, err
	}
	stop()
	kept.all.Wait()
	out := []figure{
		{fmt.Sprintf("%d sessions opened, each with a lock", o.sessions), fmt.Sprintf("%.1f s, %.0f a second", opened.Seconds(), float64(o.sessions)/opened.Seconds())},
		{"alive after " + o.last.String() + " of held keepalives", fmt.Sprintf("%d sessions, %d locks held", sessions, held)},
		{"renewals", fmt.Sprintf("%d, %.0f a second, %d sent again", renewals, float64(renewals)/o.last.Seconds(), kept.failures.Load())},
		{"expired that were not due", fmt.Sprint(kept.expired.Load())},
	}
	for i, p := range c.Nodes {
		out = append(out, figure{p.Name, fmt.Sprintf("%.0f MiB resident (%.0f before), %d bytes a session; %.0f %% of a core",
			mib(end[i].Resident), mib(before[i].Resident), (end[i].Resident-before[i].Resident)/int64(o.sessions),
			100*(end[i].CPU-start[i].CPU).Seconds()/o.last.Seconds())})
	}
	if sessions != o.sessions || held != o.sessions || kept.expired.Load() > 0 {
		return out, errors.New("sessions or locks are missing")
	}
	return out, nil
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// keepers keep sessions alive.
type keepers struct {
	c                           *fleet.Cluster
	all                         sync.WaitGroup
	renewals, failures, expired atomic.Int64
}

// keep renews a session until ctx ends: what fails is sent again to another
// node, as the client does.
func (k *keepers) keep(ctx context.Context, i int, id string, hold time.Duration) {
	path := "/v1/sessions/" + id + "?hold=" + hold.String()
	for ctx.Err() == nil {
		p := k.c.Node(i)
		_, err := p.Do(ctx, p.HTTP2, http.MethodPut, path, "")
		switch {
		case err == nil:
			k.renewals.Add(1)
		case ctx.Err() != nil:
		case strings.Contains(err.Error(), string(api.CodeSessionExpired)):
			k.expired.Add(1)
			return
		default:
			if k.failures.Add(1) < 5 {
				say("a keepalive failed: %v", err)
			}
			i++
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// count counts the sessions and the locks held of this measurement.
func count(ctx context.Context, c *fleet.Cluster) (sessions, held int, err error) {
	p := c.Nodes[0]
	for cursor := ""; ; {
		page, err := fleet.Ask[api.Sessions](ctx, p, p.HTTP1, http.MethodGet, "/v1/sessions?cursor="+cursor, "")
		if err != nil {
			return 0, 0, err
		}
		sessions += len(page.Sessions)
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	for cursor := ""; ; {
		page, err := fleet.Ask[api.Locks](ctx, p, p.HTTP1, http.MethodGet, "/v1/locks?prefix=scale/&cursor="+cursor, "")
		if err != nil {
			return 0, 0, err
		}
		for _, l := range page.Locks {
			held += len(l.Holders)
		}
		if cursor = page.Next; cursor == "" {
			return sessions, held, nil
		}
	}
}

// measureQueue has many wait for one lock, who all let go as soon as they have
// it.
func measureQueue(ctx context.Context, c *fleet.Cluster, o options) ([]figure, error) {
	say("queueing %d waiters for one lock", o.waiters)
	ids, err := openSessions(ctx, c, o.waiters+1, time.Minute)
	if err != nil {
		return nil, err
	}
	p := c.Nodes[0]
	g, err := fleet.Ask[api.Grant](ctx, p, p.HTTP1, http.MethodPut, "/v1/locks/queue", fmt.Sprintf(`{"session":%q}`, ids[0]))
	if err != nil {
		return nil, err
	}
	fences := make([]uint64, o.waiters)
	var all sync.WaitGroup
	var failed atomic.Pointer[error]
	for i := range o.waiters {
		all.Go(func() {
			if err := waitOnce(ctx, c.Node(i), ids[i+1], &fences[i]); err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
	}
	l, err := awaitQueue(ctx, p, o.waiters)
	if err != nil {
		return nil, err
	}
	before := l.Waiters[0].Since
	began := time.Now()
	if _, err := release(ctx, p, g.Fence); err != nil {
		return nil, err
	}
	all.Wait()
	took := time.Since(began)
	if err := failed.Load(); err != nil {
		return nil, *err
	}
	order := map[string]uint64{}
	for i, f := range fences {
		order[ids[i+1]] = f
	}
	last := uint64(0)
	for _, w := range l.Waiters {
		if order[w.Session] <= last {
			return nil, fmt.Errorf("the lock was not granted in the order of the queue: fence %d after %d", order[w.Session], last)
		}
		last = order[w.Session]
	}
	for _, id := range ids {
		if _, err := p.Do(ctx, p.HTTP1, http.MethodDelete, "/v1/sessions/"+id, ""); err != nil {
			return nil, err
		}
	}
	return []figure{
		{fmt.Sprintf("%d waiters for one lock, each lets go at once", o.waiters), fmt.Sprintf("granted in order in %.2f s, %.2f ms each", took.Seconds(), took.Seconds()*1000/float64(o.waiters))},
		{"commands in the log for that", fmt.Sprintf("%d: %d to queue, %d to let go; nobody asks twice", last-before+1, o.waiters, o.waiters)},
	}, nil
}

// waitOnce waits for the lock and lets it go.
func waitOnce(ctx context.Context, p *fleet.Process, id string, fence *uint64) error {
	g, err := fleet.Ask[api.Grant](ctx, p, p.HTTP2, http.MethodPut, "/v1/locks/queue?wait=2m", fmt.Sprintf(`{"session":%q}`, id))
	if err != nil {
		return err
	}
	*fence = g.Fence
	_, err = release(ctx, p, g.Fence)
	return err
}

func release(ctx context.Context, p *fleet.Process, fence uint64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, p.URL+"/v1/locks/queue", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("If-Match", api.FormatETag(fence))
	resp, err := p.HTTP1.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusNoContent {
		return resp, fmt.Errorf("release of fence %d: %s", fence, resp.Status)
	}
	return resp, nil
}

// awaitQueue waits until so many wait.
func awaitQueue(ctx context.Context, p *fleet.Process, n int) (api.Lock, error) {
	for range 1000 {
		l, err := fleet.Ask[api.Lock](ctx, p, p.HTTP1, http.MethodGet, "/v1/locks/queue", "")
		if err != nil || len(l.Waiters) == n {
			return l, err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return api.Lock{}, errors.New("the queue did not form")
}

// measureWatchers has many watch one prefix.
func measureWatchers(ctx context.Context, c *fleet.Cluster, o options) ([]figure, error) {
	say("opening %d watches of one prefix", o.watchers)
	before, err := c.Usages()
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	w := &watchers{c: c, want: o.changes, delays: make([]time.Duration, o.watchers*o.changes), sent: make([]atomic.Int64, o.changes)}
	var all sync.WaitGroup
	var failed atomic.Pointer[error]
	w.ready.Add(o.watchers)
	for i := range o.watchers {
		all.Go(func() {
			if err := w.watch(ctx, i); err != nil && ctx.Err() == nil {
				failed.CompareAndSwap(nil, &err)
				stop()
			}
		})
	}
	ready := make(chan struct{})
	go func() { w.ready.Wait(); close(ready) }()
	select {
	case <-ready:
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), deref(&failed))
	}
	after, err := c.Usages()
	if err != nil {
		return nil, err
	}
	say("all watch; making %d changes", o.changes)
	began := time.Now()
	w.began.Store(&began)
	p := c.Nodes[0]
	for i := range o.changes {
		w.sent[i].Store(int64(time.Since(began)))
		if _, err := p.Do(ctx, p.HTTP1, http.MethodPut, fmt.Sprintf("/v1/config/watched/%d", i), fmt.Sprint(i)); err != nil {
			return nil, err
		}
	}
	all.Wait()
	took := time.Since(began)
	if err := deref(&failed); err != nil {
		return nil, err
	}
	slices.Sort(w.delays)
	n := len(w.delays)
	out := []figure{
		{fmt.Sprintf("%d watchers of one prefix, %d changes", o.watchers, o.changes), fmt.Sprintf("%d events in %.1f s, %.0f a second; none missing, none twice, all in order", n, took.Seconds(), float64(n)/took.Seconds())},
		{"from before the put to the watcher", fmt.Sprintf("median %v, 99 %% %v", w.delays[n/2].Round(time.Millisecond), w.delays[n*99/100].Round(time.Millisecond))},
	}
	for i, p := range c.Nodes {
		mine := int64(o.watchers / len(c.Nodes))
		out = append(out, figure{p.Name + " with its watches open", fmt.Sprintf("%d bytes a watch", (after[i].Resident-before[i].Resident)/mine)})
	}
	return out, nil
}

func deref(p *atomic.Pointer[error]) error {
	if err := p.Load(); err != nil {
		return *err
	}
	return nil
}

// watchers watch the same prefix.
type watchers struct {
	c      *fleet.Cluster
	ready  sync.WaitGroup
	want   int
	began  atomic.Pointer[time.Time]
	sent   []atomic.Int64 // when each change was sent, since began
	delays []time.Duration
}

// watch reads all changes at one node.
func (w *watchers) watch(ctx context.Context, i int) error {
	isReady := sync.OnceFunc(w.ready.Done)
	defer isReady()
	p := w.c.Node(i)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+"/v1/watch/watched/", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", api.TypeNDJSON)
	resp, err := p.HTTP2.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("watch: %s", resp.Status)
	}
	seen := 0
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		var e api.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("watch: %w: %s", err, lines.Text())
		}
		switch {
		case e.Type == api.EventBookmark:
			isReady()
		case e.Type != api.EventPut || e.Name != fmt.Sprintf("watched/%d", seen):
			return fmt.Errorf("watch: %s of %s where the put of watched/%d was due", e.Type, e.Name, seen)
		default:
			w.delays[i*w.want+seen] = time.Since(*w.began.Load()) - time.Duration(w.sent[seen].Load())
			if seen++; seen == w.want {
				return nil
			}
		}
	}
	return errors.New("watch: the stream ended")
}
