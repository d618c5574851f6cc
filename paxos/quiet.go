package paxos

import "github.com/prytany/prytany/synod"

// learnTicks is the longest that a learner waits between two questions while there
// is nothing new. In the group [Main] learners do not wait: every node reads it.
const learnTicks = 20

// Quiet reports whether Tick has nothing to do, now or later, until something
// arrives or is proposed: a driver may leave it out. up says which voters are in
// reach. A leader need not wait for those that are not, if the driver calls
// [Group.Relinked] when they are again.
//
// A member that is behind is not quiet wherever it may know of it. A voter knows by
// what it was told, or by a vote that nobody has decided yet; a leader is not quiet
// before all voters in reach have voted under its ballot for all that it has
// proposed, or have been told that it is chosen. Both hold for the memory of one
// process: for the next one there is Relinked.
func (g *Group) Quiet(up func(synod.NodeID) bool) bool {
	c := &g.catch
	switch {
	case g.camp != nil || g.heir || c.asked || c.around > 0 || c.want > g.decided || len(g.learner) > 0:
		return false
	case g.seat < 0:
		return g.Rests()
	case g.lead == nil:
		return g.log.last() <= g.decided
	}
	return g.leadQuiet(up)
}

func (g *Group) leadQuiet(up func(synod.NodeID) bool) bool {
	l := g.lead
	if l.unheard || l.stop || l.told < g.decided || g.decided != l.next-1 || l.sent != l.next-1 || len(g.reads.pending) > 0 {
		return false
	}
	for seat, v := range g.m.Voters {
		p := &l.peers[seat]
		if seat != g.seat && up(v.Node) && (!p.known || p.nacked || p.mark < l.sent) {
			return false
		}
	}
	return true
}

// Relinked says that node can be reached again, and may be another process than
// before. What a leader knows of it may be of the past: it asks, and tells it the
// watermark.
func (g *Group) Relinked(node synod.NodeID) {
	if seat := g.m.Seat(node); seat >= 0 && g.lead != nil {
		g.lead.peers[seat].known = false
	}
}

// Rejoin makes a member that has been removed ask for what is new again, as any
// learner does: it may become a voter once more.
func (g *Group) Rejoin() { g.removed = false }

// AskAround makes this member ask every voter and every one of Config.Peers once for
// what is new, though it has no reason of its own: all voters that it knows of may be
// gone, replaced in configurations that it has not heard of.
func (g *Group) AskAround() { g.catch.around = len(g.m.Voters) + len(g.cfg.Peers) }

// Rests reports whether this learner asks for nothing: it has been removed, and
// nobody needs what it knows. Nodes that were removed from Main go on as learners.
func (g *Group) Rests() bool { return g.removed && g.relieved() && g.cfg.Group != Main }

// curious reports whether a learner asks in this tick: at longer and longer
// intervals while there is nothing new.
func (g *Group) curious() bool {
	c := &g.catch
	switch {
	case g.seat >= 0 || g.Rests():
		return false
	case g.cfg.Group == Main || g.m.ID == 0 || c.want > g.decided:
		return true
	case c.pause > 0:
		c.pause--
		return false
	}
	c.pause, c.wait = c.wait, min(2*c.wait+1, learnTicks-1)
	return true
}

// noteHolder takes note of a voter that has everything up to the beginning of the
// present configuration on disk: it works in this configuration or a later one, or
// has said that it knows so much. Members save their configuration before they
// speak in it.
func (g *Group) noteHolder(from synod.NodeID, m Message) {
	seat := g.m.Seat(from)
	if seat < 0 {
		return
	}
	holds := false
	switch m := m.(type) {
	case CatchUp:
		holds = m.From > g.m.Start
	case Learned:
		holds = m.Decided >= g.m.Start
	case Sealed:
		holds = m.Config >= g.m.ID
	case Prepare:
		holds = m.Config >= g.m.ID
	case Promise:
		holds = m.Config >= g.m.ID
	case Accept:
		holds = m.Config >= g.m.ID
	case Accepted:
		holds = m.Config >= g.m.ID
	case Nack:
		holds = m.Config >= g.m.ID
	case Confirm:
		holds = m.Config >= g.m.ID
	case Confirmed:
		holds = m.Config >= g.m.ID
	}
	if holds {
		g.holders = g.holders.With(seat)
	}
}

// relieved reports whether a quorum of the present configuration has everything up
// to its beginning on disk. See [Status.Relieved].
func (g *Group) relieved() bool {
	holders := g.holders
	if g.seat >= 0 {
		holders = holders.With(g.seat)
	}
	return g.m.ID > 0 && g.m.Quorums().Phase2(holders)
}
