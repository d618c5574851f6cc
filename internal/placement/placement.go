// Package placement says on which nodes the members of a group should be, and who
// should lead it: pure functions of what gossip and measurement tell. Distinct zones
// come first, then distance, then load.
//
// Nothing here sees a clock, dice, or the order of a map: all nodes that know the same
// come to the same.
//
// # What counts as the same
//
// Measured distances are noisy, and noise must not beat load. So a node that is at
// most a fifth or 2 ms, whichever is more, farther than the nearest is as near. A
// distance that is not known counts as half a second.
package placement

import (
	"slices"
	"time"
)

// A Node is one that could hold a member.
type Node struct {
	ID    uint64 // distinct, not 0
	Name  string
	Zone  string // "" is a zone too: that of all nodes without one
	Alive bool
	Load  int // members that it holds already
	Leads int // groups that it leads
}

// A Distance returns the round trip between two nodes; ok is false if it is not known.
// It is asked
// in both directions until one is known, from the lower id first.
type Distance func(a, b uint64) (rtt time.Duration, ok bool)

// A Wish is what is asked of the members of one group.
type Wish struct {
	Replicas int
	Zones    []string // only these; empty: any
	Near     uint64   // node to be near to; 0: none
	Keep     []uint64 // members that stay
	Avoid    []uint64 // nodes that may not be chosen
	Seed     uint64   // decides between equals: give each group another, and those made at once spread
}

// Choose returns the nodes for a wish, Keep first, and for each chosen one a reason
// for people. It returns fewer than Replicas if there are no more: the caller decides
// whether that will do. Nodes that are not alive are not chosen. The same input gives
// the same output, in whatever order nodes are.
//
// A node of the zone that has fewest members of the group is chosen before others, so
// that the loss of a zone costs as few as possible. Of those the nearest one is: to
// Near, or on average to the other members. Of those that are as near, the one with
// the least load. If there is neither Near nor Keep, each node is tried as the first
// one, and the set with the shortest distances, then the least load, wins; that takes
// time proportional to Replicas and the square of the number of nodes.
func Choose(nodes []Node, d Distance, w Wish) (chosen []uint64, why []string) {
	c := newCluster(nodes, d)
	for _, id := range w.Keep {
		if !slices.Contains(chosen, id) {
			chosen, why = append(chosen, id), append(why, "stays a member")
		}
	}
	if len(chosen) > 0 || w.Near != 0 || w.Replicas < 2 {
		return c.fill(chosen, why, w)
	}
	return c.best(w)
}

// fill adds the best node to the chosen ones until there are enough.
func (c *cluster) fill(chosen []uint64, why []string, w Wish) ([]uint64, []string) {
	for len(chosen) < w.Replicas {
		p, ok := c.pick(c.spares(w, chosen), chosen, w)
		if !ok {
			break
		}
		chosen, why = append(chosen, p.id), append(why, p.why)
	}
	return chosen, why
}

// best tries each node as the first one.
func (c *cluster) best(w Wish) (chosen []uint64, why []string) {
	spares := c.spares(w, nil)
	if len(spares) == 0 {
		return nil, nil
	}
	type set struct {
		nodes []uint64
		why   []string
		rtt   time.Duration
		load  int
	}
	sets := make([]set, 0, len(spares))
	nearest := time.Duration(-1)
	least := spares[0].Load
	for _, first := range spares {
		s := set{}
		s.nodes, s.why = c.fill([]uint64{first.ID}, []string{""}, w)
		s.rtt, _ = c.spread(s.nodes)
		for _, n := range s.nodes {
			s.load += c.node(n).Load
		}
		if nearest < 0 || s.rtt < nearest {
			nearest = s.rtt
		}
		least = min(least, first.Load)
		sets = append(sets, s)
	}
	sets = slices.DeleteFunc(sets, func(s set) bool { return !asNear(s.rtt, nearest) })
	b := slices.MinFunc(sets, func(x, y set) int {
		if x.load != y.load {
			return x.load - y.load
		}
		return compareHash(x.nodes[0], y.nodes[0], w.Seed)
	})
	rtt, known := c.apart(b.nodes[0], b.nodes[1:], Wish{})
	switch {
	case c.node(b.nodes[0]).Load == least:
		b.why[0] = byLoad(least)
	case known && len(b.nodes) > 1:
		b.why[0] = "near to the others: " + c.length(rtt, w)
	default:
		b.why[0] = asGood
	}
	return b.nodes, b.why
}
