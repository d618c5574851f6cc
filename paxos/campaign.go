package paxos

import (
	"github.com/prytany/prytany/internal/invariant"
	"github.com/prytany/prytany/internal/mutant"
	"github.com/prytany/prytany/synod"
)

// stallTicks is after how many ticks without progress a candidate that cannot
// fetch what its promisers know to be chosen gives up. Whoever could have told
// is gone; the next phase 1 asks a quorum without it.
const stallTicks = 20

// A campaign is phase 1 of one ballot over all slots above the watermark.
type campaign struct {
	ballot   synod.Ballot
	promised synod.Set
	nacked   synod.Set
	ready    bool // a phase 1 quorum has promised; later promises change nothing

	decided Slot              // highest watermark among the promises
	holder  synod.NodeID      // who said so
	votes   map[Slot]SlotVote // highest vote per slot among the promises; never ranged over
	top     Slot              // highest slot in votes
	stalled int               // ticks without progress while ready
	before  Slot              // own watermark at the last tick
}

// Campaign begins phase 1 with ballot b over all slots above the watermark.
// It does nothing if b is not above the promise or not this member's own.
// Round 1 is for the first configuration only: in later ones it belongs to the
// designated leader, which does without phase 1.
func (g *Group) Campaign(b synod.Ballot, out *Effects) {
	if g.seat < 0 || !g.promised.Less(b) || !g.owns(g.cfg.Self, b) || g.m.ID > 1 && b.Round < 2 {
		return
	}
	g.StepDown(out)
	g.promise(b, out)
	g.camp = &campaign{
		ballot:   b,
		promised: synod.Set(0).With(g.seat),
		votes:    map[Slot]SlotVote{},
		before:   g.decided,
	}
	g.trace(out, Event{Kind: EvCampaign, Ballot: b, Slot: g.decided + 1, Node: g.cfg.Self})
	g.sendPrepare(out)
	g.tryLead(out)
}

func (g *Group) sendPrepare(out *Effects) {
	c := g.camp
	for seat, v := range g.m.Voters {
		if !c.promised.Has(seat) && !c.nacked.Has(seat) {
			g.send(v.Node, Prepare{Config: g.m.ID, Ballot: c.ballot, First: g.decided + 1}, out)
		}
	}
}

// StepDown gives up leadership or candidacy, if any. What was proposed may
// still be chosen; reads that wait get a *NotLeaderError.
func (g *Group) StepDown(out *Effects) {
	b := g.ownBallot()
	if b.IsZero() {
		return
	}
	g.camp, g.lead = nil, nil
	if !mutant.On(mutant.ReadsSurvive) {
		g.failReads(out)
	}
	g.trace(out, Event{Kind: EvStepDown, Ballot: b, Node: g.cfg.Self})
}

// Withdraw gives up phase 1 with ballot b, if that is under way. The promise to b
// stays.
func (g *Group) Withdraw(b synod.Ballot, out *Effects) {
	if g.camp != nil && g.camp.ballot == b {
		g.StepDown(out)
	}
}

// ownBallot returns the ballot this member leads or campaigns with, if any.
func (g *Group) ownBallot() synod.Ballot {
	switch {
	case g.camp != nil:
		return g.camp.ballot
	case g.lead != nil:
		return g.lead.ballot
	}
	return synod.Ballot{}
}

// onPromise counts a promise. What it says is chosen is learned first.
func (g *Group) onPromise(from synod.NodeID, m Promise, out *Effects) {
	if mutant.On(mutant.OldPromise) && g.camp != nil {
		m.Ballot = g.camp.ballot
	}
	if g.camp == nil || g.camp.ballot != m.Ballot || !g.wellFormed(m) {
		return
	}
	for _, v := range m.Votes {
		if v.Slot <= m.Decided && v.Slot == g.decided+1 {
			g.learn(v.Slot, v.Vote.Value, out)
		}
	}
	c, seat := g.camp, g.m.Seat(from)
	if c == nil || c.ballot != m.Ballot || seat < 0 {
		return // a stop-sign was among the chosen
	}
	if !c.ready && !c.nacked.Has(seat) && !c.promised.Has(seat) {
		c.take(seat, from, m)
	}
	g.tryLead(out)
}

func (c *campaign) take(seat int, from synod.NodeID, m Promise) {
	c.promised = c.promised.With(seat)
	if m.Decided > c.decided {
		c.decided, c.holder = m.Decided, from
	}
	for _, v := range m.Votes {
		if v.Slot > m.Decided {
			c.votes[v.Slot] = higher(c.votes[v.Slot], v)
			c.top = max(c.top, v.Slot)
		}
	}
}

