package leader

import "github.com/prytany/prytany/synod"

// recheck is how soon a node that wants to claim looks again at the lease that
// still binds it.
const recheck = 10 * millisecond

// consider plans, keeps, drops or makes this node's claim to g.
func (n *Node) consider(g *group, now Instant, out *Output) {
	g.again = never
	if !n.candidate(g, now) {
		g.claimAt = never
		return
	}
	if now < g.mute {
		g.claimAt, g.again = never, g.mute
		return
	}
	if n.bound(g, n.cfg.Self, now) {
		g.claimAt, g.again = never, min(n.binding(g).until, now+recheck)
		return
	}
	if g.claimAt == never {
		g.claimAt = max(now+n.delay(g), g.backoff)
	}
	if now < g.claimAt {
		return
	}
	g.claimAt = never
	if now >= g.backoff && (now >= g.grant.until || g.grant.node == n.cfg.Self) {
		n.makeClaim(g, now, out)
	}
}

// candidate reports whether this node may claim g, its own acceptor apart: it is
// a fit voter, not content, reaches a quorum, and nobody near it is content.
func (n *Node) candidate(g *group, now Instant) bool {
	if g.me == 0 || g.content || !n.mayClaim(g, now) {
		return false
	}
	for i := range g.voters {
		if r, ok := g.hears(&g.voters[i]); ok && r.Content && !n.off.takeOver {
			return false
		}
	}
	return g.near() >= g.quorum()
}

// delay is how long a candidate waits: the longer, the more neighbours come
// before it, and for a random time if it has failed before. In a new group, where
// nobody has led, it also waits for those that come before it and are not heard of
// yet: else the first node of a cluster that starts would lead all new groups.
func (n *Node) delay(g *group) Instant {
	wait := n.rank(g) * n.cfg.ClaimDelay
	if g.lead.IsZero() && g.facts.Config <= 1 && g.id > 1 { // there is one first group, and nothing to spread
		wait += min(int64(g.place()), 2) * n.cfg.Heartbeat
	}
	if g.fails > 0 && !n.off.noBackoff {
		wait += n.random.between(0, n.cfg.Heartbeat)
	}
	return Instant(wait)
}

// number returns the ballot to claim: above all that is known to be followed
// near us, because a neighbour may have promised to a leader we never heard.
// Round 1 of a later configuration belongs to the leader designated for it.
func (n *Node) number(g *group) synod.Ballot {
	top := synod.MaxBallot(synod.MaxBallot(g.lead, g.facts.Promised), g.high)
	for i := range g.voters {
		if r, ok := g.hears(&g.voters[i]); ok && !n.off.claimFromLead {
			top = synod.MaxBallot(top, synod.MaxBallot(r.Own, r.Followed))
		}
	}
	round := top.Round + 1
	if g.facts.Config > 1 {
		round = max(round, 2)
	}
	return synod.Ballot{Round: round, Member: g.me}
}

// fresh is how long support for a claim of p lasts; of this node's own, if p
// is nil.
func (n *Node) fresh(g *group, p *peer) Instant {
	rtt := int64(0)
	for i := range g.voters {
		if q := g.voters[i].peer; q != nil && q.up && (p == nil || p == q) {
			rtt = max(rtt, q.rtt)
		}
	}
	return Instant(max(n.cfg.Heartbeat/2, 2*rtt))
}

// makeClaim asks all voters in reach for support.
func (n *Node) makeClaim(g *group, now Instant, out *Output) {
	b := n.number(g)
	if b.Round > synod.MaxRound {
		return
	}
	fresh := n.fresh(g, nil)
	g.grant = grant{n.cfg.Self, b, now + fresh}
	// An answer may take twice as long as support lasts: whoever gave it has
	// been free to support another since, but mostly nobody has asked.
	g.claim = claim{open: true, ballot: b, until: now + 2*fresh, support: synod.Set(0).With(g.seat(n.cfg.Self))}
	t := n.cfg.Heartbeat
	if !n.off.noBackoff {
		g.backoff = now + Instant(n.random.between(t, 3*t<<min(g.fails, 2)))
	}
	g.fails++
	out.Events = append(out.Events, Event{Kind: EvClaim, Group: g.id, Node: n.cfg.Self, Ballot: b, Reason: reasonNeighbours})
	for i := range g.voters {
		if p := g.voters[i].peer; p != nil && p.up {
			out.send(p.id, Claim{g.id, g.facts.Config, b})
		}
	}
	n.count(g, now, out)
}

