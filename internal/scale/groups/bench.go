package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/scale/fleet"
)

// A bench is one measurement.
type bench struct {
	options
	c    *fleet.Cluster
	acks []atomic.Int64 // acknowledged writes of each writer
}

// groupName is the i-th group's, from 0.
func groupName(i int) string { return fmt.Sprintf("g%04d", i) }

// parallel runs f for 0 to n-1, at most width at a time, and returns the first error.
func parallel(n, width int, f func(i int) error) error {
	var next atomic.Int64
	var mu sync.Mutex
	var first error
	var all sync.WaitGroup
	failed := func() bool { mu.Lock(); defer mu.Unlock(); return first != nil }
	for range min(n, width) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && !failed(); i = int(next.Add(1)) - 1 {
				if err := f(i); err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return first
}

// list reads all groups from one node.
func list(ctx context.Context, p *fleet.Process) (all []api.Group, err error) {
	for cursor := ""; ; {
		g, err := fleet.Ask[api.Groups](ctx, p, p.HTTP1, http.MethodGet, "/v1/groups?limit=1000&cursor="+url.QueryEscape(cursor), "")
		if err != nil {
			return nil, err
		}
		all = append(all, g.Groups...)
		if cursor = g.Cursor; cursor == "" {
			return all, nil
		}
	}
}

// leads counts the groups that each node leads, as it says itself, and those without
// a leader.
func (b *bench) leads(ctx context.Context) (by []int, all int, err error) {
	for _, p := range b.c.Nodes {
		st, err := fleet.Ask[api.Status](ctx, p, p.HTTP1, http.MethodGet, "/v1/status", "")
		if err != nil {
			return nil, 0, err
		}
		by, all = append(by, st.Counts.Leads), all+st.Counts.Leads
	}
	return by, all, nil
}

// settle waits until every group is led by one node.
func (b *bench) settle(ctx context.Context, groups int) error {
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if _, all, err := b.leads(ctx); err == nil && all == groups {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return errors.New("not all groups are led")
}

// A load is what idle nodes did in some time.
type load struct {
	traffic
	cpu  time.Duration // of all nodes
	took time.Duration
}

// cpu is the processor time that all nodes together have used.
func (b *bench) cpu() (sum time.Duration, err error) {
	all, err := b.c.Usages()
	for _, u := range all {
		sum += u.CPU
	}
	return sum, err
}

// watch looks at idle nodes.
func (b *bench) watch(ctx context.Context) (l load, err error) {
	select {
	case <-time.After(5 * time.Second): // connections of what came before end
	case <-ctx.Done():
		return l, context.Cause(ctx)
	}
	begin := time.Now()
	before, err := readTraffic()
	if err != nil {
		return l, err
	}
	used, err := b.cpu()
	if err != nil {
		return l, err
	}
	select {
	case <-time.After(b.idle):
	case <-ctx.Done():
		return l, context.Cause(ctx)
	}
	after, err := readTraffic()
	if err != nil {
		return l, err
	}
	now, err := b.cpu()
	return load{after.minus(before), now - used, time.Since(begin)}, err
}

// idleAndCreation measures idle nodes with main alone, makes the groups, and measures
// again.
func (b *bench) idleAndCreation(ctx context.Context) (out []figure, err error) {
	say("idle with main alone, %v", b.idle)
	one, err := b.watch(ctx)
	if err != nil {
		return nil, err
	}
	say("creating %d groups", b.groups)
	begin := time.Now()
	err = parallel(b.groups, 16, func(i int) error {
		p := b.c.Node(i)
		body, err := json.Marshal(api.CreateGroup{Name: groupName(i), Replicas: 3})
		if err == nil {
			_, err = p.Do(ctx, p.HTTP1, http.MethodPost, "/v1/groups", string(body))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	took := time.Since(begin)
	if err := b.settle(ctx, b.groups+1); err != nil {
		return nil, err
	}
	by, _, err := b.leads(ctx)
	if err != nil {
		return nil, err
	}
	out = append(out, figure{What: fmt.Sprintf("%d groups created, 16 at a time, each led when answered", b.groups), OK: true,
		Value: fmt.Sprintf("%.1f s, %.0f a second; n1, n2, n3 lead %d, %d, %d", took.Seconds(), float64(b.groups)/took.Seconds(), by[0], by[1], by[2])})
	say("idle with %d groups, %v", b.groups+1, b.idle)
	many, err := b.watch(ctx)
	if err != nil {
		return out, err
	}
	return append(out, compare(one, many, b.groups+1)...), nil
}

// compare tells what idle nodes did with main alone and with many groups.
func compare(one, many load, groups int) []figure {
	rate := func(l load, n int64) float64 { return float64(n) / l.took.Seconds() }
	core := func(l load) float64 { return 100 * l.cpu.Seconds() / l.took.Seconds() }
	sent := rate(many, many.packets()) / rate(one, one.packets())
	cpu := core(many) / core(one)
	const most = 1.10
	return []figure{
		within(fmt.Sprintf("packets between three idle nodes, %d groups against 1", groups),
			fmt.Sprintf("%.1f a second (%.1f TCP, %.1f UDP, %.0f bytes) against %.1f (%.1f, %.1f, %.0f): ratio %.3f",
				rate(many, many.packets()), rate(many, many.segments), rate(many, many.datagrams), rate(many, many.bytes),
				rate(one, one.packets()), rate(one, one.segments), rate(one, one.datagrams), rate(one, one.bytes), sent),
			"≤ 1.10", sent <= most),
		within(fmt.Sprintf("processor time of the three together, %d groups against 1", groups),
			fmt.Sprintf("%.2f %% of a core against %.2f %%: ratio %.3f", core(many), core(one), cpu), "≤ 1.10", cpu <= most),
	}
}

// restarts ends one node politely, and one not, and measures how long they take to be
// ready.
func (b *bench) restarts(ctx context.Context) (out []figure, err error) {
	p := b.c.Nodes[2]
	const most = 10 * time.Second
	for _, how := range []struct {
		name string
		sig  syscall.Signal
	}{{"SIGTERM", syscall.SIGTERM}, {"SIGKILL", syscall.SIGKILL}} {
		say("restart of %s after %s", p.Name, how.name)
		begin := time.Now()
		if err := p.End(how.sig); err != nil {
			return out, err
		}
		ended := time.Since(begin)
		took, err := b.c.Run(ctx, p)
		if err != nil {
			return out, err
		}
		u, err := p.Usage()
		if err != nil {
			return out, err
		}
		out = append(out, within(fmt.Sprintf("restart of a node with %d groups after %s: from exec to /readyz", b.groups+1, how.name),
			fmt.Sprintf("%.2f s (%.2f s of processor time; it took %.2f s to end)", took.Seconds(), u.CPU.Seconds(), ended.Seconds()), "≤ 10 s", took <= most))
		if err := b.settle(ctx, b.groups+1); err != nil {
			return out, err
		}
	}
	return out, nil
}
