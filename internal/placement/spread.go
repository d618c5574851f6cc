package placement

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// byMost returns the living nodes, those with the highest key first.
func (r *rebalance) byMost(key func(n *Node) int) (out []*Node) {
	for i := range r.nodes {
		if r.nodes[i].Alive {
			out = append(out, &r.nodes[i])
		}
	}
	slices.SortStableFunc(out, func(a, b *Node) int { return cmp.Compare(key(b), key(a)) })
	return out
}

// load moves one member from a node with many to one with few.
func (r *rebalance) load() bool {
	if r.full() {
		return false
	}
	nodes := r.byMost(func(n *Node) int { return n.Load })
	for _, from := range nodes {
		if from.Load < nodes[len(nodes)-1].Load+worthLoad {
			return false // nor do the others hold more
		}
		for _, leads := range []bool{false, true} { // a group need not lose its leader for this, if another will do
			for _, g := range r.groups {
				if (g.Leader == from.ID) == leads && slices.Contains(g.Members, from.ID) && r.lighten(g, from) {
					return true
				}
			}
		}
	}
	return false
}

// lighten moves g's member from one node to that with the least load that will do.
func (r *rebalance) lighten(g *Group, from *Node) bool {
	living := r.living(g)
	spares := slices.DeleteFunc(r.spares(g.Wish, g.Members), func(n *Node) bool {
		return n.Load+worthLoad > from.Load || !r.keepsZones(g, living, from, n)
	})
	slices.SortFunc(spares, func(a, b *Node) int {
		return cmp.Or(cmp.Compare(a.Load, b.Load), compareHash(a.ID, b.ID, g.Wish.Seed))
	})
	for _, to := range spares {
		if r.tooFar(g, from, to) {
			continue
		}
		r.move(g, from.ID, to.ID, fmt.Sprintf("%s holds %d members, %s holds %d", r.name(from.ID), from.Load, r.name(to.ID), to.Load))
		return true
	}
	return false
}

// tooFar reports whether g's member would go from a distance that is known to one that
// is not, or there would be members that should be nearer afterwards.
func (r *rebalance) tooFar(g *Group, from, to *Node) bool {
	rest := without(r.living(g), from.ID)
	_, here := r.apart(from.ID, rest, g.Wish)
	if _, there := r.apart(to.ID, rest, g.Wish); here && !there {
		return true
	}
	after := *g
	after.Members = append(without(g.Members, from.ID), to.ID)
	return r.gain(&after) > 0
}

// hand takes the step of the lead from one member to another.
func (r *rebalance) hand(g *Group, to uint64, why string) {
	r.steps = append(r.steps, Step{Group: g.ID, Lead: true, From: g.Leader, To: to, Why: why})
	r.node(g.Leader).Leads--
	r.node(to).Leads++
	g.Leader = to
}

// leads reports whether g is led by a living member.
func (r *rebalance) leads(g *Group) bool {
	return slices.Contains(r.living(g), g.Leader)
}

// leadStep finds the living member that is nearer to Near than node from by most, if
// that is worth it.
func (r *rebalance) leadStep(g *Group, from uint64) (to uint64, gain time.Duration) {
	if g.Wish.Near == 0 {
		return 0, 0
	}
	here, ok := r.rtt(from, g.Wish.Near)
	if !ok {
		return 0, 0
	}
	for _, m := range r.living(g) {
		there, ok := r.rtt(m, g.Wish.Near)
		if ok && worth(here, there) && here-there > gain {
			to, gain = m, here-there
		}
	}
	return to, gain
}

// leadGain returns how much nearer to Near the lead can be, 0 if that is not worth a
// step.
func (r *rebalance) leadGain(g *Group) int64 {
	if !r.leads(g) {
		return 0
	}
	_, gain := r.leadStep(g, g.Leader)
	return int64(gain)
}

// leadNearer hands the lead to a member that is nearer to Near.
func (r *rebalance) leadNearer(g *Group) bool {
	to, gain := r.leadStep(g, g.Leader)
	if gain == 0 {
		return false
	}
	here, _ := r.rtt(g.Leader, g.Wish.Near)
	r.hand(g, to, fmt.Sprintf("nearer to %s: %s instead of %s", r.name(g.Wish.Near), millis(here-gain), millis(here)))
	return true
}

// lead hands one lead from a node with many to one with few.
func (r *rebalance) lead() bool {
	if r.full() {
		return false
	}
	nodes := r.byMost(func(n *Node) int { return n.Leads })
	for _, from := range nodes {
		if from.Leads < nodes[len(nodes)-1].Leads+worthLoad {
			return false // nor do the others lead more
		}
		for _, g := range r.groups {
			if g.Leader == from.ID && r.leads(g) && r.relieve(g, from) {
				return true
			}
		}
	}
	return false
}

// relieve hands g's lead to the member that leads least, and is not too far.
func (r *rebalance) relieve(g *Group, from *Node) bool {
	var to *Node
	for _, m := range r.living(g) {
		n := r.node(m)
		if n.Leads+worthLoad > from.Leads || to != nil && cmp.Or(cmp.Compare(n.Leads, to.Leads), compareHash(n.ID, to.ID, g.Wish.Seed)) >= 0 {
			continue
		}
		if _, gain := r.leadStep(g, m); gain == 0 {
			to = n
		}
	}
	if to == nil {
		return false
	}
	r.hand(g, to.ID, fmt.Sprintf("%s leads %d groups, %s leads %d", r.name(from.ID), from.Leads, r.name(to.ID), to.Leads))
	return true
}
