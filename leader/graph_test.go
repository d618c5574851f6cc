package leader

import (
	"fmt"
	"testing"
)

// judge fails t if w does not make progress though a node reaches a quorum, or
// has not settled, or has cost more than most changes of leader.
func (w *world) judge(t testing.TB, name string, most int) {
	t.Helper()
	w.audited(t, name)
	if w.changes > most {
		t.Errorf("%s: %d changes of leader; want at most %d", name, w.changes, most)
	}
	if !w.connected() {
		return
	}
	if w.now-w.last > 500*ms {
		t.Errorf("%s: no commit for %d ms though a node reaches a quorum", name, (w.now-w.last)/ms)
	}
	if w.changes > 0 && w.now-w.changed < 2500*ms {
		t.Errorf("%s: a change of leader %d ms before the end", name, (w.now-w.changed)/ms)
	}
}

// keeps reports whether the leader has two-way links to a quorum.
func (w *world) keeps(leader int) bool {
	n := 1
	for i := range w.nodes {
		if w.pass[leader][i] && w.pass[i][leader] {
			n++
		}
	}
	return n >= w.quorum()
}

// A tally collects what many cases cost.
type tally struct {
	cases, moved int // with a quorum-connected node at the end; of these, with a change
	gaps, moves  []Instant

	commits, sure int // of the latter the leader had a lease
}

func (y *tally) add(w *world) {
	if !w.connected() {
		return
	}
	y.cases++
	y.commits, y.sure = y.commits+w.commits, y.sure+w.sure
	y.gaps = append(y.gaps, w.worst())
	if w.changes > 0 {
		y.moved++
		y.moves = append(y.moves, w.worst())
	}
}

func (y *tally) log(t testing.TB) {
	t.Logf("%d cases with a quorum-connected node, %d with a change; longest time without a commit: median %d ms, worst %d ms; with a change: median %d ms, 99 %% %d ms, worst %d ms",
		y.cases, y.moved, percentile(y.gaps, 50)/ms, percentile(y.gaps, 100)/ms,
		percentile(y.moves, 50)/ms, percentile(y.moves, 99)/ms, percentile(y.moves, 100)/ms)
	t.Logf("a lease at %d of %d commits", y.sure, y.commits)
	if y.sure*2 < y.commits {
		t.Error("a lease at less than half of the commits: nothing is proven about leases")
	}
}

// TestAllGraphs leaves an established leader of five nodes with each of the
// 1,024 possible sets of links.
func TestAllGraphs(t *testing.T) {
	if testing.Short() {
		t.Skip("a long search in one goroutine")
	}
	var y tally
	for graph := range 1 << len(all5) {
		for leader := range 5 {
			var links [][2]int
			for i, l := range all5 {
				if graph&(1<<i) != 0 {
					links = append(links, l)
				}
			}
			w := crooked(5, uint64(graph*5+leader+1), mutant{})
			w.establish(t, leader)
			w.only(links...)
			w.run(w.now + 3500*ms)
			name := fmt.Sprintf("links %v, leader %d", links, leader)
			w.judge(t, name, 1)
			if w.keeps(leader) && w.changes != 0 {
				t.Errorf("%s: deposed though it kept a quorum", name)
			}
			y.add(w)
		}
	}
	y.log(t)
	if y.cases != 4990 || y.moved != 1470 {
		t.Errorf("%d cases, %d with a change; want 4990 and 1470", y.cases, y.moved)
	}
}

// TestSmallGraphs does the same with three and four nodes, several times.
func TestSmallGraphs(t *testing.T) {
	for _, nodes := range []int{3, 4} {
		var links [][2]int
		for a := range nodes {
			for b := range a {
				links = append(links, [2]int{a, b})
			}
		}
		for graph := range 1 << len(links) {
			for leader := range nodes {
				w := crooked(nodes, uint64(graph*nodes+leader+1), mutant{})
				w.establish(t, leader)
				for i, l := range links {
					if graph&(1<<i) == 0 {
						w.cut(l[0], l[1])
					}
				}
				w.run(w.now + 3500*ms)
				name := fmt.Sprintf("%d nodes, graph %b, leader %d", nodes, graph, leader)
				w.judge(t, name, 1)
				if w.keeps(leader) && w.changes != 0 {
					t.Errorf("%s: deposed though it kept a quorum", name)
				}
			}
		}
	}
}

// scramble draws links at random, each direction by itself if oneWay.
func (w *world) scramble(oneWay bool) {
	share := []int64{35, 50, 65, 80, 95}[w.random.between(0, 5)]
	for a := range w.nodes {
		for b := range a {
			w.pass[a][b] = w.random.between(0, 100) < share
			w.pass[b][a] = w.pass[a][b]
			if oneWay {
				w.pass[b][a] = w.random.between(0, 100) < share
			}
		}
	}
}

