package leader

import (
	"fmt"
	"runtime/debug"
	"testing"
)

// A row of the table that the defaults must keep: what happens to an established
// leader, and what it may cost.
type row struct {
	name    string
	seeds   int // of one run of the search
	changes int
	median  Instant // bounds for the longest time without a commit; 0: none
	worst   Instant
	told    bool // reported, no condition
	run     func(l *lab, seed uint64) outcome
}

// An outcome is what one run of a row has cost.
type outcome struct {
	failed  bool // the leader could not be established, or nothing was chosen at the end
	changes int
	gap     Instant
	length  Instant
	leased  int // of 1,000 moments
}

// play is a row's run: length of virtual time after happens with nodes nodes, of
// which leader leads.
func play(nodes, leader int, length Instant, happens func(w *world, l *lab)) func(l *lab, seed uint64) outcome {
	return func(l *lab, seed uint64) outcome {
		w := newWorld(nodes, seed, mutant{})
		l.disk, l.period = true, 10*ms
		if !l.establish(w, leader) {
			return outcome{failed: true}
		}
		happens(w, l)
		begin, samples, leased := w.now, 0, 0
		for t := begin; t < begin+length; t += 97 * ms {
			w.run(t)
			if samples++; w.leased() {
				leased++
			}
		}
		w.run(begin + length)
		return outcome{
			failed:  w.connected() && w.now-w.last > 3000*ms,
			changes: w.changes, gap: w.worst(), length: length, leased: leased * 1000 / samples,
		}
	}
}

// isolate cuts all links of a node.
func (w *world) isolate(node int) {
	for i := range w.nodes {
		w.cut(node, i)
	}
}

// plain are the rows in which the leader is gone, and how soon another commits.
func plain() []row {
	crash := func(w *world, l *lab) { l.crash(w, 0) }
	freeze := func(w *world, _ *lab) {
		w.freeze(0)
		w.at(w.now+3000*ms, func() { w.thaw(0) })
	}
	cut := func(w *world, _ *lab) { w.isolate(0) }
	return []row{
		{name: "leader killed, 3 nodes", seeds: 20, changes: 1, median: 200 * ms, worst: 400 * ms, run: play(3, 0, 1500*ms, crash)},
		{name: "leader killed, 5 nodes", seeds: 20, changes: 1, median: 200 * ms, worst: 400 * ms, run: play(5, 0, 1500*ms, crash)},
		{name: "leader stopped, 3 nodes", seeds: 10, changes: 1, median: 550 * ms, worst: 800 * ms, run: play(3, 0, 4000*ms, freeze)},
		{name: "leader stopped, 5 nodes", seeds: 10, changes: 1, median: 550 * ms, worst: 800 * ms, run: play(5, 0, 4000*ms, freeze)},
		{name: "leader cut off, 5 nodes", seeds: 10, changes: 1, median: 550 * ms, worst: 800 * ms, run: play(5, 0, 3000*ms, cut)},
	}
}

// pressed are the rows in which all is slow or lossy and nobody is gone.
func pressed() []row {
	on := func(node int, f func(w *world) Instant) func(w *world, l *lab) {
		return func(_ *world, l *lab) {
			l.stall = func(w *world, h *host) Instant {
				if h.id != node {
					return 0
				}
				return f(w)
			}
			l.cost = 40_000
		}
	}
	all := func(w *world, l *lab) {
		l.period = 50 * ms
		l.stall = func(w *world, _ *host) Instant { return crowded(w) }
	}
	disk := func(w *world, l *lab) {
		next := w.now + 1000*ms
		l.slow = func(w *world, h *host) Instant {
			if h.id != 0 || w.now < next {
				return 0
			}
			next = w.now + Instant(w.random.between(int64(700*ms), int64(1300*ms)))
			return 300 * ms
		}
	}
	return []row{
		{name: "all nodes slow, 10 min", seeds: 1, run: play(5, 0, 600_000*ms, all)},
		{name: "leader waits up to 200 ms for each turn, 30 s", seeds: 10, run: play(5, 0, 30_000*ms, on(0, starved))},
		{name: "follower waits up to 200 ms for each turn, 30 s", seeds: 3, run: play(5, 0, 30_000*ms, on(1, starved))},
		{name: "leader has 5 % of a processor, 30 s", seeds: 5, run: play(5, 0, 30_000*ms, on(0, sliced))},
		{name: "follower has 5 % of a processor, 30 s", seeds: 3, run: play(5, 0, 30_000*ms, on(1, sliced))},
		{name: "30 % of all packets lost, 30 s", seeds: 10, run: play(5, 0, 30_000*ms, func(w *world, l *lab) { w.loss, l.period = 30, 50*ms })},
		{name: "a write of the leader takes 300 ms, once a second, 30 s", seeds: 5, run: play(5, 0, 30_000*ms, disk)},
	}
}

// overTCP are the rows whose network is TCP.
func overTCP() []row {
	with := func(loss int64) func(w *world, l *lab) {
		return func(w *world, l *lab) { l.tcp, l.period = &tcp{loss: loss}, 50*ms }
	}
	return []row{
		{name: "TCP, 10 % of all segments lost, 30 s", seeds: 4, told: true, run: play(5, 0, 30_000*ms, with(10))},
		{name: "TCP, 20 % of all segments lost, 30 s", seeds: 4, told: true, run: play(5, 0, 30_000*ms, with(20))},
		{name: "TCP, 30 % of all segments lost, 30 s", seeds: 4, told: true, run: play(5, 0, 30_000*ms, with(30))},
	}
}