// count turns a claim that a quorum supports into advice. This node's own
// acceptor is asked again: it may have bound itself since the claim was made.
func (n *Node) count(g *group, now Instant, out *Output) {
	c := &g.claim
	if !c.open || c.support.Len() < g.quorum() {
		return
	}
	c.open = false
	bound := !n.free(g, n.cfg.Self, now) && !n.off.noSecondLook
	if bound || !g.lead.Less(c.ballot) || !g.facts.Promised.Less(c.ballot) {
		return
	}
	n.campaign(g, c.ballot, out)
}

// campaign advises to begin phase 1 with b. Its promise to itself counts from
// now on: several messages may arrive before the owner carries the advice out,
// and a heartbeat of the old leader among them must not bind this acceptor.
func (n *Node) campaign(g *group, b synod.Ballot, out *Output) {
	g.high = synod.MaxBallot(g.high, b)
	n.loosen(g)
	n.wake(g)
	out.Advice = append(out.Advice, Advice{Group: g.id, Campaign: b})
}

// onClaim supports a claim or refuses it.
func (n *Node) onClaim(from synod.NodeID, m Claim, now Instant, out *Output) {
	code := uint8(refuseGroup)
	if g := n.group(m.Group); g != nil {
		for _, p := range n.peers {
			n.judge(p, now, out)
		}
		n.wake(g)
		n.follow(g, out)
		n.feel(g, now, out)
		code = n.weigh(g, from, m, now)
		if code == 0 {
			n.support(g, from, m.Ballot, now)
		}
	}
	e := Event{Kind: EvGrant, Group: m.Group, Node: from, Ballot: m.Ballot, Reason: reasonSupported}
	if code != 0 {
		e.Kind, e.Reason = EvRefuse, refusal(code)
	}
	out.Events = append(out.Events, e)
	out.send(from, Grant{m.Group, m.Config, m.Ballot, code == 0, code})
}

// weigh returns why this node does not support a claim, 0 if it does.
func (n *Node) weigh(g *group, from synod.NodeID, m Claim, now Instant) (code uint8) {
	seat := g.seat(from)
	switch {
	case m.Config != g.facts.Config:
		return refuseConfig
	case g.me == 0 || seat < 0 || g.voters[seat].Ordinal != m.Ballot.Member || m.Ballot.Round > synod.MaxRound:
		return refuseVoter
	case g.content && !n.off.takeOver:
		return refuseContent
	case !synod.MaxBallot(g.facts.Promised, g.lead).Less(m.Ballot):
		return refuseLow
	case now < g.mute:
		return refuseMute
	case n.bound(g, from, now):
		return refuseLease
	case now >= g.grant.until || g.grant.ballot == m.Ballot:
		return 0
	case g.claim.open && g.grant.node == n.cfg.Self && g.claim.ballot.Less(m.Ballot):
		return 0 // our own claim is not won yet: give way to the higher one
	}
	return refuseClaim
}

// support remembers the claim that this node supports. To repeat a claim does
// not prolong the support: two claimants that hold half of the voters each
// would keep each other out for ever.
func (n *Node) support(g *group, from synod.NodeID, b synod.Ballot, now Instant) {
	if g.grant.ballot == b && now < g.grant.until && !n.off.refreshGrants {
		return
	}
	g.grant = grant{from, b, now + n.fresh(g, n.peer(from))}
	g.claim.open = false
}

// onGrant counts an answer to the own claim.
func (n *Node) onGrant(from synod.NodeID, m Grant, now Instant, out *Output) {
	g := n.group(m.Group)
	if g == nil || m.Config != g.facts.Config {
		return
	}
	seat := g.seat(from)
	c := &g.claim
	if seat < 0 || !c.open || m.Ballot != c.ballot || now >= c.until {
		return
	}
	if !m.OK {
		e := Event{Kind: EvRefuse, Group: g.id, Node: from, Ballot: m.Ballot, Reason: refusal(m.Reason)}
		out.Events = append(out.Events, e)
		return
	}
	c.support = c.support.With(seat)
	n.count(g, now, out)
}
