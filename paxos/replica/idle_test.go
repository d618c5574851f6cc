package replica

import (
	"testing"
	"time"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

func many(n int) (groups []paxos.GroupID) {
	for g := range paxos.GroupID(n) {
		groups = append(groups, 10+g)
	}
	return groups
}

// TestIdleGroupsCostNothing: a thousand groups that nobody uses send nothing and
// write nothing, and no more of them are ticked than the net catches.
func TestIdleGroupsCostNothing(t *testing.T) {
	const n = 1000
	x := newTown(t, 3)
	groups := many(n)
	x.found(3, groups...)
	x.led(groups...)
	x.until("all sleep", x.sleeping)
	x.run(2 * time.Second)
	saves, rounds := 0, uint64(0)
	count := func(sign int) {
		for _, a := range x.nodes {
			saves += sign * a.disk.saves
			for _, g := range a.host.order {
				if g.id != paxos.Main {
					rounds += uint64(sign) * g.round // grows with every tick
				}
			}
		}
	}
	count(-1)
	clear(x.sent)
	const seconds = 2
	x.run(seconds * time.Second)
	count(1)
	for kind, many := range x.sent {
		t.Errorf("%d packets %s; want only heartbeats", many, kind)
	}
	if saves != 0 {
		t.Errorf("%d writes", saves)
	}
	if most := uint64(3 * seconds * 21 * (n/netTicks + 2)); rounds > most {
		t.Errorf("groups were ticked %d times; want at most %d", rounds, most)
	}
	if !x.sleeping() {
		t.Error("not all sleep in the end")
	}

	// One that is used wakes, and only that one.
	x.must(0, 500, "a")
	for i, a := range x.nodes {
		for _, g := range a.host.awake {
			if g.id != paxos.Main && g.id != 500 {
				t.Errorf("group %d is awake on node %d", g.id, i+1)
			}
		}
	}
	x.until("all sleep again", x.sleeping)
	for _, a := range x.nodes {
		if c := x.machines[a.id][500].commands; len(c) != 1 {
			t.Errorf("node %d has applied %q", a.id, c)
		}
	}
}

// TestASleeperIsNotLeftBehind: whatever message is lost last, all have applied the
// same once everybody sleeps.
func TestASleeperIsNotLeftBehind(t *testing.T) {
	for lost := range 12 {
		for _, restart := range []bool{false, true} {
			x := newTown(t, 3)
			x.found(3, 7)
			x.led(7)
			x.until("all sleep", x.sleeping)
			l := x.leads(7)
			other := (l + 1) % 3
			seen := 0
			x.lost = func(from, to synod.NodeID, p Packet) bool {
				if p.Group != 7 || to != x.nodes[other].id && from != x.nodes[other].id {
					return false
				}
				seen++
				return seen > lost
			}
			x.must(l, 7, "a")
			x.must(l, 7, "b")
			x.run(100 * time.Millisecond)
			x.lost = nil
			if restart {
				x.stop(other)
				x.run(time.Second)
				x.start(other)
			}
			x.run(500 * time.Millisecond)
			x.until("all sleep again", x.sleeping)
			for _, a := range x.nodes {
				if got := x.machines[a.id][7].applied; got != x.machines[x.nodes[l].id][7].applied {
					t.Errorf("lost from packet %d on, restart %v: node %d has applied slot %d", lost, restart, a.id, got)
				}
			}
		}
	}
}

// TestAVoterThatComesBack: while it is away its groups sleep, and when it is back it
// gets what it has missed.
func TestAVoterThatComesBack(t *testing.T) {
	x := newTown(t, 3)
	x.found(3, 7, 8)
	x.led(7, 8)
	l := x.leads(7)
	away := (l + 1) % 3
	x.stop(away)
	x.run(time.Second)
	x.led(7, 8)
	x.must(l, 7, "a")
	x.run(time.Second)

	x.until("all sleep without it", x.sleeping)
	x.run(time.Minute)
	x.start(away)
	x.until("it has applied what it missed", func() bool {
		m := x.machines[x.nodes[away].id][7]
		return m != nil && len(m.commands) == 1
	})
	x.until("all sleep with it", x.sleeping)

	// The same with a cut: the process goes on.
	var ids []synod.NodeID
	for _, a := range x.nodes {
		ids = append(ids, a.id)
	}
	for _, b := range ids {
		x.cut[[2]synod.NodeID{min(ids[away], b), max(ids[away], b)}] = true
	}
	x.run(time.Second)
	l = x.leads(7)
	if l == away {
		l = (away + 1) % 3
	}
	x.must(l, 7, "b")
	x.run(5 * time.Second)
	clear(x.cut)
	x.until("it has applied what it missed", func() bool { return len(x.machines[ids[away]][7].commands) == 2 })
	x.until("all sleep with it", x.sleeping)
}

// TestASleepersDeadline: a machine that wants to be asked at a time is.
func TestASleepersDeadline(t *testing.T) {
	x := newTown(t, 3)
	groups := many(70)
	x.found(3, groups...)
	x.led(groups...)
	x.until("all sleep", x.sleeping)
	begin := x.now
	for i, g := range groups {
		m := x.machines[x.nodes[x.leads(g)].id][g]
		m.at = begin + time.Duration(i+1)*time.Second
		x.nodes[x.leads(g)].host.rouse(x.nodes[x.leads(g)].host.groups[g]) // as a request would
	}
	x.run(500 * time.Millisecond)
	if !x.sleeping() {
		t.Fatal("not all sleep before the first deadline")
	}
	for i, g := range groups {
		due := begin + time.Duration(i+1)*time.Second
		x.until("the deadline", func() bool { return len(x.machines[1][g].commands) == 1 })
		if x.now < due || x.now > due+200*time.Millisecond {
			t.Errorf("group %d: applied at %v; want it right after %v", g, x.now, due)
		}
	}
}

// TestALostNodeWakesItsGroupsOnly.
func TestALostNodeWakesItsGroupsOnly(t *testing.T) {
	x := newTown(t, 3)
	groups := many(60)
	x.found(3, groups...)
	x.led(groups...)
	x.until("all sleep", x.sleeping)
	dead := x.leads(groups[0])
	var spared []paxos.GroupID
	for i, g := range groups { // some are led by another
		if l := x.leads(g); l == dead && i%2 == 1 {
			h := x.nodes[l].host
			h.submit(&request{gid: g, kind: kindHandOver, heir: x.nodes[(dead+1)%3].id, done: func(Result) {}})
			x.nodes[l].next = x.now
			spared = append(spared, g)
		} else if l != dead {
			spared = append(spared, g)
		}
	}
	x.run(2 * time.Second)
	x.until("all sleep", x.sleeping)
	woken := map[paxos.GroupID]bool{}
	x.stop(dead)
	for end := x.now + 3*time.Second; x.now < end; x.step() {
		for _, a := range x.nodes {
			if a.host != nil {
				for _, g := range a.host.awake {
					woken[g.id] = true
				}
			}
		}
	}
	x.led(groups...)
	for _, g := range spared {
		if x.leads(g) != dead && woken[g] {
			t.Errorf("group %d was awake; its leader is well", g)
		}
	}
	if len(spared) == 0 || len(woken) == 0 {
		t.Errorf("%d groups are led by others, %d were awake; want some of each", len(spared), len(woken))
	}
}

// TestAnAlarmOfOneThatIsAwake: it is taken back, or the loop would look at it for ever.
func TestAnAlarmOfOneThatIsAwake(t *testing.T) {
	x := newTown(t, 1)
	x.found(1, 7)
	x.led(7)
	x.run(time.Second)
	h := x.nodes[0].host
	g := h.groups[7]
	h.rouse(g)
	h.alarms.Set(&g.alarm, h.now)
	h.tickGroups()
	if other, ok := h.alarms.Due(h.now + time.Hour); ok && g.awake {
		t.Errorf("the alarm of group %d is set yet", other.id)
	}
}
