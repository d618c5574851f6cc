package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

func (x *town) leave(i int, g paxos.GroupID) error {
	x.t.Helper()
	return x.call(i, func(ctx context.Context, h *Host) error { return h.Leave(ctx, g) })
}

// learn tells node i to learn g from all others, until it has begun.
func (x *town) learn(i int, g paxos.GroupID) {
	x.t.Helper()
	var from []synod.NodeID
	for j, a := range x.nodes {
		if j != i {
			from = append(from, a.id)
		}
	}
	for range 100 {
		x.nodes[i].host.Learn(g, from)
		x.nodes[i].next = x.now
		x.run(100 * time.Millisecond)
		if x.nodes[i].host.groups[g] != nil {
			return
		}
	}
	x.t.Fatal("it does not learn")
}

// with has the leader of g make node i a voter.
func (x *town) with(g paxos.GroupID, i int) {
	x.t.Helper()
	l := x.leads(g)
	var end *Result
	x.nodes[l].host.submit(&request{
		gid: g, kind: kindChange,
		change: func(m paxos.Membership) (paxos.Membership, error) {
			return m.With(paxos.Member{Node: x.nodes[i].id}, m.Ordinal(x.nodes[l].id)), nil
		},
		done: func(res Result) { end = &res },
	})
	x.nodes[l].next = x.now
	x.until("the end of the change", func() bool { return end != nil })
	if end.Err != nil {
		x.t.Fatal(end.Err)
	}
}

// TestMembersComeAndGo: a node may leave a group and become a member again, time
// after time, and restart at any moment. Its floor is that of the last time.
func TestMembersComeAndGo(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restarts %v", restart), func(t *testing.T) {
			x := newTown(t, 3)
			x.found(3, 7)
			x.led(7)
			again := func(i int) {
				if restart {
					x.stop(i)
					x.start(i)
				}
			}
			floor := paxos.ConfigID(0)
			for round := range 4 {
				l := x.leads(7)
				x.must(l, 7, fmt.Sprint("a", round))
				out := (l + 1 + round%2) % 3
				if r := x.without(l, 7, x.nodes[out].id); r.Err != nil {
					t.Fatal(r.Err)
				}
				x.until("it is relieved", func() bool { return x.status(out, 7).Relieved && !x.status(out, 7).Voter })
				floor = x.status(out, 7).Membership.ID
				if err := x.leave(out, 7); err != nil {
					t.Fatal(err)
				}
				again(out)
				if err := x.create(out, 7, first(3)); !errors.Is(err, ErrGroupDropped) {
					t.Fatalf("Create: %v", err)
				}
				if d := x.nodes[out].disk.dropped[7]; d == nil || d.Floor != floor {
					t.Fatalf("tombstone %+v; want floor %d", d, floor)
				}
				x.nodes[out].host.Learn(7, []synod.NodeID{x.nodes[l].id}) // too early if nothing is swept yet
				x.learn(out, 7)
				again(out) // if nothing is saved yet it must be told again
				x.learn(out, 7)
				x.led(7)
				x.until("it has caught up", func() bool { return x.status(out, 7).Membership.ID == x.status(x.leads(7), 7).Membership.ID })
				again(out)
				if s := x.status(out, 7); s.Floor != floor || s.Voter || s.Removed {
					t.Fatalf("floor %d, voter %v, removed %v; want a learner with floor %d", s.Floor, s.Voter, s.Removed, floor)
				}
				x.led(7)
				x.with(7, out)
				x.until("it votes", func() bool { return x.status(out, 7).Voter })
				again(out)
				x.led(7)
				// It counts: one of the two others is missing.
				gone := (out + 1) % 3
				x.stop(gone)
				x.led(7)
				x.must(out, 7, fmt.Sprint("b", round))
				x.start(gone)
				x.led(7)
				x.run(time.Second)
				if s := x.status(out, 7); s.Floor != floor || !s.Voter {
					t.Fatalf("floor %d, voter %v; want a voter with floor %d", s.Floor, s.Voter, floor)
				}
			}
			want := []string{"a0", "b0", "a1", "b1", "a2", "b2", "a3", "b3"}
			x.until("all have all", func() bool {
				return !slices.ContainsFunc(x.nodes, func(a *actor) bool { return !slices.Equal(x.machines[a.id][7].commands, want) })
			})
		})
	}
}

