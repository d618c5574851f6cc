package paxos

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"slices"
	"testing"

	"github.com/prytany/prytany/synod"
)

var (
	seeds = flag.Int("seeds", 100, "seeds of TestRandom, per scenario")
	seed  = flag.Uint64("seed", 0, "run TestRandom with this seed alone")
)

// TestRandom lets nodes campaign, propose, read, reconfigure, snapshot, crash
// and restart at random over a network that drops, repeats and reorders. An
// oracle checks every write and message. Then everything heals, and all must
// come to know the same log within a bounded number of ticks.
func TestRandom(t *testing.T) {
	scenarios := []struct {
		name                    string
		nodes, voters, steps    int
		reconfigure, fewLeaders bool
	}{
		{"three voters", 3, 3, 6000, false, false},
		{"five voters", 5, 5, 8000, false, true},
		{"one to three", 3, 1, 6000, true, true},
		{"reconfigure", 5, 3, 8000, true, false},
	}
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			var sum stats
			first, last := uint64(1), uint64(*seeds)
			if *seed != 0 {
				first, last = *seed, *seed
			}
			for s := first; s <= last; s++ {
				w := newWorld(s, sc.nodes, sc.voters)
				if err := w.run(sc.steps, sc.reconfigure, sc.fewLeaders); err != nil {
					t.Fatalf("seed %d: %v", s, err)
				}
				sum.add(w.oracle.stats)
			}
			t.Logf("%+v", sum)
			if *seed == 0 && *seeds >= 20 && (sum.chosen < 1000 || sum.recovered < 100 || sum.installed < 10 || sum.restarts < 50 || sum.reads < 100 ||
				sc.reconfigure && sum.reconfigured < 50) {
				t.Errorf("too little happened to mean anything: %+v", sum)
			}
		})
	}
}

func (s *stats) add(o stats) {
	s.chosen += o.chosen
	s.recovered += o.recovered
	s.reconfigured += o.reconfigured
	s.installed += o.installed
	s.restarts += o.restarts
	s.reads += o.reads
}

// run makes steps random steps, heals the world and waits until it is well.
// What the oracle finds is an error.
func (w *world) run(steps int, reconfigure, fewLeaders bool) (err error) {
	step := 0
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("step %d: %v", step, r)
		}
	}()
	for ; step < steps; step++ {
		w.step(reconfigure, fewLeaders)
	}
	return w.heal()
}

func (w *world) step(reconfigure, fewLeaders bool) {
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	if !n.up {
		if w.rng.IntN(10) == 0 {
			w.oracle.stats.restarts++
			w.start(n)
		}
		return
	}
	campaigns := 3
	if fewLeaders {
		campaigns = 1
	}
	switch r := w.rng.IntN(200); {
	case r < 110 && len(w.net) > 0:
		w.deliver(w.take())
	case r < 140:
		if l := w.leader(); l != nil {
			w.propose(l)
		}
	case r < 140+campaigns:
		w.campaign(n)
	case r < 150:
		if l := w.leader(); l != nil {
			w.read(l)
		}
	case r < 180:
		w.turn(n, n.g.Tick)
	case r < 182:
		w.compact(n)
	case r < 184 && reconfigure:
		if l := w.leader(); l != nil {
			w.reconfigure(l)
		}
	case r < 187:
		w.cutLinks(n)
	case r == 187 && w.rng.IntN(w.frail/10) == 0:
		w.crash(n)
	case r == 188 && w.rng.IntN(4) == 0:
		w.turn(n, n.g.StepDown)
	}
}

// cutLinks cuts or mends one link of n one way, or all of them both ways.
func (w *world) cutLinks(n *node) {
	switch w.rng.IntN(5) {
	case 0, 1:
		clear(w.cut)
	case 2:
		for _, o := range w.nodes {
			w.cut[[2]synod.NodeID{n.id, o.id}], w.cut[[2]synod.NodeID{o.id, n.id}] = true, true
		}
	default:
		link := [2]synod.NodeID{n.id, synod.NodeID(1 + w.rng.IntN(len(w.nodes)))}
		w.cut[link] = !w.cut[link]
	}
}

// take removes a packet: mostly one of the oldest, so that links are streams
// more often than not.
func (w *world) take() packet {
	i := 0
	if w.loss > 0 && w.rng.IntN(3) == 0 {
		i = w.rng.IntN(len(w.net))
	}
	p := w.net[i]
	w.net = append(w.net[:i], w.net[i+1:]...)
	if len(w.net) > 400 {
		w.net = w.net[200:]
	}
	return p
}

