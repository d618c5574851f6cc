package replica

import (
	"testing"
	"time"

	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// TestClaimWonBesideAHeartbeat has a candidate take, in one turn, the support for
// its claim and then a heartbeat of the leader that it had not heard for long. It
// must not say that it is bound, and then begin phase 1: the old leader would
// read by a lease that nobody respects.
func TestClaimWonBesideAHeartbeat(t *testing.T) {
	w := newWorld(t, 3, 3, func(c *Config) { c.LeaseReads = true })
	l := w.settle()
	old := w.nodes[l].id
	var grant, reply *wire               // held back; the newest reply of the old leader to the candidate
	met, lost := false, time.Duration(0) // lost: since when somebody wants another leader
	w.lose = func(from, to synod.NodeID, p Packet) bool {
		if m, ok := p.Msg.(leader.Heartbeat); met && to == old {
			return !ok || !m.Reply || from != grant.to // it hears nothing any more but that answer
		}
		switch m := p.Msg.(type) {
		case leader.Grant:
			if m.OK && !met && from != old && to != old {
				if lost == 0 {
					lost = w.now
				}
				grant = &wire{at: w.now, from: from, to: to, p: p}
				return true
			}
		case leader.Heartbeat:
			switch {
			case from != old || met:
			case m.Reply: // the others hear the leader no more, but it hears them
				if lost > 0 && time.Duration(m.Sent) > lost && grant.to == to { // it proves that the link is up again
					reply = &wire{from: from, to: to, p: p}
				}
				return true
			case grant != nil && grant.to == to && reply != nil && reply.to == to && w.now-grant.at < 40*time.Millisecond:
				met = true
				a := w.nodes[to-1]
				a.host.Deliver(grant.from, grant.p)
				a.host.Deliver(old, reply.p)
				a.host.Deliver(old, p)
				a.next = w.now
				return true
			}
		}
		return false
	}
	w.until("support and heartbeat meet", func() bool { return met })
	h := w.nodes[l].host
	for end := w.now + 300*time.Millisecond; w.now < end; w.step() {
		for _, a := range w.nodes {
			if a.id != old && a.machine.led > 0 && h.Leased(paxos.Main, w.now) {
				t.Fatalf("at %v node %d leads, and node %d has the lease", w.now, a.id, old)
			}
		}
	}
	if w.leader() == l {
		t.Error("nobody took over: the test does not test much")
	}
}
