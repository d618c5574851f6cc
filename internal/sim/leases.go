package sim

import (
	"cmp"
	"context"
	"math/rand/v2"
	"time"

	"github.com/prytany/prytany/internal/sim/dice"
	"github.com/prytany/prytany/internal/sim/oracle"
	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// mute is how long the acceptor of a new process keeps silent: as long as
// leases of the process before it may last, by the fastest and slowest of clocks.
func (n *node) mute() int64 {
	if n.soul.self.Incarnation <= 1 || n.w.opt.Hooks.Talks {
		return 0
	}
	lease := int64(n.w.opt.Lease)
	return lease + (lease+99)/100
}

// handOvers has whoever leads hand over now and then, to whom it likes or to a
// random node, until everything heals. It has dice of its own.
func (w *World) handOvers() {
	if w.opt.HandOverEvery == 0 {
		return
	}
	r := rand.New(rand.NewPCG(w.opt.Seed, 0x68616e64))
	var next func()
	next = func() {
		if w.healed {
			return
		}
		w.at(w.now+time.Duration(r.ExpFloat64()*float64(w.opt.HandOverEvery)), next)
		to := synod.NodeID(0)
		if dice.Chance(r, 0.5) {
			to = w.nodes[r.IntN(len(w.nodes))].id
		}
		for _, n := range w.nodes {
			if n.host != nil && n.machine != nil && n.machine.Leading && n.Paused <= w.now {
				n.handOver(to)
				return
			}
		}
	}
	w.at(time.Second, next)
}

// handOver asks the process to hand over and does not wait; how it ends is
// observed.
func (n *node) handOver(to synod.NodeID) {
	w := n.w
	w.trace.add(line{w.now, n.index, "hands over to", to})
	if w.opt.Hooks.Releases {
		n.fakeRelease(to)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, _ = n.host.HandOver(ctx, paxos.Main, to)
	n.pollBy(w.now)
}

// fakeRelease sends the tokens of a release and goes on leading.
func (n *node) fakeRelease(to synod.NodeID) {
	c, b := n.host.Leading(paxos.Main)
	if b.IsZero() || to == 0 || to == n.id {
		return
	}
	for i := range n.w.nodes {
		if i != n.index {
			m := leader.Release{Group: uint64(paxos.Main), Config: uint32(c), Ballot: b, To: to}
			n.w.send(n.index, i, replica.Packet{Msg: m}, n.w.now)
		}
	}
}

// handedOver takes note of how a hand-over ended.
func (n *node) handedOver(e replica.HandOverEvent) {
	w := n.w
	w.trace.add(line{w.now, n.index, "hand-over ends", e})
	w.stats.HandOvers++
	switch {
	case e.Err == nil:
		w.stats.HandedOver++
	case e.Released:
		w.stats.Released++
	}
}

// leads holds every running process to its lease when node n has completed phase 1.
func (n *node) leads() {
	if n.host == nil {
		return
	}
	if c, b := n.host.Leading(paxos.Main); !b.IsZero() {
		n.w.unleased(n.name+" has begun to lead", c, b)
	}
}

// chose does so when slots above before have been chosen.
func (w *World) chose(before paxos.Slot) {
	for s := before + 1; s <= w.oracle.Chosen(); s++ {
		c, b := w.oracle.ChosenBy(s)
		w.unleased("a slot is chosen", c, b)
	}
}

// unleased checks that no process believes, by its own clock at this moment, that
// it holds the lease of a ballot below b of configuration c (I9). One that
// stands still may look at its clock at any moment, too.
func (w *World) unleased(what string, c paxos.ConfigID, b synod.Ballot) {
	for _, n := range w.nodes {
		if n.host == nil || !n.host.Leased(paxos.Main, n.Clock(w.now)) {
			continue
		}
		w.stats.Leased++
		own, led := n.host.Leading(paxos.Main)
		switch older := cmp.Or(cmp.Compare(own, c), compareBallots(led, b)) < 0; {
		case older && w.wild:
			w.stats.Struck.Lent++
		case older:
			oracle.Fail("I9", "%s in ballot %v of configuration %d; %s believes in its lease of %v of %d", what, b, c, n.name, led, own)
		}
	}
}

func compareBallots(a, b synod.Ballot) int {
	switch {
	case a.Less(b):
		return -1
	case b.Less(a):
		return 1
	}
	return 0
}
