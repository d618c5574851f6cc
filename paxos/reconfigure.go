package paxos

import (
	"fmt"

	"github.com/prytany/prytany/internal/mutant"
	"github.com/prytany/prytany/synod"
)

// Reconfigure proposes the stop-sign after which next is in force; make it with
// [Membership.With] or [Membership.Without]. Until it is applied no command is
// taken. Errors: *NotLeaderError; ErrOverloaded while something inherited or
// another reconfiguration is not chosen yet, or the window is full; anything
// else says why next cannot follow the present configuration. All mean that
// nothing happened.
func (g *Group) Reconfigure(next Membership, out *Effects) (Slot, error) {
	l := g.lead
	if l == nil {
		return 0, g.notLeader()
	}
	if err := g.m.follows(next); err != nil {
		return 0, err
	}
	if l.stop || g.decided < l.top || int(l.next-1-g.decided) >= g.cfg.MaxWindow {
		return 0, ErrOverloaded
	}
	next.Start = 0
	s := g.propose(EncodeStop(next), out)
	for mutant.On(mutant.EarlyMembership) && g.decided < s {
		g.decide(out)
	}
	return s, nil
}

// follows returns an error if next may not follow m: at most one voter comes
// or goes, and nobody gets an ordinal that another has had.
func (m Membership) follows(next Membership) error {
	if err := next.Check(); err != nil {
		return err
	}
	if next.ID != m.ID+1 || next.Next < m.Next {
		return fmt.Errorf("paxos: configuration %d (next ordinal %d) cannot follow %d (%d)", next.ID, next.Next, m.ID, m.Next)
	}
	changes := 0
	for _, v := range next.Voters {
		switch old := m.Ordinal(v.Node); {
		case old == 0 && v.Ordinal < m.Next, old != 0 && old != v.Ordinal:
			return fmt.Errorf("paxos: node %v may not get ordinal %d", v.Node, v.Ordinal)
		case old == 0:
			changes++
		}
	}
	for _, v := range m.Voters {
		if next.Seat(v.Node) < 0 {
			changes++
		}
	}
	if changes > 1 {
		return fmt.Errorf("paxos: configuration %d changes %d voters; want at most 1", next.ID, changes)
	}
	return nil
}

// stopSign returns the configuration that v, chosen or proposed in the present
// one, begins. A member that knows no configuration takes any.
func (g *Group) stopSign(v synod.Value) (next Membership, ok bool) {
	if len(v) == 0 || Kind(v[0]) != KindStop {
		return next, false
	}
	d, err := Decode(v)
	if err != nil || g.m.ID != 0 && d.Next.ID != g.m.ID+1 {
		return next, false
	}
	return d.Next, true
}

// reconfigured begins the configuration next after the stop-sign at slot s.
// Ballots start afresh in it; votes of the old one above s are void.
func (g *Group) reconfigured(s Slot, next Membership, out *Effects) {
	if g.lead != nil { // the last word in the old configuration
		m := g.pack(g.lead.next, 0, s)
		g.others(func(n synod.NodeID, _ *peer) { g.send(n, m, out) })
	}
	g.StepDown(out)
	next.Start = s
	voted := g.seat >= 0 || g.removed
	g.enter(next)
	g.removed = voted && g.seat < 0
	g.heir = g.seat >= 0 && next.Leader == g.m.Voters[g.seat].Ordinal
	g.log.dropAbove(s)
	g.save(out)
	g.trace(out, Event{Kind: EvReconfigured, Slot: s})
}

// enter makes m the present configuration.
func (g *Group) enter(m Membership) {
	g.m, g.seat = m, g.seatIn(m)
	g.promised, g.durable, g.follow = synod.Ballot{}, durable{}, follow{}
	g.heir, g.removed, g.holders = false, false, 0
}

// beginDesignated makes the designated leader of a new configuration lead with
// its lowest ballot, (1, Leader), without phase 1: nobody can have voted in a
// lower one. It does so once, when it applies the stop-sign, and not if it
// hears that others are further on. The promise is saved in the same turn and
// its Accepts wait for that, so no restart leads with the same ballot again.
func (g *Group) beginDesignated(out *Effects) {
	if !g.heir {
		return
	}
	g.heir = g.catch.want > g.decided
	if g.heir || g.decided != g.m.Start || !g.promised.IsZero() {
		return
	}
	b := synod.Ballot{Round: 1, Member: g.m.Leader}
	g.promise(b, out)
	g.lead = newLeading(b, len(g.m.Voters), g.decided)
	g.trace(out, Event{Kind: EvLeading, Ballot: b, Slot: g.decided, Node: g.cfg.Self})
}
