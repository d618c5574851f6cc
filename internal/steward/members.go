package steward

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/directory"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// nodeID reads an id as its String writes it.
func nodeID(s string) (synod.NodeID, error) {
	n, err := strconv.ParseUint(s, 16, 64)
	return synod.NodeID(n), err
}

// AddMember implements httpapi.Groups.
func (s *Steward) AddMember(ctx context.Context, node string) (api.MemberChange, error) {
	if err := s.fresh(ctx); err != nil {
		return api.MemberChange{}, err
	}
	id, err := s.newcomer("node", node)
	if err != nil {
		return api.MemberChange{}, err
	}
	v, peers := s.cfg.Directory.View(), s.cfg.Peers()
	out := api.MemberChange{Node: id.String(), Name: s.nameIn(v, peers, id), Groups: []string{}}
	if old, taken := loadsOf(v).namesake(Peer{ID: id, Name: out.Name}); taken {
		p := refuse(api.CodeInvalid, "%v has a vote under the name %s: replace that one by this one, prytany member replace %s", old, out.Name, out.Name)
		p.Field, p.Value = "node", node
		return out, p
	}
	main := v.Group(paxos.Main)
	if seat(main.Members, id) {
		return out, nil
	}
	want := len(main.Members) + 1
	if want > directory.MaxReplicas {
		p := refuse(api.CodeInvalid, "main has %d voters, which is as many as there may be", len(main.Members))
		p.Field, p.Value, p.Limit = "node", node, strconv.Itoa(directory.MaxReplicas)
		return out, p
	}
	if main.Replicas == 0 {
		want = 0 // as many as there are: the directory may not have heard of all yet
	}
	plan := directory.Plan{Add: member(peers, id), Why: "an operator adds a member"}
	if _, err := s.beginWanting(ctx, main, plan, want); err != nil {
		return out, err
	}
	out.Groups = append(out.Groups, main.Name)
	return out, nil
}

// RemoveMember implements httpapi.Groups.
func (s *Steward) RemoveMember(ctx context.Context, node string, force bool) (api.MemberChange, error) {
	return s.takeOut(ctx, node, force, nil)
}

// ReplaceMember implements httpapi.Groups.
func (s *Steward) ReplaceMember(ctx context.Context, node, by string, force bool) (api.MemberChange, error) {
	return s.takeOut(ctx, node, force, func(old synod.NodeID, name string) (synod.NodeID, error) {
		if by != "" {
			id, err := s.newcomer("by", by)
			if err == nil && id == old {
				p := refuse(api.CodeInvalid, "a node cannot replace itself")
				p.Field, p.Value = "by", by
				return 0, p
			}
			return id, err
		}
		for _, p := range s.cfg.Peers() {
			if _, gone := s.cfg.Directory.View().RemovedNode(p.ID); p.Name == name && p.ID != old && p.Alive && !gone {
				return p.ID, nil
			}
		}
		return 0, nil // whichever suits
	})
}

// replaced reports that id, a node that lives, is known by this name because it has replaced
// another of it. To have the node of this name replaced is then what was done already, and
// is asked once more: the answer may have been lost. Whoever means the new one gives its id.
func replaced(v *directory.View, peers []Peer, name string, id synod.NodeID) (directory.Removed, bool) {
	if !slices.ContainsFunc(peers, func(p Peer) bool { return p.ID == id && p.Alive }) {
		return directory.Removed{}, false
	}
	for _, r := range v.Removed() {
		if r.By == id && r.Name == name {
			return r, true
		}
	}
	return directory.Removed{}, false
}

