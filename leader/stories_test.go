package leader

import (
	"fmt"
	"testing"

	"github.com/prytany/prytany/synod"
)

// handed wants a hand-over to have been all that happened.
func handed(w *world) string {
	if w.events[EvClaim] != 0 {
		return fmt.Sprintf("%d claims", w.events[EvClaim])
	}
	return ""
}

// after returns what a story does with a hand-over from node 0 to node 1.
func after(f func(w *world)) func(w *world) {
	return func(w *world) {
		w.run(w.now + Instant(w.random.between(0, int64(50*ms))))
		if f != nil {
			f(w)
		}
		w.handOver(0, 1)
	}
}

// loses has the network lose what is released to some nodes.
func loses(nodes ...int) func(w *world) {
	return func(w *world) {
		w.lose = func(e event) bool {
			_, release := e.msg.(Release)
			for _, n := range nodes {
				if release && e.to == n {
					return true
				}
			}
			return false
		}
	}
}

// dies has the heir end a while after the release.
func dies(after Instant, seen bool) func(w *world) {
	return func(w *world) { w.at(w.now+after, func() { w.crash(1, seen) }) }
}

// handOvers are the stories of planned changes of leader.
func handOvers() []story {
	return []story{
		{name: "hand-over, 3 nodes", nodes: 3, changes: 1, worst: 150 * ms, length: 3000 * ms, happens: after(nil), also: handed},
		{name: "hand-over, 5 nodes", nodes: 5, changes: 1, worst: 150 * ms, length: 3000 * ms, happens: after(nil), also: handed},
		{name: "hand-over, heir dead, seen", nodes: 3, changes: 1, worst: 700 * ms, length: 3000 * ms, happens: after(dies(0, true))},
		{name: "hand-over, heir dead, unseen", nodes: 5, changes: 1, worst: 700 * ms, length: 3000 * ms, happens: after(dies(0, false))},
		{name: "hand-over, heir dies in phase 1", nodes: 5, changes: 1, worst: 1000 * ms, length: 3000 * ms, happens: after(dies(2*ms, false)), atMost: true},
		{name: "hand-over, release lost", nodes: 3, changes: 1, worst: 600 * ms, length: 3000 * ms, happens: after(loses(1, 2))},
		{name: "hand-over, release to the heir lost", nodes: 5, changes: 1, worst: 600 * ms, length: 3000 * ms, happens: after(loses(1))},
		{name: "hand-over, release to all others lost", nodes: 5, changes: 1, worst: 250 * ms, length: 3000 * ms, happens: after(losesFrom0(2, 3, 4)), also: handed},
		{name: "hand-over to who is unfit", nodes: 5, changes: 1, worst: 600 * ms, length: 3000 * ms, happens: after(func(w *world) {
			w.nodes[1].health.Disk = false
			w.at(w.now+2000*ms, func() { w.nodes[1].health.Disk = true })
			w.run(w.now + 100*ms)
		})},
		{name: "hand-over from one to the next", nodes: 5, changes: 5, worst: 150 * ms, length: 11000 * ms, also: handed, happens: func(w *world) {
			for i := range 5 {
				w.at(w.now+Instant(i)*2000*ms, func() { w.handOver(i, (i+1)%5) })
			}
		}},
		{name: "the leader is far away", nodes: 3, changes: 1, worst: 300 * ms, length: 200_000 * ms, also: handed, happens: func(w *world) {
			w.far(0, 20*ms)
		}},
		{name: "the leader is far away now and then", nodes: 3, changes: 0, worst: 300 * ms, length: 200_000 * ms, happens: func(w *world) {
			for i := range 5 {
				w.at(w.now+Instant(i)*40_000*ms, func() { w.far(0, 20*ms) })
				w.at(w.now+Instant(i)*40_000*ms+30_000*ms, func() { w.far(0, 0) })
			}
		}},
	}
}

// losesFrom0 is loses, of what node 0 itself sends.
func losesFrom0(nodes ...int) func(w *world) {
	return func(w *world) {
		loses(nodes...)(w)
		lose := w.lose
		w.lose = func(e event) bool { return e.from == 0 && lose(e) }
	}
}

// far makes all ways from and to a node longer.
func (w *world) far(node int, by Instant) {
	for i := range w.nodes {
		w.extra[i][node], w.extra[node][i] = by, by
	}
}

// hungry gives a node the processor only 0 to 300 ms after it wants it, for 30 s.
func hungry(node int) func(w *world) {
	return func(w *world) {
		h := w.nodes[node]
		h.stall = func() Instant { return Instant(w.random.between(0, int64(300*ms))) }
		w.at(w.now+30_000*ms, func() { h.stall = nil })
	}
}

