package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/prytany/prytany/leader"
)

// A nemesis begins faults at random moments and ends each after a while.
type nemesis struct {
	w     *World
	heals map[int]func() // by number, so that they end in a fixed order
	count int
	kept  []bool // nodes that a lasting fault keeps out
}

func (m *nemesis) begin() {
	m.heals = make(map[int]func())
	m.kept = make([]bool, len(m.w.nodes))
	if len(m.w.opt.Faults) > 0 {
		m.later()
	}
}

// later schedules the next fault.
func (m *nemesis) later() {
	w := m.w
	w.at(w.now+time.Duration(w.rng.ExpFloat64()*float64(w.opt.FaultEvery)), func() {
		if w.healed {
			return
		}
		m.strike(w.opt.Faults[w.rng.IntN(len(w.opt.Faults))])
		m.later()
	})
}

// strike begins a fault.
func (m *nemesis) strike(f Fault) {
	w := m.w
	heal := m.start(f)
	if heal == nil {
		return
	}
	w.stats.Faults[f]++
	id := m.count
	m.count++
	m.heals[id] = heal
	w.at(w.now+time.Duration(w.rng.ExpFloat64()*float64(w.opt.FaultLast)), func() {
		if h := m.heals[id]; h != nil {
			delete(m.heals, id)
			w.trace.add(line{w.now, -1, "ends " + f.String(), nil})
			h()
		}
	})
}

// heal ends all faults. In a liveness run another one begins that lasts.
func (m *nemesis) heal() {
	w := m.w
	w.trace.add(line{w.now, -1, "everything heals", nil})
	for id := range m.count {
		if h := m.heals[id]; h != nil {
			delete(m.heals, id)
			h()
		}
	}
	for i := range w.links {
		w.links[i].drop, w.links[i].dup, w.links[i].delay = 0, 0, w.opt.Delay
		w.links[i].delay.tail = 0
	}
	w.opt.Sync.tail = 0
	for _, n := range w.nodes {
		n.crashIn, n.badDisk = 0, 0
		n.start()
		n.paused = 0
		n.pollBy(w.now)
	}
	if w.opt.Mode == Liveness {
		m.last()
	}
}

// keeps reports whether a lasting fault keeps node i from taking part.
func (m *nemesis) keeps(i int) bool { return m.kept[i] }

// last begins a fault that stays: one that the cluster must survive.
func (m *nemesis) last() {
	w := m.w
	n := len(w.nodes)
	if w.opt.Voters < n {
		return
	}
	a := w.rng.IntN(n)
	b := (a + 1 + w.rng.IntN(n-1)) % n
	if n >= 5 && chance(w.rng, 0.5) {
		m.graph()
		return
	}
	switch w.rng.IntN(4) {
	case 0: // a broken path; everybody has neighbours
		w.trace.add(line{w.now, -1, "a path stays cut", [2]int{a + 1, b + 1}})
		w.cut(a, b)
		w.cut(b, a)
	case 1:
		w.trace.add(line{w.now, -1, "one direction stays cut", [2]int{a + 1, b + 1}})
		w.cut(a, b)
	case 2:
		w.trace.add(line{w.now, -1, "stays isolated", a + 1})
		m.isolate(a)
		m.kept[a] = true
		w.nodes[a].deaf++
	default:
		w.trace.add(line{w.now, -1, "stays down", a + 1})
		m.kept[a] = true
		w.nodes[a].downFor++
		w.nodes[a].down("is killed for good")
	}
}

// graph cuts paths at random, for good, such that some node still reaches a
// majority. Whoever may be further than one neighbour from a leader is out of
// it: requests are passed on once only, and a member that nobody asks anything
// does not learn how far others are.
func (m *nemesis) graph() {
	w := m.w
	n := len(w.nodes)
	var far [][]int // far[a][b]: hops from a to b
	for far == nil || !slices.ContainsFunc(far, reachesMajority) {
		far = make([][]int, n)
		for a := range far {
			far[a] = slices.Repeat([]int{n}, n)
			far[a][a] = 0
		}
		for a := range n {
			for b := range a {
				if chance(w.rng, 0.6) {
					far[a][b], far[b][a] = 1, 1
				}
			}
		}
	}
	m.cuts(func(x, y int) bool { return far[x][y] > 1 })
	w.trace.add(line{w.now, -1, "only these paths stay", fmt.Sprint(far)})
	for k := range n {
		for a := range n {
			for b := range n {
				far[a][b] = min(far[a][b], far[a][k]+far[k][b])
			}
		}
	}
	for a := range n {
		for b := range n {
			if reachesMajority(far[b]) {
				m.kept[a] = m.kept[a] || far[a][b] > 2
			}
		}
		if m.kept[a] {
			w.nodes[a].deaf++
		}
	}
}

// reachesMajority reports whether a node that is so far from each reaches a
// majority directly.
func reachesMajority(far []int) bool {
	near := 0
	for _, d := range far {
		if d <= 1 {
			near++
		}
	}
	return near > len(far)/2
}

