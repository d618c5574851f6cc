package leader

import "github.com/prytany/prytany/synod"

const (
	mendAfter   = 2  // times Silence, for which a voter has stood aside
	mendEvery   = 20 // times Silence, between the first two times that a leader mends
	mendDoubles = 9  // how often that is doubled: with the usual Silence up to 68 min
)

// mend wins back voters that stand aside: they have promised to a ballot above the
// leader's that nobody uses, so that they vote for neither. Candidates leave such
// promises behind that withdrew, or were not supported for long enough. While a quorum
// is left nothing stands still, but the group outlives one failure less. So the leader
// begins a ballot of its own above that promise: no other node leads, and no acceptor
// bound to this one refuses it. A link that flaps makes such candidates time and again,
// and whoever begins a leadership gives all sessions their full time anew: a leader that
// always mended would end none. So it is patient, and waits twice as long after each
// time, until there was nothing to mend for as long as that can become.
func (n *Node) mend(g *group, now Instant, out *Output) {
	v := n.aside(g)
	if v == nil || n.off.neverMends {
		g.mendAt = never
		return
	}
	if g.mendAt == never {
		g.mendAt = max(now+Instant(mendAfter*n.cfg.Silence), g.noMend)
	}
	b := n.number(g)
	if now < g.mendAt || b.Round > synod.MaxRound {
		return
	}
	every := Instant(mendEvery * n.cfg.Silence)
	if now-g.noMend >= every<<mendDoubles {
		g.mends = 0
	}
	g.mendAt, g.noMend, g.mends = never, now+every<<min(g.mends, mendDoubles), g.mends+1
	out.Events = append(out.Events, Event{Kind: EvMend, Group: g.id, Node: v.Node, Ballot: b, Reason: reasonAside})
	n.campaign(g, b, out)
}

// aside returns a voter that stands aside from this node's lead, nil if there is none
// or it cannot be told. Whoever owns the ballot that the voter follows says that it
// does not use it, and nobody in reach uses any but the leader's.
func (n *Node) aside(g *group) (found *voter) {
	if !g.led || !g.leading || g.facts.Sealed || g.facts.Own != g.lead {
		return nil
	}
	for i := range g.voters {
		v := &g.voters[i]
		r, ok := g.hears(v)
		switch {
		case ok && g.lead.Less(r.Own):
			return nil
		case ok && g.lead.Less(r.Followed) && n.unused(g, r.Followed):
			found = v
		}
	}
	return found
}

// unused reports whether the owner of b, in reach, does not propose or campaign with it.
func (n *Node) unused(g *group, b synod.Ballot) bool {
	for i := range g.voters {
		if v := &g.voters[i]; v.Ordinal == b.Member && v.Ordinal != g.me {
			r, ok := g.hears(v)
			return ok && r.Own != b
		}
	}
	return b.Member == g.me
}
