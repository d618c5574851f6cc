package faults

import (
	"time"

	"github.com/prytany/prytany/internal/sim/dice"
	"github.com/prytany/prytany/internal/sim/plan"
)

// process does something to the process of node a.
func (m *Nemesis) process(f plan.Fault, a int) (heal func()) {
	n := m.nodes[a]
	switch f {
	case plan.Crash:
		if dice.Chance(m.r, 0.7) {
			n.CrashIn = 1 + m.r.IntN(12) // somewhere in the next turns
			return nothing
		}
		m.c.Down(a, "is killed")
	case plan.SaveCrash:
		n.Write, n.WriteIn = Durable, 1+m.r.IntN(5)
	case plan.CrashAll:
		for i := range m.nodes {
			m.c.Down(i, "loses power")
		}
	case plan.Storm:
		return m.storm(a)
	case plan.Pause:
		m.Counts.Paused++
		n.Paused = max(n.Paused, m.c.Now()+m.last)
		m.c.Wake(a, n.Paused)
	case plan.SlowCPU:
		slow := dice.Pick[time.Duration](m.r, 2, 20, 100) * time.Millisecond
		n.SlowTurn = dice.Delay{Min: slow / 4, Max: slow}
		return func() { n.SlowTurn = dice.Delay{} }
	case plan.Suspend:
		m.Counts.Slept++
		until := m.c.Now() + m.last
		n.Paused, n.Asleep = max(n.Paused, until), max(n.Asleep, until)
		m.net.BreakAll(a)
		m.c.Wake(a, n.Paused)
		return func() { m.net.BreakAll(a) }
	}
	return nothing
}

// storm ends the process again and again.
func (m *Nemesis) storm(a int) (heal func()) {
	over := false
	r := m.r
	var again func()
	again = func() {
		if !over {
			m.c.Down(a, "is killed again")
			m.c.At(m.c.Now()+dice.Delay{Min: 20 * time.Millisecond, Max: 400 * time.Millisecond}.Sample(r), again)
		}
	}
	again()
	return func() { over = true }
}

// clock does something to the clock of the process of node a.
func (m *Nemesis) clock(f plan.Fault, a int) (heal func()) {
	process := m.c.Process(a)
	if process == 0 || f == plan.ClockRate && m.o.MaxDrift == 0 {
		return nil
	}
	r := m.r
	same := func() bool { return m.c.Process(a) == process }
	most := 262 * time.Second
	switch f {
	case plan.ClockRate: // to the bound as often as not
		m.Counts.Rates++
		d := m.o.MaxDrift
		m.c.RunsAt(a, int64(dice.Pick(m.r, m.r.IntN(2*d+1)-d, -d, d)))
		return nothing
	case plan.WildRate:
		m.Counts.Wild++
		m.c.RunsAt(a, dice.Pick[int64](m.r, -800_000, -300_000, -50_000, 50_000, 300_000, 2_000_000))
		return func() {
			if same() {
				m.c.RunsAt(a, 0) // not as before: that may have been wild, too
			}
		}
	case plan.ClockJump:
		m.Counts.Jumps++
		by := m.between(time.Millisecond, most)
		if dice.Chance(m.r, 0.5) {
			m.c.Jump(a, by) // it stays there: a process never goes back
			return nothing
		}
		m.c.Jump(a, -by)
		return func() {
			if same() {
				m.c.Jump(a, by)
			}
		}
	}
	return m.flap(func() (end func()) {
		if !same() {
			return nothing
		}
		m.Counts.Jumps++
		by := dice.Delay{Max: most}.Sample(r)
		if dice.Chance(r, 0.5) {
			m.c.Jump(a, by)
			by = dice.Delay{Max: by}.Sample(r)
		}
		m.c.Jump(a, -by)
		return func() {
			if same() {
				m.c.Jump(a, by)
			}
		}
	})
}

// disk does something to the disk of node a.
func (m *Nemesis) disk(f plan.Fault, a int) (heal func()) {
	n := m.nodes[a]
	arm := func(w Write) func() {
		n.Write, n.WriteIn = w, 1+m.r.IntN(10)
		return nothing
	}
	switch f {
	case plan.SlowDisk:
		slow := dice.Pick[time.Duration](m.r, 5, 50, 300) * time.Millisecond
		n.SlowDisk = dice.Delay{Min: slow / 2, Max: 2 * slow}
		return func() { n.SlowDisk = dice.Delay{} }
	case plan.WriteError:
		return arm(Fails)
	case plan.SyncError:
		return arm(Doubtful)
	case plan.LostSectors:
		return arm(Scattered)
	case plan.TornWrite:
		return arm(Torn)
	case plan.SnapshotCrash:
		n.Write, n.WriteIn = OfSnapshot, 1
		return nothing
	case plan.NoSpace:
		n.Full++
		return func() {
			n.Full--
			m.c.Start(a)
		}
	case plan.BitFlip:
		return done(m.c.FlipBit(a, m.r))
	case plan.LoseDisk:
		return done(m.c.LoseDisk(a))
	}
	return done(m.c.RollBack(a))
}
