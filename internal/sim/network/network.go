// Package network is the simulator's network: a link for each direction of the path
// between two nodes, what becomes of a packet on it, and the shapes in which links are
// cut. Nodes are known by their index.
package network

import (
	"iter"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/prytany/prytany/internal/sim/dice"
)

// A Link is one direction of the path between two nodes.
type Link struct {
	Cuts  int     // faults that cut it now
	Drop  float64 // of packets, lost
	Dup   float64 // of packets, delivered twice
	Delay dice.Delay

	last time.Duration // when the last packet arrives; later ones stay behind it if the network keeps order
}

// Loses reports whether a packet is lost.
func (l *Link) Loses(r *rand.Rand) bool { return l.Cuts > 0 || l.Drop > 0 && r.Float64() < l.Drop }

// Copies returns how often a packet arrives.
func (l *Link) Copies(r *rand.Rand) int {
	if l.Dup > 0 && r.Float64() < l.Dup {
		return 2
	}
	return 1
}

// Arrival returns when a packet arrives that is sent at the given moment.
func (l *Link) Arrival(sent time.Duration, ordered bool, r *rand.Rand) time.Duration {
	at := sent + l.Delay.Sample(r)
	if ordered {
		at = max(at, l.last)
		l.last = at
	}
	return at
}

// A Network is the links between some nodes.
type Network struct {
	nodes int
	links []Link // from*nodes+to
}

// New returns a network whose links are all like l.
func New(nodes int, l Link) *Network {
	return &Network{nodes, slices.Repeat([]Link{l}, nodes*nodes)}
}

// Link returns the link between two nodes.
func (n *Network) Link(from, to int) *Link { return &n.links[from*n.nodes+to] }

// Links returns all links, those of a node with itself too.
func (n *Network) Links() iter.Seq[*Link] {
	return func(yield func(*Link) bool) {
		for i := range n.links {
			if !yield(&n.links[i]) {
				return
			}
		}
	}
}

// Joined reports whether no fault cuts the path between two nodes, in either direction.
func (n *Network) Joined(a, b int) bool { return n.Link(a, b).Cuts == 0 && n.Link(b, a).Cuts == 0 }

// Cut breaks a link, until the returned function is called.
func (n *Network) Cut(from, to int) (heal func()) {
	l := n.Link(from, to)
	l.Cuts++
	return func() { l.Cuts-- }
}

// Cuts breaks all links that which names.
func (n *Network) Cuts(which func(from, to int) bool) (heal func()) {
	var heals []func()
	for x := range n.nodes {
		for y := range n.nodes {
			if x != y && which(x, y) {
				heals = append(heals, n.Cut(x, y))
			}
		}
	}
	return func() {
		for _, h := range heals {
			h()
		}
	}
}

// CutPath breaks both directions between two nodes.
func (n *Network) CutPath(a, b int) (heal func()) {
	return n.Cuts(func(x, y int) bool { return x == a && y == b || x == b && y == a })
}

// Isolate cuts a node off from all others.
func (n *Network) Isolate(a int) (heal func()) {
	return n.Cuts(func(x, y int) bool { return x == a || y == a })
}

// Ring leaves every node the links to a majority, each another one.
func (n *Network) Ring() (heal func()) {
	return n.Cuts(func(x, y int) bool {
		d := (x - y + n.nodes) % n.nodes
		return min(d, n.nodes-d) > n.nodes/4
	})
}

// Split cuts the nodes into two halves, which share the node bridge unless that is -1.
func (n *Network) Split(bridge int, r *rand.Rand) (heal func()) {
	side := make([]bool, n.nodes)
	for i, j := range r.Perm(n.nodes) {
		side[j] = i < n.nodes/2
	}
	return n.Cuts(func(x, y int) bool { return side[x] != side[y] && x != bridge && y != bridge })
}

// Graph draws paths between n nodes, such that some node has paths to a majority:
// Graph[a][b] is 1 if there is one, n if not.
func Graph(n int, r *rand.Rand) (far [][]int) {
	for far == nil || !slices.ContainsFunc(far, ReachesMajority) {
		far = make([][]int, n)
		for a := range far {
			far[a] = slices.Repeat([]int{n}, n)
			far[a][a] = 0
		}
		for a := range n {
			for b := range a {
				if dice.Chance(r, 0.6) {
					far[a][b], far[b][a] = 1, 1
				}
			}
		}
	}
	return far
}

// Hops makes of far, as of [Graph], how many hops it is from each node to each.
func Hops(far [][]int) {
	for k := range far {
		for a := range far {
			for b := range far {
				far[a][b] = min(far[a][b], far[a][k]+far[k][b])
			}
		}
	}
}

// ReachesMajority reports whether a node that is so far from each reaches a
// majority directly.
func ReachesMajority(far []int) bool {
	near := 0
	for _, d := range far {
		if d <= 1 {
			near++
		}
	}
	return near > len(far)/2
}
