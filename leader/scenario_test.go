package leader

import (
	"flag"
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
}

var all5 = [][2]int{{0, 1}, {0, 2}, {0, 3}, {0, 4}, {1, 2}, {1, 3}, {1, 4}, {2, 3}, {2, 4}, {3, 4}}

// stories returns the published cases of partial connectivity (Ng, Haridi,
// Carbone: "Omni-Paxos", 2023; Howard, Abraham: "Raft does not guarantee
// liveness in the face of network faults", 2020; Cloudflare's incident of
// November 2020) and the plain faults.
func stories() []story {
	return []story{
		{"cloudflare", 3, 2, 0, 150 * ms, 6000 * ms, func(w *world) { w.cut(0, 2) }},
		{"chained", 3, 0, 0, 150 * ms, 6000 * ms, func(w *world) { w.cut(0, 2) }},
		{"chained, leader in the middle", 3, 1, 0, 150 * ms, 6000 * ms, func(w *world) { w.cut(0, 2) }},
		{"quorum-loss", 5, 2, 1, 1100 * ms, 4000 * ms, func(w *world) {
			w.only([2]int{0, 1}, [2]int{0, 2}, [2]int{0, 3}, [2]int{0, 4})
		}},
		{"constrained", 5, 2, 1, 1100 * ms, 4000 * ms, func(w *world) {
			w.cut(0, 2)
			w.at(w.now+300*ms, func() { w.only([2]int{0, 1}, [2]int{0, 3}, [2]int{0, 4}) })
		}},
		{"howard-abraham 1", 5, 0, 0, 150 * ms, 4000 * ms, func(w *world) {
			w.only([2]int{0, 1}, [2]int{0, 2}, [2]int{1, 2}, [2]int{1, 3}, [2]int{2, 4})
		}},
		{"howard-abraham 2", 5, 0, 1, 1100 * ms, 4000 * ms, func(w *world) {
			for i := 2; i < 5; i++ {
				w.cut(0, i)
			}
		}},
		{"crash seen, 3 nodes", 3, 0, 1, 600 * ms, 3000 * ms, func(w *world) { w.crash(0, true) }},
		{"crash seen, 5 nodes", 5, 0, 1, 600 * ms, 3000 * ms, func(w *world) { w.crash(0, true) }},
		{"crash unseen, 3 nodes", 3, 0, 1, 800 * ms, 3000 * ms, func(w *world) { w.crash(0, false) }},
		{"crash unseen, 5 nodes", 5, 0, 1, 800 * ms, 3000 * ms, func(w *world) { w.crash(0, false) }},
		{"flapping node", 5, 0, 0, 150 * ms, 11000 * ms, flap(4)},
		{"isolated node rejoins", 5, 0, 0, 150 * ms, 8000 * ms, func(w *world) {
			for i := range 4 {
				w.cut(4, i)
			}
			w.at(w.now+5000*ms, func() { w.only(all5...) })
		}},
		{"leader frozen 4 s", 5, 0, 1, 800 * ms, 7000 * ms, func(w *world) {
			w.freeze(0)
			w.at(w.now+4000*ms, func() { w.thaw(0) })
		}},
		{"leader frozen 4 s, 3 nodes", 3, 0, 1, 800 * ms, 7000 * ms, func(w *world) {
			w.freeze(0)
			w.at(w.now+4000*ms, func() { w.thaw(0) })
		}},
		{"new configuration", 5, 0, 0, 150 * ms, 4000 * ms, func(w *world) { w.reconfigure(0) }},
		{"new configuration, another leader", 3, 0, 0, 150 * ms, 4000 * ms, func(w *world) { w.reconfigure(1) }},
		{"new configuration, its leader dead", 3, 0, 1, 800 * ms, 4000 * ms, func(w *world) {
			w.crash(1, true)
			w.reconfigure(1)
		}},
		{"30 % loss for 30 s", 5, 0, 0, 900 * ms, 31000 * ms, func(w *world) {
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
	w := newWorld(s.nodes, seed, off)
	w.establish(t, s.leader)
	s.happens(w)
	w.run(w.now + s.length)
	return w
}

func TestStories(t *testing.T) {
	seeds := uint64(20)
	if *full {
		seeds = 200
	}
	for _, s := range stories() {
		t.Run(s.name, func(t *testing.T) {
			var gaps []Instant
			for seed := range seeds {
				w := tell(t, s, seed+1, mutant{})
				gaps = append(gaps, w.worst())
				if w.changes != s.changes {
					t.Errorf("seed %d: %d changes of leader; want %d", seed+1, w.changes, s.changes)
				}
				if w.worst() > s.worst {
					t.Errorf("seed %d: %d ms without a commit; want at most %d", seed+1, w.worst()/ms, s.worst/ms)
				}
			}
			t.Logf("longest time without a commit: median %d ms, worst %d ms", percentile(gaps, 50)/ms, percentile(gaps, 100)/ms)
		})
	}
}