// partial are the stories in which links break, and those of configurations.
func partial() []row {
	var rows []row
	for _, s := range faults() {
		if s.worst == 900*ms || s.name[:5] == "crash" || s.name[:6] == "leader" {
			continue // told of by other rows
		}
		rows = append(rows, row{
			name: s.name, seeds: 3, changes: s.changes,
			run: play(s.nodes, s.leader, s.length, func(w *world, _ *lab) { s.happens(w) }),
		})
	}
	return rows
}

// graphs leaves an established leader of five nodes with sets of links: all 1,024
// with each leader, or some of them.
func graphs(step int) row {
	return row{
		name: "link graphs", seeds: 1024 * 5 / step,
		run: func(l *lab, seed uint64) outcome {
			n := int(seed-1) * step
			graph, leader := n/5, n%5
			w := newWorld(5, seed, mutant{})
			l.disk, l.period = true, 10*ms
			if !l.establish(w, leader) {
				return outcome{failed: true}
			}
			var links [][2]int
			for i, e := range all5 {
				if graph&(1<<i) != 0 {
					links = append(links, e)
				}
			}
			w.only(links...)
			return w.graphed(leader)
		},
	}
}

// oneWay does the same with links that may work in one direction only.
func oneWay(cases int) row {
	return row{
		name: "one-way graphs", seeds: cases,
		run: func(l *lab, seed uint64) outcome {
			w := newWorld(5, seed, mutant{})
			l.disk, l.period = true, 10*ms
			leader := int(seed % 5)
			if !l.establish(w, leader) {
				return outcome{failed: true}
			}
			w.scramble(true)
			return w.graphed(leader)
		},
	}
}

// graphed judges a graph: at most one change, none if the leader keeps a quorum,
// and progress if anybody has one.
func (w *world) graphed(leader int) outcome {
	begin := w.now
	w.run(begin + 3500*ms)
	o := outcome{changes: max(0, w.changes-1), length: w.now - begin}
	if w.keeps(leader) {
		o.changes = w.changes
	}
	if w.connected() {
		o.failed = w.now-w.last > 500*ms
		o.gap = w.worst()
	}
	return o
}

// A sum is what all runs of a row have cost.
type sum struct {
	row    row
	runs   int
	failed int
	wrong  int // runs with another number of changes than the row wants
	moves  int // changes beyond that
	gaps   []Instant
	length Instant
	leased int
}

// try runs a row for n seeds with labs like l, and stops after it has been broken
// if stop says so.
func (r row) try(like lab, n int, stop bool) (s sum) {
	s.row = r
	for seed := range n {
		l := like
		o := r.run(&l, uint64(seed+1))
		s.runs++
		s.length += o.length
		s.leased += o.leased
		s.gaps = append(s.gaps, o.gap)
		if o.failed {
			s.failed++
		}
		if o.changes != r.changes {
			s.wrong++
			s.moves += max(0, o.changes-r.changes)
		}
		if stop && s.broken() != "" {
			break
		}
	}
	return s
}

// broken says what the row wants and did not get, "" if nothing.
func (s *sum) broken() string {
	switch r := s.row; {
	case r.told:
		return ""
	case s.failed > 0:
		return fmt.Sprintf("%s: no progress in %d of %d runs", r.name, s.failed, s.runs)
	case s.wrong > 0:
		return fmt.Sprintf("%s: not %d changes in %d of %d runs", r.name, r.changes, s.wrong, s.runs)
	}
	return ""
}

// missed says which bound of the gap was not kept, "" if none.
func (s *sum) missed() string {
	switch r := s.row; {
	case r.median > 0 && percentile(s.gaps, 50) > r.median:
		return fmt.Sprintf("%s: median %d ms; want at most %d ms", r.name, percentile(s.gaps, 50)/ms, r.median/ms)
	case r.worst > 0 && percentile(s.gaps, 100) > r.worst:
		return fmt.Sprintf("%s: worst %d ms; want at most %d ms", r.name, percentile(s.gaps, 100)/ms, r.worst/ms)
	}
	return ""
}

// hourly is the changes in an hour of what the row does.
func (s *sum) hourly() float64 {
	return float64(s.moves) * 3600e9 / float64(max(1, s.length))
}

// TestDefaultsKeepTheZeros is the table with few seeds: other defaults than these
// must keep it too.
func TestDefaultsKeepTheZeros(t *testing.T) {
	if testing.Short() {
		t.Skip("a long search in one goroutine")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(1000)) // half of the time is spent on collecting the world before
	rows := append(append(plain(), pressed()...), partial()...)
	rows = append(rows, graphs(41), oneWay(50))
	for _, r := range append(rows, overTCP()...) {
		n := r.seeds
		if r.median == 0 && n <= 10 {
			n = min(n, 3)
		}
		s := r.try(lab{times: Config{}.WithDefaults()}, n, false)
		for _, b := range []string{s.broken(), s.missed()} {
			if b != "" {
				t.Error(b)
			}
		}
		t.Logf("%s: %d changes unasked for; longest time without a commit: median %d ms, worst %d ms; leased %d of 1000", r.name, s.moves,
			percentile(s.gaps, 50)/ms, percentile(s.gaps, 100)/ms, s.leased/s.runs)
	}
}
