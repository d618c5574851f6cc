package leader

import (
	"slices"
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

	seq   uint64                    // of the requests of peers
	told  map[synod.NodeID]uint64   // how far each peer's stream is
	heard map[synod.NodeID][]Report // what each peer has been told, by group
}

func newDesk(t testing.TB, cfg Config, off mutant) *desk {
	d := &desk{
		t: t, n: NewNode(cfg, 0), h: Health{Disk: true, Loop: true},
		told: map[synod.NodeID]uint64{}, heard: map[synod.NodeID][]Report{},
	}
	d.n.off = ways(off)
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
		case Claims:
			claims = append(claims, m.All...)
		}
	}
	return claims
}

// reply has from answer m. It says r anew, and that its acceptor is bound as it says.
func (d *desk) reply(from synod.NodeID, m Heartbeat, r ...Report) {
	a := d.says(from, r)
	a.Reply, a.Seq, a.Sent, a.Lease, a.Taken = true, m.Seq, m.Sent, 100*millisecond, true
	if m.Whole {
		a.Have = m.Version
	}
	d.n.Receive(from, a, d.now, &d.out)
}

// says returns a heartbeat by which from says r anew.
func (d *desk) says(from synod.NodeID, r []Report) Heartbeat {
	m := Heartbeat{Incarnation: 1, Healthy: true, Groups: r, Since: d.told[from], Whole: true}
	d.told[from]++
	m.Version = d.told[from]
	return m
}

// request has from send a heartbeat and returns all reports that it has been told
// in answers to such.
func (d *desk) request(from synod.NodeID, r ...Report) []Report {
	sent := d.take()
	d.seq++
	m := d.says(from, r)
	m.Seq, m.Sent = d.seq, d.now
	d.n.Receive(from, m, d.now, &d.out)
	answer := d.take()
	d.out.Send = sent
	for _, a := range answer[0].Msg.(Heartbeat).Groups {
		i := slices.IndexFunc(d.heard[from], func(r Report) bool { return r.Group == a.Group })
		if i < 0 {
			d.heard[from] = append(d.heard[from], a)
			continue
		}
		d.heard[from][i] = a
	}
	return d.heard[from]
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
