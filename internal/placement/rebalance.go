package placement

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// The margins by which a step must be worth it.
const (
	worthFifth = 5                    // nearer by a fifth,
	worthBy    = 5 * time.Millisecond // and by so much
	worthLoad  = 2                    // members, or leads, more than the other node
)

// A Group is one to be looked at by Rebalance.
type Group struct {
	ID      uint64
	Name    string
	Wish    Wish // without Keep; Replicas does not matter
	Members []uint64
	Leader  uint64 // 0: none is known
	Busy    bool   // a change is under way: leave it alone
}

// A Step is one thing to do.
type Step struct {
	Group    uint64
	Lead     bool // hand the lead over from From to To; else move a member from From to To
	From, To uint64
	Why      string
}

// Rebalance returns what would improve the placement, worst first and at most limit
// steps; none if limit is not above 0. Steps are of these kinds, in this order:
//
//   - A member on a node that is not alive moves to one that is, if most members of
//     the group are alive. A node that is not among nodes is left alone.
//   - A member in a zone that the group's wish does not name, or that has two members
//     of the group more than another zone with a node to spare, moves there.
//   - A member that is far moves to a nearer node, if that is nearer by a fifth and
//     5 ms, and both distances are known.
//   - A member moves from a node that holds two more than another one to that one, if
//     that is not too far.
//   - The lead goes to a member that is nearer to Near, by the same margin, and from a
//     node that leads two groups more than another member to that one, if that is not
//     too far.
//
// No step makes the living members of a group be in fewer zones of those that its wish
// permits, none is for a group that is Busy, and none for one of which not most members
// are alive: it can decide nothing. Members first, then leads: there may be several steps for one group,
// which are to be carried out one after the other. After all of them, if limit has not
// cut them short, a second Rebalance finds nothing. The same input gives the same
// output, in whatever order groups and nodes are.
func Rebalance(groups []Group, nodes []Node, d Distance, limit int) []Step {
	r := newRebalance(groups, nodes, d, limit)
	r.each(r.dead, (*rebalance).replace)
	r.each(r.uneven, (*rebalance).zone)
	r.each(r.gain, (*rebalance).nearer)
	for r.load() {
	}
	r.each(r.leadGain, (*rebalance).leadNearer)
	for r.lead() {
	}
	return r.steps
}

// A rebalance is one under way. Its groups and nodes are as they are after the steps.
type rebalance struct {
	*cluster
	groups []*Group // that can be changed, by id
	limit  int
	steps  []Step
}

func newRebalance(groups []Group, nodes []Node, d Distance, limit int) *rebalance {
	r := &rebalance{cluster: newCluster(nodes, d), limit: limit}
	for _, g := range groups {
		g.Members = slices.Sorted(slices.Values(g.Members))
		if g.Wish.Seed == 0 {
			g.Wish.Seed = g.ID
		}
		if !g.Busy && 2*len(r.living(&g)) > len(g.Members) {
			r.groups = append(r.groups, &g)
		}
	}
	slices.SortFunc(r.groups, func(a, b *Group) int { return cmp.Compare(a.ID, b.ID) })
	return r
}

// full reports whether there may be no more steps.
func (r *rebalance) full() bool { return len(r.steps) >= r.limit }

// each takes the groups in order of how bad they are, those that are not left out, and
// has step do what it can for each.
func (r *rebalance) each(bad func(g *Group) int64, step func(r *rebalance, g *Group) bool) {
	type ill struct {
		g   *Group
		bad int64
	}
	var all []ill
	for _, g := range r.groups {
		if b := bad(g); b > 0 {
			all = append(all, ill{g, b})
		}
	}
	slices.SortStableFunc(all, func(a, b ill) int { return cmp.Compare(b.bad, a.bad) })
	for _, i := range all {
		for !r.full() && step(r, i.g) {
		}
	}
}

// living returns the members that are alive.
func (c *cluster) living(g *Group) (out []uint64) {
	for _, m := range g.Members {
		if n := c.node(m); n != nil && n.Alive {
			out = append(out, m)
		}
	}
	return out
}

// move takes the step of a member from one node to another.
func (r *rebalance) move(g *Group, from, to uint64, why string) {
	r.steps = append(r.steps, Step{Group: g.ID, From: from, To: to, Why: why})
	r.node(from).Load--
	r.node(to).Load++
	g.Members[slices.Index(g.Members, from)] = to
	if g.Leader == from {
		r.node(from).Leads--
		g.Leader = 0
	}
}

// without returns members but one.
func without(members []uint64, n uint64) []uint64 {
	return slices.DeleteFunc(slices.Clone(members), func(m uint64) bool { return m == n })
}

// dead returns how many members are on nodes that are not alive.
func (r *rebalance) dead(g *Group) (count int64) {
	for _, m := range g.Members {
		if n := r.node(m); n != nil && !n.Alive {
			count++
		}
	}
	return count
}

// replace replaces a dead member, if there is a node to spare.
func (r *rebalance) replace(g *Group) bool {
	for _, m := range g.Members {
		n := r.node(m)
		if n == nil || n.Alive {
			continue
		}
		to, ok := r.pick(r.spares(g.Wish, g.Members), r.living(g), g.Wish)
		if ok {
			r.move(g, m, to.id, r.name(m)+" is dead for gossip; "+to.why)
		}
		return ok
	}
	return false
}

