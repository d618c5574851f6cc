package paxos

import (
	"github.com/prytany/prytany/synod"
)

// Status is what others may know about a Group. Its Membership shares memory
// with the group's, and nobody changes that.
type Status struct {
	Group      GroupID
	Membership Membership
	Voter      bool     // this member is a voter of Membership, and above Floor
	Floor      ConfigID // see [Header]
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
	Sealed     bool                  // leader: a stop-sign is proposed, or was inherited, and not yet chosen
	Heard      synod.Ballot          // the ballot of the last Accept taken: its owner has completed phase 1

	// Removed says that this member was a voter of an earlier configuration and is
	// none of Membership. One that has restarted knows it only if its log still
	// holds a vote of its own. What this node was up to Floor does not count.
	Removed bool
	// Relieved says that a quorum of Membership is known to have everything up to
	// Membership.Start on disk. Then a member without a seat in it may forget the
	// group without harm: whoever wants to lead in this configuration asks a quorum
	// first, which meets that one, and so learns the log up to the stop-sign that
	// began it, however few had voted for that before. Until then a member that was
	// removed may be the only one who knows that the stop-sign is chosen, or one of
	// just enough that hold what was chosen before it, and it goes on telling. A member that has forgotten the group may
	// come back, as one that votes in later configurations only: see [Header].
	Relieved bool
}

// Promised returns the present configuration and the promise in it.
func (g *Group) Promised() (ConfigID, synod.Ballot) { return g.m.ID, g.promised }

// Sealed reports whether this member has proposed a stop-sign that is not chosen
// yet, or has inherited one. It is true before the first Accept of it leaves.
func (g *Group) Sealed() bool { return g.lead != nil && g.lead.stop }

// Recovered returns the watermark if this member leads and everything that it
// has inherited is chosen: then the watermark covers whatever was acknowledged
// under any ballot before its own, and under its own.
func (g *Group) Recovered() (decided Slot, ok bool) {
	return g.decided, g.lead != nil && g.decided >= g.lead.top
}

// Proposed returns how many slots this member, if it leads, has proposed anew and
// does not know to be chosen yet. What it has inherited does not count.
func (g *Group) Proposed() int {
	l := g.lead
	if l == nil {
		return 0
	}
	return int(l.next - 1 - max(g.decided, l.top))
}

// Undecided returns the first and the last slot of those that [Group.Proposed] counts, 0
// and 0 if there is none.
func (g *Group) Undecided() (first, last Slot) {
	if g.Proposed() <= 0 {
		return 0, 0
	}
	return max(g.decided, g.lead.top) + 1, g.lead.next - 1
}

// Holds reports whether this member leads, nothing that it has proposed waits to
// be chosen, and node, another voter that follows its ballot, has voted for all
// of it and is not catching up.
func (g *Group) Holds(node synod.NodeID) bool {
	seat := g.m.Seat(node)
	if g.lead == nil || seat < 0 || seat == g.seat || g.lead.stop {
		return false
	}
	p := &g.lead.peers[seat]
	last := g.lead.next - 1
	return g.decided == last && p.known && !p.nacked && !p.behind && p.mark >= last
}

// Status returns the present state.
func (g *Group) Status() Status {
	st := g.Brief()
	if len(g.learner) > 0 {
		st.Learners = make(map[synod.NodeID]Slot, len(g.learner))
	}
	for _, l := range g.learner {
		st.Learners[l.node] = l.from
	}
	if g.lead != nil {
		st.Marks = g.marks()
	}
	for seat, v := range g.m.Voters {
		if g.camp != nil && g.camp.nacked.Has(seat) || g.lead != nil && g.lead.peers[seat].nacked {
			st.Nacked = append(st.Nacked, v.Node)
		}
	}
	return st
}

// Brief is Status without Learners, Marks and Nacked. It needs no memory.
func (g *Group) Brief() Status {
	st := Status{
		Group:      g.cfg.Group,
		Membership: g.m,
		Voter:      g.seat >= 0,
		Floor:      g.floor,
		Promised:   g.promised,
		Leading:    g.lead != nil,
		Campaign:   g.camp != nil,
		Ballot:     g.ownBallot(),
		Decided:    g.decided,
		First:      g.log.first,
		Last:       max(g.log.last(), g.decided),
		Heard:      g.follow.ballot,
		Removed:    g.removed,
		Relieved:   g.relieved(),
	}
	if l := g.lead; l != nil {
		st.InFlight = int(l.next - 1 - g.decided)
		st.Recovered = g.decided >= l.top
		st.Sealed = l.stop
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
