package leader

import (
	"flag"
	"slices"
	"testing"
)

var full = flag.Bool("leader.full", false, "run every graph and many seeds, for minutes")

// A story is a named scenario: what happens to an established leader, and how
// many changes of leader it may cost.
type story struct {
	name    string
	nodes   int
	leader  int
	changes int
	worst   Instant // longest time without a commit
	length  Instant
	happens func(w *world)
	atMost  bool                  // fewer changes will do
	also    func(w *world) string // what else is wrong
}

var all5 = [][2]int{{0, 1}, {0, 2}, {0, 3}, {0, 4}, {1, 2}, {1, 3}, {1, 4}, {2, 3}, {2, 4}, {3, 4}}

// stories returns all stories.
func stories() []story { return slices.Concat(faults(), handOvers(), pressures()) }

// faults returns the published cases of partial connectivity (Ng, Haridi,
// Carbone: "Omni-Paxos", 2023; Howard, Abraham: "Raft does not guarantee
// liveness in the face of network faults", 2020; Cloudflare's incident of
// November 2020) and the plain faults.
func faults() []story {
	return []story{
		{name: "cloudflare", nodes: 3, leader: 2, changes: 0, worst: 150 * ms, length: 6000 * ms, happens: func(w *world) { w.cut(0, 2) }},
		{name: "chained", nodes: 3, leader: 0, changes: 0, worst: 150 * ms, length: 6000 * ms, happens: func(w *world) { w.cut(0, 2) }},
		{name: "chained, leader in the middle", nodes: 3, leader: 1, changes: 0, worst: 150 * ms, length: 6000 * ms, happens: func(w *world) { w.cut(0, 2) }},
		{name: "quorum-loss", nodes: 5, leader: 2, changes: 1, worst: 1100 * ms, length: 4000 * ms, happens: func(w *world) {
			w.only([2]int{0, 1}, [2]int{0, 2}, [2]int{0, 3}, [2]int{0, 4})
		}},
		{name: "constrained", nodes: 5, leader: 2, changes: 1, worst: 1100 * ms, length: 4000 * ms, happens: func(w *world) {
			w.cut(0, 2)
			w.at(w.now+300*ms, func() { w.only([2]int{0, 1}, [2]int{0, 3}, [2]int{0, 4}) })
		}},
		{name: "howard-abraham 1", nodes: 5, leader: 0, changes: 0, worst: 150 * ms, length: 4000 * ms, happens: func(w *world) {
			w.only([2]int{0, 1}, [2]int{0, 2}, [2]int{1, 2}, [2]int{1, 3}, [2]int{2, 4})
		}},
		{name: "howard-abraham 2", nodes: 5, leader: 0, changes: 1, worst: 1100 * ms, length: 4000 * ms, happens: func(w *world) {
			for i := 2; i < 5; i++ {
				w.cut(0, i)
			}
		}},
		{name: "crash seen, 3 nodes", nodes: 3, leader: 0, changes: 1, worst: 600 * ms, length: 3000 * ms, happens: func(w *world) { w.crash(0, true) }},
		{name: "crash seen, 5 nodes", nodes: 5, leader: 0, changes: 1, worst: 600 * ms, length: 3000 * ms, happens: func(w *world) { w.crash(0, true) }},
		{name: "crash unseen, 3 nodes", nodes: 3, leader: 0, changes: 1, worst: 800 * ms, length: 3000 * ms, happens: func(w *world) { w.crash(0, false) }},
		{name: "crash unseen, 5 nodes", nodes: 5, leader: 0, changes: 1, worst: 800 * ms, length: 3000 * ms, happens: func(w *world) { w.crash(0, false) }},
		{name: "flapping node", nodes: 5, leader: 0, changes: 0, worst: 150 * ms, length: 11000 * ms, happens: flap(4)},
		{name: "isolated node rejoins", nodes: 5, leader: 0, changes: 0, worst: 150 * ms, length: 8000 * ms, happens: func(w *world) {
			for i := range 4 {
				w.cut(4, i)
			}
			w.at(w.now+5000*ms, func() { w.only(all5...) })
		}},
		{name: "leader frozen 4 s", nodes: 5, leader: 0, changes: 1, worst: 800 * ms, length: 7000 * ms, happens: func(w *world) {
			w.freeze(0)
			w.at(w.now+4000*ms, func() { w.thaw(0) })
		}},
		{name: "leader frozen 4 s, 3 nodes", nodes: 3, leader: 0, changes: 1, worst: 800 * ms, length: 7000 * ms, happens: func(w *world) {
			w.freeze(0)
			w.at(w.now+4000*ms, func() { w.thaw(0) })
		}},
		{name: "new configuration", nodes: 5, leader: 0, changes: 0, worst: 150 * ms, length: 4000 * ms, happens: func(w *world) { w.reconfigure(0) }},
		{name: "new configuration, another leader", nodes: 3, leader: 0, changes: 0, worst: 150 * ms, length: 4000 * ms, happens: func(w *world) { w.reconfigure(1) }},
		{name: "new configuration, its leader dead", nodes: 3, leader: 0, changes: 1, worst: 800 * ms, length: 4000 * ms, happens: func(w *world) {
			w.crash(1, true)
			w.reconfigure(1)
		}},
		{name: "30 % loss for 30 s", nodes: 5, leader: 0, changes: 0, worst: 900 * ms, length: 31000 * ms, happens: func(w *world) {
			w.loss = 30
			w.at(w.now+30000*ms, func() { w.loss = 0 })
		}},
	}
}

// flap takes all links of a node down and up every 50 to 400 ms for 10 s.
func flap(node int) func(w *world) {
	return func(w *world) {
		end := w.now + 10000*ms
		var turn func()
		up := true
		turn = func() {
			up = !up || w.now >= end
			for i := range w.nodes {
				if i != node {
					w.pass[i][node], w.pass[node][i] = up, up
				}
			}
			if w.now < end {
				w.at(w.now+Instant(w.random.between(int64(50*ms), int64(400*ms))), turn)
			}
		}
		turn()
	}
}

// tell runs a story.
func tell(t testing.TB, s story, seed uint64, off mutant) *world {
	w := crooked(s.nodes, seed, off)
	w.move = 60_000 * ms
	w.establish(t, s.leader)
	s.happens(w)
	w.run(w.now + s.length)
	return w
}

func TestStories(t *testing.T) {
	seeds := uint64(20)
	switch {
	case *full:
		seeds = 200
	case testing.Short():
		seeds = 2
	}
	for _, s := range stories() {
		t.Run(s.name, func(t *testing.T) {
			var gaps []Instant
			for seed := range seeds {
				w := tell(t, s, seed+1, mutant{})
				gaps = append(gaps, w.worst())
				w.audited(t, s.name)
				if w.changes > s.changes || w.changes < s.changes && !s.atMost {
					t.Errorf("seed %d: %d changes of leader; want %d", seed+1, w.changes, s.changes)
				}
				if s.also != nil && s.also(w) != "" {
					t.Errorf("seed %d: %s", seed+1, s.also(w))
				}
				if w.worst() > s.worst {
					t.Errorf("seed %d: %d ms without a commit; want at most %d", seed+1, w.worst()/ms, s.worst/ms)
				}
			}
			t.Logf("longest time without a commit: median %d ms, worst %d ms", percentile(gaps, 50)/ms, percentile(gaps, 100)/ms)
		})
	}
}
