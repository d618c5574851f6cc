package sim

import (
	"context"
	"time"

	"github.com/prytany/prytany/paxos"
)

// grow makes the learners voters, one after another, by whoever leads.
func (w *World) grow() {
	w.at(w.now+200*time.Millisecond, func() {
		if !w.quiesced {
			w.grow()
		}
	})
	last := w.oracle.configs[len(w.oracle.configs)-1]
	w.stats.Reconfigured = len(w.oracle.configs) - 1
	for _, n := range w.nodes {
		if n.host == nil || n.machine == nil || !n.machine.leading {
			continue
		}
		for _, add := range w.nodes {
			if last.Seat(add.id) < 0 && add.host != nil && w.learned(add) {
				n.reconfigure(func(m paxos.Membership) (paxos.Membership, error) {
					if m.Seat(add.id) >= 0 {
						return m, errJoined
					}
					return m.With(paxos.Member{Node: add.id, Name: add.name}, m.Ordinal(n.id)), nil
				})
				return
			}
		}
	}
}

// learned reports whether n is close behind the others.
func (w *World) learned(n *node) bool {
	return n.machine != nil && n.machine.applied > 0 && n.machine.applied+100 > w.oracle.chosen
}

// reconfigure hands the request to the process and does not wait: what becomes
// of it shows in the log.
func (n *node) reconfigure(change func(paxos.Membership) (paxos.Membership, error)) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = n.host.Reconfigure(ctx, paxos.Main, change) // its outcome shows in the log
	n.pollBy(n.w.now)
}
