package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"syscall"
	"time"
)

// pause is for how long a node is stopped: longer than it takes to elect another leader.
const pause = time.Second

// A fault strikes one node.
type fault struct {
	name   string
	leader bool // it strikes the leader, and may cost one change of it
	strike func(context.Context, *cluster, *node) error
}

var faults = []fault{
	{"a follower stopped for a second", false, stopFor},
	{"the leader killed and restarted", true, killed},
	{"the leader stopped for a second", true, stopFor},
	{"a follower killed and restarted", false, killed},
	{"the lead handed over", true, handed},
}

// stopFor stops a node for a second.
func stopFor(ctx context.Context, _ *cluster, n *node) error {
	if err := n.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	sleep(ctx, pause)
	return n.Signal(syscall.SIGCONT)
}

func killed(ctx context.Context, c *cluster, n *node) error { return c.restart(ctx, n) }

func handed(ctx context.Context, _ *cluster, n *node) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	_, err := n.Do(ctx, n.probe, http.MethodPost, "/v1/leader:transfer", "{}")
	return err
}

// A struck is one fault that was.
type struck struct {
	Name    string
	Node    string
	At      time.Duration
	Allowed int   // changes of the leader
	Err     error // it did not come off
}

// breakNow has one fault after the other strike until ctx ends. One that cannot be,
// because the cluster does not settle, is an error.
func (r *soaked) breakNow(ctx context.Context) error {
	if r.o.fault <= 0 {
		return nil
	}
	dice := rand.New(rand.NewPCG(r.o.seed, 1))
	for round := 0; ; round++ {
		for _, k := range dice.Perm(len(faults)) {
			if !sleep(ctx, r.o.fault) {
				return nil
			}
			f := faults[k]
			s, err := r.c.settle(ctx)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			n := s.leader
			for !f.leader && n == s.leader {
				n = r.c.nodes[dice.IntN(len(r.c.nodes))]
			}
			is := struck{Name: f.name, Node: n.Name, At: time.Since(r.begin)}
			if f.leader {
				is.Allowed = 1
			}
			// What has begun is brought to its end, so that no node is left stopped.
			is.Err = f.strike(context.WithoutCancel(ctx), r.c, n)
			r.faults = append(r.faults, is)
			say("%v: %s, %s%s", is.At.Round(time.Second), f.name, n.Name, because(is.Err))
		}
	}
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprintf(": %v", err)
}