// TestOneWayGraphs leaves an established leader with random links that may
// work in one direction only.
func TestOneWayGraphs(t *testing.T) {
	if testing.Short() {
		t.Skip("a long search in one goroutine")
	}
	cases := 1000
	if *full {
		cases = 20000
	}
	var y tally
	for seed := range cases {
		w := crooked(5, uint64(seed+1), mutant{})
		leader := seed % 5
		w.establish(t, leader)
		w.scramble(true)
		w.run(w.now + 3500*ms)
		name := fmt.Sprintf("seed %d", seed+1)
		w.judge(t, name, 1)
		if w.keeps(leader) && w.changes != 0 {
			t.Errorf("%s: deposed though it kept a quorum", name)
		}
		y.add(w)
	}
	y.log(t)
}

// TestSettledSequences changes the links again and again, each time after the
// last change has been dealt with. Each may cost one change of leader.
func TestSettledSequences(t *testing.T) {
	cases := 60
	if *full {
		cases = 2000
	}
	var y tally
	for seed := range cases {
		w := crooked(5, uint64(seed+1), mutant{})
		w.establish(t, seed%5)
		for round := range 6 {
			w.scramble(seed%2 == 1)
			w.forget()
			was := w.last
			w.run(w.now + 4500*ms)
			w.judge(t, fmt.Sprintf("seed %d, round %d", seed+1, round), 1)
			if w.now-was < 5500*ms { // else the time without any quorum is in the figures
				y.add(w)
			}
		}
	}
	y.log(t)
}

// churn makes up to eleven changes, 20 to 900 ms apart: links, one-way links,
// freezes, crashes, restarts, hand-overs and new configurations, sometimes with
// 20 % loss.
func (w *world) churn(oneWay bool) {
	n := int64(len(w.nodes))
	w.loss = 0
	if w.random.between(0, 3) == 0 {
		w.loss = 20
	}
	for range w.random.between(1, 12) {
		a, b := int(w.random.between(0, n)), int(w.random.between(0, n))
		h := w.nodes[a]
		switch dice := w.random.between(0, 100); {
		case h.dead:
			w.restart(a)
		case h.frozen:
			w.thaw(a)
		case dice < 20:
			w.freeze(a)
		case dice < 30:
			w.crash(a, dice < 25)
		case dice < 45:
			w.crash(a, true)
			w.restart(a)
		case dice < 55:
			if l := w.leader(); l != nil && l.id != b {
				w.handOver(l.id, b)
			}
		case dice < 60:
			w.reshape(b)
		case a == b:
			w.scramble(oneWay)
		case oneWay:
			w.pass[a][b] = !w.pass[a][b]
		default:
			w.pass[a][b] = !w.pass[a][b]
			w.pass[b][a] = w.pass[a][b]
		}
		w.run(w.now + Instant(w.random.between(int64(20*ms), int64(900*ms))))
	}
	w.loss = 0
}

// settle ends all faults but those of the links, and perhaps one crash.
func (w *world) settle(oneWay bool) {
	for i, h := range w.nodes {
		switch {
		case h.frozen:
			w.thaw(i)
		case h.dead && w.random.between(0, 4) != 0:
			w.restart(i)
		}
	}
	w.scramble(oneWay)
}

// churned runs three rounds of churn, each followed by a fixed graph, and
// judges every one.
func churned(t testing.TB, seed uint64, nodes int, off mutant, y *tally) {
	w := crooked(nodes, seed, off)
	// A lease as short as the default has mostly ended by itself when an election
	// comes; long ones put what ends them to the test.
	w.lease = []Instant{0, 400 * ms, 1000 * ms, 2000 * ms}[seed%4]
	w.begin()
	w.run(500 * ms)
	oneWay := seed%2 == 1
	for round := range 3 {
		w.churn(oneWay)
		w.settle(oneWay)
		w.forget()
		w.last = w.now
		config := w.config
		w.run(w.now + 7000*ms)
		most := 2 + int(w.config-config) // whoever a stop-sign designates may not reach a quorum
		w.judge(t, fmt.Sprintf("%d nodes, seed %d, round %d", nodes, seed, round), most)
		y.add(w)
	}
}

// TestChurn is about sequences of faults: they find what single faults from a
// fresh state never show.
func TestChurn(t *testing.T) {
	cases := 100
	switch {
	case *full:
		cases = 5000
	case testing.Short():
		cases = 30
	}
	for _, nodes := range []int{3, 5, 7} {
		for _, even := range []bool{false, true} {
			var y tally
			for seed := range cases / 2 {
				churned(t, uint64(seed+1), nodes, mutant{noJitter: even}, &y)
			}
			t.Logf("%d nodes, heartbeats evenly spaced: %v", nodes, even)
			y.log(t)
		}
	}
}