// start begins fault f and returns what ends it, nil if it has no object.
func (m *nemesis) start(f Fault) (heal func()) {
	w := m.w
	n := len(w.nodes)
	a := w.rng.IntN(n)
	b := a
	if n > 1 {
		b = (a + 1 + w.rng.IntN(n-1)) % n
	}
	w.trace.add(line{w.now, -1, "begins " + f.String(), [2]int{a + 1, b + 1}})
	switch f {
	case FaultCutOneWay, FaultCutPath, FaultIsolate, FaultSplit, FaultBridge, FaultRing, FaultDeaf, FaultMute, FaultFlap:
		if n == 1 {
			return nil
		}
		return m.partition(f, a, b)
	case FaultLoss, FaultSlowLinks:
		return m.weather(f)
	case FaultCrash, FaultCrashAll, FaultStorm, FaultPause, FaultSlowDisk, FaultBadDisk:
		return m.process(f, w.nodes[a])
	case FaultGossip:
		w.tell(w.nodes[a], w.nodes[b])
		return func() {}
	case FaultReset:
		if h := w.nodes[a].host; h != nil && a != b {
			h.Disconnected(w.nodes[b].id)
			w.nodes[a].pollBy(w.now)
		}
		return func() {}
	case FaultClientCut:
		w.nodes[a].deaf++
		return func() { w.nodes[a].deaf-- }
	}
	panic("sim: no such fault")
}

// tell has gossip say something about peer, true or not.
func (w *World) tell(n, peer *node) {
	if n.host == nil || n == peer {
		return
	}
	g := pick(w.rng, leader.GossipUnknown, leader.GossipAlive, leader.GossipDead, leader.GossipDead, leader.GossipLeaving)
	w.trace.add(line{w.now, n.index, "gossip about " + peer.name, g})
	n.host.Gossip(peer.id, g)
	n.pollBy(w.now)
}

// partition cuts links.
func (m *nemesis) partition(f Fault, a, b int) (heal func()) {
	w := m.w
	n := len(w.nodes)
	switch f {
	case FaultCutOneWay:
		return w.cut(a, b)
	case FaultCutPath:
		return m.cuts(func(x, y int) bool { return x == a && y == b || x == b && y == a })
	case FaultIsolate:
		return m.isolate(a)
	case FaultDeaf:
		return m.cuts(func(_, y int) bool { return y == a })
	case FaultMute:
		return m.cuts(func(x, _ int) bool { return x == a })
	case FaultRing:
		return m.cuts(func(x, y int) bool { d := (x - y + n) % n; return min(d, n-d) > n/4 })
	case FaultFlap:
		return m.flap(a, b)
	}
	side := make([]bool, n)
	for i, j := range w.rng.Perm(n) {
		side[j] = i < n/2
	}
	bridge := -1
	if f == FaultBridge {
		bridge = a
	}
	return m.cuts(func(x, y int) bool { return side[x] != side[y] && x != bridge && y != bridge })
}

func (m *nemesis) isolate(a int) (heal func()) {
	return m.cuts(func(x, y int) bool { return x == a || y == a })
}

// cuts breaks all directed links that which names.
func (m *nemesis) cuts(which func(from, to int) bool) (heal func()) {
	var heals []func()
	for x := range m.w.nodes {
		for y := range m.w.nodes {
			if x != y && which(x, y) {
				heals = append(heals, m.w.cut(x, y))
			}
		}
	}
	return func() {
		for _, h := range heals {
			h()
		}
	}
}

// flap cuts and heals the path between a and b again and again.
func (m *nemesis) flap(a, b int) (heal func()) {
	w := m.w
	over := false
	var up func()
	var turn func()
	turn = func() {
		if up != nil {
			up()
			up = nil
		} else if !over {
			up = m.cuts(func(x, y int) bool { return x == a && y == b || x == b && y == a })
		}
		if !over {
			w.at(w.now+delayBetween(w, 20*time.Millisecond, 900*time.Millisecond), turn)
		}
	}
	turn()
	return func() {
		over = true
		if up != nil {
			up()
			up = nil
		}
	}
}

func delayBetween(w *World, lo, hi time.Duration) time.Duration {
	return w.sample(delay{min: lo, max: hi})
}

// weather makes the whole network bad.
func (m *nemesis) weather(f Fault) (heal func()) {
	w := m.w
	loss := pick(w.rng, 0.1, 0.3, 0.6)
	slow := pick[time.Duration](w.rng, 20, 100, 400) * time.Millisecond
	for i := range w.links {
		if f == FaultLoss {
			w.links[i].drop = loss
		} else {
			w.links[i].delay = delay{min: slow / 10, max: slow, tail: 0.05, mean: slow}
		}
	}
	return func() {
		for i := range w.links {
			if f == FaultLoss {
				w.links[i].drop = w.opt.Drop
			} else {
				w.links[i].delay = w.opt.Delay
			}
		}
	}
}

// process does something to n or its disk.
func (m *nemesis) process(f Fault, n *node) (heal func()) {
	w := m.w
	switch f {
	case FaultCrash:
		if chance(w.rng, 0.7) {
			n.crashIn = 1 + w.rng.IntN(12) // somewhere in the next turns
			return func() {}
		}
		n.down("is killed")
		return func() {}
	case FaultCrashAll:
		for _, n := range w.nodes {
			n.down("loses power")
		}
		return func() {}
	case FaultStorm:
		over := false
		var again func()
		again = func() {
			if !over {
				n.down("is killed again")
				w.at(w.now+delayBetween(w, 20*time.Millisecond, 400*time.Millisecond), again)
			}
		}
		again()
		return func() { over = true }
	case FaultPause:
		n.paused = w.now + time.Duration(w.rng.ExpFloat64()*float64(w.opt.FaultLast))
		n.pollBy(n.paused)
		return func() {}
	case FaultSlowDisk:
		slow := pick[time.Duration](w.rng, 5, 50, 300) * time.Millisecond
		w.slowDisk[n.index] = delay{min: slow / 2, max: 2 * slow}
		return func() { w.slowDisk[n.index] = delay{} }
	default:
		n.badDisk = 1 + w.rng.IntN(10)
		return func() {}
	}
}
