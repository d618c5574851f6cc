package steward

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/directory"
	"github.com/prytany/prytany/internal/placement"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// loads are the numbers of members on each node in one view.
type loads struct {
	view  *directory.View
	count map[synod.NodeID]int
	named map[string][]synod.NodeID // members by name, each once
}

// loadsOf counts v's members: those that are and those that are to be.
func loadsOf(v *directory.View) loads {
	l := loads{v, map[synod.NodeID]int{}, map[string][]synod.NodeID{}}
	for _, g := range v.Groups() {
		for _, m := range g.Members {
			if m.Node == g.Plan.Remove {
				l.count[m.Node]--
			}
			if l.count[m.Node]++; m.Name != "" && !slices.Contains(l.named[m.Name], m.Node) {
				l.named[m.Name] = append(l.named[m.Name], m.Node)
			}
		}
		if add := g.Plan.Add.Node; add != 0 && !seat(g.Members, add) {
			l.count[add]++
		}
	}
	return l
}

// namesake returns another node with a vote that has p's name and was not removed:
// p is new and has taken its name, for its disk is empty or by mistake.
func (l loads) namesake(p Peer) (synod.NodeID, bool) {
	for _, id := range l.named[p.Name] {
		if _, gone := l.view.RemovedNode(id); id != p.ID && !gone {
			return id, true
		}
	}
	return 0, false
}

// candidates are the nodes that may become members: alive, not removed, and without a
// namesake that has a vote, but for a node that is meant.
func (l loads) candidates(peers []Peer, meant synod.NodeID) (nodes []placement.Node) {
	for _, p := range peers {
		_, gone := l.view.RemovedNode(p.ID)
		_, twice := l.namesake(p)
		nodes = append(nodes, placement.Node{
			ID: uint64(p.ID), Name: p.Name, Zone: p.Zone, Load: l.count[p.ID],
			Alive: p.Alive && !gone && (!twice || p.ID == meant),
		})
	}
	return nodes
}

// wishOf is what is asked of the members of g.
func wishOf(g *directory.Group, peers []Peer) placement.Wish {
	w := placement.Wish{Replicas: g.Replicas, Zones: g.Zones}
	for _, p := range peers {
		if p.Name == g.Near && g.Near != "" {
			w.Near = uint64(p.ID)
		}
	}
	return w
}

// find finds one more member for g, in the place of losing if that is one. by is the
// node that is to be it, if it can.
func (s *Steward) find(g *directory.Group, members []paxos.Member, l loads, peers []Peer, want wish) (m paxos.Member, why string, ok bool) {
	w := wishOf(g, peers)
	nodes := l.candidates(peers, want.by)
	w.Replicas = 1
	for _, v := range members {
		if v.Node == want.losing {
			w.Avoid = append(w.Avoid, uint64(v.Node))
			continue
		}
		w.Keep = append(w.Keep, uint64(v.Node))
		w.Replicas++
	}
	i := slices.IndexFunc(nodes, func(n placement.Node) bool {
		return n.ID == uint64(want.by) && n.Alive && !seat(members, synod.NodeID(n.ID))
	})
	if i >= 0 {
		return member(peers, want.by), nodes[i].Name + " takes its places", true
	}
	chosen, whys := placement.Choose(nodes, s.cfg.RTT, w)
	for i, id := range chosen {
		if !seat(members, synod.NodeID(id)) && i < len(whys) {
			return member(peers, synod.NodeID(id)), whys[i], true
		}
	}
	return m, "", false
}

// member is how a node is written into a configuration.
func member(peers []Peer, id synod.NodeID) paxos.Member {
	for _, p := range peers {
		if p.ID == id {
			return paxos.Member{Node: id, Name: p.Name, PeerAddr: p.PeerAddr}
		}
	}
	return paxos.Member{Node: id}
}

// spare finds one more member for g while Run decides: what it has begun and the
// directory does not show yet counts too.
func (s *Steward) spare(r *round, g *directory.Group, want wish) (paxos.Member, string, bool) {
	if s.loads.view != s.view {
		s.loads = loadsOf(s.view)
	}
	l := s.loads
	l.count = map[synod.NodeID]int{}
	for id, n := range s.loads.count { //lint:ordered a copy
		l.count[id] = n
	}
	for _, c := range s.cares { //lint:ordered counts
		if c.adding != 0 {
			l.count[c.adding]++
		}
	}
	st, _ := s.cfg.Host.Group(g.ID)
	return s.find(g, st.Membership.Voters, l, r.list, want)
}

