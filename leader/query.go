package leader

import "github.com/prytany/prytany/synod"

// MayPromise reports whether this node's acceptor in group is free to answer a
// Prepare of from at now: it is not bound to another leader it hears. An own
// promise, with from this node, is guarded like any other.
func (n *Node) MayPromise(group uint64, from synod.NodeID, now Instant) bool {
	g := n.group(group)
	return g == nil || !n.bound(g, from, now)
}

// Leader returns the node that this one believes leads group, 0 if none, and
// whether it is content with that. A node that is not content believes what
// a neighbour says that is; see [Node.Relay].
func (n *Node) Leader(group uint64) (node synod.NodeID, content bool) {
	g := n.group(group)
	if g == nil {
		return 0, false
	}
	lead := g.lead
	if _, r := n.relay(g); !g.content || lead.Member == g.me && !g.leading {
		lead = synod.MaxBallot(lead, r.Followed)
	}
	if lead.IsZero() || lead.Member == g.me && g.facts.Own != lead {
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
}

// Links returns all links, ordered by peer, as they were judged last.
func (n *Node) Links() []Link {
	links := make([]Link, len(n.peers))
	for i, p := range n.peers {
		links[i] = Link{p.id, p.up, p.gossip, p.rtt}
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
		if ok && r.Content && best.Followed.Less(r.Followed) {
			id, best = v.Node, r
		}
	}
	return id, best
}
