package placement

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	sameFifth = 5                      // a fifth farther is as near,
	sameBy    = 2 * time.Millisecond   // and so much farther too
	farAway   = 500 * time.Millisecond // a distance that is not known
)

// asGood is the reason if nothing but the dice decide.
const asGood = "as good as the others"

func millis(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

func same[T comparable](a, b T) bool { return a == b }

// zoned names a zone.
func zoned(zone string) string {
	if zone == "" {
		return "the zone without a name"
	}
	return "zone " + zone
}

// asNear reports whether distance d is as good as the shortest.
func asNear(d, shortest time.Duration) bool {
	return d-shortest <= max(shortest/sameFifth, sameBy)
}

// A cluster is the nodes in order of their ids, and the distances that were asked for.
type cluster struct {
	nodes []Node
	ids   []uint64 // of nodes
	d     Distance
	rtts  [][]time.Duration // by index: 0 not asked, below 0 not known, else one more than it is
}

func newCluster(nodes []Node, d Distance) *cluster {
	c := &cluster{nodes: slices.Clone(nodes), d: d, rtts: make([][]time.Duration, len(nodes))}
	slices.SortStableFunc(c.nodes, func(a, b Node) int { return cmp.Compare(a.ID, b.ID) })
	for _, n := range c.nodes {
		c.ids = append(c.ids, n.ID)
	}
	return c
}

// index returns where the node with that id is, -1 if it is not known.
func (c *cluster) index(id uint64) int {
	if i, ok := slices.BinarySearch(c.ids, id); ok {
		return i
	}
	return -1
}

// node returns the node with that id, nil if it is not known.
func (c *cluster) node(id uint64) *Node {
	if i := c.index(id); i >= 0 {
		return &c.nodes[i]
	}
	return nil
}

// name returns what people call a node.
func (c *cluster) name(id uint64) string {
	if n := c.node(id); n != nil && n.Name != "" {
		return n.Name
	}
	return fmt.Sprintf("%016x", id)
}

// rtt returns the distance between two nodes, farAway if it is not known.
func (c *cluster) rtt(a, b uint64) (d time.Duration, ok bool) {
	a, b = min(a, b), max(a, b)
	i, j := c.index(a), c.index(b)
	switch {
	case a == b:
		return 0, true
	case i < 0 || j < 0:
		return c.ask(a, b)
	case c.rtts[i] == nil:
		c.rtts[i] = make([]time.Duration, len(c.nodes))
	}
	if c.rtts[i][j] == 0 {
		d, ok = c.ask(a, b)
		c.rtts[i][j] = -1
		if ok {
			c.rtts[i][j] = d + 1
		}
	}
	if d = c.rtts[i][j]; d < 0 {
		return farAway, false
	}
	return d - 1, true
}

// ask asks for a distance in both directions.
func (c *cluster) ask(a, b uint64) (d time.Duration, ok bool) {
	if d, ok = c.d(a, b); !ok {
		d, ok = c.d(b, a)
	}
	if !ok {
		return farAway, false
	}
	return max(d, 0), true
}

// apart returns how far node n is from where w wants it: from Near, or on average
// from the other members. ok is false if a distance is not known, or there is nothing
// to be near to.
func (c *cluster) apart(n uint64, members []uint64, w Wish) (d time.Duration, ok bool) {
	if w.Near != 0 {
		return c.rtt(n, w.Near)
	}
	count := time.Duration(0)
	ok = true
	for _, m := range members {
		if m == n {
			continue
		}
		one, known := c.rtt(n, m)
		d, ok, count = d+one, ok && known, count+1
	}
	if count == 0 {
		return 0, false
	}
	return d / count, ok
}

// spread returns the average distance between the members.
func (c *cluster) spread(members []uint64) (d time.Duration, ok bool) {
	if len(members) < 2 {
		return 0, true
	}
	ok = true
	for _, m := range members {
		one, known := c.apart(m, members, Wish{})
		d, ok = d+one, ok && known
	}
	return d / time.Duration(len(members)), ok
}

// permits reports whether a member may be in zone.
func (w *Wish) permits(zone string) bool { return len(w.Zones) == 0 || slices.Contains(w.Zones, zone) }

// spares returns the nodes that could become members, by id.
func (c *cluster) spares(w Wish, members []uint64) (out []*Node) {
	for i := range c.nodes {
		n := &c.nodes[i]
		if n.Alive && w.permits(n.Zone) && !slices.Contains(w.Avoid, n.ID) && !slices.Contains(members, n.ID) {
			out = append(out, n)
		}
	}
	return out
}

// in returns how many of the members are in zone.
func (c *cluster) in(zone string, members []uint64) (count int) {
	for _, m := range members {
		if n := c.node(m); n != nil && n.Zone == zone {
			count++
		}
	}
	return count
}

// A choice is a node and why.
type choice struct {
	id  uint64
	why string
}

// pick returns the best of spares beside members; ok is false if there are none.
func (c *cluster) pick(spares []*Node, members []uint64, w Wish) (_ choice, ok bool) {
	if len(spares) == 0 {
		return choice{}, false
	}
	count := func(n *Node) int { return c.in(n.Zone, members) }
	apart := func(n *Node) time.Duration { d, _ := c.apart(n.ID, members, w); return d }
	load := func(n *Node) int { return n.Load }
	fewest := least(spares, count, same[int])
	nearest := least(fewest, apart, asNear)
	idlest := least(nearest, load, same[int])
	n := slices.MinFunc(idlest, func(a, b *Node) int { return compareHash(a.ID, b.ID, w.Seed) })

	var why []string
	if len(fewest) < len(spares) {
		why = append(why, byZone(n.Zone, count(n)))
	}
	if len(nearest) < len(fewest) {
		why = append(why, c.byDistance(n.ID, members, w))
	}
	if len(idlest) < len(nearest) {
		why = append(why, byLoad(n.Load))
	}
	switch {
	case len(spares) == 1 && len(why) == 0:
		why = append(why, "the only node left")
	case len(why) == 0:
		why = append(why, asGood)
	}
	return choice{n.ID, strings.Join(why, "; ")}, true
}

func byZone(zone string, count int) string {
	if count == 0 {
		return zoned(zone) + " has no member yet"
	}
	return fmt.Sprintf("%s has fewest members (%d)", zoned(zone), count)
}

func byLoad(load int) string { return fmt.Sprintf("holds fewest members (%d)", load) }

func (c *cluster) byDistance(n uint64, members []uint64, w Wish) string {
	d, known := c.apart(n, members, w)
	switch {
	case !known:
		return "nearest as far as is known"
	case w.Near == n:
		return "is the node to be near to"
	}
	return "nearest to " + c.goal(w) + ": " + c.length(d, w)
}

// goal names what w wants members to be near to.
func (c *cluster) goal(w Wish) string {
	if w.Near != 0 {
		return c.name(w.Near)
	}
	return "the others"
}

// length says how far members are from the goal.
func (c *cluster) length(d time.Duration, w Wish) string {
	if w.Near != 0 {
		return millis(d)
	}
	return millis(d) + " on average"
}

// least returns those of nodes whose key is as good as the lowest.
func least[K cmp.Ordered](nodes []*Node, key func(*Node) K, same func(k, low K) bool) (out []*Node) {
	keys := make([]K, len(nodes))
	out = make([]*Node, 0, len(nodes))
	for i, n := range nodes {
		keys[i] = key(n)
	}
	low := slices.Min(keys)
	for i, n := range nodes {
		if same(keys[i], low) {
			out = append(out, n)
		}
	}
	return out
}

// compareHash puts nodes in an order that is another for each seed.
func compareHash(a, b, seed uint64) int {
	return cmp.Or(cmp.Compare(mix(a^mix(seed)), mix(b^mix(seed))), cmp.Compare(a, b))
}

// mix is the finalizer of splitmix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
