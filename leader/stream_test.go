package leader

import (
	"fmt"
	"testing"
)

// A pair is two nodes and a network between them that loses, delays, repeats and
// swaps what they say; it remembers what was said at each version.
type pair struct {
	random random
	now    Instant
	nodes  [2]*Node
	lives  [2]uint64
	facts  [2]map[uint64]Facts // the groups of each
	wire   []letter
	said   [2]map[uint64]map[uint64]Report // by whom, at a version, about a group
	out    Output
	wholes int
}

type letter struct {
	to  int
	msg Message
}

func newPair(seed uint64) *pair {
	w := &pair{random: random(seed * 31_337)}
	for i := range w.nodes {
		w.facts[i] = map[uint64]Facts{}
		w.restart(i)
	}
	return w
}

// restart gives node i a new process, which knows the same groups.
func (w *pair) restart(i int) {
	w.lives[i]++
	w.nodes[i] = NewNode(Config{Self: nid(i), Incarnation: w.lives[i], Seed: w.random.next()}, w.now)
	w.said[i] = map[uint64]map[uint64]Report{}
	for g := range uint64(groupsOfPair) {
		if f, ok := w.facts[i][g+1]; ok {
			w.nodes[i].SetGroup(g+1, f, w.now, &w.out)
		}
	}
	w.post(i)
}

const groupsOfPair = 7

// post puts on the wire what node i sends, and remembers what it has said by now.
func (w *pair) post(i int) {
	n := w.nodes[i]
	for _, e := range w.out.Send {
		if e.To != nid(1-i) {
			continue
		}
		if m, ok := e.Msg.(Heartbeat); ok {
			w.record(i, n, m.Version)
		}
		w.wire = append(w.wire, letter{1 - i, e.Msg})
		if w.random.between(0, 8) == 0 {
			w.wire = append(w.wire, letter{1 - i, e.Msg})
		}
	}
	w.out.Reset()
}

// record remembers all that n says to the other as of version, if that is its newest.
func (w *pair) record(i int, n *Node, version uint64) {
	p := n.peer(nid(1 - i))
	if p == nil || version != p.voice.top {
		return
	}
	all := map[uint64]Report{}
	for k, id := range p.voice.said.ids {
		if r := p.voice.said.vals[k].report; r.Config != 0 {
			all[id] = r
		}
	}
	w.said[i][version] = all
}

// turn does one thing.
func (w *pair) turn() {
	i := int(w.random.between(0, 2))
	n := w.nodes[i]
	switch dice := w.random.between(0, 100); {
	case dice < 25:
		w.now = max(w.now, n.Next())
		n.Tick(w.now, Health{Disk: true, Loop: true}, &w.out)
		w.post(i)
	case dice < 75 && len(w.wire) > 0:
		k := int(w.random.between(0, min(int64(len(w.wire)), 4))) // they swap
		l := w.wire[k]
		w.wire = append(w.wire[:k], w.wire[k+1:]...)
		if w.random.between(0, 5) != 0 {
			w.now += Instant(w.random.between(0, int64(3*ms)))
			w.nodes[l.to].Receive(nid(1-l.to), l.msg, w.now, &w.out)
			w.post(l.to)
		}
	case dice < 90: // a fact changes
		id := uint64(w.random.between(1, groupsOfPair+1))
		f := w.facts[i][id]
		f.Config = max(f.Config, 1) + uint32(w.random.between(0, 10)/9)
		f.Voters = []Voter{{1, 1}, {2, 2}, {3, 3}}[:w.random.between(1, 4)]
		f.Promised.Round++
		f.Promised.Member = 3
		f.Decided += 1024
		w.facts[i][id] = f
		n.SetGroup(id, f, w.now, &w.out)
		w.post(i)
	case dice < 93:
		id := uint64(w.random.between(1, groupsOfPair+1))
		n.DropGroup(id)
		delete(w.facts[i], id)
	case dice < 95:
		n.Disconnected(nid(1-i), w.now, &w.out)
		w.post(i)
	case dice == 95:
		w.restart(i)
	case dice == 96: // long silence: who shares nothing is forgotten
		w.now += Instant(w.random.between(int64(300*ms), int64(10_000*ms)))
	case dice == 97:
		w.wire = nil
	}
}

// check wants node i to hold exactly what the other said, whenever it holds that
// nothing is missing.
func (w *pair) check() error {
	for i, n := range w.nodes {
		p := n.peer(nid(1 - i))
		if p == nil || !p.ear.whole || p.incarnation != w.lives[1-i] || p.ear.void != 0 {
			continue
		}
		want, ok := w.said[1-i][p.ear.have]
		if !ok {
			continue // between two messages of one beat
		}
		w.wholes++
		same := len(p.ear.says.ids) == len(want)
		for k, id := range p.ear.says.ids {
			r, ok := want[id]
			same = same && ok && r == p.ear.says.vals[k].Report
		}
		if !same {
			return fmt.Errorf("node %d has other reports, as of %x, than the other has said: %v", i+1, p.ear.have, want)
		}
	}
	return nil
}

