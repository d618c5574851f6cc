package paxos

import (
	"github.com/prytany/prytany/synod"
)

// Status is what others may know about a Group. Its Membership shares memory
// with the group's, and nobody changes that.
type Status struct {
	Group      GroupID
	Membership Membership
	Promised   synod.Ballot
	Leading    bool         // phase 1 is complete
	Campaign   bool         // phase 1 is under way
	Ballot     synod.Ballot // own ballot while Leading or Campaign
	Decided    Slot
	First      Slot // first slot still in the log (below: snapshot only)
	Last       Slot // highest slot with a vote or proposal
	InFlight   int
	Marks      map[synod.NodeID]Slot // leader: how far each voter has voted
	Nacked     []synod.NodeID        // leader, candidate: voters that refused Ballot, in ordinal order
	Learners   map[synod.NodeID]Slot // where each learner asked to catch up from, lately
	Recovered  bool                  // leader: everything inherited is chosen; reads may be served
}

// Status returns the present state.
func (g *Group) Status() Status {
	st := Status{
		Group:      g.cfg.Group,
		Membership: g.m,
		Promised:   g.promised,
		Leading:    g.lead != nil,
		Campaign:   g.camp != nil,
		Ballot:     g.ownBallot(),
		Decided:    g.decided,
		First:      g.log.first,
		Last:       max(g.log.last(), g.decided),
		Learners:   make(map[synod.NodeID]Slot, len(g.learner)),
	}
	for _, l := range g.learner {
		st.Learners[l.node] = l.from
	}
	if l := g.lead; l != nil {
		st.InFlight = int(l.next - 1 - g.decided)
		st.Recovered = g.decided >= l.top
		st.Marks = g.marks()
	}
	for seat, v := range g.m.Voters {
		if g.camp != nil && g.camp.nacked.Has(seat) || g.lead != nil && g.lead.peers[seat].nacked {
			st.Nacked = append(st.Nacked, v.Node)
		}
	}
	return st
}

func (g *Group) marks() map[synod.NodeID]Slot {
	marks := make(map[synod.NodeID]Slot, len(g.m.Voters))
	for seat, v := range g.m.Voters {
		marks[v.Node] = g.lead.peers[seat].mark
		if seat == g.seat {
			marks[v.Node] = g.lead.next - 1
		}
	}
	return marks
}
