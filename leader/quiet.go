package leader

// A group is asleep while nothing about it can change but by something that
// happens: this node is content with its leader, and waits for nothing. Then no
// beat looks at it. Whatever the rule depends on wakes it, and what is awake is
// looked at with every beat, until it is calm again:
//
//   - other facts, a promise, a claim, a release;
//   - what a voter says anew about it;
//   - the link, the health, the gossip, the clock or the distance of a voter;
//   - this node's own health;
//   - a leader's count of who is bound to it;
//   - an instant that was known when it fell asleep.

// netShare is the part of the sleeping groups that a beat looks at all the same,
// in turn, should something have been forgotten: all of them within 256 beats.
const netShare = 256

// wake has g looked at with the next beat.
func (n *Node) wake(g *group) {
	n.touch(g)
	if !g.awake {
		g.awake = true
		n.wakeful = append(n.wakeful, g)
	}
}

// wakeAll wakes the groups that p shares.
func (n *Node) wakeAll(p *peer) {
	for _, g := range p.groups {
		n.wake(g)
	}
}

// look evaluates what is awake: all of it, or what is due. What is calm falls
// asleep, at a beat, for only that evaluates everything.
func (n *Node) look(beat, all bool, now Instant, out *Output) {
	k := 0
	for _, g := range n.wakeful {
		if g.gone {
			continue
		}
		if all || now >= g.claimAt || now >= g.again {
			n.evaluate(g, now, out)
		}
		if beat && n.sleeps(g, now) {
			g.awake = false
			continue
		}
		n.wakeful[k] = g
		k++
	}
	clear(n.wakeful[k:])
	n.wakeful = n.wakeful[:k]
	if !beat {
		return
	}
	for _, g := range n.wakeful {
		n.repeat(g)
	}
}

// rouse wakes what is due at now, and some more.
func (n *Node) rouse(now Instant) {
	for _, p := range n.peers {
		if sure := now < p.sure.until; sure != p.counts {
			p.counts = sure
			for _, g := range p.groups {
				if g.led && !n.off.noLapse {
					n.wake(g)
				}
			}
		}
	}
	if now >= n.due {
		n.due = never
		for _, g := range n.groups {
			if now >= g.due {
				n.wake(g)
			} else if !g.awake {
				n.due = min(n.due, g.due)
			}
		}
	}
	if n.off.noNet {
		return
	}
	for range (len(n.groups) + netShare - 1) / netShare {
		n.turn = (n.turn + 1) % len(n.groups)
		n.wake(n.groups[n.turn])
	}
}

// sleeps reports whether g, just evaluated, may be left alone, and notes until
// when.
func (n *Node) sleeps(g *group, now Instant) bool {
	f := &g.facts
	switch {
	case n.off.everything, g.stirred, !g.content, now < g.grace, g.claimAt != never, g.again != never, g.mendAt != never:
		return false
	case !f.Own.IsZero() && !(f.Leading && g.led):
		return false
	}
	g.due = never
	if ok, _ := n.leased(g, now); ok != g.leased {
		g.due = g.showAt
	}
	for i := range g.voters {
		v := &g.voters[i]
		if v.peer != nil && v.peer.ahead(g) {
			return false
		}
		if g.led && v.nearer != never {
			g.due = min(g.due, max(v.nearer+Instant(n.cfg.MoveAfter), g.ledSince+stableFor, g.moveAt))
		}
	}
	n.due = min(n.due, g.due)
	return now < g.due
}