// takeOut decides that a node has no part in anything any more, and who takes its places,
// if it is to have a successor. The leaders of its groups do the rest.
func (s *Steward) takeOut(ctx context.Context, node string, force bool, successor func(synod.NodeID, string) (synod.NodeID, error)) (api.MemberChange, error) {
	if err := s.fresh(ctx); err != nil {
		return api.MemberChange{}, err
	}
	id, err := s.resolve("node", node, true)
	if err != nil {
		return api.MemberChange{}, err
	}
	v, peers := s.cfg.Directory.View(), s.cfg.Peers()
	out := api.MemberChange{Node: id.String(), Name: s.nameIn(v, peers, id), Groups: []string{}}
	var of []*directory.Group
	for _, g := range v.Groups() {
		if seat(g.Members, id) {
			of = append(of, g)
			out.Groups = append(out.Groups, g.Name)
		}
	}
	if r, gone := v.RemovedNode(id); gone { // a repetition
		if r.By != 0 {
			out.By = s.nameIn(v, peers, r.By)
		}
		return out, nil
	}
	var by synod.NodeID
	if successor != nil {
		if r, done := replaced(v, peers, node, id); done {
			return api.MemberChange{Node: r.Node.String(), Name: r.Name, By: out.Name, Groups: []string{}}, nil
		}
		if by, err = successor(id, out.Name); err != nil {
			return out, err
		}
	}
	if by != 0 {
		out.By = s.nameIn(v, peers, by)
	}
	if !force {
		if err := atRisk(of, id, peers, loadsOf(v)); err != nil {
			return out, err
		}
	}
	res, err := s.command(ctx, &directory.Remove{Node: id, Name: out.Name, By: by})
	if err == nil {
		err = problemOf(res)
	}
	return out, err
}

// atRisk refuses to take node out of groups that could not go on without it, or
// cannot go on at all. Error: an [*api.Problem].
func atRisk(groups []*directory.Group, node synod.NodeID, peers []Peer, l loads) error {
	up := alive(peers)
	spares := 0
	for _, n := range l.candidates(peers, 0) {
		if n.Alive && synod.NodeID(n.ID) != node {
			spares++
		}
	}
	var at []string
	for _, g := range groups {
		all, rest := 0, 0
		for _, m := range g.Members {
			switch {
			case !up[m.Node]:
			case m.Node == node:
				all++
			default:
				all, rest = all+1, rest+1
			}
		}
		n := len(g.Members)
		switch {
		case all < synod.Majorities(n).Q1: // nothing can be decided
		case n == 1 && spares > 0:
			continue
		case n > 1 && rest >= synod.Majorities(n-1).Q1:
			continue
		}
		at = append(at, g.Name)
	}
	if len(at) == 0 {
		return nil
	}
	const most = 5
	text := strings.Join(at[:min(most, len(at))], ", ")
	if len(at) > most {
		text += fmt.Sprintf(" and %d more", len(at)-most)
	}
	return refuse(api.CodeQuorumAtRisk, "those who stay and are alive would be no quorum, or there is none now, in %s", text)
}

// Counts sums up the groups on this node.
func (s *Steward) Counts() (c api.GroupCounts) {
	here, _ := s.cfg.Host.Status()
	for _, g := range here {
		c.Here++
		if g.Leading {
			c.Leads++
		}
		if g.Leader == 0 {
			c.Leaderless++
		}
	}
	c.Known = len(s.cfg.Directory.View().Groups())
	return c
}

// Votes counts the groups of which each node is a voter.
func (s *Steward) Votes() map[synod.NodeID]int {
	votes := map[synod.NodeID]int{}
	for _, g := range s.cfg.Directory.View().Groups() {
		for _, m := range g.Members {
			votes[m.Node]++
		}
	}
	return votes
}

// Members returns the nodes to pass requests for a group on to, the living first and
// of those the nearest; none if the group is unknown.
func (s *Steward) Members(name string) (ids []synod.NodeID) {
	g := s.cfg.Directory.View().Named(name)
	if g == nil {
		return nil
	}
	up := alive(s.cfg.Peers())
	far := func(id synod.NodeID) int64 {
		d, ok := s.cfg.RTT(uint64(s.cfg.Self), uint64(id))
		if !ok {
			d = 1 << 40
		}
		if !up[id] {
			d += 1 << 50
		}
		return int64(d)
	}
	for _, m := range g.Members {
		ids = append(ids, m.Node)
	}
	slices.SortFunc(ids, func(a, b synod.NodeID) int { return compare(far(a), far(b), uint64(a), uint64(b)) })
	return ids
}

func compare(a, b int64, x, y uint64) int {
	switch {
	case a != b && a < b, a == b && x < y:
		return -1
	case a == b && x == y:
		return 0
	}
	return 1
}
