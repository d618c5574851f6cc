package leader

import (
	"testing"

	"github.com/prytany/prytany/synod"
)

// A desk is one machine on its own: the test plays its peers.
type desk struct {
	t   testing.TB
	n   *Node
	now Instant
	out Output
	h   Health
}

func newDesk(t testing.TB, cfg Config, off mutant) *desk {
	d := &desk{t: t, n: NewNode(cfg, 0), h: Health{Disk: true, Loop: true}}
	d.n.off = off
	return d
}

var three = []Voter{{1, 1}, {2, 2}, {3, 3}}

func (d *desk) facts(f Facts) { d.n.SetGroup(1, f, d.now, &d.out) }

// tick goes to when the machine wants to be called, and calls it.
func (d *desk) tick() {
	d.now = max(d.now, d.n.Next())
	d.n.Tick(d.now, d.h, &d.out)
}

// take returns what the machine wanted sent since it was asked last.
func (d *desk) take() []Envelope {
	s := d.out.Send
	d.out.Send = nil
	return s
}

// answerAll answers every heartbeat sent, one millisecond later, with r, and
// returns the claims sent.
func (d *desk) answerAll(r Report) (claims []Claim) {
	sent := d.take()
	d.now += ms
	for _, e := range sent {
		switch m := e.Msg.(type) {
		case Heartbeat:
			if !m.Reply {
				d.reply(e.To, m, r)
			}
		case Claim:
			claims = append(claims, m)
		}
	}
	return claims
}

func (d *desk) reply(from synod.NodeID, m Heartbeat, r ...Report) {
	a := Heartbeat{Reply: true, Seq: m.Seq, Sent: m.Sent, Incarnation: 1, Healthy: true, Groups: r}
	d.n.Receive(from, a, d.now, &d.out)
}

// run plays peers that answer with r for a while.
func (d *desk) run(length Instant, r Report) (claims []Claim) {
	for end := d.now + length; d.now < end; {
		d.tick()
		claims = append(claims, d.answerAll(r)...)
	}
	return claims
}

func ballot(round uint64, m synod.Ordinal) synod.Ballot { return synod.Ballot{Round: round, Member: m} }

func (d *desk) wantLeader(node synod.NodeID, content bool) {
	d.t.Helper()
	if got, c := d.n.Leader(1); got != node || c != content {
		d.t.Errorf("Leader() = %v, %v; want %v, %v", got, c, node, content)
	}
}
