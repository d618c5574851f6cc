package main

import (
	"context"
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

// crowds are how many clients write at a time, each one after the other: what is too few
// for many groups is many for one.
var crowds = []int{64, 256, 1024}

// writers compares one busy group with several, in turns, so that what else the
// machine does hits both alike: through any node, and through the one that leads. What
// each can do at most is compared at the end.
func (b *bench) writers(ctx context.Context) (out []figure, err error) {
	b.acks = make([]atomic.Int64, slices.Max(crowds))
	busy := min(b.busy, b.groups)
	for _, direct := range []bool{false, true} {
		how := map[bool]string{false: "at all nodes in turn", true: "at the node that leads"}[direct]
		var most [2]float64
		for _, clients := range crowds {
			p, err := b.pairs(ctx, clients, busy, direct)
			if err != nil {
				return out, err
			}
			most[0], most[1] = max(most[0], median(p.one)), max(most[1], median(p.many))
			out = append(out, figure{OK: true, What: fmt.Sprintf("%d writers %s, %d busy groups against 1, %d pairs of %v", clients, how, busy, b.rounds, b.round),
				Value: p.String()})
		}
		out = append(out, within(fmt.Sprintf("what %d groups do at most against what one does, writers %s", busy, how),
			fmt.Sprintf("%.0f a second against %.0f: ratio %.2f", most[1], most[0], most[1]/most[0]), "≥ 1", most[1] >= most[0]))
	}
	return out, nil
}

// pairs are rates of one group and of several, and what a write cost in µs of the nodes'
// processor time.
type pairs struct {
	one, many []float64
	cost      [2]float64
}

func (p pairs) String() string {
	var ratios []float64
	for i := range p.many {
		ratios = append(ratios, p.many[i]/p.one[i])
	}
	return fmt.Sprintf("%.0f a second against %.0f (medians); ratio %.2f (%s); %.0f µs of the nodes' processor time for a write against %.0f",
		median(p.many), median(p.one), median(ratios), numbers(ratios), p.cost[1], p.cost[0])
}

func (b *bench) pairs(ctx context.Context, clients, busy int, direct bool) (p pairs, err error) {
	for i := range b.rounds {
		say("%d writers, round %d of %d", clients, i+1, b.rounds)
		for k, n := range []int{1, busy} {
			rate, us, err := b.write(ctx, clients, n, direct)
			if err != nil {
				return p, err
			}
			p.cost[k] += us / float64(b.rounds)
			if k == 0 {
				p.one = append(p.one, rate)
			} else {
				p.many = append(p.many, rate)
			}
		}
	}
	return p, nil
}

func median(list []float64) float64 {
	s := slices.Sorted(slices.Values(list))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func numbers(list []float64) string {
	var parts []string
	for _, v := range list {
		parts = append(parts, fmt.Sprintf("%.2f", v))
	}
	return strings.Join(parts, ", ")
}

// targets says where each of the first n groups is written to.
func (b *bench) targets(ctx context.Context, n int, direct bool) (at []*fleet.Process, err error) {
	groups, err := list(ctx, b.c.Nodes[0])
	if err != nil {
		return nil, err
	}
	for i := range n {
		k := slices.IndexFunc(groups, func(g api.Group) bool { return g.Name == groupName(i) })
		if k < 0 {
			return nil, fmt.Errorf("there is no group %s", groupName(i))
		}
		at = append(at, nil)
		for _, p := range b.c.Nodes {
			if direct && p.Name == groups[k].Leader {
				at[i] = p
			}
		}
	}
	return at, nil
}

// write lets all clients write to n groups for a round and returns the rate, and the
// nodes' processor time for one write in µs. Values
// are the numbers of the writes of one client, so that a lost one can be told.
func (b *bench) write(ctx context.Context, clients, n int, direct bool) (rate, us float64, err error) {
	at, err := b.targets(ctx, n, direct)
	if err != nil {
		return 0, 0, err
	}
	used, err := b.cpu()
	if err != nil {
		return 0, 0, err
	}
	padding := strings.Repeat("x", 250)
	var count atomic.Int64
	var mu sync.Mutex
	var first error
	var all sync.WaitGroup
	begin := time.Now()
	for w := range clients {
		all.Go(func() {
			group := w % n
			p := at[group]
			if p == nil {
				p = b.c.Node(w)
			}
			for time.Since(begin) < b.round && ctx.Err() == nil {
				next := b.acks[w].Load() + 1
				body := fmt.Sprintf("%d %s", next, padding)
				if _, err := p.Do(ctx, p.HTTP1, http.MethodPut, configPath(groupName(group), key(clients, w, n)), body); err != nil {
					mu.Lock()
					first = err
					mu.Unlock()
					return
				}
				b.acks[w].Store(next)
				count.Add(1)
			}
		})
	}
	all.Wait()
	if first != nil {
		return 0, 0, first
	}
	rate = float64(count.Load()) / time.Since(begin).Seconds()
	now, err := b.cpu()
	if err != nil {
		return 0, 0, err
	}
	return rate, float64((now - used).Microseconds()) / float64(count.Load()), b.check(ctx, clients, n)
}

// key is what a client writes to while n groups are busy.
func key(clients, w, n int) string { return fmt.Sprintf("of/%d/writer/%d/of/%d", clients, w, n) }

// check reads every client's last write at another node than it wrote to.
func (b *bench) check(ctx context.Context, clients, n int) error {
	return parallel(clients, 16, func(w int) error {
		p := b.c.Node(w + 1)
		got, err := p.Do(ctx, p.HTTP1, http.MethodGet, configPath(groupName(w%n), key(clients, w, n)), "")
		if err != nil {
			return err
		}
		if number, _, _ := strings.Cut(string(got), " "); number != fmt.Sprint(b.acks[w].Load()) {
			return fmt.Errorf("writer %d: write %d is acknowledged, and %s is there", w, b.acks[w].Load(), number)
		}
		return nil
	})
}

// verify looks once more that every group is there and led.
func (b *bench) verify(ctx context.Context) ([]figure, error) {
	if err := b.settle(ctx, b.groups+1); err != nil {
		return nil, err
	}
	groups, err := list(ctx, b.c.Nodes[1])
	if err != nil {
		return nil, err
	}
	if len(groups) != b.groups+1 {
		return nil, fmt.Errorf("%d groups are listed, not %d", len(groups), b.groups+1)
	}
	var resident []string
	usages, err := b.c.Usages()
	for _, u := range usages {
		resident = append(resident, fmt.Sprintf("%.0f", float64(u.Resident)/(1<<20)))
	}
	return []figure{{What: "resident memory of the nodes at the end", Value: strings.Join(resident, ", ") + " MiB", OK: true}}, err
}
