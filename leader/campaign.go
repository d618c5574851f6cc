package leader

import "github.com/prytany/prytany/synod"

// settled reports whether the owner of the ballot followed leads, as it says
// itself: phase 1 is complete, and a quorum in reach.
func (n *Node) settled(g *group) bool {
	if g.lead.IsZero() || g.lead == g.released || n.off.followsCampaigns {
		return false
	}
	if g.lead.Member == g.me {
		return g.led && g.facts.Leading && g.facts.Own == g.lead
	}
	for i := range g.voters {
		if v := &g.voters[i]; v.Ordinal == g.lead.Member {
			r, ok := g.hears(v)
			return ok && r.Own == g.lead && r.Content && r.Leading
		}
	}
	return false
}

// withdraw advises to give up phase 1 of this node's own ballot if a neighbour
// leads with a lower one, or is content with somebody who does: others have elected
// that one while the promise to ourselves was written. A candidate that others are
// content with is no reason; of two that wait for slow disks one must go on. The
// promise stays, so this acceptor is lost to that leader until it mends that.
func (n *Node) withdraw(g *group, out *Output) {
	own := g.facts.Own
	if own.IsZero() || g.facts.Leading || n.off.neverWithdraws {
		return
	}
	for i := range g.voters {
		r, ok := g.hears(&g.voters[i])
		other := r.Followed.Less(own) && r.Followed.Member != g.me && r.Followed != g.released
		if ok && r.Content && (r.Leading || n.off.yieldsToRivals) && other {
			out.Advice = append(out.Advice, Advice{Group: g.id, Withdraw: own})
			return
		}
	}
}

// believed returns the ballot that most likely leads, and whether anybody says
// that it does: the one followed, or else what a neighbour is content with. That may
// be a lower one, if our own acceptor has promised to a candidate that withdrew.
func (n *Node) believed(g *group) (lead synod.Ballot, told bool) {
	lead, told = g.lead, g.content
	own := lead.Member == g.me && !g.leading
	if g.content && !own {
		return lead, told
	}
	_, r := n.relay(g)
	switch {
	case !r.Content:
	case !r.Followed.Less(lead), g.lost, own && g.facts.Own != lead:
		return r.Followed, true
	}
	return lead, told
}
