package paxos

import (
	"github.com/prytany/prytany/internal/invariant"
	"github.com/prytany/prytany/internal/mutant"
	"github.com/prytany/prytany/synod"
)

// follow is how far this acceptor has followed one ballot.
type follow struct {
	ballot synod.Ballot
	mark   Slot // see Accepted.UpTo
}

// promise raises the promise to b, if it is below it, and gives up any attempt
// to lead with a lower ballot.
func (g *Group) promise(b synod.Ballot, out *Effects) {
	a, ok := synod.Acceptor{Promised: g.promised}.Prepare(b)
	invariant.Check(ok, "promise %v after %v", b, g.promised)
	if a.Promised == g.promised {
		return
	}
	g.promised = a.Promised
	if !mutant.On(mutant.PromiseUnsaved) {
		g.save(out)
	}
	if own := g.ownBallot(); own.Less(b) {
		g.StepDown(out)
	}
	g.trace(out, Event{Kind: EvPromised, Ballot: b, Node: g.m.Node(b.Member)})
}

// onPrepare is phase 1b of all slots at once. Whether the member is free to
// promise anything now, for the sake of a leader's lease, is for the driver to
// know: it does not hand in the Prepare then.
func (g *Group) onPrepare(from synod.NodeID, m Prepare, out *Effects) {
	if m.Ballot.Less(g.promised) {
		g.send(from, Nack{Config: m.Config, Ballot: m.Ballot, Promised: g.promised}, out)
		return
	}
	g.promise(m.Ballot, out)
	p := Promise{Config: m.Config, Ballot: m.Ballot, Decided: g.decided}
	p.Votes = g.chosenVotes(m.First)
	for s := g.decided + 1; s <= g.log.last(); s++ {
		if e := g.log.at(s); e.held() {
			p.Votes = append(p.Votes, SlotVote{Slot: s, Config: e.config, Chosen: e.chosen, Vote: e.vote})
		}
	}
	g.send(from, p, out)
	if g.decided+1 < m.First { // the proposer knows more than this member
		g.catch.want = max(g.catch.want, m.First-1)
		g.ask(from, out)
	}
}

// chosenVotes lists the chosen values from slot first on, as far as one
// message may carry them. A proposer that is a few slots behind need not ask.
func (g *Group) chosenVotes(first Slot) (votes []SlotVote) {
	if first < g.log.first {
		return nil
	}
	size := 0
	for s := first; s <= g.decided; s++ {
		e := g.log.at(s)
		if size += cost(e.vote.Value); size > g.cfg.MaxMessageBytes {
			break
		}
		votes = append(votes, SlotVote{Slot: s, Config: e.config, Chosen: true, Vote: e.vote})
	}
	return votes
}

// onAccept is phase 2b: the synod acceptor, mapped over slots. A ballot above
// the promise is promised by it.
func (g *Group) onAccept(from synod.NodeID, m Accept, out *Effects) {
	if m.Ballot.Less(g.promised) {
		g.send(from, Nack{Config: m.Config, Ballot: m.Ballot, Promised: g.promised}, out)
		return
	}
	if len(m.Values) > 0 && (m.First <= m.Base || m.First+Slot(len(m.Values)) < m.First) {
		return // a proposal in a slot that was chosen when the ballot began, or none at all
	}
	g.promise(m.Ballot, out)
	ahead := false
	for i, v := range m.Values {
		s := m.First + Slot(i)
		if s > g.decided+g.cfg.reach() {
			break
		}
		if !g.accept(s, m, v, out) {
			ahead = true
		}
	}
	mark := g.mark(m)
	if len(m.Values) > 0 || m.First == 0 || m.First > mark+1 {
		g.send(from, Accepted{Config: m.Config, Ballot: m.Ballot, UpTo: mark}, out)
		if mutant.On(mutant.VoteEarly) {
			out.Early = append(out.Early, out.Send[len(out.Send)-1])
		}
	}
	if ahead {
		g.send(from, Learned{Decided: g.decided}, out)
	}
	g.watermark(from, m, out)
}

// accept votes for v in slot s under the ballot of m, unless that is pointless.
// It returns false if the slot is chosen here, perhaps with another value, and
// the proposer does not know it.
//
// To vote for the value that is chosen is harmless, and lets a new leader
// complete its recovery. To answer as if one had voted, when another value is
// chosen, would not be: a member may learn a chosen value without having
// promised its ballot, and two such answers could elect the wrong value.
func (g *Group) accept(s Slot, m Accept, v synod.Value, out *Effects) bool {
	e := g.log.at(s)
	switch {
	case s <= g.decided && s <= m.Decided:
		return true // both know it
	case e.vote.Ballot == m.Ballot:
		return true // repeated
	case s < g.log.first:
		return false // only in the snapshot any more
	case e.chosen && e.vote.Value != v:
		return false
	}
	g.vote(s, synod.Vote{Ballot: m.Ballot, Value: v}, out)
	return true
}

// mark returns how far this acceptor has voted under the ballot of m without a
// gap. Up to Base and Decided the proposer needs no votes any more.
func (g *Group) mark(m Accept) Slot {
	if g.follow.ballot != m.Ballot {
		g.follow = follow{ballot: m.Ballot}
	}
	f := &g.follow
	f.mark = max(f.mark, m.Base, m.Decided)
	if mutant.On(mutant.SkipsHoles) && len(m.Values) > 0 {
		f.mark = max(f.mark, m.First+Slot(len(m.Values))-1)
	}
	for g.log.at(f.mark+1).vote.Ballot == m.Ballot {
		f.mark++
	}
	return f.mark
}

// watermark takes the news that everything up to m.Decided is chosen. That
// says nothing of a slot in which this member voted in another ballot: it may
// hold another value than the chosen one, and must fetch it.
func (g *Group) watermark(from synod.NodeID, m Accept, out *Effects) {
	for g.decided < m.Decided && g.m.ID == m.Config {
		e := g.log.at(g.decided + 1)
		if !e.chosen && e.vote.Ballot != m.Ballot && (!mutant.On(mutant.TrustsWatermark) || !e.held()) {
			break
		}
		g.decide(out)
	}
	if g.decided < m.Decided {
		g.catch.want = max(g.catch.want, m.Decided)
		g.ask(from, out)
	}
}