// deaf has the ways from and to node 0 work in one direction only.
func deaf(node int, out bool, others ...int) func(w *world) {
	return func(w *world) {
		for _, i := range others {
			if out {
				w.pass[node][i] = false
			} else {
				w.pass[i][node] = false
			}
		}
	}
}

// lies has gossip say anything of anybody for 10 s.
func lies(w *world) {
	end := w.now + 10_000*ms
	var turn func()
	turn = func() {
		for _, h := range w.nodes {
			p := nid(int(w.random.between(0, int64(len(w.nodes)))))
			h.m.SetGossip(p, Gossip(w.random.between(0, 4)), w.clock(h), &h.out)
			w.step(h)
		}
		if w.now < end {
			w.at(w.now+Instant(w.random.between(int64(ms), int64(60*ms))), turn)
		}
	}
	turn()
}

// says has gossip say the same of a node to all.
func (w *world) says(node int, s Gossip) {
	for _, h := range w.nodes {
		if h.id != node && !h.dead {
			h.m.SetGossip(nid(node), s, w.clock(h), &h.out)
			w.step(h)
		}
	}
}

// scores sets how badly nodes keep up with the gossip.
func (w *world) scores(score int, nodes ...int) {
	for _, i := range nodes {
		w.nodes[i].health.Score = score
	}
}

// pressures are the stories of nodes and networks that are ill, not gone.
func pressures() []story {
	var all []story
	for i := range 3 {
		all = append(all, story{name: fmt.Sprintf("node %d starved", i), nodes: 3, changes: 0, worst: 900 * ms, length: 31_000 * ms, happens: hungry(i)})
	}
	return append(all, []story{
		{name: "leader starved, 5 nodes", nodes: 5, changes: 0, worst: 900 * ms, length: 31_000 * ms, happens: hungry(0)},
		{name: "follower starved, 5 nodes", nodes: 5, changes: 0, worst: 200 * ms, length: 31_000 * ms, happens: hungry(3)},
		{name: "leader stands still for 1.5 s", nodes: 5, changes: 1, worst: 800 * ms, length: 6000 * ms, happens: func(w *world) {
			w.freeze(0)
			w.at(w.now+1500*ms, func() { w.thaw(0) })
		}},
		{name: "disk of the leader slow for 3 s", nodes: 5, changes: 1, worst: 600 * ms, length: 10_000 * ms, happens: func(w *world) {
			w.nodes[0].health.Disk = false
			w.at(w.now+3000*ms, func() { w.nodes[0].health.Disk = true })
		}},
		{name: "disk of the leader hangs", nodes: 3, changes: 1, worst: 600 * ms, length: 10_000 * ms, happens: func(w *world) {
			w.nodes[0].health.Disk = false
		}},
		{name: "disk of a follower slow for 3 s", nodes: 5, changes: 0, worst: 150 * ms, length: 6000 * ms, happens: func(w *world) {
			w.nodes[2].health.Disk = false
			w.at(w.now+3000*ms, func() { w.nodes[2].health.Disk = true })
		}},
		{name: "leader deaf", nodes: 5, changes: 1, worst: 1100 * ms, length: 5000 * ms, happens: deaf(0, false, 1, 2, 3, 4)},
		{name: "leader dumb", nodes: 5, changes: 1, worst: 1100 * ms, length: 5000 * ms, happens: deaf(0, true, 1, 2, 3, 4)},
		{name: "leader deaf to one", nodes: 5, changes: 0, worst: 150 * ms, length: 5000 * ms, happens: deaf(0, false, 3)},
		{name: "leader not heard by one", nodes: 3, changes: 0, worst: 150 * ms, length: 5000 * ms, happens: deaf(0, true, 2)},
		{name: "follower deaf", nodes: 3, changes: 0, worst: 150 * ms, length: 5000 * ms, happens: deaf(1, false, 0, 2)},
		{name: "follower dumb", nodes: 5, changes: 0, worst: 150 * ms, length: 5000 * ms, happens: deaf(1, true, 0, 2, 3, 4)},
		{name: "300 ms more to the leader and back", nodes: 5, changes: 0, worst: 800 * ms, length: 10_000 * ms, happens: func(w *world) {
			w.patience = 1000 * ms
			w.far(0, 150*ms)
		}},
		{name: "1 s more to the leader and back", nodes: 5, changes: 1, worst: 1500 * ms, length: 10_000 * ms, happens: func(w *world) {
			w.patience = 2000 * ms
			w.far(0, 500*ms)
		}},
		{name: "leader in the minority", nodes: 5, changes: 1, worst: 1100 * ms, length: 9000 * ms, happens: func(w *world) {
			w.only([2]int{0, 1}, [2]int{2, 3}, [2]int{2, 4}, [2]int{3, 4})
			w.at(w.now+5000*ms, func() { w.only(all5...) })
		}},
		{name: "gossip lies", nodes: 5, changes: 0, worst: 150 * ms, length: 11_000 * ms, happens: lies},
		{name: "gossip buries the leader", nodes: 5, changes: 0, worst: 150 * ms, length: 5000 * ms, happens: func(w *world) {
			w.says(0, GossipDead)
		}},
		{name: "gossip praises a leader that is cut off", nodes: 5, changes: 1, worst: 1100 * ms, length: 5000 * ms, happens: func(w *world) {
			w.says(0, GossipAlive)
			w.only([2]int{0, 1}, [2]int{1, 2}, [2]int{1, 3}, [2]int{2, 3}, [2]int{2, 4}, [2]int{3, 4})
		}},
		{name: "gossip is broken for all, leader crashes", nodes: 3, changes: 1, worst: 3500 * ms, length: 6000 * ms, happens: func(w *world) {
			w.scores(7, 0, 1, 2)
			w.at(w.now+100*ms, func() { w.crash(0, true) })
		}},
		{name: "who keeps up badly does not claim", nodes: 5, changes: 1, worst: 600 * ms, length: 4000 * ms, happens: func(w *world) {
			w.scores(2, 1, 2)
			w.at(w.now+100*ms, func() { w.crash(0, true) })
		}, also: func(w *world) string {
			if w.nodes[1].leading || w.nodes[2].leading {
				return "a node leads that should not have claimed"
			}
			return ""
		}},
	}...)
}

