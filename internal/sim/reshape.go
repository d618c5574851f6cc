package sim

import (
	"context"
	"errors"
	"time"

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
	w.at(w.now+reshapeEvery, w.reshape)
	for _, n := range w.nodes {
		if n.host != nil && n.machine != nil && n.machine.leading {
			w.change(n)
			return
		}
	}
}

// change asks the leader n for another configuration.
func (w *World) change(n *node) {
	now := w.oracle.Config()
	if w.opt.Churn && !w.healed && len(now.Voters) > 1 && chance(w.rng, 0.05) {
		gone := w.nodes[w.rng.IntN(len(w.nodes))]
		if gone == n || now.Seat(gone.id) < 0 {
			return
		}
		w.trace.add(line{w.now, n.index, "removes", gone.name})
		n.reconfigure(func(m paxos.Membership) (paxos.Membership, error) {
			if m.ID != now.ID {
				return m, errOther
			}
			return m.Without(gone.id, m.Ordinal(n.id)), nil
		})
		return
	}
	for _, add := range w.nodes {
		if now.Seat(add.id) >= 0 || add.host == nil || !w.caughtUp(add) || !w.healed && chance(w.rng, 0.5) {
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

// caughtUp reports whether n is close behind the others.
func (w *World) caughtUp(n *node) bool {
	return n.machine != nil && n.machine.applied > 1 && n.machine.applied+100 > w.oracle.Chosen()
}

// whole reports whether every node is a voter.
func (w *World) whole() bool {
	return len(w.oracle.Config().Voters) == len(w.nodes)
}

// reconfigure hands the request to the process and does not wait: what becomes
// of it shows in the log.
func (n *node) reconfigure(change func(paxos.Membership) (paxos.Membership, error)) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = n.host.Reconfigure(ctx, paxos.Main, change)
	n.pollBy(n.w.now)
}