// calm ends all faults, and wants both to agree in the end.
func (w *pair) calm() error {
	for range 60 {
		for i, n := range w.nodes {
			w.now = max(w.now, n.Next())
			n.Tick(w.now, Health{Disk: true, Loop: true}, &w.out)
			w.post(i)
		}
		for len(w.wire) > 0 {
			l := w.wire[0]
			w.wire = w.wire[1:]
			w.nodes[l.to].Receive(nid(1-l.to), l.msg, w.now, &w.out)
			w.post(l.to)
		}
	}
	for i, n := range w.nodes {
		for _, g := range n.groups {
			if !g.has(nid(1 - i)) {
				continue
			}
			p, other := n.peer(nid(1-i)), w.nodes[1-i]
			theirs := other.group(g.id)
			switch h := p.ear.says.get(g.id); {
			case !p.up || !p.ear.whole:
				return fmt.Errorf("node %d does not hear the other at the end", i+1)
			case theirs == nil && h != nil:
				return fmt.Errorf("node %d thinks that the other has group %d", i+1, g.id)
			case theirs != nil && (h == nil || h.Config != theirs.facts.Config || h.Decided != theirs.facts.Decided || h.Followed != theirs.lead):
				return fmt.Errorf("node %d has of group %d %+v; the other has %+v", i+1, g.id, h, theirs.facts)
			}
		}
	}
	return nil
}

func streams(seed uint64) (wholes int, err error) {
	w := newPair(seed)
	for range 400 {
		w.turn()
		if err := w.check(); err != nil {
			return 0, err
		}
	}
	return w.wholes, w.calm()
}

// TestStreams loses, delays, repeats and swaps messages, and restarts and
// disconnects nodes: what a receiver holds for all that was said is all that was
// said.
func TestStreams(t *testing.T) {
	cases, wholes := 2000, 0
	switch {
	case *full:
		cases = 100_000
	case testing.Short():
		cases = 200
	}
	for seed := range cases {
		k, err := streams(uint64(seed + 1))
		if err != nil {
			t.Fatalf("seed %d: %v", seed+1, err)
		}
		wholes += k
	}
	if wholes < cases*20 {
		t.Errorf("only %d comparisons in %d cases", wholes, cases)
	}
}

// TestLongStreams says more than goes into one message, over a network that loses.
func TestLongStreams(t *testing.T) {
	w := newPair(1)
	const groups = 3*MaxReports + 5
	for i, n := range w.nodes {
		for id := range uint64(groups) {
			n.SetGroup(id+1, Facts{Config: 1, Voters: three}, w.now, &w.out)
		}
		w.post(i)
	}
	for range 4000 {
		i := int(w.random.between(0, 2))
		if w.random.between(0, 4) == 0 {
			w.now = max(w.now, w.nodes[i].Next())
			w.nodes[i].Tick(w.now, Health{Disk: true, Loop: true}, &w.out)
			w.post(i)
		}
		if len(w.wire) > 0 {
			l := w.wire[0]
			w.wire = w.wire[1:]
			if w.random.between(0, 3) != 0 {
				w.nodes[l.to].Receive(nid(1-l.to), l.msg, w.now, &w.out)
				w.post(l.to)
			}
		}
		if err := w.check(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.calm(); err != nil {
		t.Fatal(err)
	}
	for i, n := range w.nodes {
		if got := len(n.peer(nid(1 - i)).ear.says.ids); got != groups {
			t.Errorf("node %d has heard of %d groups; want %d", i+1, got, groups)
		}
	}
}

// TestGuests: who is no voter but says that we are one is answered, as long as it
// asks, and so many of those at most.
func TestGuests(t *testing.T) {
	d := newDesk(t, Config{Self: 1, Incarnation: 1}, mutant{})
	d.facts(Facts{Config: 2, Voters: three})
	asks := Report{Group: 1, Config: 1, Asks: true}
	if got := d.request(9, asks); len(got) != 1 || got[0].Config != 2 || got[0].Asks {
		t.Errorf("a node that asks is told %+v; want one report of configuration 2", got)
	}
	if got := d.request(8); len(got) != 0 {
		t.Errorf("a node that asks about nothing is told %+v", got)
	}
	if got := len(d.n.Links()); got != 2 {
		t.Errorf("%d links; want 2", got)
	}
	asks.Asks = false
	if got := d.request(9, asks); got[0].Config != 0 {
		t.Errorf("a node that does not ask any more is told %+v", got)
	}
	for id := range maxGuests + 5 {
		d.request(nid(100+id), Report{Group: 1, Config: 1, Asks: true})
	}
	if got := len(d.n.peers); got != maxGuests+2 {
		t.Errorf("%d nodes are known; want %d", got, maxGuests+2)
	}
	d.now += Instant(patience*d.n.cfg.Silence) + 60*ms
	d.tick()
	if got := len(d.n.peers); got != 2 {
		t.Errorf("%d nodes are known long after they have asked; want 2", got)
	}
}

// TestWhoMissedTheEndRepeatsItself: a node that hears of a later configuration says
// its own again with every beat, so that somebody tells it.
func TestWhoMissedTheEndRepeatsItself(t *testing.T) {
	d := newDesk(t, Config{Self: 1, Incarnation: 1}, mutant{})
	d.facts(Facts{Config: 1, Voters: three})
	later := Report{Group: 1, Config: 2, Followed: ballot(1, 2), Content: true}
	d.run(200*ms, later)
	said := 0
	for range 10 {
		d.tick()
		for _, e := range d.take() {
			if m, ok := e.Msg.(Heartbeat); ok && !m.Reply {
				said += len(m.Groups)
				d.reply(e.To, m, later)
			}
		}
	}
	if said < 10 {
		t.Errorf("its configuration is said %d times in 10 beats to two others; want 10 at least", said)
	}
}
