package sim

import (
	"fmt"
	"time"

	"github.com/prytany/prytany/internal/sim/dice"
	"github.com/prytany/prytany/internal/sim/network"
	"github.com/prytany/prytany/internal/sim/plan"
	"github.com/prytany/prytany/leader"
)

// A nemesis begins faults at random moments and ends each after a while.
type nemesis struct {
	w     *World
	heals map[int]func() // by number, so that they end in a fixed order
	count int
	kept  []bool // nodes that a lasting fault keeps out
	on    [plan.NumFaults]int
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
func (m *nemesis) strike(f plan.Fault) {
	w := m.w
	heal := m.start(f)
	if heal == nil {
		return
	}
	w.stats.Faults[f]++
	m.on[f]++
	id := m.count
	m.count++
	m.heals[id] = func() {
		m.on[f]--
		heal()
	}
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
	for l := range w.net.Links() {
		l.Drop, l.Dup, l.Delay = 0, 0, w.opt.Delay
		l.Delay.Tail = 0
	}
	w.opt.Sync.Tail = 0
	for _, n := range w.nodes {
		n.crashIn, n.badDisk = 0, 0
		n.start()
		n.paused = 0
		n.pollBy(w.now)
	}
	if w.opt.Mode == plan.Liveness {
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
	if n >= 5 && dice.Chance(w.rng, 0.5) {
		m.graph()
		return
	}
	switch w.rng.IntN(4) {
	case 0: // a broken path; everybody has neighbours
		w.trace.add(line{w.now, -1, "a path stays cut", [2]int{a + 1, b + 1}})
		w.net.Cut(a, b)
		w.net.Cut(b, a)
	case 1:
		w.trace.add(line{w.now, -1, "one direction stays cut", [2]int{a + 1, b + 1}})
		w.net.Cut(a, b)
	case 2:
		w.trace.add(line{w.now, -1, "stays isolated", a + 1})
		w.net.Isolate(a)
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
	far := network.Graph(len(w.nodes), w.rng)
	w.net.Cuts(func(x, y int) bool { return far[x][y] > 1 })
	w.trace.add(line{w.now, -1, "only these paths stay", fmt.Sprint(far)})
	network.Hops(far)
	for a := range far {
		for b := range far {
			if network.ReachesMajority(far[b]) {
				m.kept[a] = m.kept[a] || far[a][b] > 2
			}
		}
		if m.kept[a] {
			w.nodes[a].deaf++
		}
	}
}

// start begins fault f and returns what ends it, nil if it has no object.
func (m *nemesis) start(f plan.Fault) (heal func()) {
	w := m.w
	n := len(w.nodes)
	a := w.rng.IntN(n)
	b := a
	if n > 1 {
		b = (a + 1 + w.rng.IntN(n-1)) % n
	}
	w.trace.add(line{w.now, -1, "begins " + f.String(), [2]int{a + 1, b + 1}})
	switch f {
	case plan.CutOneWay, plan.CutPath, plan.Isolate, plan.Split, plan.Bridge, plan.Ring, plan.Deaf, plan.Mute, plan.Flap:
		if n == 1 {
			return nil
		}
		return m.partition(f, a, b)
	case plan.Loss, plan.SlowLinks:
		return m.weather(f)
	case plan.Crash, plan.CrashAll, plan.Storm, plan.Pause, plan.SlowDisk, plan.BadDisk:
		return m.process(f, w.nodes[a])
	case plan.Gossip:
		w.tell(w.nodes[a], w.nodes[b])
		return func() {}
	case plan.Reset:
		if h := w.nodes[a].host; h != nil && a != b {
			h.Disconnected(w.nodes[b].id)
			w.nodes[a].pollBy(w.now)
		}
		return func() {}
	case plan.ClientCut:
		w.nodes[a].deaf++
		return func() { w.nodes[a].deaf-- }
	case plan.ClientPause:
		w.yard.Pause()
		return func() {}
	case plan.ClientCrash:
		w.yard.Crash()
		return func() {}
	case plan.LoseDisk:
		w.nodes[a].loseDisk()
		return func() {}
	case plan.Rollback:
		w.nodes[a].rollBack()
		return func() {}
	}
	panic("sim: no such fault")
}

// tell has gossip say something about peer, true or not.
func (w *World) tell(n, peer *node) {
	if n.host == nil || n == peer {
		return
	}
	g := dice.Pick(w.rng, leader.GossipUnknown, leader.GossipAlive, leader.GossipDead, leader.GossipDead, leader.GossipLeaving)
	w.trace.add(line{w.now, n.index, "gossip about " + peer.name, g})
	n.host.Gossip(peer.id, g)
	n.pollBy(w.now)
}

// partition cuts links.
func (m *nemesis) partition(f plan.Fault, a, b int) (heal func()) {
	net := m.w.net
	switch f {
	case plan.CutOneWay:
		return net.Cut(a, b)
	case plan.CutPath:
		return net.CutPath(a, b)
	case plan.Isolate:
		return net.Isolate(a)
	case plan.Deaf:
		return net.Cuts(func(_, y int) bool { return y == a })
	case plan.Mute:
		return net.Cuts(func(x, _ int) bool { return x == a })
	case plan.Ring:
		return net.Ring()
	case plan.Flap:
		return m.flap(a, b)
	case plan.Bridge:
		return net.Split(a, m.w.rng)
	}
	return net.Split(-1, m.w.rng)
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
			up = w.net.CutPath(a, b)
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
	return w.sample(dice.Delay{Min: lo, Max: hi})
}

// weather makes the whole network bad.
func (m *nemesis) weather(f plan.Fault) (heal func()) {
	w := m.w
	loss := dice.Pick(w.rng, 0.1, 0.3, 0.6)
	slow := dice.Pick[time.Duration](w.rng, 20, 100, 400) * time.Millisecond
	for l := range w.net.Links() {
		if f == plan.Loss {
			l.Drop = loss
		} else {
			l.Delay = dice.Delay{Min: slow / 10, Max: slow, Tail: 0.05, Mean: slow}
		}
	}
	return func() {
		for l := range w.net.Links() {
			if f == plan.Loss {
				l.Drop = w.opt.Drop
			} else {
				l.Delay = w.opt.Delay
			}
		}
	}
}

// process does something to n or its disk.
func (m *nemesis) process(f plan.Fault, n *node) (heal func()) {
	w := m.w
	switch f {
	case plan.Crash:
		if dice.Chance(w.rng, 0.7) {
			n.crashIn = 1 + w.rng.IntN(12) // somewhere in the next turns
			return func() {}
		}
		n.down("is killed")
		return func() {}
	case plan.CrashAll:
		for _, n := range w.nodes {
			n.down("loses power")
		}
		return func() {}
	case plan.Storm:
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
	case plan.Pause:
		n.paused = w.now + time.Duration(w.rng.ExpFloat64()*float64(w.opt.FaultLast))
		n.pollBy(n.paused)
		return func() {}
	case plan.SlowDisk:
		slow := dice.Pick[time.Duration](w.rng, 5, 50, 300) * time.Millisecond
		w.slowDisk[n.index] = dice.Delay{Min: slow / 2, Max: 2 * slow}
		return func() { w.slowDisk[n.index] = dice.Delay{} }
	default:
		n.badDisk = 1 + w.rng.IntN(10)
		return func() {}
	}
}
