package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"syscall"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/scale/fleet"
)

// failover kills the node that leads most, first as things are and then when it leads
// all, and measures until a write is acknowledged in every group that it led.
func (b *bench) failover(ctx context.Context) (out []figure, err error) {
	for _, all := range []bool{false, true} {
		victim, led, err := b.choose(ctx, all)
		if err != nil {
			return out, err
		}
		say("kill -9 of %s, which leads %d groups", victim.Name, len(led))
		f, err := b.kill(ctx, victim, led)
		if err != nil {
			return out, err
		}
		out = append(out, f)
	}
	return out, nil
}

// choose picks the node that leads most groups, or gives it the lead of all, and says
// which it leads.
func (b *bench) choose(ctx context.Context, all bool) (victim *fleet.Process, led []string, err error) {
	by, _, err := b.leads(ctx)
	if err != nil {
		return nil, nil, err
	}
	victim = b.c.Nodes[slices.Index(by, slices.Max(by))]
	groups, err := list(ctx, victim)
	if err != nil {
		return nil, nil, err
	}
	if all {
		err := parallel(len(groups), 16, func(i int) error {
			path := "/v1/leader:transfer"
			if groups[i].Name != api.MainGroup {
				path = "/v1/groups/" + groups[i].Name + "/leader:transfer"
			}
			var err error
			for range 10 { // who is busy with another change says so
				if _, err = victim.Do(ctx, victim.HTTP1, http.MethodPost, path, fmt.Sprintf(`{"to":%q}`, victim.Name)); err == nil {
					break
				}
				time.Sleep(200 * time.Millisecond)
			}
			return err
		})
		if err != nil {
			return nil, nil, err
		}
		if groups, err = list(ctx, victim); err != nil {
			return nil, nil, err
		}
	}
	for _, g := range groups {
		if g.Leader == victim.Name {
			led = append(led, g.Name)
		}
	}
	return victim, led, nil
}

// configPath is where a group has a key.
func configPath(group, key string) string {
	if group == api.MainGroup {
		return "/v1/config/" + key
	}
	return "/v1/groups/" + group + "/config/" + key
}

// kill ends the victim without a word and writes to every group that it led, through
// the others, until each write is acknowledged.
func (b *bench) kill(ctx context.Context, victim *fleet.Process, led []string) (f figure, err error) {
	rest := slices.DeleteFunc(slices.Clone(b.c.Nodes), func(p *fleet.Process) bool { return p == victim })
	for _, p := range rest { // connections are there already
		if err := parallel(16, 16, func(int) error { _, err := p.Do(ctx, p.HTTP2, http.MethodGet, "/livez", ""); return err }); err != nil {
			return f, err
		}
	}
	begin := time.Now()
	if err := victim.End(syscall.SIGKILL); err != nil {
		return f, err
	}
	took := make([]time.Duration, len(led))
	err = parallel(len(led), len(led), func(i int) error {
		for n := i; ; n++ {
			p := rest[n%len(rest)]
			within, cancel := context.WithTimeout(ctx, 2*time.Second)
			_, err := p.Do(within, p.HTTP2, http.MethodPut, configPath(led[i], "failover"), victim.Name)
			cancel()
			took[i] = time.Since(begin)
			if err == nil || ctx.Err() != nil || took[i] > time.Minute {
				return err
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	if err != nil {
		return f, err
	}
	slices.Sort(took)
	const most = 3 * time.Second
	last := took[len(took)-1]
	f = within(fmt.Sprintf("kill -9 of the node that leads %d of %d groups: until a write is acknowledged in each of them", len(led), b.groups+1),
		fmt.Sprintf("the last after %.2f s, half after %.2f s, the first after %.2f s", last.Seconds(), took[len(took)/2].Seconds(), took[0].Seconds()), "≤ 3 s", last <= most)
	if _, err := b.c.Run(ctx, victim); err != nil {
		return f, err
	}
	if err := b.settle(ctx, b.groups+1); err != nil {
		return f, err
	}
	for _, group := range led {
		got, err := victim.Get(ctx, configPath(group, "failover"))
		if err != nil || string(got) != victim.Name {
			return f, fmt.Errorf("group %s lost an acknowledged write: %q, %v", group, got, err)
		}
	}
	return f, nil
}
