//go:build linux

package world

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prytany/prytany/internal/api"
)

// Leader returns the node that leads main by the highest ballot, as far as nodes
// answer; nil if none says so.
func (w *World) Leader(ctx context.Context) *Node {
	var (
		all   sync.WaitGroup
		mu    sync.Mutex
		best  uint64
		leads *Node
	)
	for _, n := range w.Nodes {
		if !n.Running() {
			continue
		}
		all.Go(func() {
			_, g, err := n.Status(ctx)
			if err != nil || g.Role != api.RoleLeader {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if r := round(g.Ballot); leads == nil || r > best {
				best, leads = r, n
			}
		})
	}
	all.Wait()
	return leads
}

// round is the first part of a ballot.
func round(ballot string) uint64 {
	first, _, _ := strings.Cut(ballot, ".")
	n, _ := strconv.ParseUint(first, 10, 64)
	return n
}

// Settle waits until all nodes that should vote do, are content and have applied the
// same, several times in a row, and returns the leader. The error of one that does
// not within limit says why.
func (w *World) Settle(ctx context.Context, limit time.Duration) (*Node, error) {
	const (
		between = 60 * time.Millisecond
		enough  = 4
	)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last *Node
	var reason error // the newest that is not only that the time was over
	for same := 0; same < enough; {
		leader, why := w.standing(ctx)
		if why != nil && ctx.Err() == nil {
			reason = why
		}
		switch {
		case why != nil:
			same = 0
		case leader == last:
			same++
		default:
			last, same = leader, 1
		}
		select {
		case <-ctx.Done():
			return last, fmt.Errorf("the cluster does not settle: %w (%s)", cmp.Or(reason, context.Cause(ctx)), w.describe(context.WithoutCancel(ctx)))
		case <-time.After(between):
		}
	}
	return last, nil
}

// describe says how every node sees the group, in one line.
func (w *World) describe(ctx context.Context) string {
	var all []string
	for _, n := range w.Voters() {
		if !n.Running() {
			all = append(all, n.Name+" does not run")
			continue
		}
		_, g, err := n.Status(ctx)
		if err != nil {
			all = append(all, fmt.Sprintf("%s: %v", n.Name, err))
			continue
		}
		all = append(all, fmt.Sprintf("%s: %s, ballot %s, content %t (%s), decided %d, applied %d", n.Name, g.Role, g.Ballot, g.Content, g.Why, g.Decided, g.Applied))
	}
	return strings.Join(all, "; ")
}

// standing asks all nodes that vote once; an error says why they are not settled.
func (w *World) standing(ctx context.Context) (leader *Node, err error) {
	var ballot string
	for i, n := range w.Voters() {
		st, g, err := n.Status(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n.Name, err)
		}
		if !g.Content || !st.Disk.Healthy || g.Role == api.RoleLearner || g.Role == api.RoleNone {
			return nil, fmt.Errorf("%s is a %s, content %t, disk healthy %t: %s", n.Name, g.Role, g.Content, st.Disk.Healthy, g.Why)
		}
		if len(g.Voters) != w.Options.Nodes {
			return nil, fmt.Errorf("%s knows the voters %v", n.Name, g.Voters)
		}
		if i > 0 && g.Ballot != ballot {
			return nil, fmt.Errorf("ballots differ: %s and %s", g.Ballot, ballot)
		}
		ballot = g.Ballot
		if g.Role == api.RoleLeader {
			leader = n
		}
	}
	if leader == nil {
		return nil, errors.New("no leader")
	}
	return leader, nil
}

// Drain waits until all nodes that vote have applied the same and nothing is under
// way. Nobody may write meanwhile.
func (w *World) Drain(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		why := w.even(ctx)
		if why == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the nodes do not come to the same slot: %w", why)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (w *World) even(ctx context.Context) error {
	var applied uint64
	for i, n := range w.Voters() {
		_, g, err := n.Status(ctx)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", n.Name, err)
		case g.InFlight > 0:
			return fmt.Errorf("%s has %d slots under way", n.Name, g.InFlight)
		case i > 0 && g.Applied != applied:
			return fmt.Errorf("%s has applied %d, others %d", n.Name, g.Applied, applied)
		}
		applied = g.Applied
	}
	return nil
}