// crowd returns the living member that should leave its zone first, and how many of
// the living are in that zone. It is one of a zone that is not wished for, with more
// than all of them, if there is one.
func (r *rebalance) crowd(g *Group) (member uint64, count int) {
	living := r.living(g)
	crowding := func(m uint64) int {
		if z := r.node(m).Zone; g.Wish.permits(z) {
			return r.in(z, living)
		}
		return len(living) + 1
	}
	for _, m := range living {
		count = max(count, crowding(m))
	}
	out := slices.DeleteFunc(slices.Clone(living), func(m uint64) bool { return crowding(m) < count })
	if len(out) == 0 {
		return 0, 0
	}
	return slices.MinFunc(out, func(a, b uint64) int {
		da, _ := r.apart(a, living, g.Wish)
		db, _ := r.apart(b, living, g.Wish)
		if !asNear(max(da, db), min(da, db)) {
			return cmp.Compare(db, da)
		}
		return cmp.Or(cmp.Compare(r.node(b).Load, r.node(a).Load), compareHash(a, b, g.Wish.Seed))
	}), count
}

// uneven returns by how much the zone with most members is ahead of the one where a
// member could go, 0 if it is not worth a step.
func (r *rebalance) uneven(g *Group) int64 {
	_, _, ahead := r.zoneStep(g)
	return int64(ahead)
}

func (r *rebalance) zoneStep(g *Group) (from uint64, to choice, ahead int) {
	from, count := r.crowd(g)
	if count < 2 {
		return 0, choice{}, 0
	}
	rest := without(r.living(g), from)
	to, ok := r.pick(r.spares(g.Wish, g.Members), rest, g.Wish)
	if !ok {
		return 0, choice{}, 0
	}
	ahead = count - r.in(r.node(to.id).Zone, rest)
	if ahead < 2 && g.Wish.permits(r.node(from).Zone) {
		return 0, choice{}, 0
	}
	return from, to, ahead
}

// zone moves a member to a zone with fewer.
func (r *rebalance) zone(g *Group) bool {
	from, to, ahead := r.zoneStep(g)
	if ahead == 0 {
		return false
	}
	was, is := r.node(from).Zone, r.node(to.id).Zone
	why := fmt.Sprintf("%s is not one of the group's", zoned(was))
	if g.Wish.permits(was) {
		living := r.living(g)
		why = fmt.Sprintf("%s has %d members, %s has %d", zoned(was), r.in(was, living), zoned(is), r.in(is, living))
	}
	r.move(g, from, to.id, why)
	return true
}

// keepsZones reports whether a member of g may go from one node to another without
// loss of evenness.
func (r *rebalance) keepsZones(g *Group, living []uint64, from, to *Node) bool {
	return from.Zone == to.Zone || r.in(to.Zone, living)+1 <= r.in(from.Zone, living)
}

// worth reports whether it is worth going from one distance to another.
func worth(from, to time.Duration) bool {
	return from-to >= worthBy && (from-to)*worthFifth >= from
}

// gain returns how much nearer one member can be, 0 if that is not worth a step.
func (r *rebalance) gain(g *Group) int64 {
	_, _, gain := r.nearerStep(g)
	return int64(gain)
}

// nearerStep finds the member that gains most by going, and where.
func (r *rebalance) nearerStep(g *Group) (from, to *Node, gain time.Duration) {
	living := r.living(g)
	spares := r.spares(g.Wish, g.Members)
	for _, m := range living {
		rest := without(living, m)
		here, ok := r.apart(m, rest, g.Wish)
		if !ok || here < worthBy {
			continue
		}
		better := slices.DeleteFunc(slices.Clone(spares), func(n *Node) bool {
			there, ok := r.apart(n.ID, rest, g.Wish)
			return !ok || !worth(here, there) || !r.keepsZones(g, living, r.node(m), n)
		})
		if len(better) == 0 {
			continue
		}
		apart := func(n *Node) time.Duration { d, _ := r.apart(n.ID, rest, g.Wish); return d }
		better = least(least(better, apart, asNear), func(n *Node) int { return n.Load }, same[int])
		best := slices.MinFunc(better, func(a, b *Node) int { return compareHash(a.ID, b.ID, g.Wish.Seed) })
		if won := here - apart(best); won > gain {
			from, to, gain = r.node(m), best, won
		}
	}
	return from, to, gain
}

// nearer moves a member to a nearer node.
func (r *rebalance) nearer(g *Group) bool {
	from, to, gain := r.nearerStep(g)
	if gain == 0 {
		return false
	}
	rest := without(r.living(g), from.ID)
	here, _ := r.apart(from.ID, rest, g.Wish)
	there, _ := r.apart(to.ID, rest, g.Wish)
	r.move(g, from.ID, to.ID, fmt.Sprintf("nearer to %s: %s instead of %s", r.goal(g.Wish), r.length(there, g.Wish), millis(here)))
	return true
}
