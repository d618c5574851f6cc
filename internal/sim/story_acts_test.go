package sim

import (
	"time"

	"github.com/prytany/prytany/internal/sim/dice"
	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/synod"
)

// who returns the node of a part.
func (s *scene) who(part int) *node { return s.nodes[s.parts[part]] }

// in lets f happen after d.
func (s *scene) in(d time.Duration, f func()) { s.at(s.now+d, f) }

// between returns a random time.
func (s *scene) between(lo, hi time.Duration) time.Duration { return delayBetween(s.World, lo, hi) }

// tells notes what the story does.
func (s *scene) tells(what string, parts ...int) {
	s.trace.add(line{s.now, -1, what + ", parts", parts})
}

// pass says whether packets get from one part to another.
func (s *scene) pass(from, to int, passes bool) {
	l := s.net.Link(s.parts[from], s.parts[to])
	if l.Cuts = 1; passes {
		l.Cuts = 0
	}
}

// path says whether packets get through between two parts.
func (s *scene) path(a, b int, passes bool) {
	s.pass(a, b, passes)
	s.pass(b, a, passes)
}

// cut breaks the path between two parts.
func (s *scene) cut(a, b int) {
	s.tells("the path is cut", a, b)
	s.path(a, b, false)
}

// alone cuts a part off from all others, or gives all its paths back.
func (s *scene) alone(part int, is bool) {
	s.tells("alone, or not any more", part)
	for i := range s.parts {
		if i != part {
			s.path(part, i, !is)
		}
	}
}

// only leaves these paths.
func (s *scene) only(paths ...[2]int) {
	s.trace.add(line{s.now, -1, "only these paths of parts stay", paths})
	for a := range s.parts {
		for b := range a {
			s.path(a, b, false)
		}
	}
	for _, p := range paths {
		s.path(p[0], p[1], true)
	}
}

// split leaves the paths within two groups: the first parts, and the others. The
// first may serve nothing from when their leader's lease is over.
func (s *scene) split(first int) {
	s.tells("split after so many", first)
	for a := range s.parts {
		for b := range a {
			s.path(a, b, (a < first) == (b < first))
		}
	}
	s.muteFrom = s.now + s.opt.Lease
	for p := range first {
		s.mute[s.parts[p]] = true
	}
}

// deafen has a part receive nothing from the others, who receive what it sends.
func (s *scene) deafen(part int) {
	s.tells("hears nobody", part)
	for i := range s.parts {
		if i != part {
			s.pass(i, part, false)
		}
	}
}

// kill ends the process of a part. Its peers are refused at once, if the run has
// it so.
func (s *scene) kill(part int) {
	n := s.who(part)
	n.DownFor = 1
	n.down("is killed")
}

// restart begins it again.
func (s *scene) restart(part int) {
	n := s.who(part)
	n.DownFor = 0
	s.slow[n.index], s.late[n.index] = 0, 0
	s.health[n.index] = leader.Health{Disk: true, Loop: true}
	n.start()
}

// stop has the process of a part stand still for d.
func (s *scene) stop(part int, d time.Duration) {
	s.tells("stands still", part)
	n := s.who(part)
	n.Paused = s.now + d
	n.pollBy(n.Paused)
}

// disk gives the disk of a part another speed.
func (s *scene) disk(part int, lo, hi time.Duration) {
	s.tells("has a slow disk", part)
	n := s.who(part)
	s.woke[n.index] = max(s.now, n.busy)
	n.SlowDisk = dice.Delay{Min: lo, Max: hi}
}

// starve lets the process of a part stand still again and again and run for a
// moment between, for so long. Times are drawn from the ranges.
func (s *scene) starve(part int, stall, run [2]time.Duration, long time.Duration) {
	s.tells("is starved", part)
	n, end := s.who(part), s.now+long
	var again func()
	again = func() {
		if s.now >= end {
			return
		}
		still, runs := s.between(stall[0], stall[1]), s.between(run[0], run[1])
		s.stop(part, still)
		s.in(still, func() { s.woken(n, still, runs) })
		s.in(still+runs, again)
	}
	again()
	s.in(long+time.Second, func() { s.woken(n, 0, time.Second) })
}

// woken does what the host does when its timer fires, which the simulator does
// not: a loop that is late several times in a row is not well. One that then runs
// for a heartbeat is in time again.
func (s *scene) woken(n *node, late, runs time.Duration) {
	count := &s.late[n.index]
	if late > s.opt.Silence/2 {
		*count++
	}
	s.health[n.index].Loop = *count < lateWakes
	s.tellHealth(n)
	if runs > s.opt.Heartbeat*11/10 {
		*count = 0
	}
}

// fit says whether the loops of all but a part are well.
func (s *scene) fit(but int, well bool) {
	for i, n := range s.nodes {
		if i != s.parts[but] {
			s.health[i].Loop = well
			s.tellHealth(n)
		}
	}
}

// loss has the network lose this share of all packets.
func (s *scene) loss(share float64) {
	s.trace.add(line{s.now, -1, "packets are lost", share})
	for l := range s.net.Links() {
		l.Drop = share
	}
}

// far delays all that a part sends by d.
func (s *scene) far(part int, d time.Duration) {
	s.tells("what it sends is late", part)
	for i := range s.nodes {
		l := s.net.Link(s.parts[part], i)
		l.Delay.Min, l.Delay.Max = s.opt.Delay.Min+d, s.opt.Delay.Max+d
	}
}

// gossip has everybody hear the same of everybody, again and again until the
// story ends.
func (s *scene) gossip(states ...leader.Gossip) {
	if s.healed {
		return
	}
	for _, n := range s.nodes {
		for _, peer := range s.nodes {
			if n.host != nil && n != peer {
				n.host.Gossip(peer.id, dice.Pick(s.rng, states...))
				n.pollBy(s.now)
			}
		}
	}
	s.in(100*time.Millisecond, func() { s.gossip(states...) })
}

// flap takes paths down and up again for so long.
func (s *scene) flap(long time.Duration, lo, hi time.Duration, set func(up bool)) {
	up, end := true, s.now+long
	var turn func()
	turn = func() {
		if up = !up || s.now >= end; s.healed {
			return
		}
		set(up)
		if s.now < end {
			s.in(s.between(lo, hi), turn)
		}
	}
	turn()
}

// roll restarts all nodes one after another, in this order of parts: each hands
// over what it leads, as it does when it is told to end, and says that it is
// leaving.
func (s *scene) roll(order []int, leave, down, pause time.Duration) {
	if len(order) == 0 {
		return
	}
	part := order[0]
	n := s.who(part)
	s.handOver(part, -1)
	s.in(leave/2, func() {
		s.health[n.index].Draining = true
		s.tellHealth(n)
	})
	s.in(leave, func() { s.kill(part) })
	s.in(leave+down, func() { s.restart(part) })
	s.in(leave+down+pause, func() { s.roll(order[1:], leave, down, pause) })
}

// handOver has a part hand the lead over to another, or with -1 to whom it likes,
// if it leads.
func (s *scene) handOver(part, to int) {
	n, heir := s.who(part), synod.NodeID(0)
	if to >= 0 {
		heir = s.who(to).id
	}
	if n.host != nil && n.machine.Leading {
		n.handOver(heir)
	}
}

func delayBetween(w *World, lo, hi time.Duration) time.Duration {
	return w.sample(dice.Delay{Min: lo, Max: hi})
}
