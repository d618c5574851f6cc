package sim

import (
	"context"
	"errors"
	"time"

	"github.com/prytany/prytany/internal/sim/dice"
	"github.com/prytany/prytany/paxos"
)

// reshapeEvery is the time between two attempts to change the voters.
const reshapeEvery = 200 * time.Millisecond

// errOther refuses a change of another configuration than was meant.
var errOther = errors.New("sim: the configuration has changed already")

// reshape has whoever leads make a learner a voter, or in a run with Churn now
// and then a voter a learner, and goes on until the end.
func (w *World) reshape() {
	if w.quiesced {
		return
	}
	next := w.opt.Every(reshapeEvery)
	if w.healed { // all must be voters again before the clients are done
		next = reshapeEvery
	}
	w.at(w.now+next, w.reshape)
	for _, n := range w.nodes {
		w.leave(n)
	}
	for _, n := range w.nodes {
		if n.host != nil && n.machine != nil && n.machine.Leading {
			w.change(n)
			return
		}
	}
}

// reshapes reports whether the voters of this run change.
func (w *World) reshapes() bool {
	return w.opt.Moves()
}

// change asks the leader n for another configuration.
func (w *World) change(n *node) {
	now := w.oracle.Config()
	if gone := w.lost(now); gone != 0 && (w.joined(now) || dice.Chance(w.rng, 0.2)) {
		w.trace.add(line{w.now, n.index, "removes the lost", gone})
		n.reconfigure(func(m paxos.Membership) (paxos.Membership, error) {
			if m.ID != now.ID || m.Ordinal(n.id) == 0 {
				return m, errOther
			}
			return m.Without(gone, m.Ordinal(n.id)), nil
		})
		return
	}
	if w.opt.Churn && !w.healed && len(now.Voters) > 1 && dice.Chance(w.rng, 0.05) {
		w.remove(n, w.nodes[w.rng.IntN(len(w.nodes))])
		return
	}
	for _, add := range w.nodes {
		if now.Seat(add.id) >= 0 || add.leaving == add.id || add.host == nil || !w.caughtUp(add) || !w.healed && dice.Chance(w.rng, 0.5) {
			continue
		}
		w.trace.add(line{w.now, n.index, "adds", add.name})
		n.reconfigure(func(m paxos.Membership) (paxos.Membership, error) {
			if m.ID != now.ID {
				return m, errOther
			}
			return m.With(paxos.Member{Node: add.id, Name: add.name}, m.Ordinal(n.id)), nil
		})
		return
	}
}

// remove has n, which leads, take the vote of gone. It reports whether it was asked to.
func (w *World) remove(n, gone *node) bool {
	now := w.oracle.Config()
	if gone == n || len(now.Voters) < 2 || now.Seat(gone.id) < 0 || !w.unhurt(now) {
		return false
	}
	w.trace.add(line{w.now, n.index, "removes", gone.name})
	id := gone.id
	n.reconfigure(func(m paxos.Membership) (paxos.Membership, error) {
		if m.ID != now.ID || m.Ordinal(n.id) == 0 || !w.unhurt(m) { // it may have waited for its turn
			return m, errOther
		}
		return m.Without(id, m.Ordinal(n.id)), nil
	})
	return true
}

// leave ends the identity of a node that is to be replaced, once nobody needs what it
// knows. If that does not come about before everything has healed, it stays who it is.
func (w *World) leave(n *node) {
	now := w.oracle.Config()
	switch {
	case n.leaving == 0:
	case n.leaving != n.id || w.healed:
		n.leaving = 0
	case now.Seat(n.id) < 0 && w.oracle.Chosen() > now.Start && !w.changing(paxos.Main) && w.unhurt(now) && w.free(n):
		n.leaving = 0
		w.stats.Struck.Replaced++
		n.down("is replaced")
		n.reborn()
	}
}

// free reports whether the groups beside main can do without n's disk.
func (w *World) free(n *node) bool {
	for _, s := range w.sides {
		if !s.over && !w.canDoWithout(n, s.id) {
			return false
		}
	}
	return true
}

// caughtUp reports whether n is close behind the others.
func (w *World) caughtUp(n *node) bool {
	ok := n.machine != nil && n.machine.Slot > 1 && n.machine.Slot+100 > w.oracle.Chosen()
	if ok {
		n.empty = false
	}
	return ok
}

// joined reports whether every running node is a voter of m.
func (w *World) joined(m paxos.Membership) bool {
	for _, n := range w.nodes {
		if n.host != nil && m.Seat(n.id) < 0 {
			return false
		}
	}
	return true
}

// whole reports whether every node is a voter, and nobody else.
func (w *World) whole() bool {
	m := w.oracle.Config()
	return len(m.Voters) == len(w.nodes) && w.lost(m) == 0
}

// Reshaped counts reconfigurations, of all groups.
type Reshaped struct{ Begun, Decided int }

// counted returns change, which counts what it begins under each fault that is on.
func (w *World) counted(change func(paxos.Membership) (paxos.Membership, error)) func(paxos.Membership) (paxos.Membership, error) {
	begun := false
	return func(m paxos.Membership) (paxos.Membership, error) {
		next, err := change(m)
		for f, on := range w.nemesis.On {
			if err == nil && on > 0 && !begun {
				w.stats.During[f].Begun++
			}
		}
		begun = begun || err == nil // it may be asked again until there is room
		return next, err
	}
}

// reshaped takes note of a configuration of g that was just decided, if there is one.
func (w *World) reshaped(g paxos.GroupID) {
	now := w.oracleOf(g).Config()
	if int(now.ID) == len(w.configs[g])+1 {
		return
	}
	w.configs[g] = append(w.configs[g], now)
	for f, on := range w.nemesis.On {
		if on > 0 {
			w.stats.During[f].Decided++
		}
	}
}

// reconfigure hands the request to the process and does not wait: what becomes
// of it shows in the log.
func (n *node) reconfigure(change func(paxos.Membership) (paxos.Membership, error)) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = n.host.Reconfigure(ctx, paxos.Main, n.w.counted(change))
	n.pollBy(n.w.now)
}
