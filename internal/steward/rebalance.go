package steward

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/directory"
	"github.com/prytany/prytany/internal/placement"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

const (
	stepsDefault = 100
	pageSize     = 500             // groups asked for at a time
	askWithin    = 2 * time.Second // a node that takes longer to say what it leads is not counted on
	handOvers    = 8               // at a time
)

// Rebalance implements httpapi.Groups. Who leads a group is known to those with a part
// in it alone: each living node is asked for what it knows. A group whose members do
// not answer keeps its leader, whoever that is.
func (s *Steward) Rebalance(ctx context.Context, c api.Rebalance) (api.Rebalanced, error) {
	if err := s.fresh(ctx); err != nil {
		return api.Rebalanced{}, err
	}
	v, peers := s.cfg.Directory.View(), s.cfg.Peers()
	leaders := s.leaders(ctx, v, peers)
	nodes := loadsOf(v).candidates(peers, 0)
	for i := range nodes {
		for _, id := range leaders { //lint:ordered counts
			if nodes[i].ID == uint64(id) {
				nodes[i].Leads++
			}
		}
	}
	var groups []placement.Group
	for _, g := range v.Groups() {
		in := placement.Group{ID: uint64(g.ID), Name: g.Name, Wish: wishOf(g, peers), Leader: uint64(leaders[g.ID]), Busy: g.Plan.ID != 0}
		if g.ID == paxos.Main && g.Replicas == 0 {
			in.Wish.Replicas = len(g.Members)
		}
		for _, m := range g.Members {
			in.Members = append(in.Members, uint64(m.Node))
		}
		groups = append(groups, in)
	}
	limit := c.Limit
	if limit == 0 {
		limit = stepsDefault
	}
	out := api.Rebalanced{DryRun: c.DryRun, Steps: []api.RebalanceStep{}}
	steps := placement.Rebalance(groups, nodes, s.cfg.RTT, limit)
	for _, step := range steps {
		kind := map[bool]string{true: "lead", false: "member"}[step.Lead]
		out.Steps = append(out.Steps, api.RebalanceStep{
			Group: v.Group(paxos.GroupID(step.Group)).Name, Kind: kind, Why: step.Why,
			From: s.nameIn(v, peers, synod.NodeID(step.From)), To: s.nameIn(v, peers, synod.NodeID(step.To)),
		})
	}
	if !c.DryRun {
		s.take(ctx, v, peers, steps, out.Steps)
	}
	return out, nil
}

// take takes steps, and writes into told what becomes of each.
func (s *Steward) take(ctx context.Context, v *directory.View, peers []Peer, steps []placement.Step, told []api.RebalanceStep) {
	room := make(chan struct{}, handOvers)
	var all sync.WaitGroup
	for i, step := range steps {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			if err := s.step(ctx, v, peers, step); err != nil {
				told[i].Error = text(err)
			}
		})
	}
	all.Wait()
}

func (s *Steward) step(ctx context.Context, v *directory.View, peers []Peer, step placement.Step) error {
	g := v.Group(paxos.GroupID(step.Group))
	if ctx.Err() != nil {
		return refuse(api.CodeNotApplied, "there was no time left")
	}
	if step.Lead {
		return s.cfg.Transfer(ctx, g.Name, synod.NodeID(step.To).String())
	}
	_, err := s.begin(ctx, g, directory.Plan{Add: member(peers, synod.NodeID(step.To)), Remove: synod.NodeID(step.From), Why: "rebalance: " + step.Why})
	return err
}

// text is an error without its number and code.
func text(err error) string {
	if p, ok := errors.AsType[*api.Problem](err); ok && p.Detail != "" {
		return p.Detail
	}
	return err.Error()
}

// leaders asks all living nodes who leads the groups that they have a part in.
func (s *Steward) leaders(ctx context.Context, v *directory.View, peers []Peer) map[paxos.GroupID]synod.NodeID {
	out := map[paxos.GroupID]synod.NodeID{}
	here, _ := s.cfg.Host.Status()
	for _, g := range here {
		if g.Leader != 0 {
			out[g.Group] = g.Leader
		}
	}
	ids := map[string]synod.NodeID{}
	for _, p := range peers {
		if _, gone := v.RemovedNode(p.ID); !gone && p.Alive {
			ids[p.Name] = p.ID
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, p := range peers {
		if !p.Alive || p.ID == s.cfg.Self {
			continue
		}
		all.Go(func() {
			for _, g := range s.known(ctx, p.ID) {
				if id := ids[g.Leader]; id != 0 {
					mu.Lock()
					out[paxos.GroupID(g.ID)] = id
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return out
}

// known asks a node for all groups.
func (s *Steward) known(ctx context.Context, node synod.NodeID) (groups []api.Group) {
	for cursor := ""; ; {
		var page api.Groups
		path := "/v1/groups?limit=" + strconv.Itoa(pageSize)
		if cursor != "" {
			path += "&cursor=" + url.QueryEscape(cursor)
		}
		if err := s.cfg.Ask(ctx, node, http.MethodGet, path, nil, &page); err != nil {
			return groups
		}
		groups = append(groups, page.Groups...)
		if cursor = page.Cursor; cursor == "" || len(groups) > directory.MaxGroups {
			return groups
		}
	}
}
