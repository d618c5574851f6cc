package replica

import (
	"testing"
	"time"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// reconfigure has whoever leads g change its voters.
func (x *town) reconfigure(g paxos.GroupID, f func(m paxos.Membership, lead synod.Ordinal) paxos.Membership) {
	x.t.Helper()
	x.led(g)
	l := x.leads(g)
	var end *Result
	x.nodes[l].host.submit(&request{
		gid: g, kind: kindChange,
		change: func(m paxos.Membership) (paxos.Membership, error) { return f(m, m.Ordinal(x.nodes[l].id)), nil },
		done:   func(res Result) { end = &res },
	})
	x.nodes[l].next = x.now
	x.until("the end of the change", func() bool { return end != nil })
	if end.Err != nil {
		x.t.Fatal(end.Err)
	}
}

// move replaces a voter of g by the node at add.
func (x *town) move(g paxos.GroupID, add int, remove synod.NodeID, from ...synod.NodeID) {
	x.t.Helper()
	x.nodes[add].host.Learn(g, from)
	x.nodes[add].next = x.now
	id := x.nodes[add].id
	x.until("the new one learns", func() bool { m := x.machines[id][g]; return m != nil && m.applied > 1 })
	x.reconfigure(g, func(m paxos.Membership, lead synod.Ordinal) paxos.Membership {
		return m.With(paxos.Member{Node: id}, lead)
	})
	x.until("the new one votes", func() bool { return x.status(add, g).Membership.Seat(id) >= 0 })
	if x.leads(g) >= 0 && x.nodes[x.leads(g)].id == remove {
		x.nodes[x.leads(g)].host.submit(&request{gid: g, kind: kindHandOver, heir: id, done: func(Result) {}})
		x.nodes[x.leads(g)].next = x.now
		x.until("another one leads", func() bool { l := x.leads(g); return l >= 0 && x.nodes[l].id != remove })
	}
	x.reconfigure(g, func(m paxos.Membership, lead synod.Ordinal) paxos.Membership { return m.Without(remove, lead) })
}

// TestAVoterWhoseColleaguesWereAllReplaced: it was down, and nobody that it knows has
// a part in the group any more. Those that have know it as a voter, and need it.
func TestAVoterWhoseColleaguesWereAllReplaced(t *testing.T) {
	x := newTownOf(t, 5, 1)
	x.found(3, 7)
	x.led(7)
	x.must(x.leads(7), 7, "a")
	late := (x.leads(7) + 1) % 3
	var others []synod.NodeID
	for i := range 3 {
		if i != late {
			others = append(others, x.nodes[i].id)
		}
	}
	x.stop(late)
	x.led(7)
	x.move(7, 3, others[0], others...)
	x.move(7, 4, others[1], others[1], x.nodes[3].id)
	for _, id := range others {
		x.until("it is relieved", func() bool { return x.status(int(id-1), 7).Relieved })
		if err := x.drop(int(id-1), 7); err != nil {
			t.Fatal(err)
		}
	}
	x.led(7)
	dead := x.leads(7)
	x.must(dead, 7, "b")
	x.run(time.Second)
	x.stop(dead)
	x.start(late) // two of three voters live
	x.led(7)
	alive := 7 - dead // 3 or 4
	x.must(alive, 7, "c")
}
