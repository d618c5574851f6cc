package replica

import (
	"fmt"
	"testing"
	"time"

	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// without has the leader of g take node out of it.
func (x *town) without(l int, g paxos.GroupID, node synod.NodeID) *Result {
	x.t.Helper()
	var end *Result
	x.nodes[l].host.submit(&request{
		gid: g, kind: kindChange,
		change: func(m paxos.Membership) (paxos.Membership, error) {
			heir := x.nodes[l].id
			if heir == node {
				heir = x.nodes[(l+1)%3].id
			}
			return m.Without(node, m.Ordinal(heir)), nil
		},
		done: func(res Result) { end = &res },
	})
	x.nodes[l].next = x.now
	x.until("the end of the change", func() bool { return end != nil })
	return end
}

func (x *town) status(i int, g paxos.GroupID) GroupStatus {
	a := x.nodes[i].host
	return a.show(a.groups[g])
}

// TestARemovedMemberIsQuiet: it says so, asks until a quorum of the others has taken
// over, and then neither asks nor claims anything, whatever becomes of them.
func TestARemovedMemberIsQuiet(t *testing.T) {
	for _, self := range []bool{false, true} {
		t.Run(fmt.Sprintf("the leader itself %v", self), func(t *testing.T) {
			x := newTown(t, 3)
			x.found(3, 7)
			x.led(7)
			x.until("all sleep", x.sleeping)
			l := x.leads(7)
			out := (l + 1) % 3
			if self {
				out = l
			}
			if r := x.without(l, 7, x.nodes[out].id); r.Err != nil {
				t.Fatal(r.Err)
			}
			x.until("it is removed and relieved", func() bool { s := x.status(out, 7); return s.Removed && s.Relieved })
			x.led(7)
			x.must((out+1)%3, 7, "a")
			x.until("all sleep", x.sleeping)
			x.must((out+2)%3, 7, "b")
			x.until("all sleep", x.sleeping)

			spoke := []string{}
			x.lost = func(from, to synod.NodeID, p Packet) bool {
				if from == x.nodes[out].id {
					switch m := p.Msg.(type) {
					case leader.Claim:
						if m.Group == 7 {
							spoke = append(spoke, fmt.Sprintf("%T%+v", p.Msg, p.Msg))
						}
					case leader.Message:
					default:
						if p.Group == 7 {
							spoke = append(spoke, fmt.Sprintf("%T%+v", p.Msg, p.Msg))
						}
					}
				}
				return false
			}
			x.stop((out + 1) % 3) // the group has no quorum any more
			x.run(20 * time.Second)
			if len(spoke) > 0 {
				t.Errorf("it sent %v", spoke)
			}
			if err := x.drop(out, 7); err != nil {
				t.Fatal(err)
			}
			x.start((out + 1) % 3)
			x.led(7)
			x.must((out+1)%3, 7, "c")
		})
	}
}

// TestTheOnlyOneWhoKnows: a leader that has removed itself and whose last words were
// lost is not relieved before the others know that the stop-sign is chosen.
func TestTheOnlyOneWhoKnows(t *testing.T) {
	x := newTown(t, 3)
	x.found(3, 7)
	x.led(7)
	x.until("all sleep", x.sleeping)
	l := x.leads(7)
	x.must(l, 7, "a")
	x.until("all sleep", x.sleeping)
	x.lost = func(from, to synod.NodeID, p Packet) bool {
		switch m := p.Msg.(type) {
		case paxos.Accept: // the proposals pass, what is chosen does not
			return p.Group == 7 && len(m.Values) == 0
		case paxos.Accepted:
			return false
		}
		return p.Group == 7 && (from == x.nodes[l].id || to == x.nodes[l].id)
	}
	claims := 0
	lost := x.lost
	x.lost = func(from, to synod.NodeID, p Packet) bool {
		if _, ok := p.Msg.(paxos.Prepare); ok && p.Group == 7 {
			claims++
			return true // nor do the others find out by themselves
		}
		return lost(from, to, p)
	}
	if r := x.without(l, 7, x.nodes[l].id); r.Err != nil {
		t.Fatal(r.Err)
	}
	x.run(3 * time.Second)
	if s := x.status(l, 7); !s.Removed || s.Relieved {
		t.Fatalf("removed %v, relieved %v; want removed alone", s.Removed, s.Relieved)
	}
	for _, i := range []int{(l + 1) % 3, (l + 2) % 3} {
		if s := x.status(i, 7); s.Membership.ID != 1 {
			t.Fatalf("node %d is in configuration %d; want none but the old leader to know of 2", i+1, s.Membership.ID)
		}
	}
	x.lost = nil
	x.until("it is relieved", func() bool { return x.status(l, 7).Relieved })
	known := 0
	for _, i := range []int{(l + 1) % 3, (l + 2) % 3} {
		if s := x.status(i, 7); s.Membership.ID == 2 {
			known++
		}
	}
	if known != 2 {
		t.Errorf("relieved while %d of 2 voters know their configuration", known)
	}
	if err := x.drop(l, 7); err != nil {
		t.Fatal(err)
	}
	x.led(7)
	x.must((l+1)%3, 7, "b")
	if claims == 0 {
		t.Error("nobody tried to lead meanwhile")
	}
}

// TestARemovedMemberComesBack: before it is dropped it may become a voter again.
func TestARemovedMemberComesBack(t *testing.T) {
	x := newTown(t, 3)
	x.found(3, 7)
	x.led(7)
	x.run(time.Second)
	l := x.leads(7)
	out := (l + 1) % 3
	if r := x.without(l, 7, x.nodes[out].id); r.Err != nil {
		t.Fatal(r.Err)
	}
	x.until("it is relieved", func() bool { return x.status(out, 7).Relieved })
	x.until("all sleep", x.sleeping)
	x.must(l, 7, "a")
	x.run(5 * time.Second)
	if c := x.machines[x.nodes[out].id][7].commands; len(c) != 0 {
		t.Errorf("it has applied %q; want it to ask for nothing", c)
	}
	x.nodes[out].host.Learn(7, []synod.NodeID{x.nodes[l].id})
	x.nodes[out].next = x.now
	x.until("it has caught up", func() bool { return len(x.machines[x.nodes[out].id][7].commands) == 1 })
	x.until("the leader knows it as a learner", func() bool { _, ok := x.status(x.leads(7), 7).Learners[x.nodes[out].id]; return ok })
}

// TestALearnerAsksLessOften: while there is nothing new, but in Main.
func TestALearnerAsksLessOften(t *testing.T) {
	x := newTown(t, 3)
	x.found(2, 7)
	x.led(7)
	x.nodes[2].host.Learn(7, []synod.NodeID{1, 2})
	x.nodes[2].next = x.now
	x.must(0, 7, "a")
	x.until("it has caught up", func() bool { return len(x.machines[3][7].commands) == 1 })
	x.run(5 * time.Second)
	clear(x.sent)
	x.run(10 * time.Second)
	if n := x.sent["paxos.CatchUp"]; n < 8 || n > 12 {
		t.Errorf("asked %d times in 10 s; want about once a second", n)
	}
	x.must(0, 7, "b")
	begin := x.now
	x.until("it has caught up", func() bool { return len(x.machines[3][7].commands) == 2 })
	if took := x.now - begin; took > 1200*time.Millisecond {
		t.Errorf("it heard of a command after %v", took)
	}
}
