package sim

import (
	"testing"
	"time"

	"github.com/prytany/prytany/internal/sim/dice"
)

// forsaken is a run in which again and again answers to the leader become late, and then
// all others hear at once that their connection to it is lost, as when a switch dies, and
// it is cut off for two leases. So somebody looks for another leader while the old one
// still counts on its lease. Where faults strike links one by one that hardly ever
// happens: a node whose neighbour is content looks for nobody.
func forsaken(seed uint64) error {
	o := staged
	o.Seed, o.MaxDrift, o.Chaos = seed, 5000, 40*time.Second
	o.Locks, o.Keys, o.TTL, o.KeyShare = 1, 1, 10*time.Second, 0.8
	w := newWorld(o)
	var again func()
	again = func() {
		for _, n := range w.nodes {
			if n.machine.Leading && !w.healed {
				w.forsake(n)
				break
			}
		}
		w.at(w.now+5*w.opt.Lease, again)
	}
	w.at(longStart, again)
	return w.run()
}

// forsake does what forsaken says to leader.
func (w *World) forsake(leader *node) {
	const late = 300 * time.Millisecond
	usual := w.opt.Delay
	answersIn := func(d dice.Delay) {
		for _, n := range w.nodes {
			w.net.Link(n.index, leader.index).Delay = d
		}
	}
	answersIn(dice.Delay{Min: late, Max: late + time.Millisecond})
	w.at(w.now+w.opt.Lease/2, func() {
		for _, n := range w.nodes {
			if n != leader {
				n.host.Disconnected(leader.id)
				n.pollBy(w.now)
			}
		}
		silent := w.net.Cuts(func(from, _ int) bool { return from == leader.index })
		w.at(w.now+2*late, func() { // what was answered has come
			deaf := w.net.Cuts(func(_, to int) bool { return to == leader.index })
			w.at(w.now+2*w.opt.Lease, func() {
				silent()
				deaf()
				answersIn(usual)
			})
		})
	})
}

// TestForsakenLeader: it reads by its lease, and nobody else leads before that is over.
func TestForsakenLeader(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		if err := forsaken(seed); err != nil {
			t.Error(err)
		}
	}
}
