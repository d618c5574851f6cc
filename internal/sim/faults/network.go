package faults

import (
	"time"

	"github.com/prytany/prytany/internal/sim/dice"
	"github.com/prytany/prytany/internal/sim/network"
	"github.com/prytany/prytany/internal/sim/plan"
	"github.com/prytany/prytany/leader"
)

// cut takes paths away, or some of what goes there.
func (m *Nemesis) cut(f plan.Fault, a, b int) (heal func()) {
	net := m.net
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
		return m.flap(func() (up func()) { return net.CutPath(a, b) })
	case plan.Bridge:
		return net.Split(a, m.r)
	case plan.Split:
		return net.Split(-1, m.r)
	case plan.Swizzle:
		return m.swizzle()
	case plan.Broken:
		if dice.Chance(m.r, 0.3) {
			net.BreakAll(a)
		} else {
			net.Break(a, b)
		}
		return nothing
	case plan.PaxosCut:
		return net.CutPlane(a, b, network.Paxos)
	case plan.BeatsCut:
		return net.CutPlane(a, b, network.Beats)
	}
	return m.lag(a)
}

// flap has something happen and end, again and again.
func (m *Nemesis) flap(begin func() (end func())) (heal func()) {
	over := false
	var up, turn func()
	r := m.r
	turn = func() {
		if up != nil {
			up()
			up = nil
		} else if !over {
			up = begin()
		}
		if !over {
			m.c.At(m.c.Now()+dice.Delay{Min: 20 * time.Millisecond, Max: 900 * time.Millisecond}.Sample(r), turn)
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

// swizzle stalls the connections of some nodes one after the other, and lets them go on
// in another order. All of them have stalled after half of the time.
func (m *Nemesis) swizzle() (heal func()) {
	var who []int
	for i := range m.nodes {
		if dice.Chance(m.r, 0.6) {
			who = append(who, i)
		}
	}
	if len(who) == 0 {
		who = []int{m.r.IntN(len(m.nodes))}
	}
	over := false
	release := make([]func(), len(m.nodes))
	free := func(i int) {
		if f := release[i]; f != nil {
			release[i] = nil
			f()
			m.c.Release()
		}
	}
	now, half := m.c.Now(), m.last/2
	for _, o := range m.r.Perm(len(who)) {
		i := who[o]
		m.c.At(now+m.between(0, half), func() {
			if !over {
				release[i] = m.net.Hold(i)
			}
		})
		m.c.At(now+half+m.between(0, half), func() { free(i) })
	}
	return func() {
		over = true
		for _, i := range who {
			free(i)
		}
	}
}

// lag cuts a node off for long, and has it end, half of the times, while it catches up.
func (m *Nemesis) lag(a int) (heal func()) {
	m.Counts.Lagged++
	r := m.r
	join := m.net.Isolate(a)
	return func() {
		join()
		if dice.Chance(r, 0.5) {
			m.nodes[a].Write, m.nodes[a].WriteIn = OfSnapshot, 1
		}
	}
}

// weather makes the network bad, all of it or what a node sends.
func (m *Nemesis) weather(f plan.Fault, a, b int) (heal func()) {
	every := func(begin, end func(l *network.Link)) (heal func()) {
		for l := range m.net.Links() {
			begin(l)
		}
		return func() {
			for l := range m.net.Links() {
				end(l)
			}
		}
	}
	switch f {
	case plan.Loss:
		loss := dice.Pick(m.r, 0.1, 0.3, 0.6)
		return every(func(l *network.Link) { l.Drop = loss }, func(l *network.Link) { l.Drop = m.o.Drop })
	case plan.SlowLinks:
		slow := dice.Pick[time.Duration](m.r, 20, 100, 400) * time.Millisecond
		d := dice.Delay{Min: slow / 10, Max: slow, Tail: 0.05, Mean: slow}
		return every(func(l *network.Link) { l.Delay = d }, func(l *network.Link) { l.Delay = m.o.Delay })
	case plan.HeavyTail:
		p := dice.Pick(m.r, 0.01, 0.1, 0.5)
		return every(func(l *network.Link) { l.Heavy = p }, func(l *network.Link) { l.Heavy = 0 })
	case plan.Duplicates:
		p := dice.Pick(m.r, 0.05, 0.3)
		return every(func(l *network.Link) { l.Dup, l.Echo = p, p/4 }, func(l *network.Link) { l.Dup, l.Echo = m.o.Dup, 0 })
	case plan.Reorder:
		d := dice.Pick[time.Duration](m.r, 5, 30, 200) * time.Millisecond
		return every(func(l *network.Link) { l.Scatter = d }, func(l *network.Link) { l.Scatter = 0 })
	case plan.Corrupt:
		p := dice.Pick(m.r, 0.01, 0.1, 0.5)
		return every(func(l *network.Link) { l.Damage = p }, func(l *network.Link) { l.Damage = 0 })
	}
	rate, all := dice.Pick(m.r, 2_000, 10_000, 50_000), dice.Chance(m.r, 0.5)
	set := func(rate int) {
		for x := range m.nodes {
			if x != a && (all || x == b) {
				m.net.Link(a, x).Rate = rate
			}
		}
	}
	set(rate)
	return func() { set(0) }
}

// gossip tells nodes what is not so, or what they cannot know.
func (m *Nemesis) gossip(f plan.Fault, a, b int) (heal func()) {
	any := func() leader.Gossip {
		return dice.Pick(m.r, leader.GossipUnknown, leader.GossipAlive, leader.GossipDead, leader.GossipDead, leader.GossipLeaving)
	}
	switch f {
	case plan.Gossip:
		m.tell(a, b, any())
		return nothing
	case plan.Reset:
		if m.c.Process(a) == 0 {
			return nil
		}
		m.Counts.Resets++
		m.c.Disconnected(a, b)
		return nothing
	case plan.Views:
		for x := range m.nodes {
			for y := range m.nodes {
				m.tell(x, y, any())
			}
		}
		return func() { m.all(leader.GossipAlive) }
	case plan.GossipFlap:
		return m.flap(func() (end func()) {
			m.about(a, leader.GossipDead)
			return func() { m.about(a, leader.GossipAlive) }
		})
	case plan.GossipCut:
		m.about(a, leader.GossipDead)
		for x := range m.nodes {
			m.tell(a, x, leader.GossipDead)
		}
		return func() { m.all(leader.GossipAlive) }
	case plan.MissedDeath:
		return m.missed(a)
	}
	m.about(a, leader.GossipDead)
	return func() { m.about(a, leader.GossipAlive) }
}

// missed ends a process of which gossip goes on to say that it lives.
func (m *Nemesis) missed(a int) (heal func()) {
	if m.c.Process(a) == 0 {
		return nil
	}
	n := m.nodes[a]
	n.DownFor++
	n.Unheard++
	m.c.Down(a, "dies unheard")
	m.about(a, leader.GossipAlive)
	return func() {
		n.DownFor--
		n.Unheard--
		m.c.Start(a)
	}
}

// tell has gossip tell x of y.
func (m *Nemesis) tell(x, y int, g leader.Gossip) {
	if x != y && m.c.Process(x) != 0 {
		m.Counts.Lies++
		m.c.Gossip(x, y, g)
	}
}

// about has gossip tell everybody of y.
func (m *Nemesis) about(y int, g leader.Gossip) {
	for x := range m.nodes {
		m.tell(x, y, g)
	}
}

// all has gossip tell everybody of everybody.
func (m *Nemesis) all(g leader.Gossip) {
	for y := range m.nodes {
		m.about(y, g)
	}
}
