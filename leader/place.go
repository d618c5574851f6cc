package leader

import (
	"slices"

	"github.com/prytany/prytany/synod"
)

const (
	behindStep = 10_000               // slots: who is less behind is not behind
	nearStep   = 5 * millisecond      // ns: what is nearer by less is not nearer
	stableFor  = 60_000 * millisecond // ns that a leader has led before it thinks of moving
	unknown    = int64(1<<63 - 1)     // a distance that is not known
	lastResort = 5                    // times Silence, after which a node that should not claim does
)

// A standing is how well placed a node is to lead, best first. Distances are
// compared in steps where nodes must agree on an order, for each has measured
// its own.
type standing struct {
	behind   uint64 // steps
	distance int64  // ns
	place    int    // see order
}

func (s standing) less(t standing) bool {
	switch {
	case s.behind != t.behind:
		return s.behind < t.behind
	case s.distance != t.distance:
		return s.distance < t.distance
	}
	return s.place < t.place
}

// order returns the places of the voters of a group among candidates that are as
// good otherwise, by seat. Each group has an order of its own, so that the leaders of
// many groups are spread over the nodes, and are again when one node is lost. That of
// group 1 is the order of ordinals.
func order(group uint64, voters int) []int {
	rest, places := make([]int, voters), make([]int, voters)
	for i := range rest {
		rest[i] = i
	}
	z := mix(group - 1) // the number of a permutation
	for place := range places {
		k := int(z % uint64(len(rest)))
		z /= uint64(len(rest))
		places[rest[k]] = place
		rest = slices.Delete(rest, k, k+1)
	}
	return places
}

// coarse returns s with its distance in steps.
func (s standing) coarse() standing {
	if s.distance != unknown {
		s.distance /= nearStep
	}
	return s
}

// place returns this node's place in the order of g's voters.
func (g *group) place() int {
	for i := range g.voters {
		if g.voters[i].Ordinal == g.me {
			return g.voters[i].place
		}
	}
	return 0
}

// newest returns the highest watermark known of g.
func (n *Node) newest(g *group) uint64 {
	top := g.facts.Decided
	for i := range g.voters {
		if r, ok := g.hears(&g.voters[i]); ok {
			top = max(top, r.Decided)
		}
	}
	return top
}

// standingOf returns the standing of a node that says decided and distance.
func standingOf(decided, top uint64, distance int64, place int) standing {
	if distance == 0 {
		distance = unknown
	}
	return standing{(top - min(top, decided)) / behindStep, distance, place}
}

// stands returns the standing of the voter v, another one, if it is in reach and
// nothing speaks against it.
func (n *Node) stands(g *group, v *voter, top uint64) (standing, bool) {
	r, ok := g.hears(v)
	if !ok || !v.peer.healthy || v.peer.gossip == GossipLeaving {
		return standing{}, false
	}
	return standingOf(r.Decided, top, r.Distance, v.place), true
}

// rank returns how many voters in reach come before this node.
func (n *Node) rank(g *group) (before int64) {
	top := n.newest(g)
	own := standingOf(g.facts.Decided, top, g.distance, g.place()).coarse()
	for i := range g.voters {
		if s, ok := n.stands(g, &g.voters[i], top); ok && s.coarse().less(own) {
			before++
		}
	}
	return before
}

// reach returns in how many ns this node reaches a quorum of g and back: the
// median of the round trips to the farthest voter of the nearest quorum. Its own
// is 0. It returns 0 if that is not known.
func (n *Node) reach(g *group) int64 {
	var trips [synod.MaxSeats]int64
	k := 0
	for i := range g.voters {
		p := g.voters[i].peer
		if p == nil || !p.up || p.trips.n == 0 {
			continue
		}
		trips[k] = p.trips.stands
		k++
	}
	others := g.quorum()
	if g.me != 0 {
		others--
	}
	if others == 0 || k < others {
		return 0
	}
	slices.Sort(trips[:k])
	return trips[others-1]
}

// place advises to hand the lead over to a voter that has stood nearer to a
// quorum for long. Only that moves a lead to a better place, never an election: a
// leader that stays is worth more than milliseconds, and who is nearest changes
// with the weather.
func (n *Node) place(g *group, now Instant, out *Output) {
	if !g.led {
		return
	}
	top, best := n.newest(g), (*voter)(nil)
	var nearest standing
	for i := range g.voters {
		v := &g.voters[i]
		s, ok := n.stands(g, v, top)
		if !ok || s.behind > 0 || v.peer.gossip == GossipDead || !nearer(s.distance, g.distance) {
			v.nearer = never
			continue
		}
		v.nearer = min(v.nearer, now)
		if int64(now-v.nearer) >= n.cfg.MoveAfter && (best == nil || s.less(nearest)) {
			best, nearest = v, s
		}
	}
	if best == nil || !g.content || int64(now-g.ledSince) < stableFor || now < g.moveAt {
		return
	}
	g.moveAt = now + Instant(n.cfg.MoveAfter)
	out.Events = append(out.Events, Event{Kind: EvNearer, Group: g.id, Node: best.Node, Ballot: g.lead, Reason: reasonNearer})
	out.Advice = append(out.Advice, Advice{Group: g.id, HandOver: best.Node})
}

// nearer reports whether a distance is so much less than ours that it is worth
// moving: by a fifth, and by 5 ms.
func nearer(theirs, ours int64) bool {
	return ours != 0 && theirs != unknown && ours-theirs >= max(ours/5, nearStep)
}

// tripsKept is how many round trips to a peer are kept.
const tripsKept = 64

// trips are the newest round trips to a peer, in ns.
type trips struct {
	ring   [tripsKept]int64 // by age
	sorted [tripsKept]int64
	n      int   // how many there are
	at     int   // where the next goes
	stands int64 // the median, until it is another one by more than a tenth and 1 ms
}

// add takes one in and, if there are many, the oldest out. It reports whether what
// stands for the median has changed.
func (t *trips) add(rtt int64) (moved bool) {
	s := t.sorted[:t.n]
	if t.n == tripsKept {
		i, _ := slices.BinarySearch(s, t.ring[t.at])
		copy(s[i:], s[i+1:])
		t.n--
		s = s[:t.n]
	}
	i, _ := slices.BinarySearch(s, rtt)
	t.n++
	copy(t.sorted[i+1:t.n], t.sorted[i:])
	t.sorted[i] = rtt
	t.ring[t.at] = rtt
	t.at = (t.at + 1) % tripsKept
	m := t.median()
	if off := max(m-t.stands, t.stands-m); t.stands != 0 && off <= max(t.stands/10, millisecond) {
		return false
	}
	t.stands = m
	return true
}

// percent returns the p-th percentile, 0 if there are none.
func (t *trips) percent(p int) int64 {
	if t.n == 0 {
		return 0
	}
	return t.sorted[(t.n-1)*p/100]
}

func (t *trips) median() int64 { return t.percent(50) }