// TestQuietDay is a day without a fault: one election, a lease at nearly every
// commit, and no event that people would have to read.
func TestQuietDay(t *testing.T) {
	length := 3600 * 1000 * ms
	if *full {
		length *= 24
	}
	w := newWorld(3, 1, mutant{})
	w.skew(2000) // within what the guard of the leases lets pass
	w.begin()
	w.run(length)
	w.audited(t, "quiet day")
	if w.changes != 1 || w.worst() > 200*ms {
		t.Errorf("%d elections, %d ms without a commit; want 1", w.changes, w.worst()/ms)
	}
	if w.commits-w.sure > 2 {
		t.Errorf("%d of %d commits without a lease", w.commits-w.sure, w.commits)
	}
	if w.events[EvUnleased] != 0 || w.events[EvClock] != 0 || w.events[EvUnfit] != 0 || w.events[EvNearer] != 0 {
		t.Errorf("events %v", w.events)
	}
}

// TestLeasesAreHeld keeps the audit honest: where a leader keeps its quorum it
// mostly has a lease, whatever the clocks do within their bounds.
func TestLeasesAreHeld(t *testing.T) {
	for seed := range uint64(20) {
		w := crooked(5, 2*seed+1, mutant{})
		w.begin()
		w.run(20_000 * ms)
		w.audited(t, "leases held")
		if w.sure*100 < w.commits*95 {
			t.Errorf("seed %d: a lease at %d of %d commits", seed, w.sure, w.commits)
		}
	}
}

// TestLateRelease replays a release to an acceptor that has just started: it may
// have been bound, before, to a leader that came after the one that released.
func TestLateRelease(t *testing.T) {
	d := newDesk(t, Config{Self: 1, Incarnation: 2, Mute: 1}, mutant{})
	f := Facts{Config: 1, Voters: three, Promised: ballot(5, 3)}
	d.facts(f)
	d.n.Receive(2, Release{1, 1, ballot(4, 2), 3}, d.now, &d.out)
	if d.n.MayPromise(1, 3, d.now) || d.n.MayPromise(1, 1, d.now) {
		t.Error("a release of a lower ballot ends the silence")
	}
	d.n.Receive(3, Release{1, 1, ballot(5, 3), 2}, d.now, &d.out)
	for node, want := range map[synod.NodeID]bool{1: false, 2: true, 3: false} {
		if got := d.n.MayPromise(1, node, d.now); got != want {
			t.Errorf("MayPromise(%v) = %v after the release to 2; want %v", node, got, want)
		}
	}
	if !d.n.MayPromise(1, 3, d.now+150*ms) {
		t.Error("silent for longer than a lease")
	}
}