// higher is synod.Higher, but a chosen value is above all votes.
func higher(a, b SlotVote) SlotVote {
	if a.Chosen || !b.Chosen && synod.Higher(a.Vote, b.Vote) == a.Vote {
		return a
	}
	return b
}

// wellFormed reports whether m can be the promise of a member with the same
// limits. Nothing may be left out of a promise, so it counts as a whole or not
// at all.
func (g *Group) wellFormed(m Promise) bool {
	last := Slot(0)
	for _, v := range m.Votes {
		if v.Slot <= last || v.Slot > m.Decided && v.Slot-m.Decided > g.cfg.reach() {
			return false
		}
		if v.Slot <= m.Decided && !v.Chosen {
			return false
		}
		if !v.Chosen && (v.Config != m.Config || v.Vote.Ballot.IsZero() || m.Ballot.Less(v.Vote.Ballot)) {
			return false
		}
		last = v.Slot
	}
	return m.Decided < 1<<63
}

// tryLead completes phase 1 if a quorum has promised and this member knows
// everything that any of them knew to be chosen. Below their watermarks the
// promises list no votes, so nothing may be proposed there.
func (g *Group) tryLead(out *Effects) {
	c := g.camp
	if c == nil || !c.ready && !g.m.Quorums().Phase1(c.promised) {
		return
	}
	c.ready = true
	if g.decided < c.decided {
		g.catch.want = max(g.catch.want, c.decided)
		g.ask(c.holder, out)
		return
	}
	g.camp = nil
	g.lead = newLeading(c.ballot, len(g.m.Voters), g.decided)
	for seat := range g.m.Voters {
		g.lead.peers[seat].nacked = c.nacked.Has(seat)
	}
	g.inherit(c, out)
	g.trace(out, Event{Kind: EvLeading, Ballot: c.ballot, Slot: g.lead.top, Node: g.cfg.Self})
}

// inherit proposes anew every slot in which the quorum of c has voted, and
// no-ops in the holes between them.
//
// A stop-sign needs care, since nothing in its configuration may follow it.
// Let b1 be the highest ballot in which anyone voted for the stop-sign picked
// in slot s.
//
// If some vote above s has a ballot b2 > b1, the stop-sign has not been chosen:
// else the leader of b2, whose phase 1 came later, would have proposed it again
// in s and nothing above. It cannot be chosen in a ballot from b2 on either,
// for a vote for it there would have been reported. So slot s is free, and a
// no-op lets what is above it live.
//
// If not, the stop-sign is proposed again, and no slot above it is: no value is
// chosen there. For let one be, at t > s in ballot b. The stop-sign was first
// proposed in a ballot below b, as later phase 1s saw the vote at t and gave s
// only what was voted there; and the first ballot above b to propose the
// stop-sign again would have seen the vote at t, in b or above, and a lower one
// at s: the other case.
func (g *Group) inherit(c *campaign, out *Effects) {
	top := max(c.top, g.log.last())
	n := int(top - min(top, g.decided))
	invariant.Check(Slot(n) <= 2*g.cfg.reach()+maxLoadGap, "recovers %d slots", n)
	best := make([]SlotVote, n)
	above := make([]synod.Ballot, n+1) // above[i]: highest ballot in any slot after best[i-1]
	for i := n - 1; i >= 0; i-- {
		s := g.decided + 1 + Slot(i)
		e := g.log.at(s)
		best[i] = higher(c.votes[s], SlotVote{Slot: s, Config: e.config, Chosen: e.chosen, Vote: e.vote})
		above[i] = synod.MaxBallot(above[i+1], best[i].Vote.Ballot)
	}
	for i, b := range best {
		v := b.Vote.Value
		if !b.Chosen {
			v = synod.Pick(Noop, []synod.Vote{b.Vote})
		}
		_, stop := g.stopSign(v)
		if stop && !b.Chosen && b.Vote.Ballot.Less(above[i+1]) {
			v, stop = Noop, false
		}
		if mutant.On(mutant.LeavesHoles) && !b.Chosen && b.Vote.Ballot.IsZero() {
			g.lead.next++
			continue
		}
		g.propose(v, out)
		if stop {
			break
		}
	}
	g.lead.top = g.lead.next - 1
}

// tickCampaign repeats Prepare to those that have not answered.
func (g *Group) tickCampaign(out *Effects) {
	c := g.camp
	if !c.ready {
		g.sendPrepare(out)
		return
	}
	if c.stalled++; g.decided > c.before {
		c.before, c.stalled = g.decided, 0
	}
	if c.stalled >= stallTicks {
		g.StepDown(out)
	}
}