func (w *world) propose(n *node) {
	var steps []func(*Effects)
	for range 1 + w.rng.IntN(3) {
		steps = append(steps, func(out *Effects) {
			w.serial++
			v := EncodeBatch(n.g.Status().Ballot, [][]byte{fmt.Appendf(nil, "%d", w.serial)})
			_, err := n.g.Propose(v, out)
			if nl := (*NotLeaderError)(nil); err != nil && !errors.As(err, &nl) && !errors.Is(err, ErrOverloaded) {
				panic(err)
			}
		})
	}
	w.turn(n, steps...)
}

func (w *world) campaign(n *node) {
	st := n.g.Status()
	own := st.Membership.Ordinal(n.id)
	if own == 0 {
		return
	}
	b := st.Promised.Next(own)
	b.Round = max(b.Round, 1) + uint64(w.rng.IntN(4)/3)
	w.turn(n, func(out *Effects) { n.g.Campaign(b, out) })
}

func (w *world) read(n *node) {
	w.turn(n, func(out *Effects) {
		atLeast := w.oracle.applied
		if seq, err := n.g.Read(out); err == nil {
			n.reads[seq] = atLeast
		}
	})
}

func (w *world) reconfigure(n *node) {
	st := n.g.Status()
	if !st.Leading || !st.Recovered {
		return
	}
	m, peer := st.Membership, synod.NodeID(1+w.rng.IntN(len(w.nodes)))
	leader := m.Voters[w.rng.IntN(len(m.Voters))].Ordinal
	next := m.With(Member{Node: peer}, leader)
	if m.Seat(peer) >= 0 {
		if len(m.Voters) == 1 || m.Ordinal(peer) == leader {
			return
		}
		next = m.Without(peer, leader)
	}
	w.turn(n, func(out *Effects) {
		if _, err := n.g.Reconfigure(next, out); err != nil && !errors.Is(err, ErrOverloaded) {
			panic(err)
		}
	})
}

// heal ends all faults but a few lost messages, and then these and all
// proposals as well. An elector lets a node try to lead when none does. All
// must come to know the same, without any new proposal or election to help.
func (w *world) heal() error {
	w.loss, w.frail = 0.2, 1<<62
	clear(w.cut)
	for _, n := range w.nodes {
		if !n.up {
			w.start(n)
		}
	}
	for round := range 300 {
		if round == 100 {
			w.loss = 0
		}
		if round%10 == 0 {
			w.gossip()
			w.elect()
		}
		for _, n := range w.nodes {
			w.turn(n, n.g.Tick)
		}
		if l := w.leader(); l != nil && round < 100 {
			w.propose(l)
		}
		for i := 0; len(w.net) > 0 && i < 3000; i++ {
			w.deliver(w.take())
		}
		if round > 100 && w.well() {
			return nil
		}
	}
	s := ""
	for _, n := range w.nodes {
		s += fmt.Sprintf("\nnode %d: %+v catch %+v", n.id, n.g.Status(), n.g.catch)
	}
	return fmt.Errorf("not well after 200 ticks without faults:%s", s)
}

// gossip tells members of old configurations that there is a newer one, as
// heartbeats between nodes do.
func (w *world) gossip() {
	newest := slices.MaxFunc(w.nodes, func(a, b *node) int {
		return cmp.Compare(a.g.Status().Membership.ID, b.g.Status().Membership.ID)
	})
	hint := Sealed{Config: newest.g.Status().Membership.ID}
	for _, n := range w.nodes {
		w.turn(n, func(out *Effects) { n.g.Receive(newest.id, hint, out) })
	}
}

// elect lets a voter of the latest configuration campaign above all promises,
// unless a member of it leads or campaigns with a quorum that has not refused.
func (w *world) elect() {
	var m Membership
	for _, n := range w.nodes {
		if st := n.g.Status(); st.Membership.ID >= m.ID {
			m = st.Membership
		}
	}
	round := uint64(2)
	for _, n := range w.nodes {
		st := n.g.Status()
		if st.Membership.ID != m.ID {
			continue
		}
		if (st.Leading || st.Campaign) && len(m.Voters)-len(st.Nacked) >= m.Quorums().Q2 {
			return
		}
		round = max(round, st.Promised.Round+1)
	}
	v := m.Voters[w.rng.IntN(len(m.Voters))]
	n := w.nodes[v.Node-1]
	w.turn(n, func(out *Effects) { n.g.Campaign(synod.Ballot{Round: round, Member: v.Ordinal}, out) })
}

// well reports whether every node of the world has applied everything that is
// chosen, and one of them leads with nothing in flight.
func (w *world) well() bool {
	leaders := 0
	for _, n := range w.nodes {
		st := n.g.Status()
		if st.Decided != Slot(len(w.oracle.chosen)) || n.last != st.Decided {
			return false
		}
		if st.Leading && st.Recovered && st.InFlight == 0 {
			leaders++
		}
	}
	return leaders >= 1
}
