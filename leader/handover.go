package leader

import "github.com/prytany/prytany/synod"

// Release gives up the lead of group in favour of the voter to. From this
// instant on this node does not lead with its ballot any more, whatever happens
// to to, and no lease of it holds. The caller has made sure that to holds all that
// was proposed, and proposes nothing more. Without the lead it does nothing and
// reports false.
func (n *Node) Release(group uint64, to synod.NodeID, now Instant, out *Output) bool {
	g := n.group(group)
	switch {
	case g == nil || to == n.cfg.Self || !g.has(to):
		return false
	case !g.facts.Leading || g.facts.Own != g.lead || g.lead == g.released:
		return false
	}
	if !n.off.releaseKeeps {
		g.released = g.lead
		n.keep(g, false, now) // first: nobody may be free while we still count on it
		n.show(g, now, out)
	}
	g.backoff = max(g.backoff, now+Instant(3*n.cfg.Heartbeat)) // should to fail, others come first
	m := Release{g.id, g.facts.Config, g.lead, to}
	out.Events = append(out.Events, Event{Kind: EvRelease, Group: g.id, Node: to, Ballot: g.lead, Reason: reasonHandOver})
	out.send(to, m)
	n.pass(g, m, n.cfg.Self, out)
	n.evaluate(g, now, out)
	n.tellSoon(now)
	return true
}

// pass sends m to all voters in reach but the one that it names and owner.
func (n *Node) pass(g *group, m Release, owner synod.NodeID, out *Output) {
	for i := range g.voters {
		if p := g.voters[i].peer; p != nil && p.up && p.id != m.To && p.id != owner {
			out.send(p.id, m)
		}
	}
}

// onRelease believes the leader followed, or whom it names, that it leads no
// longer. Since it had led, no lease under a lower ballot holds; and since this
// node follows no higher one, and follows at least what it has promised on disk,
// no process before this one has said that it was bound to one. So the silence
// after the start may end too.
func (n *Node) onRelease(from synod.NodeID, m Release, now Instant, out *Output) {
	g := n.group(m.Group)
	if g == nil || m.Config != g.facts.Config || m.Ballot.IsZero() || g.me == 0 || !g.has(m.To) {
		return
	}
	for _, p := range n.peers {
		n.judge(p, now, out)
	}
	n.follow(g, out)
	owner := g.leader()
	if m.Ballot != g.lead || g.lead.Less(g.high) || m.Ballot == g.released || owner == n.cfg.Self || from != owner && from != m.To {
		return
	}
	heir := m.To == n.cfg.Self
	if heir && !n.health.fit() {
		return // the others will elect
	}
	g.released, g.claim.open = m.Ballot, false
	until := max(n.binding(g).until, g.mute)
	g.held = held{} // what it has given is given to the heir
	n.wake(g)
	g.mute = now
	out.Events = append(out.Events, Event{Kind: EvRelease, Group: g.id, Node: m.To, Ballot: m.Ballot, Reason: reasonHandOver})
	if heir {
		g.lease = lease{node: n.cfg.Self, ballot: m.Ballot, until: now}
		n.pass(g, m, owner, out)
		if b := n.number(g); b.Round <= synod.MaxRound {
			n.campaign(g, b, out)
		}
		return
	}
	g.lease = lease{m.To, n.peer(m.To).incarnation, m.Ballot, until}
	g.grace = max(g.grace, now+Instant(n.cfg.Heartbeat*3/2))
	n.evaluate(g, now, out)
}

// Heir returns the voter that should lead group if this node gives the lead up:
// in reach, fit, not leaving, not far behind, and then the nearest to a quorum. 0
// if there is none.
func (n *Node) Heir(group uint64) synod.NodeID {
	g := n.group(group)
	if g == nil {
		return 0
	}
	best, place, top := synod.NodeID(0), standing{}, n.newest(g)
	for i := range g.voters {
		v := &g.voters[i]
		s, ok := n.stands(g, v, top)
		if ok && s.behind == 0 && (best == 0 || s.less(place)) {
			best, place = v.Node, s
		}
	}
	return best
}
