package placement

import (
	"fmt"
	"slices"
	"time"
)

// rtts is distances between nodes, the lower id first, in milliseconds.
type rtts map[[2]uint64]float64

func (r rtts) distance(a, b uint64) (time.Duration, bool) {
	ms, ok := r[[2]uint64{a, b}]
	return time.Duration(ms * float64(time.Millisecond)), ok
}

// lan is the distance between nodes that are all as near, but for noise.
func lan(a, b uint64) (time.Duration, bool) {
	return 300*time.Microsecond + time.Duration(mix(a^b)%uint64(time.Millisecond)), true
}

// none is no distance at all.
func none(a, b uint64) (time.Duration, bool) { return 0, false }

// nodes makes living nodes with ids from 1, one for each zone that is named.
func nodes(zones ...string) (out []Node) {
	for i, z := range zones {
		out = append(out, Node{ID: uint64(i + 1), Name: fmt.Sprint("n", i+1), Zone: z, Alive: true})
	}
	return out
}

// with returns nodes in which f has changed the one with that id.
func with(in []Node, id uint64, f func(n *Node)) []Node {
	out := slices.Clone(in)
	f(&out[slices.IndexFunc(out, func(n Node) bool { return n.ID == id })])
	return out
}

func dead(n *Node) { n.Alive = false }

func loaded(load int) func(n *Node) { return func(n *Node) { n.Load = load } }

// count sets what nodes hold and lead to what groups say.
func count(groups []Group, in []Node) []Node {
	out := slices.Clone(in)
	for i := range out {
		out[i].Load, out[i].Leads = 0, 0
		for _, g := range groups {
			if slices.Contains(g.Members, out[i].ID) {
				out[i].Load++
			}
			if g.Leader == out[i].ID {
				out[i].Leads++
			}
		}
	}
	return out
}

// take carries out steps on copies of groups, one after the other.
func take(groups []Group, steps []Step) []Group {
	out := slices.Clone(groups)
	for _, s := range steps {
		i := slices.IndexFunc(out, func(g Group) bool { return g.ID == s.Group })
		g := &out[i]
		if s.Lead {
			g.Leader = s.To
			continue
		}
		g.Members = append(without(g.Members, s.From), s.To)
		if g.Leader == s.From {
			g.Leader = 0
		}
	}
	return out
}

// zonesOf returns in how many zones, of those permitted, living members of g are.
func zonesOf(g Group, in []Node) int {
	zones := map[string]bool{}
	for _, n := range in {
		if n.Alive && slices.Contains(g.Members, n.ID) && g.Wish.permits(n.Zone) {
			zones[n.Zone] = true
		}
	}
	return len(zones)
}
