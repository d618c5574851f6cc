package leader

import "github.com/prytany/prytany/synod"

// A voter and what we know of it; peer is nil for this node itself.
type voter struct {
	Voter
	peer   *peer
	place  int     // among the candidates that are as good: see order
	nearer Instant // since when it has been nearer to a quorum than this node, while it leads; never: it is not
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
	high    synod.Ballot // the highest promise told by Promised, or advised: above what the facts say, for a moment
	content bool
	leading bool // our ballot is the lead and a quorum is in reach
	grace   Instant
	lease   lease
	held    held    // what the lease of this node's acceptor stands by
	mute    Instant // before it, this node's acceptor helps nobody

	reason   string       // why content or not
	since    Instant      // since when for that reason
	turned   Instant      // since when content or not
	lost     bool         // nobody is known that goes on leading, and has not been for long
	released synod.Ballot // the highest ballot whose owner has handed over

	led      bool    // leading, with phase 1 complete, as last evaluated
	ledSince Instant // when led has changed
	ledFrom  uint64  // heartbeats before this one bind nobody to this leadership
	leased   bool    // as last shown
	showAt   Instant // no EvLeased before
	moveAt   Instant // no advice to hand over before
	mendAt   Instant // when to win back a voter that stands aside; never: none does
	noMend   Instant // not before this
	mends    int     // how often in a row
	distance int64   // ns to a quorum and back, 0 if not known

	grant   grant
	claim   claim
	claimAt Instant // when to claim, if still a candidate; never: no such plan
	backoff Instant // no claim before
	fails   int     // claims since we were content last
	again   Instant // when to evaluate outside the heartbeat

	awake   bool    // in Node.wakeful
	dirty   bool    // in Node.dirty
	gone    bool    // dropped
	stirred bool    // the last evaluation changed something
	due     Instant // when to wake, if asleep
}

func newGroup(id uint64, now, mute Instant) *group {
	return &group{
		id: id, grace: now, backoff: now, claimAt: never, again: never, due: never,
		lease: lease{until: now}, grant: grant{until: now}, mute: mute,
		reason: reasonNoLeader, since: now, turned: now, ledSince: now, showAt: now, moveAt: now, mendAt: never, noMend: now,
	}
}

// renew makes g as it was when it was new. Its voters are for seatVoters.
func (g *group) renew(new *group) {
	new.voters, new.awake, new.dirty = g.voters, g.awake, g.dirty
	*g = *new
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

// hears returns what the voter v says about g, if its link is up, it has told all
// since then, and it is in the same configuration.
func (g *group) hears(v *voter) (Report, bool) {
	if v.peer == nil || !v.peer.up || !v.peer.ear.whole {
		return Report{}, false
	}
	return v.peer.report(g.id, g.facts.Config)
}

// report is what this node says about g.
func (n *Node) report(g *group) Report {
	leading := g.leading && g.facts.Leading || g.facts.Own.IsZero() && g.content && n.settled(g)
	if n.off.replacedRenews {
		leading = g.content && g.facts.Leading
	}
	return Report{
		Group: g.id, Config: g.facts.Config,
		Own: g.facts.Own, Followed: g.lead, Content: g.content, Leading: leading,
		Decided: g.facts.Decided, Distance: g.distance,
	}
}

// evaluate applies the rule to g. The links have been judged.
func (n *Node) evaluate(g *group, now Instant, out *Output) {
	n.looks++
	n.wake(g)
	lead, content, led := g.lead, g.content, g.led
	g.distance = n.reach(g)
	n.follow(g, out)
	n.bind(g, now)
	n.feel(g, now, out)
	n.withdraw(g, out)
	n.mend(g, now, out)
	n.consider(g, now, out)
	n.place(g, now, out)
	n.show(g, now, out)
	g.stirred = lead != g.lead || content != g.content || led != g.led
}

// follow raises the lead to the highest of the promise and the ballots whose
// owners we hear. What others follow does not count here. Nor does a ballot without
// phase 1 while the owner of the one followed leads: should a quorum want that one
// replaced, this acceptor will be asked, or hear that it has been.
func (n *Node) follow(g *group, out *Output) {
	lead, reason := synod.MaxBallot(g.lead, g.facts.Own), reasonPromised
	lead = synod.MaxBallot(lead, g.facts.Promised)
	settled := lead == g.lead && n.settled(g)
	for i := range g.voters {
		v := &g.voters[i]
		r, ok := g.hears(v)
		if ok && r.Own.Member == v.Ordinal && lead.Less(r.Own) && (r.Leading || !settled) {
			lead, reason = r.Own, reasonHeard
		}
	}
	if lead == g.lead {
		return
	}
	g.lead = lead
	n.loosen(g)
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
	n.keep(g, leading && g.facts.Leading, now)
	g.leading = leading
	if reason != g.reason || content != g.content {
		g.reason, g.since = reason, now
	}
	if content != g.content {
		g.turned = now
	}
	g.lost = !content && int64(now-g.turned) > n.cfg.Silence && !g.goesOn()
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
	case g.lead == g.released:
		return false, false, reasonReleased
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
	case g.lead == g.released:
		reason = reasonReleased
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

// near returns how many voters are in reach, this node included. One that has not
// told yet what it thinks is not: it may be content.
func (g *group) near() int {
	near := 0
	for i := range g.voters {
		if v := &g.voters[i]; v.Ordinal == g.me || v.peer != nil && v.peer.up && v.peer.ear.whole {
			near++
		}
	}
	return near
}

// goesOn reports whether the owner of the ballot followed says that it still
// proposes, content or not, in reach of a node that reaches a quorum.
func (g *group) goesOn() bool {
	if g.near() < g.quorum() {
		return false
	}
	if g.lead.Member == g.me {
		return g.facts.Own == g.lead
	}
	for i := range g.voters {
		if r, ok := g.hears(&g.voters[i]); ok && !g.lead.IsZero() && r.Own == g.lead {
			return true
		}
	}
	return false
}

// quorum is how many voters suffice, in either phase.
func (g *group) quorum() int { return synod.Majorities(len(g.voters)).Q1 }
