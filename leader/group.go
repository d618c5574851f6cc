package leader

import "github.com/prytany/prytany/synod"

// A voter and what we know of it; peer is nil for this node itself.
type voter struct {
	Voter
	peer *peer
}

// A lease is what binds this node's acceptor to a leader it hears.
type lease struct {
	node        synod.NodeID
	incarnation uint64 // of node; 0 for this node itself
	ballot      synod.Ballot
	until       Instant
}

// A grant is the support this node gives, to another node or itself.
type grant struct {
	node   synod.NodeID
	ballot synod.Ballot
	until  Instant
}

// A claim is this node's own.
type claim struct {
	open    bool // neither won nor given up
	ballot  synod.Ballot
	until   Instant
	support synod.Set // by seat in group.voters
}

// A group is what this node thinks of one group. All of it is volatile.
type group struct {
	id     uint64
	facts  Facts
	voters []voter       // by ordinal
	me     synod.Ordinal // 0: not a voter

	lead    synod.Ballot // followed; the highest of promise and what owners said
	content bool
	leading bool // our ballot is the lead and a quorum is in reach
	grace   Instant
	lease   lease

	grant   grant
	claim   claim
	claimAt Instant // when to claim, if still a candidate; never: no such plan
	backoff Instant // no claim before
	fails   int     // claims since we were content last
	again   Instant // when to evaluate outside the heartbeat
}

func newGroup(id uint64, now Instant) *group {
	return &group{
		id: id, grace: now, backoff: now, claimAt: never, again: never,
		lease: lease{until: now}, grant: grant{until: now},
	}
}

// has reports whether node is a voter of g.
func (g *group) has(node synod.NodeID) bool { return g.seat(node) >= 0 }

// seat returns the position of node among the voters, -1 if it is none.
func (g *group) seat(node synod.NodeID) int {
	for i := range g.voters {
		if g.voters[i].Node == node {
			return i
		}
	}
	return -1
}

// leader returns the node that owns the ballot followed, 0 if there is none.
func (g *group) leader() synod.NodeID {
	for i := range g.voters {
		if !g.lead.IsZero() && g.voters[i].Ordinal == g.lead.Member {
			return g.voters[i].Node
		}
	}
	return 0
}

// hears returns what the voter v says about g, if its link is up and it is in
// the same configuration.
func (g *group) hears(v *voter) (Report, bool) {
	if v.peer == nil || !v.peer.up {
		return Report{}, false
	}
	return v.peer.report(g.id, g.facts.Config)
}

// report is what this node says about g.
func (n *Node) report(g *group) Report {
	leading := g.leading && g.facts.Leading
	if n.off.replacedRenews {
		leading = g.content && g.facts.Leading
	}
	return Report{
		Group: g.id, Config: g.facts.Config,
		Own: g.facts.Own, Followed: g.lead, Content: g.content, Leading: leading,
	}
}

// onReport takes what p says about a group, over a link that is up.
func (n *Node) onReport(p *peer, r Report, now Instant, out *Output) {
	g := n.group(r.Group)
	if g == nil || !g.has(p.id) {
		return
	}
	p.note(r)
	if r.Config != g.facts.Config {
		return
	}
	if g.lead.Less(r.Own) {
		n.follow(g, out)
	}
	// Only a leader that leads under the very ballot we follow binds us. One
	// that has been replaced must not: the new leader needs our promise.
	same := r.Own == g.lead || n.off.replacedRenews && r.Own == g.lease.ballot
	if r.Leading && same && !n.off.takeOver {
		g.lease = lease{p.id, p.incarnation, r.Own, now + Instant(n.cfg.Lease)}
	}
}

// evaluate applies the rule to g. The links have been judged.
func (n *Node) evaluate(g *group, now Instant, out *Output) {
	n.follow(g, out)
	n.feel(g, now, out)
	n.consider(g, now, out)
}

// follow raises the lead to the highest of the promise and the ballots whose
// owners we hear. What others follow does not count here.
func (n *Node) follow(g *group, out *Output) {
	lead, reason := synod.MaxBallot(g.lead, g.facts.Own), reasonPromised
	lead = synod.MaxBallot(lead, g.facts.Promised)
	for i := range g.voters {
		v := &g.voters[i]
		r, ok := g.hears(v)
		if ok && r.Own.Member == v.Ordinal && lead.Less(r.Own) {
			lead, reason = r.Own, reasonHeard
		}
	}
	if lead == g.lead {
		return
	}
	g.lead = lead
	if !lead.Less(g.claim.ballot) {
		g.claim.open = false // it would be refused by now
	}
	out.Events = append(out.Events, Event{Kind: EvFollow, Group: g.id, Node: g.leader(), Ballot: lead, Reason: reason})
}

// feel decides whether this node is content with the lead, and leads.
func (n *Node) feel(g *group, now Instant, out *Output) {
	content, leading, reason := n.contentment(g)
	if !content && now < g.grace {
		content, reason = true, reasonGrace
	}
	if content {
		g.fails = 0
	}
	switch own := g.lease.node == n.cfg.Self; {
	case leading && g.facts.Leading && !n.off.takeOver:
		g.lease = lease{node: n.cfg.Self, ballot: g.lead, until: now + Instant(n.cfg.Lease)}
	case own:
		g.lease.until = now // who no longer leads needs no support of its own
	}
	g.leading = leading
	if content == g.content {
		return
	}
	g.content = content
	kind := EvDiscontent
	if content {
		kind = EvContent
	}
	out.Events = append(out.Events, Event{Kind: kind, Group: g.id, Node: g.leader(), Ballot: g.lead, Reason: reason})
}

// contentment is how this node feels, grace apart, and why.
func (n *Node) contentment(g *group) (content, leading bool, reason string) {
	switch {
	case g.lead.IsZero():
		return false, false, reasonNoLeader
	case g.lead.Member == g.me:
		return n.contentOwn(g)
	}
	reason = reasonLeaderDown
	for i := range g.voters {
		v := &g.voters[i]
		if v.Ordinal != g.lead.Member {
			continue
		}
		if r, ok := g.hears(v); ok {
			if r.Own == g.lead && r.Content {
				return true, false, reasonLeaderWell
			}
			reason = reasonLeaderSad
		}
	}
	return false, false, reason
}

// contentOwn is contentment while the lead is this node's own ballot.
func (n *Node) contentOwn(g *group) (content, leading bool, reason string) {
	near, replaced := 1, false // with ourselves
	for i := range g.voters {
		r, ok := g.hears(&g.voters[i])
		switch {
		case !ok:
		case !g.lead.Less(r.Followed):
			near++
		case r.Content:
			replaced = true
		}
	}
	switch {
	case g.facts.Own != g.lead:
		reason = reasonNotLeading
	case !n.health.fit():
		reason = reasonUnfit
	case near < g.quorum():
		reason = reasonNoQuorum
	default:
		return true, true, reasonQuorum
	}
	if replaced {
		return true, false, reasonReplaced
	}
	return false, false, reason
}

// quorum is how many voters suffice, in either phase.
func (g *group) quorum() int { return synod.Majorities(len(g.voters)).Q1 }

// bound reports whether this node's acceptor must not help node at now, as it
// is bound to another one whose process still runs, for all we know.
func (n *Node) bound(g *group, node synod.NodeID, now Instant) bool {
	l := g.lease
	if l.node == node || now >= l.until {
		return false
	}
	p := n.peer(l.node)
	return l.node == n.cfg.Self || p != nil && p.incarnation == l.incarnation
}
