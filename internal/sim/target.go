package sim

import (
	"math/rand/v2"
	"time"

	"github.com/prytany/prytany/internal/sim/dice"
	"github.com/prytany/prytany/internal/sim/oracle"
	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// A target is a world as faults act on it. It implements [faults.Cluster].
type target World

func (t *target) world() *World { return (*World)(t) }

// Now implements [faults.Cluster].
func (t *target) Now() time.Duration { return t.now }

// At implements [faults.Cluster].
func (t *target) At(at time.Duration, f func()) { t.world().at(at, f) }

// Over implements [faults.Cluster].
func (t *target) Over() bool { return t.healed }

// Trace implements [faults.Cluster].
func (t *target) Trace(node int, what string, arg any) {
	t.trace.add(line{t.now, node, what, arg})
}

// Leader implements [faults.Cluster].
func (t *target) Leader() int {
	for _, n := range t.nodes {
		if n.host != nil && n.machine != nil && n.machine.Leading && n.Paused <= t.now {
			return n.index
		}
	}
	return -1
}

// Process implements [faults.Cluster].
func (t *target) Process(node int) uint64 {
	if n := t.nodes[node]; n.host != nil {
		return n.incarnation
	}
	return 0
}

// Down implements [faults.Cluster].
func (t *target) Down(node int, why string) { t.nodes[node].down(why) }

// Start implements [faults.Cluster].
func (t *target) Start(node int) { t.nodes[node].start() }

// Wake implements [faults.Cluster].
func (t *target) Wake(node int, at time.Duration) { t.nodes[node].pollBy(at) }

// RunsAt implements [faults.Cluster].
func (t *target) RunsAt(node int, drift int64) {
	n := t.nodes[node]
	t.trace.add(line{t.now, node, "its clock goes at another rate", drift})
	n.runsAt(drift)
	n.pollBy(t.now)
}

// runsAt sets the rate of n's clock without moving its hands.
func (n *node) runsAt(drift int64) {
	before := n.Clock(n.w.now)
	n.Pace.Drift = drift
	n.Offset += before - n.Clock(n.w.now)
}

// Jump implements [faults.Cluster].
func (t *target) Jump(node int, by time.Duration) {
	n := t.nodes[node]
	t.trace.add(line{t.now, node, "its clock jumps", by})
	n.Offset += by
	n.pollBy(t.now)
}

// Gossip implements [faults.Cluster].
func (t *target) Gossip(node, about int, g leader.Gossip) {
	t.nodes[node].gossips(t.nodes[about], g)
}

// gossips has gossip say something about peer, true or not.
func (n *node) gossips(peer *node, g leader.Gossip) {
	if n.host == nil || n == peer {
		return
	}
	n.w.trace.add(line{n.w.now, n.index, "gossip about " + peer.name, g})
	n.host.Gossip(peer.id, g)
	n.pollBy(n.w.now)
}

// Disconnected implements [faults.Cluster].
func (t *target) Disconnected(node, peer int) {
	n := t.nodes[node]
	n.host.Disconnected(n.peer(peer))
	n.pollBy(t.now)
}

// Release implements [faults.Cluster].
func (t *target) Release() {
	held := t.held
	t.held = nil
	for i := range held {
		p := &held[i]
		if l := t.net.Link(int(p.from), int(p.to)); l.Holds > 0 {
			t.held = append(t.held, *p)
		} else {
			t.world().carry(l, *p, t.now)
		}
	}
}

// LoseDisk implements [faults.Cluster].
func (t *target) LoseDisk(node int) bool { return t.nodes[node].loseDisk() }

// RollBack implements [faults.Cluster].
func (t *target) RollBack(node int) bool { return t.nodes[node].rollBack() }

// FlipBit implements [faults.Cluster]. What has been damaged must be noticed by the
// next process, which may not begin on it.
func (t *target) FlipBit(node int, r *rand.Rand) bool {
	n := t.nodes[node]
	if !t.world().mayLose(n) || !n.disk.Volume(paxos.Main).Saved {
		return false
	}
	n.down("is killed; a bit turns on its disk")
	if what, noticed := n.disk.Flip(r); !noticed {
		oracle.Fail("codec", "%s: %s with a bit that has turned is read as if nothing were wrong", n.name, what)
	}
	t.stats.Struck.Flipped++
	n.reborn()
	return true
}

// HandOver implements [faults.Cluster].
func (t *target) HandOver(to int) bool {
	i := t.Leader()
	if i < 0 {
		return false
	}
	heir := synod.NodeID(0)
	if to >= 0 {
		heir = t.nodes[to].id
	}
	t.nodes[i].handOver(heir)
	return true
}

// Remove implements [faults.Cluster].
func (t *target) Remove(node int) bool {
	i := t.Leader()
	if i < 0 || !t.world().remove(t.nodes[i], t.nodes[node]) {
		return false
	}
	t.stats.Struck.Removed++
	return true
}

// Replace implements [faults.Cluster].
func (t *target) Replace(node int) bool {
	if !t.Remove(node) {
		return false
	}
	t.nodes[node].leaving = t.nodes[node].id
	return true
}

// PauseWorker implements [faults.Cluster].
func (t *target) PauseWorker() bool { return t.yard.Pause() }

// CrashWorker implements [faults.Cluster].
func (t *target) CrashWorker(holding bool) bool {
	if holding {
		return t.yard.CrashHolder()
	}
	return t.yard.Crash()
}

// Abandon implements [faults.Cluster].
func (t *target) Abandon(r *rand.Rand) bool {
	if len(t.clients) == 0 {
		return false
	}
	c := dice.Pick(r, t.clients...)
	if c.op == nil {
		return false
	}
	t.trace.add(line{t.now, -1, "a client gives up " + c.op.ID, nil})
	c.end(noAnswer, false)
	return true
}
