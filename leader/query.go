package leader

import "github.com/prytany/prytany/synod"

// MayPromise reports whether this node's acceptor in group is free to answer a
// Prepare of from at now: it is not bound to another leader it hears, nor can it
// have been before the process started. An own promise, with from this node, is
// guarded like any other.
func (n *Node) MayPromise(group uint64, from synod.NodeID, now Instant) bool {
	g := n.group(group)
	if g == nil {
		return now >= n.quiet()
	}
	return n.free(g, from, now)
}

// Promised says at once that this node's acceptor has promised b, which the next
// SetGroup says too. Until then a heartbeat must not bind it to a lower ballot.
func (n *Node) Promised(group uint64, b synod.Ballot) {
	if g := n.group(group); g != nil {
		g.high = synod.MaxBallot(g.high, b)
		n.loosen(g)
		n.wake(g)
	}
}

// Why says in a few words why this node is content with group's leader or not,
// and since when.
func (n *Node) Why(group uint64) (reason string, since Instant) {
	g := n.group(group)
	if g == nil {
		return reasonNoSuchGroup, 0
	}
	return g.reason, g.since
}

// Leader returns the node that this one believes leads group, 0 if none, and
// whether it is content with that. A node that is not content believes what
// a neighbour says that is; see [Node.Relay]. If there is none either, it names
// the last leader for Config.Silence, and then only one that says itself that it
// goes on, in reach of a node that reaches a quorum.
func (n *Node) Leader(group uint64) (node synod.NodeID, content bool) {
	g := n.group(group)
	if g == nil {
		return 0, false
	}
	lead, told := n.believed(g)
	switch {
	case lead.IsZero() || lead == g.released || lead.Member == g.me && g.facts.Own != lead:
		return 0, false
	case !told && g.lost:
		return 0, false
	}
	for i := range g.voters {
		if g.voters[i].Ordinal == lead.Member {
			return g.voters[i].Node, g.content
		}
	}
	return 0, false
}

// A Link is what a node knows of its direct link to a peer.
type Link struct {
	Peer   synod.NodeID
	Up     bool
	Gossip Gossip
	RTT    int64 // ns, smoothed; 0 if never measured
	// The median and the 99th percentile of the newest round trips, in ns.
	Median, P99 int64
	Distance    int64  // ns in which Peer reaches a quorum of the first group it shares with this node; 0 if not known
	Healthy     bool   // as it says itself
	Incarnation uint64 // of the process last heard; 0 if none was
	Skewed      bool   // its clock runs at another rate than ours
}

// Links returns all links, ordered by peer, as they were judged last.
func (n *Node) Links() []Link {
	links := make([]Link, 0, len(n.peers))
	for _, p := range n.peers {
		if len(p.groups) == 0 {
			continue
		}
		l := Link{
			Peer: p.id, Up: p.up, Gossip: p.gossip, RTT: p.rtt, Median: p.trips.median(), P99: p.trips.percent(99),
			Healthy: p.healthy, Skewed: p.clock.skewed, Incarnation: p.incarnation,
		}
		if h := p.ear.says.get(p.groups[0].id); h != nil && p.up && p.ear.whole {
			l.Distance = h.Distance
		}
		links = append(links, l)
	}
	return links
}

// Relay returns a peer with a live link that is content with group's leader,
// for a node that cannot reach the leader itself; 0 if there is none. Of
// several it is the one that follows the highest ballot.
func (n *Node) Relay(group uint64) synod.NodeID {
	g := n.group(group)
	if g == nil {
		return 0
	}
	id, _ := n.relay(g)
	return id
}

func (n *Node) relay(g *group) (id synod.NodeID, best Report) {
	for i := range g.voters {
		v := &g.voters[i]
		r, ok := g.hears(v)
		if ok && r.Content && best.Followed.Less(r.Followed) && g.released != r.Followed {
			id, best = v.Node, r
		}
	}
	return id, best
}
