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

// A Plane is a kind of packet.
type Plane uint8

// The planes.
const (
	Paxos Plane = iota // of groups, and forwarded requests
	Beats              // heartbeats, claims and grants
	NumPlanes
)

// mostQueued is how far a link may be behind; what comes then is lost, as in a queue
// that is full.
const mostQueued = 4 * time.Second

// mostLate is how much later the second copy of an echo comes, at most, and the latest
// packet of a heavy tail.
const mostLate = 3 * time.Second

// A Link is one direction of the path between two nodes. All that makes it bad is of
// whoever breaks the network, who must mend it too.
type Link struct {
	Cuts    int            // faults that cut it now
	Planes  [NumPlanes]int // faults that cut one plane of it
	Holds   int            // faults that hold packets back
	Drop    float64        // of packets, lost
	Dup     float64        // of packets, delivered twice
	Echo    float64        // of packets, come once more, much later
	Damage  float64        // of packets, changed on the way
	Heavy   float64        // of packets, late by a time without a mean
	Scatter time.Duration  // added to the delay of each packet, at most; there is no order then
	Rate    int            // bytes a second; 0 means any number
	Epoch   uint64         // goes up when the connection breaks: what is on its way is lost
	Delay   dice.Delay

	counts *Counts
	usual  time.Duration // the longest delay without a tail
	latest time.Duration // when the last packet of those without order arrives
	last   time.Duration // when the last packet arrives; later ones stay behind it if the network keeps order
	free   time.Duration // when the last byte has left
}

// Counts say what became of packets.
type Counts struct {
	Cut, Planed, Lost  int // by a cut, by one of a plane, by chance
	Dupes, Echoes      int // came twice; came again much later
	Slow, Late         int // by more than usual; by a heavy tail
	Overtaken          int // by a later one, on a link without order
	Queued, Overflowed int // behind others of a slow link; lost because there were too many
	Broken             int // on their way when the connection broke
	Held, Damaged      int
}

// Loses reports whether a packet is lost.
func (l *Link) Loses(p Plane, r *rand.Rand) bool {
	switch {
	case l.Cuts > 0:
		l.counts.Cut++
	case l.Planes[p] > 0:
		l.counts.Planed++
	case l.Drop > 0 && r.Float64() < l.Drop:
		l.counts.Lost++
	default:
		return false
	}
	return true
}

// Ends reports whether a packet that left in that epoch is lost on its way because the
// link was cut or the connection broke.
func (l *Link) Ends(p Plane, epoch uint64) bool {
	switch {
	case l.Cuts > 0:
		l.counts.Cut++
	case l.Planes[p] > 0:
		l.counts.Planed++
	case epoch != l.Epoch:
		l.counts.Broken++
	default:
		return false
	}
	return true
}

// Damages reports whether a packet is changed on its way.
func (l *Link) Damages(r *rand.Rand) bool {
	if l.Damage == 0 || r.Float64() >= l.Damage {
		return false
	}
	l.counts.Damaged++
	return true
}

// Copies returns how often a packet arrives.
func (l *Link) Copies(r *rand.Rand) int {
	if l.Dup > 0 && r.Float64() < l.Dup {
		l.counts.Dupes++
		return 2
	}
	return 1
}

// Echoes returns how much later a packet comes once more, 0 if it does not.
func (l *Link) Echoes(r *rand.Rand) time.Duration {
	if l.Echo == 0 || r.Float64() >= l.Echo {
		return 0
	}
	l.counts.Echoes++
	return 1 + time.Duration(r.Int64N(int64(mostLate)))
}

// Waits reports whether packets are held back, and counts one.
func (l *Link) Waits() bool {
	if l.Holds > 0 {
		l.counts.Held++
	}
	return l.Holds > 0
}

// Arrival returns when a packet of so many bytes arrives that is sent at the given
// moment; not ok means that it is lost behind too many others.
func (l *Link) Arrival(sent time.Duration, size int, ordered bool, r *rand.Rand) (at time.Duration, ok bool) {
	if l.Rate > 0 {
		start := max(sent, l.free)
		switch {
		case start-sent > mostQueued:
			l.counts.Overflowed++
			return 0, false
		case start > sent:
			l.counts.Queued++
		}
		l.free = start + time.Duration(size)*time.Second/time.Duration(l.Rate)
		sent = l.free
	}
	at = sent + l.Delay.Sample(r)
	if at > sent+l.usual && l.Delay.Max > l.usual {
		l.counts.Slow++
	}
	if l.Heavy > 0 && r.Float64() < l.Heavy {
		l.counts.Late++
		u := 1 - r.Float64() // a Pareto distribution whose exponent is 1: from 5 ms on, half of what is longer is twice as long
		at += min(time.Duration(float64(5*time.Millisecond)/u), mostLate)
	}
	if l.Scatter > 0 {
		at += time.Duration(r.Int64N(int64(l.Scatter)))
		if at < l.latest {
			l.counts.Overtaken++
		}
		l.latest = max(l.latest, at)
		return at, true
	}
	if ordered {
		at = max(at, l.last)
		l.last = at
	}
	return at, true
}

// A Network is the links between some nodes.
type Network struct {
	Counts Counts
	nodes  int
	links  []Link // from*nodes+to
}

// New returns a network whose links are all like l.
func New(nodes int, l Link) *Network {
	n := &Network{nodes: nodes}
	l.counts, l.usual = &n.Counts, l.Delay.Max
	n.links = slices.Repeat([]Link{l}, nodes*nodes)
	return n
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

// CutPlane breaks one plane of both directions between two nodes.
func (n *Network) CutPlane(a, b int, p Plane) (heal func()) {
	n.Link(a, b).Planes[p]++
	n.Link(b, a).Planes[p]++
	return func() {
		n.Link(a, b).Planes[p]--
		n.Link(b, a).Planes[p]--
	}
}

// Hold holds back what goes to and from a node.
func (n *Network) Hold(a int) (release func()) {
	var held []*Link
	for x := range n.nodes {
		if x != a {
			held = append(held, n.Link(a, x), n.Link(x, a))
		}
	}
	for _, l := range held {
		l.Holds++
	}
	return func() {
		for _, l := range held {
			l.Holds--
		}
	}
}

// Break breaks the connection between two nodes: what is on its way is lost.
func (n *Network) Break(a, b int) {
	n.Link(a, b).Epoch++
	n.Link(b, a).Epoch++
}

// BreakAll breaks all connections of a node.
func (n *Network) BreakAll(a int) {
	for x := range n.nodes {
		if x != a {
			n.Break(a, x)
		}
	}
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
