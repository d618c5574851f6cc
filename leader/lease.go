package leader

import "github.com/prytany/prytany/synod"

// A lease is what binds this node's acceptor to a leader it hears, or to the
// one for whom that leader has released it. It is never let go before its end
// but by a Release, or because the process it is bound to is gone.
type lease struct {
	node        synod.NodeID
	incarnation uint64 // of node; 0 for this node itself
	ballot      synod.Ballot
	until       Instant
}

// A held is what the lease stands by: while a peer goes on to say that it leads with
// a ballot, each request by which it says that nothing has changed renews the lease.
type held struct {
	peer        *peer // nil: nothing
	incarnation uint64
	ballot      synod.Ballot
	since       Instant // requests taken before this do not renew
}

// A sure is a peer's answer that a request has renewed what stands by this node, as
// the leader counts it: until ends sooner than the acceptor lets go.
type sure struct {
	seq     uint64 // of the request
	version uint64 // of all that the peer had said by then
	until   Instant
}

// shown is how long after an EvUnleased the next EvLeased comes at the
// earliest, in heartbeats: on a bad network a lease lapses often.
const shown = 20

// bound reports whether this node's acceptor must not help node at now, as it
// is bound to another one whose process still runs, for all we know.
func (n *Node) bound(g *group, node synod.NodeID, now Instant) bool {
	l := n.binding(g)
	if l.node == node || now >= l.until || n.off.leaseIgnored {
		return false
	}
	p := n.peer(l.node)
	return l.node == n.cfg.Self || p != nil && p.incarnation == l.incarnation
}

// free reports whether this node's acceptor may help node at now: it is not
// bound to another, and no process before this one can have bound it.
func (n *Node) free(g *group, node synod.NodeID, now Instant) bool {
	return now >= g.mute && !n.bound(g, node, now)
}

// quiet returns until when the acceptors of groups this process knows nothing
// of help nobody.
func (n *Node) quiet() Instant {
	if n.off.noMute {
		return n.dropped
	}
	return max(n.mute, n.dropped)
}

// binding returns the lease of this node's acceptor. That of a leader on itself
// lasts for as long after all links were judged.
func (n *Node) binding(g *group) lease {
	l, h := g.lease, &g.held
	switch {
	case h.peer != nil && h.peer.renewed >= h.since:
		l = lease{h.peer.id, h.incarnation, h.ballot, h.peer.renewed + Instant(n.cfg.Lease)}
	case g.led && l.node == n.cfg.Self:
		l.until = max(l.until, n.judged+Instant(n.cfg.Lease))
	}
	return l
}

// binds reports whether this node's acceptor is to stand by p as long as p says what
// it said last. Only under the very ballot we follow: one that has been replaced must
// not, the new leader needs our promise. And not below a promise that the facts do
// not show yet: it would count on votes that we cannot give.
func (n *Node) binds(g *group, p *peer) bool {
	r := p.ear.says.get(g.id)
	if r == nil || r.Config != g.facts.Config || !r.Leading || n.off.takeOver {
		return false
	}
	if n.off.replacedRenews && (r.Own == g.lease.ballot || r.Own == g.held.ballot) {
		return true
	}
	return !r.Own.IsZero() && r.Own == g.lead && r.Own != g.released && (!r.Own.Less(g.high) || n.off.bindsBelow)
}

// bind has the lease stand by the voter that leads, and no longer by one that does
// not. It begins with the next request: the sender hears in the answer that it has.
func (n *Node) bind(g *group, now Instant) {
	n.loosen(g)
	for i := 0; i < len(g.voters) && g.held.peer == nil; i++ {
		if p := g.voters[i].peer; p != nil && n.binds(g, p) {
			g.held = held{p, p.incarnation, p.ear.says.get(g.id).Own, now}
			n.touch(g)
		}
	}
}

// loosen ends that the lease stands by a peer for which there is no reason any more.
// What it has been given lasts.
func (n *Node) loosen(g *group) {
	h := g.held
	if h.peer == nil || h.incarnation == h.peer.incarnation && g.has(h.peer.id) && n.binds(g, h.peer) && h.peer.ear.says.get(g.id).Own == h.ballot {
		return
	}
	if l := n.binding(g); l.node == h.peer.id && !n.off.noMaterialize {
		g.lease = l
	}
	g.held = held{}
	n.touch(g)
}