// TestForgottenVotesDoNotCount: the leader and a voter have chosen the stop-sign that
// takes this voter out; the third knows nothing of it. The voter leaves, and comes
// back to the third alone, in the configuration that it has forgotten. Together they
// would be a quorum there, and choose something else.
func TestForgottenVotesDoNotCount(t *testing.T) {
	for _, forgets := range []bool{false, true} {
		t.Run(fmt.Sprintf("the floor is forgotten %v", forgets), func(t *testing.T) {
			x := newTown(t, 3)
			x.found(3, 7)
			x.led(7)
			x.run(time.Second)
			l := x.leads(7)
			out, third := (l+1)%3, (l+2)%3
			x.must(l, 7, "a")
			x.until("all sleep", x.sleeping)
			apart := func(n int) {
				x.lost = func(from, to synod.NodeID, _ Packet) bool { return (from == x.nodes[n].id) != (to == x.nodes[n].id) }
			}
			apart(third)
			if r := x.without(l, 7, x.nodes[out].id); r.Err != nil {
				t.Fatal(r.Err)
			}
			x.until("it knows", func() bool { return x.status(out, 7).Membership.ID == 2 })
			if err := x.leave(out, 7); err != nil {
				t.Fatal(err)
			}
			apart(l)
			x.run(2 * time.Second)
			if d := x.nodes[out].disk.dropped[7]; forgets {
				d.Floor = 0
			} else if d.Floor != 2 {
				t.Fatalf("floor %d; want 2", d.Floor)
			}
			x.learn(out, 7)
			x.run(10 * time.Second)
			s := x.status(out, 7)
			if s.Membership.ID != 1 || s.Membership.Seat(x.nodes[out].id) < 0 {
				t.Fatalf("it is in configuration %d; want 1, where it has a seat", s.Membership.ID)
			}
			if led := x.status(third, 7).Leading || s.Leading; led != forgets {
				t.Fatalf("there is a second leader: %v; want %v", led, forgets)
			}
			if forgets {
				return
			}
			if s.Voter || s.Campaign || !s.Promised.IsZero() {
				t.Errorf("it is a voter: %+v", s)
			}
			x.lost = nil
			x.led(7)
			x.must(third, 7, "b")
			x.until("it has caught up", func() bool { return len(x.machines[x.nodes[out].id][7].commands) == 2 })
		})
	}
}

// TestLeaveIsNoDrop: what a node leaves it may learn again, what it drops it may not.
func TestLeaveIsNoDrop(t *testing.T) {
	x := newTown(t, 2)
	x.found(2, 7)
	x.led(7)
	if err := x.leave(1, 99); err != nil || x.nodes[1].disk.dropped[99] != nil {
		t.Errorf("Leave of an unknown group: %v, tombstone %+v; want nothing to happen", err, x.nodes[1].disk.dropped[99])
	}
	// A learner that has saved nothing has no floor but the one it had before.
	if err := x.leave(1, 7); err != nil {
		t.Fatal(err)
	}
	x.lost = func(_, _ synod.NodeID, p Packet) bool { return p.Group == 7 }
	x.learn(1, 7)
	if err := x.leave(1, 7); err != nil {
		t.Fatal(err)
	}
	if d := x.nodes[1].disk.dropped[7]; d == nil || d.Floor != 1 {
		t.Fatalf("tombstone %+v; want floor 1", d)
	}
	x.learn(1, 7)
	if err := x.drop(1, 7); err != nil {
		t.Fatal(err)
	}
	x.run(2 * time.Second)
	x.nodes[1].host.Learn(7, []synod.NodeID{1})
	x.nodes[1].next = x.now
	x.run(time.Second)
	if d := x.nodes[1].disk.dropped[7]; d.Floor != paxos.Forever || x.nodes[1].host.groups[7] != nil {
		t.Errorf("tombstone %+v, part here %v; want none for ever", d, x.nodes[1].host.groups[7] != nil)
	}
}
