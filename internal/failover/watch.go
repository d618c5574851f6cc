package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prytany/prytany/internal/api"
)

// pollEvery is how often each node is asked who leads.
const pollEvery = 20 * time.Millisecond

// A sight is a leader as it was first seen.
type sight struct {
	Ballot string  `json:"ballot"`
	Leader string  `json:"leader"`
	AtMS   float64 `json:"at_ms"` // since the fault
	at     time.Duration
}

// A watcher asks all nodes all the time whether they lead.
type watcher struct {
	nodes []*node
	epoch time.Time

	mu   sync.Mutex
	seen []sight
}

// run asks until ctx ends.
func (w *watcher) run(ctx context.Context) {
	var all sync.WaitGroup
	for _, n := range w.nodes {
		all.Go(func() {
			for ctx.Err() == nil {
				w.ask(ctx, n)
				sleep(ctx, pollEvery)
			}
		})
	}
	all.Wait()
}

func (w *watcher) ask(ctx context.Context, n *node) {
	ctx, cancel := context.WithTimeout(ctx, hasty)
	defer cancel()
	_, g, err := n.status(ctx)
	if err != nil || g.Role != api.RoleLeader {
		return // the others are asked too
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.seen {
		if s.Ballot == g.Ballot && s.Leader == n.name {
			return
		}
	}
	w.seen = append(w.seen, sight{Ballot: g.Ballot, Leader: n.name, at: time.Since(w.epoch)})
}

// leaders returns what was seen, with times since fault.
func (w *watcher) leaders(fault time.Duration) []sight {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]sight, len(w.seen))
	for i, s := range w.seen {
		s.AtMS = millis(s.at - fault)
		out[i] = s
	}
	return out
}

// round is the first part of a ballot.
func round(ballot string) (uint64, error) {
	first, _, _ := strings.Cut(ballot, ".")
	n, err := strconv.ParseUint(first, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("ballot %q: %w", ballot, err)
	}
	return n, nil
}

func millis(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}