// echo returns the ballot by which this node's acceptor stands, of p. It says so only
// of a ballot that is promised on disk: so whoever comes after this process follows
// it at least, and takes no Release of a lower one for the end of its silence.
func (n *Node) echo(g *group, p *peer) synod.Ballot {
	if g.held.peer != p || g.facts.Promised != g.held.ballot && !n.off.bindsBelow {
		return synod.Ballot{}
	}
	return g.held.ballot
}

// reckon takes note of the answer m of p, which has told all that it has to say. If
// the request was taken, all that stands by this node at that moment is renewed, and
// is among what p has said: by Report.Bound. The acceptor counts
// its lease from when the request arrived, we from when it was sent, and shorter
// by twice what the rates of the clocks may differ and a little more: so ours has
// ended when its ends, by any clock.
func (n *Node) reckon(p *peer, m *Heartbeat, now Instant) {
	if !m.Taken && !n.off.boundUnsaid || m.Seq <= p.sure.seq {
		return
	}
	from, length := m.Sent, m.Lease-margin(m.Lease, n.cfg.Drift)
	if n.off.fromReceipt {
		from = now
	}
	if n.off.noMargin {
		length = m.Lease
	}
	p.sure = sure{m.Seq, p.ear.have, from + Instant(length)}
}

// counted reports whether the acceptor of v is bound to this leader at now. It said
// so of g before, or with, the answer that counts, and has not said otherwise since.
func (n *Node) counted(g *group, v *voter, now Instant) bool {
	s, h := &v.peer.sure, v.peer.ear.says.get(g.id)
	if h == nil || h.Config != g.facts.Config || h.Bound != g.lead || now >= s.until {
		return false
	}
	return s.seq >= g.ledFrom && (h.bound <= s.version || n.off.boundUnsaid)
}

// margin returns by how many ns a leader counts a lease of length ns as shorter
// than the acceptor does: twice the drift, and 10 ms, or a fifteenth of a lease
// shorter than 150 ms.
func margin(length, drift int64) int64 {
	return part(length, 2*drift) + min(10*millisecond, length/15)
}

// keep takes note of whether this node leads g, own acceptor apart, and renews
// or ends the lease of that.
func (n *Node) keep(g *group, leads bool, now Instant) {
	if leads != g.led {
		g.led, g.ledSince, g.ledFrom = leads, now, n.seq+1 // what was answered before counts for nothing
	}
	switch own := g.lease.node == n.cfg.Self; {
	case leads && !n.off.takeOver:
		g.lease = lease{node: n.cfg.Self, ballot: g.lead, until: now + Instant(n.cfg.Lease)}
	case own:
		g.lease.until = min(g.lease.until, now) // who no longer leads needs no support of its own
	}
}

// Leased reports whether at now no other node can have led group, nor can it have
// changed its configuration: a quorum of acceptors is bound to this node's ballot.
// now must be read after the question arose.
func (n *Node) Leased(group uint64, now Instant) bool {
	g := n.group(group)
	if g == nil {
		return false
	}
	ok, _ := n.leased(g, now)
	return ok
}

// leased is Leased with the reason.
func (n *Node) leased(g *group, now Instant) (ok bool, reason string) {
	switch l := n.binding(g); {
	case !g.led || !g.facts.Leading || g.facts.Own != g.lead:
		return false, reasonNoLead
	case !n.health.fit():
		return false, reasonUnfit
	case g.facts.Sealed && !n.off.sealedLeases:
		return false, reasonSealed
	case g.lead.Less(g.high):
		return false, reasonPromised
	case l.node != n.cfg.Self || l.ballot != g.lead || now >= l.until:
		return false, reasonUnbound
	}
	sure := 1 // our own acceptor
	for i := range g.voters {
		v := &g.voters[i]
		if v.peer == nil {
			continue
		}
		if v.peer.up && v.peer.clock.skewed {
			return false, reasonSkewed
		}
		if n.counted(g, v, now) {
			sure++
		}
	}
	if sure < g.quorum() {
		return false, reasonUnbound
	}
	return true, reasonBound
}

// show tells people of a lease that has come or gone.
func (n *Node) show(g *group, now Instant, out *Output) {
	ok, reason := n.leased(g, now)
	if ok == g.leased || ok && now < g.showAt {
		return
	}
	g.leased = ok
	e := Event{Kind: EvLeased, Group: g.id, Node: n.cfg.Self, Ballot: g.lead, Reason: reason}
	if !ok {
		e.Kind = EvUnleased
		g.showAt = now + shown*Instant(n.cfg.Heartbeat)
	}
	out.Events = append(out.Events, e)
}