// worst returns the member that a group needs least.
func (s *Steward) worst(r *round, g *directory.Group, m paxos.Membership) (synod.NodeID, string) {
	for _, v := range m.Voters {
		if v.Node != s.cfg.Self && !r.up[v.Node] && !r.peers[v.Node].Alive {
			return v.Node, v.Name + " is not in reach"
		}
	}
	if s.loads.view != s.view {
		s.loads = loadsOf(s.view)
	}
	var nodes []placement.Node
	for _, n := range s.loads.candidates(r.list, 0) {
		if m.Seat(synod.NodeID(n.ID)) >= 0 {
			n.Alive = true
			nodes = append(nodes, n)
		}
	}
	w := wishOf(g, r.list)
	w.Replicas = len(m.Voters) - 1
	chosen, _ := placement.Choose(nodes, s.cfg.RTT, w)
	for i := len(m.Voters) - 1; i >= 0; i-- {
		if v := m.Voters[i]; !slices.Contains(chosen, uint64(v.Node)) {
			return v.Node, "the others are placed better than " + v.Name
		}
	}
	last := m.Voters[len(m.Voters)-1]
	return last.Node, last.Name + " came last"
}

// nameOf returns a node's name, or its id if nobody told.
func (s *Steward) nameOf(id synod.NodeID) string {
	if id == 0 {
		return ""
	}
	return s.nameIn(s.cfg.Directory.View(), s.cfg.Peers(), id)
}

func (s *Steward) nameIn(v *directory.View, peers []Peer, id synod.NodeID) string {
	if name := member(peers, id).Name; name != "" {
		return name
	}
	if r, ok := v.RemovedNode(id); ok && r.Name != "" {
		return r.Name
	}
	for _, g := range v.Groups() {
		if m, ok := g.Member(id); ok && m.Name != "" {
			return m.Name
		}
	}
	return id.String()
}

// A Seat says that the cluster knows a voter of this node's name with another
// identity: this node's directory is new.
func (s *Steward) Seat() (voter synod.NodeID, taken bool) {
	v := s.cfg.Directory.View()
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := &s.named; c.view != v { // it is asked again and again, and a view never changes
		c.view = v
		c.voter, c.taken = loadsOf(v).namesake(Peer{ID: s.cfg.Self, Name: s.cfg.Name})
	}
	return s.named.voter, s.named.taken
}

// resolve finds a node by id or name: first among those with votes, then among those
// that gossip knows. Error: an [*api.Problem].
func (s *Steward) resolve(field, who string, voters bool) (synod.NodeID, error) {
	v, peers := s.cfg.Directory.View(), s.cfg.Peers()
	l := loadsOf(v)
	var found []synod.NodeID
	add := func(id synod.NodeID, name string) {
		if (id.String() == who || name == who) && !slices.Contains(found, id) {
			found = append(found, id)
		}
	}
	for name, ids := range l.named { //lint:ordered into a list that is sorted
		for _, id := range ids {
			if _, gone := v.RemovedNode(id); !gone || id.String() == who {
				add(id, name)
			}
		}
	}
	if len(found) == 0 || !voters {
		found = s.others(found, who, v, peers, voters)
	}
	slices.Sort(found)
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		p := refuse(api.CodeNodeUnknown, "no node has this name or id, as far as %s knows", s.cfg.Name)
		p.Field, p.Value = field, who
		return 0, p
	}
	p := refuse(api.CodeInvalid, "%d nodes have this name: say which by its id, such as %v", len(found), found[0])
	p.Field, p.Value = field, who
	return 0, p
}

// others adds to found the nodes called who that gossip knows. Whoever looks for a
// node to give places to, not for one that has them, prefers the living.
func (s *Steward) others(found []synod.NodeID, who string, v *directory.View, peers []Peer, voters bool) []synod.NodeID {
	var living []synod.NodeID
	for _, p := range peers {
		if p.ID.String() != who && p.Name != who {
			continue
		}
		if _, gone := v.RemovedNode(p.ID); gone && p.ID.String() != who {
			continue
		}
		if !slices.Contains(found, p.ID) {
			found = append(found, p.ID)
		}
		if p.Alive {
			living = append(living, p.ID)
		}
	}
	if !voters && len(living) > 0 {
		return living
	}
	if len(found) == 0 {
		for _, r := range v.Removed() {
			if r.Name == who || r.Node.String() == who {
				return []synod.NodeID{r.Node}
			}
		}
	}
	return found
}

func refuse(code api.Code, format string, args ...any) *api.Problem {
	return &api.Problem{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// alive returns which nodes gossip shows alive.
func alive(peers []Peer) map[synod.NodeID]bool {
	out := map[synod.NodeID]bool{}
	for _, p := range peers {
		out[p.ID] = p.Alive
	}
	return out
}

// byName sorts groups.
func byName(a, b *directory.Group) int { return cmp.Compare(a.Name, b.Name) }
